/**
 * What both ends of the key directory must see alike: what a client id is, and the text that chains a change of a key
 * to the one before. Apart from direct.ts, so that browsers get it without the schemas.
 */

/** Format of a client id. The document's, anchored so that a newline at the end is none of it. */
export const CLIENT_ID = /^[a-zA-Z0-9_-]{1,64}$/

export interface Link {
  readonly version: number
  readonly publicKey: string
  /** Milliseconds since 1970. */
  readonly changedAt: number
  /** Hash of the change before; empty for the first. */
  readonly previous: string
}

/** The text whose SHA-256, base64url, is the hash of a change. docs/protocol.md, DIRECT-25. */
export function chained(clientId: string, { version, publicKey, changedAt, previous }: Link): string {
  return JSON.stringify(['ringdown/pkd/1', clientId, version, publicKey, changedAt, previous])
}
