/**
 * Tokens that prove the right to sit in a leg of a ride. They are made from the server's secret, so nothing of them is
 * stored, and they outlive a restart. HMAC-SHA-256, RFC 2104; each kind of token has its own domain, so that one can
 * never stand for another.
 */
import { timingSafeEqual } from 'node:crypto'
import { type CallId, callId, type Side } from '../core/ids.ts'

const JOIN = 'ringdown/join/1'
const RESUME = 'ringdown/resume/1'
const MAC_BYTES = 32

/** What a resume token says: which leg, and how often it had come in. */
export interface Claim {
  readonly id: CallId
  readonly side: Side
  readonly generation: number
}

export interface Tokens {
  join(id: CallId, side: Side): string
  isJoin(token: string, id: CallId, side: Side): boolean
  resume(id: CallId, side: Side, generation: number): string
  readResume(token: string): Claim | null
}

/** `secret`: at least 32 bytes from the system's random source. No method throws, whatever the token is. */
export function rideTokens(secret: Uint8Array): Tokens {
  const mac = (text: string) => new Bun.CryptoHasher('sha256', secret).update(text)

  function join(id: CallId, side: Side): string {
    return mac(`${JOIN} ${side} ${id}`).digest('base64url')
  }

  /** The code, then the claim it is over. */
  function resume(id: CallId, side: Side, generation: number): string {
    const claim = `${side} ${generation} ${id}`
    const code = mac(`${RESUME} ${claim}`).digest()
    return Buffer.concat([code, Buffer.from(claim)]).toString('base64url')
  }

  return {
    join,
    resume,
    isJoin: (token, id, side) => sameText(token, join(id, side)),
    readResume(token) {
      const claim = readClaim(Buffer.from(token, 'base64url').subarray(MAC_BYTES).toString())
      // Compared as text: base64url can be written in more than one way, and we have written it in one.
      return claim !== null && sameText(token, resume(claim.id, claim.side, claim.generation)) ? claim : null
    },
  }
}

function readClaim(text: string): Claim | null {
  const [, side, generation, id] = /^([01]) (\d{1,10}) (.+)$/s.exec(text) ?? []
  if (id === undefined) return null
  return { id: callId(id), side: side === '0' ? 0 : 1, generation: Number(generation) }
}

/** In constant time for texts of one length; the length of a token is no secret. */
function sameText(presented: string, made: string): boolean {
  const [a, b] = [Buffer.from(presented), Buffer.from(made)]
  return a.length === b.length && timingSafeEqual(a, b)
}
