/** Of ICE: servers as clients are told of them, and candidates as clients write them. */
import { type Static, Type } from 'typebox'

/** A STUN or TURN server: what `RTCPeerConnection` takes as `iceServers`. */
export const iceServer = Type.Object({
  urls: Type.Array(Type.String()),
  username: Type.Optional(Type.String()),
  credential: Type.Optional(Type.String()),
})
export type IceServer = Static<typeof iceServer>

/** A string without an escape, as JSON writes it. Part of a regular expression. */
export const PLAIN_TEXT = '"[^"\\\\\\u0000-\\u001f]*"'
const INDEX = '(?:0|[1-9][0-9]{0,8})'

/**
 * A candidate as nearly every client writes it, for a regular expression: what `JSON.stringify` makes of an
 * RTCIceCandidateInit, its members in the order of the specification, without an escape in a string. Candidates are
 * most of what is relayed, and text of this form needs no parsing: it is JSON, names no key twice, and fits the
 * schemas. What is written otherwise is read as any other message is.
 */
export const USUAL_CANDIDATE =
  `\\{"candidate":${PLAIN_TEXT}(?:,"sdpMid":(?:${PLAIN_TEXT}|null))?(?:,"sdpMLineIndex":(?:${INDEX}|null))?` +
  `(?:,"usernameFragment":(?:${PLAIN_TEXT}|null))?\\}`
