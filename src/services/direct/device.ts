/**
 * One registered client on one phone or page: who it is, the connection it has or is waiting for, and the frames it is
 * owed. A client id may have several devices. Deliberately not here: who may be one (directs.ts), and calls.
 */
import type { Millis } from '../../core/ids.ts'
import { Outbox, type Replay } from '../../core/outbox.ts'
import type { Alarm, DirectoryKey, Peer } from '../../core/ports.ts'
import { codes } from '../../protocol/codes.ts'
import { type DirectDown, writeDirect } from '../../protocol/direct.ts'

/** Characters kept for a device: an offer of the largest size, and what goes with it. */
const KEPT_CHARS = 2 * 64 * 1024

export interface DeviceIdentity {
  readonly id: string
  readonly clientId: string
  /** It proved to be the holder of the identity that the client id is bound to, or had the app's token. */
  readonly proven: boolean
  /** The key it proved it by, or null. The id may have been handed over since. */
  readonly identity: string | null
  /** The line of connections this is: a registration and its resumes. Owns the key it set. */
  readonly line: string
}

/** What of a device is kept with an active call, so that it may resume after a restart. Plain JSON. */
export interface KeptDevice extends DeviceIdentity {
  readonly generation: number
}

export function isKept(value: unknown): value is KeptDevice {
  if (typeof value !== 'object' || value === null) return false
  const { id, clientId, proven, identity, line, generation } = value as Partial<KeptDevice>
  const texts = [id, clientId, line].every((each) => typeof each === 'string')
  const isIdentity = identity === null || typeof identity === 'string'
  return texts && isIdentity && typeof proven === 'boolean' && typeof generation === 'number'
}

export class Device {
  readonly id: string
  readonly clientId: string
  readonly line: string
  proven: boolean
  identity: string | null
  /** Its own key in the directory, as it stands. */
  key: DirectoryKey | null
  /** How often it came in: the number of its resume token. */
  generation = 1
  /** Ids whose key it looked up, oldest first; null while there is none. */
  watching: Set<string> | null = null
  /** Until when it may come back, and what removes it then; null while it is there. */
  grace: { readonly until: Millis; readonly alarm: Alarm } | null = null
  readonly #outbox = new Outbox(KEPT_CHARS)
  #peer: Peer | null

  constructor(
    { id, clientId, proven, identity, line }: DeviceIdentity,
    key: DirectoryKey | null,
    peer: Peer | null,
  ) {
    this.id = id
    this.clientId = clientId
    this.proven = proven
    this.identity = identity
    this.line = line
    this.key = key
    this.#peer = peer
    if (peer === null) this.#outbox.forget()
  }

  get peer(): Peer | null {
    return this.#peer
  }

  /** Sends a message of the server's own, or keeps it for when the device is back. */
  say(message: DirectDown): void {
    this.pass(writeDirect(message))
  }

  /** Hands a frame on, or keeps it. The client is told that there is a gap when it finds no room. */
  pass(text: string): void {
    if (this.#peer === null) return this.#outbox.holdNotice(text)
    this.#outbox.sent(text)
    this.#peer.send(text)
  }

  /** Hands a frame on as it came. False when the device is away and holds no more. The hot path. */
  relay(text: string): boolean {
    if (this.#peer === null) return this.#outbox.hold(text)
    this.#outbox.sent(text)
    this.#peer.send(text)
    return true
  }

  /** The connection is gone. False when it was another one's already. */
  lost(peer: Peer): boolean {
    if (this.#peer !== peer) return false
    this.#peer = null
    return true
  }

  /**
   * The client is back on another connection, with the token of this generation. Null when that is not good, or when it
   * claims more frames than were sent; then nothing changed.
   */
  back(peer: Peer, generation: number, received: number): Replay | null {
    // The answer to the last try may have been lost, and the new token with it.
    const isRetry = this.#outbox.isUnheard && generation === this.generation - 1
    const replay = generation === this.generation || isRetry ? this.#outbox.resume(received) : null
    if (replay === null) return null
    const before = this.#peer
    this.#peer = peer
    this.generation = generation + 1
    this.#endGrace()
    before?.close(codes.taken_over.close, 'taken_over')
    return replay
  }

  /** Lets go of the connection. */
  close(code: number, reason: string): void {
    this.#endGrace()
    const peer = this.#peer
    this.#peer = null
    peer?.close(code, reason)
  }

  /** The client has said something: it has its resume token. */
  heard(peer: Peer): void {
    if (this.#peer === peer) this.#outbox.heard()
  }

  pinged(): void {
    this.#outbox.mark()
  }

  ponged(): void {
    this.#outbox.confirm()
  }

  #endGrace(): void {
    this.grace?.alarm.cancel()
    this.grace = null
  }
}
