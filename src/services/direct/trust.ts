/** What the direct service needs of `auth`: proofs of identity, tokens, and TURN credentials. Made at construction. */
import type { TurnCredentials } from '../../core/ports.ts'

/** How an id is proved. `open`: not at all. `tofu`: the first key binds. `jwt`: a token of the app's. */
export type IdentityMode = 'open' | 'tofu' | 'jwt'

export interface Proofs {
  /** 32 random bytes, base64url. */
  nonce(): string
  /**
   * Whether this signature by this key is over a REGISTER of this id with this nonce on this server. False for a key or
   * a signature that is malformed, small-order, not canonical, or with a high S. Never throws.
   */
  provesIdentity(
    key: string,
    signature: string,
    claim: { clientId: string; nonce: string; host: string },
  ): boolean
  /** Whether the old key signed the handing over of this id to the new one, with this nonce on this server. */
  provesRotation(
    oldKey: string,
    signature: string,
    claim: { clientId: string; newKey: string; nonce: string; host: string },
  ): boolean
  /** Whether the token is the app's and for this id. Rejects never: a token that cannot be checked is not good. */
  checkToken(token: string, clientId: string): Promise<boolean>
}

export interface DirectTokens {
  /** The resume token of a device that has come in `generation` times. */
  resume(device: string, generation: number): string
  /** What a resume token says when it is one of ours, or null. */
  readResume(token: string): { device: string; generation: number } | null
  /** Lets somebody decline one call without a connection. */
  reject(callId: string): string
  /** In constant time. */
  isReject(token: string, callId: string): boolean
}

/** Of TURN servers, as `REGISTERED`, `CALL_RINGING` and `INCOMING_CALL` have it; their other time is that of the ring. */
export function told({ iceServers, expiresAt }: TurnCredentials) {
  return { iceServers: [...iceServers], iceExpiresAt: expiresAt }
}
