/**
 * Tokens that prove the right to sit in a leg of a ride, or to speak for a device of the direct service. They are made
 * from the server's secret, so nothing of them is stored, and they outlive a restart. HMAC-SHA-256, RFC 2104; each kind
 * of token has its own domain, so that one can never stand for another.
 */
import { timingSafeEqual } from 'node:crypto'
import { type CallId, callId, type Side } from '../core/ids.ts'

const JOIN = 'ringdown/join/1'
const RESUME = 'ringdown/resume/1'
const DIRECT_RESUME = 'ringdown/direct-resume/1'
const DIRECT_REJECT = 'ringdown/direct-reject/1'
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
  const join = (id: CallId, side: Side) => code(secret, `${JOIN} ${side} ${id}`).toString('base64url')
  return {
    join,
    resume: (id, side, generation) => write(secret, RESUME, `${side} ${generation} ${id}`),
    isJoin: (token, id, side) => sameText(token, join(id, side)),
    readResume: (token) => readClaim(read(secret, RESUME, token) ?? ''),
  }
}

/** The device of a client, and how often it had come in. */
export interface DeviceClaim {
  readonly device: string
  readonly generation: number
}

export interface DirectTokens {
  resume(device: string, generation: number): string
  readResume(token: string): DeviceClaim | null
  reject(callId: string): string
  isReject(token: string, callId: string): boolean
}

/** `secret`: as for `rideTokens`; may be the same. No method throws, whatever the token is. */
export function directTokens(secret: Uint8Array): DirectTokens {
  const reject = (id: string) => code(secret, `${DIRECT_REJECT} ${id}`).toString('base64url')
  return {
    resume: (device, generation) => write(secret, DIRECT_RESUME, `${generation} ${device}`),
    readResume(token) {
      const [, generation, device] = /^(\d{1,10}) (.+)$/s.exec(read(secret, DIRECT_RESUME, token) ?? '') ?? []
      return device === undefined ? null : { device, generation: Number(generation) }
    },
    reject,
    isReject: (token, id) => sameText(token, reject(id)),
  }
}

function code(secret: Uint8Array, text: string): Buffer {
  return new Bun.CryptoHasher('sha256', secret).update(text).digest()
}

/** A token that says something: the code, then the claim it is over. */
function write(secret: Uint8Array, domain: string, claim: string): string {
  return Buffer.concat([code(secret, `${domain} ${claim}`), Buffer.from(claim)]).toString('base64url')
}

/** What a token of this domain says, or null when it is none of ours. */
function read(secret: Uint8Array, domain: string, token: string): string | null {
  const claim = Buffer.from(token, 'base64url').subarray(MAC_BYTES).toString()
  // Compared as text: base64url can be written in more than one way, and we have written it in one.
  return sameText(token, write(secret, domain, claim)) ? claim : null
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
