/** What the relay of a line says with a close, as this page understands it. What else it says: protocol/line.ts. */

export const LEAVING = 1000
/** Two others are on this line; or this seat's last socket, or that of the page before a reload, has not ended yet. */
export const BUSY = 4409
/** The same seat came in on a newer socket. */
export const REPLACED = 4408
/** The server goes down, or comes up again: RFC 6455 and its registry, and `draining`. */
export const RESTARTS: readonly number[] = [1001, 1012, 4103]
