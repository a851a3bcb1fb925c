/**
 * How two clients bind the sound of a call to the keys they know each other by, so that a server that puts itself
 * between them is found out. A line in the SDP carries it; the server reads neither, and a client that does not know
 * the line passes over it (RFC 8866 section 5.13). docs/protocol.md, DIRECT-32.
 *
 *     a=x-ringdown-proof:1 <own head> <seen head> <signature>
 *
 * A head is `version.hash` of the last change in a history of the directory, or `-`. The own one is of the sender's key;
 * the seen one is of the receiver's key, as the sender was shown it: two heads of one history that differ show a server
 * that tells two stories. The signature, base64url, is by the sender's directory key (identity.ts says which keys can
 * sign) over these lines in UTF-8, joined by one line feed each:
 *
 *     ringdown/media/1
 *     clientId of the sender
 *     clientId of the receiver
 *     the value of each a=fingerprint line, sorted, without repeats, joined by commas
 *     own head
 *     seen head
 *
 * It needs no nonce: who replays it lacks the private key of that DTLS certificate, which lives no longer than its call.
 */

export interface MediaClaim {
  readonly from: string
  readonly to: string
  readonly fingerprints: string
  readonly own: string
  readonly seen: string
}

export interface MediaProof {
  readonly own: string
  readonly seen: string
  readonly signature: string
}

export const NO_HEAD = '-'

export function mediaText({ from, to, fingerprints, own, seen }: MediaClaim): string {
  return ['ringdown/media/1', from, to, fingerprints, own, seen].join('\n')
}

/** The DTLS certificates that an SDP allows, in one text; empty when there is none. */
export function fingerprintsOf(sdp: string): string {
  const found = [...sdp.matchAll(/^a=fingerprint:([^\r\n]+)\r?$/gm)].map(([, value]) => (value ?? '').trim())
  return [...new Set(found)].sort().join(',')
}

/** Puts the proof before the first m= line, where an attribute is of the whole session. */
export function withProof(sdp: string, { own, seen, signature }: MediaProof): string {
  const at = sdp.search(/^m=/m)
  const line = `a=x-ringdown-proof:1 ${own} ${seen} ${signature}\r\n`
  return at < 0 ? sdp + line : sdp.slice(0, at) + line + sdp.slice(at)
}

/** The first proof in an SDP, or null. */
export function proofIn(sdp: string): MediaProof | null {
  const found = /^a=x-ringdown-proof:1 (\S+) (\S+) (\S+)\r?$/m.exec(sdp)
  if (found === null) return null
  const [, own = '', seen = '', signature = ''] = found
  return { own, seen, signature }
}
