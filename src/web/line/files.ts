/** Where the other threads of a line are on this server. Their names change with their content, so the build puts them in. */

declare const LINE_WORKER: string
declare const LINE_PLAYOUT: string
declare const LINE_CAPTURE: string

export const WORKER = LINE_WORKER
export const PLAYOUT = LINE_PLAYOUT
export const CAPTURE = LINE_CAPTURE
