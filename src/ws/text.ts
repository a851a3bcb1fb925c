/**
 * A connection that speaks in messages: text is bounded, checked and handed to the session, and what is wrong with it
 * is answered. It is the service's `Peer`.
 */
import type { Session, TextEndpoint } from '../core/door.ts'
import type { Millis } from '../core/ids.ts'
import type { Peer } from '../core/ports.ts'
import { codes, Failure, fail, NORMAL_CLOSE } from '../protocol/codes.ts'
import { type Arrival, Connection, type ConnectionWorld, MAX_UNREAD } from './connection.ts'

/** A close frame without a code, as `close()` sends it in a browser. RFC 6455 section 7.4.1. */
const NO_CODE = 1005
/** One message in so many is timed. A power of two. */
const SAMPLE = 64

export class TextConnection extends Connection implements Peer {
  readonly #endpoint: TextEndpoint<unknown>
  #session: Session<unknown> | null = null
  #seen = 0
  /** Number of the ping that the session was told of and whose pong has not come, or 0. */
  #pongDue = 0

  constructor(endpoint: TextEndpoint<unknown>, arrival: Arrival, world: ConnectionWorld) {
    super(endpoint, world.rates, arrival, world)
    this.#endpoint = endpoint
  }

  received(data: string | Uint8Array): void {
    const now = this.world.clock.now()
    this.heard(now)
    if (!this.open) return
    const sampled = (++this.#seen & (SAMPLE - 1)) === 0
    const startedAt = sampled ? performance.now() : 0
    try {
      if (typeof data !== 'string') throw fail('binary_not_allowed')
      this.#checkBounds(data, now)
      const message = this.#endpoint.codec.read(data)
      const forwarded = this.#session?.message(message, data)
      if (forwarded !== true) return
      const { metrics } = this.world
      metrics.relayed(this.#endpoint.kind)
      if (sampled) metrics.relayTook(this.#endpoint.kind, performance.now() - startedAt)
    } catch (error) {
      this.#failed(error, now)
    }
  }

  /** `payload` is that of the ping it answers. RFC 6455 section 5.5.3. */
  override ponged(payload: Uint8Array): void {
    super.ponged(payload)
    if (!this.open || this.#pongDue === 0 || Buffer.from(payload).toString() !== String(this.#pongDue)) return
    this.#pongDue = 0
    this.#session?.ponged()
  }

  send(text: string): boolean {
    if (!this.open || this.socket === null) return false
    // Positive: on its way. Otherwise it waits in memory (-1) or was not taken (0).
    const sent = this.socket.send(text)
    if (sent > 0) return true
    if (sent === -1 && this.socket.getBufferedAmount() <= MAX_UNREAD) return true
    this.log.warn({}, 'connection does not read')
    this.cutOff('slow_reader')
    return false
  }

  refuse(failure: Failure): void {
    if (!this.open) return
    this.world.metrics.rejected(failure.code)
    this.log.debug({ code: failure.code, field: failure.field }, 'message refused')
    this.send(this.#endpoint.codec.failure(failure))
    const { close } = codes[failure.code]
    if (close !== null) this.close(close, failure.code)
  }

  protected get letIn(): string {
    return 'connection admitted'
  }

  protected begin(): void {
    const { clock } = this.world
    const { firstWordWithin, tooLate } = this.#endpoint
    // Before the session is made, which may admit or close.
    this.wakeAt(clock.now() + firstWordWithin, () => this.refuse(fail(tooLate)))
    this.#session = this.#endpoint.open(this)
  }

  protected end(code: number): void {
    const session = this.#session
    this.#session = null
    session?.closed(code === NORMAL_CLOSE || code === NO_CODE)
  }

  protected overRate(now: Millis): void {
    this.#failed(fail('rate_limited'), now)
  }

  protected override pinging(number: number): void {
    if (this.#pongDue !== 0) return
    this.#pongDue = number
    this.#session?.pinged()
  }

  #checkBounds(text: string, now: Millis): void {
    const { maxBytes } = this.#endpoint
    const size = Buffer.byteLength(text)
    if (size > maxBytes) throw fail('message_too_large', `A message may have at most ${maxBytes} bytes.`)
    if (!this.take(size, now)) throw fail('rate_limited')
  }

  #failed(error: unknown, now: Millis): void {
    const failure = error instanceof Failure ? error : fail('internal')
    if (failure.code === 'internal') this.log.error({ err: error }, 'a message could not be handled')
    this.refuse(failure)
    // That the other party is away is not the sender's mistake.
    if (!this.open || failure.code === 'buffer_full') return
    this.wrong(failure.code === 'rate_limited' ? 'flooding' : 'too_many_errors', now)
  }
}
