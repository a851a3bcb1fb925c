/**
 * A connection that bytes are carried for: nothing is read in them but what its service asks, and nothing is kept of
 * them. It is the service's `BytesPeer`.
 *
 * A frame costs no allocation of ours, no line and no timer. What waits for a reader that falls behind is bounded
 * here, for this socket alone: no queue is shared, so no other connection feels it. The kernel holds megabytes more
 * before any of that is seen; docs/operate.md says how to make that less.
 */
import type { BytesEndpoint, BytesSession, Query } from '../core/door.ts'
import type { BytesPeer } from '../core/ports.ts'
import { codes, Failure, fail, NORMAL_CLOSE } from '../protocol/codes.ts'
import { type Arrival, Connection, type ConnectionWorld, type Socket } from './connection.ts'

/** Bytes that wait for a reader before it is sent no more of what may be left out. */
export const KEEPS_UP = 32 * 1024
/** Bytes that wait for a reader, all of which must arrive, before it counts as one that does not read. */
export const MAX_WAITING = 128 * 1024

/** Closes that are goodbyes. A page that is left or loaded again closes with 1001. RFC 6455 section 7.4.1. */
const GOODBYES: readonly number[] = [NORMAL_CLOSE, 1001, 1005]
/** One frame in so many is timed. A power of two. */
const SAMPLE = 64

export class BytesConnection extends Connection implements BytesPeer {
  readonly #endpoint: BytesEndpoint
  /** Until the session is made. */
  #query: Query | null
  #session: BytesSession | null = null
  #seen = 0
  /** Something waited when it was last sent something. */
  #behind = false

  constructor(endpoint: BytesEndpoint, arrival: Arrival, world: ConnectionWorld) {
    super(endpoint, endpoint.rates, arrival, world)
    this.#endpoint = endpoint
    this.#query = arrival.query
  }

  override opened(socket: Socket): void {
    socket.binaryType = 'uint8array'
    super.opened(socket)
  }

  received(data: string | Uint8Array): void {
    const now = this.world.clock.now()
    this.heard(now)
    if (!this.open || this.#session === null) return
    if (typeof data === 'string') return this.cutOff('text_not_allowed')
    if (data.length > this.#endpoint.maxBytes) return this.cutOff('message_too_large')
    if (!this.take(data.length, now)) return this.cutOff('flooding')
    const sampled = (++this.#seen & (SAMPLE - 1)) === 0
    const startedAt = sampled ? performance.now() : 0
    switch (this.#session.frame(data, now)) {
      case 'relayed': {
        const { metrics } = this.world
        metrics.relayed(this.#endpoint.kind, data.length)
        if (sampled) metrics.relayTook(this.#endpoint.kind, performance.now() - startedAt)
        return
      }
      case 'answered':
      case 'dropped':
        return
      case 'wrong':
        return this.wrong('too_many_errors', now)
      case 'too much':
        return this.cutOff('flooding')
    }
  }

  send(bytes: Uint8Array): boolean {
    if (!this.open || this.socket === null) return false
    // Positive: on its way. Otherwise it waits in memory (-1) or was not taken (0).
    const sent = this.socket.sendBinary(bytes)
    if (sent > 0) return true
    this.#behind = true
    if (sent === -1 && this.socket.getBufferedAmount() <= MAX_WAITING) return true
    this.log.warn({}, 'connection does not read')
    this.cutOff('slow_reader')
    return false
  }

  offer(bytes: Uint8Array): boolean {
    // What waits is asked for only where something may: most sockets never fall behind.
    if (this.#behind) {
      const waiting = this.socket?.getBufferedAmount() ?? 0
      if (waiting > KEEPS_UP) return false
      this.#behind = waiting > 0
    }
    return this.send(bytes)
  }

  protected get letIn(): string {
    return 'connection received'
  }

  protected begin(): void {
    const query = this.#query
    this.#query = null
    if (query === null) return
    try {
      this.#session = this.#endpoint.open(this, query)
    } catch (error) {
      const failure = error instanceof Failure ? error : fail('internal')
      if (failure.code === 'internal') this.log.error({ err: error }, 'a connection could not be let in')
      this.world.metrics.rejected(failure.code)
      this.close(codes[failure.code].close ?? NORMAL_CLOSE, failure.code)
    }
  }

  protected end(code: number): void {
    const session = this.#session
    this.#session = null
    session?.closed(GOODBYES.includes(code))
  }

  protected overRate(): void {
    this.cutOff('flooding')
  }
}
