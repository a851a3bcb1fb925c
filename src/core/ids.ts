/** Types that keep ids and times apart from plain strings and numbers. */

/** Id of a call: a random UUID, 122 bits that nobody can guess. RFC 9562 section 5.4. */
export type CallId = string & { readonly __call: unique symbol }

/** An instant, in milliseconds since 1970 as the server's clock counts them; or a span, where the name says so. */
export type Millis = number

export function callId(text: string): CallId {
  return text as CallId
}

export type Side = 0 | 1
export const SIDES: readonly Side[] = [0, 1]

export function otherSide(side: Side): Side {
  return side === 0 ? 1 : 0
}
