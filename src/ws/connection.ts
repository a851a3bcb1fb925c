/**
 * One WebSocket connection, from the 101 to its close: bounds what comes in and what waits to go out, notices when the
 * other end is dead, and turns text into checked messages for its service's session. It is the service's `Peer`.
 *
 * The runtime calls `close` handlers from inside `ws.close`, and a send can find out that a connection must be closed
 * while a service is in the middle of a change. So nothing here closes at once: it marks the connection as no longer
 * open, and closes when the change is finished.
 */
import type { ServerWebSocket } from 'bun'
import type { Endpoint, Session } from '../core/door.ts'
import type { Millis } from '../core/ids.ts'
import type { Alarm, Clock, Log, Metrics, Peer } from '../core/ports.ts'
import { type CodeName, codes, Failure, fail, NORMAL_CLOSE } from '../protocol/codes.ts'
import { ERROR_WINDOW, ERRORS_BEFORE_CLOSE, PROBE_TIMEOUT } from '../protocol/limits.ts'
import { Allowance, type Rates } from './rate.ts'

export interface ConnectionWorld {
  /** What the operator lets every connection send. */
  readonly rates: Rates
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /** What is left to each client that was admitted. */
  readonly allowances: WeakMap<object, Allowance>
  /** The connection is gone. */
  readonly gone: (connection: Connection) => void
}

/** What the HTTP door knows of a connection when it lets it in. */
export interface Arrival {
  readonly id: string
  /** Address of the client, for the log. */
  readonly address: string
  /** The client has said who it is: its address gets the attempt back. */
  readonly giveBack: () => void
}

/** Bytes that may wait to be read by a client before it counts as one that does not read. */
export const MAX_UNREAD = 256 * 1024
/** A beat that is later than this finds that the process has slept; what clients said meanwhile is still unread. */
const SLEPT: Millis = 1_000
/** A close frame without a code, as `close()` sends it in a browser. RFC 6455 section 7.4.1. */
const NO_CODE = 1005
/** One message in so many is timed. A power of two. */
const SAMPLE = 64

/** What a connection has none of shares one value. */
const NONE = [] as const
const NOTHING = () => {}

export type Socket = ServerWebSocket<Connection>

export class Connection implements Peer {
  readonly id: string
  readonly #world: ConnectionWorld
  readonly #endpoint: Endpoint<unknown>
  readonly #address: string
  #giveBack: () => void
  #allowance: Allowance
  /** Who the peer said it is, for the log. */
  #who: object = {}
  #socket: Socket | null = null
  #session: Session<unknown> | null = null
  #open = true
  #admitted = false
  #heardAt: Millis
  #pingedAt: Millis
  #pings = 0
  /** Number of the ping that the session was told of and whose pong has not come, or 0. */
  #pongDue = 0
  #seen = 0
  #errors = 0
  #errorsSince: Millis = 0
  /** Wakes for the next ping, or for the missing first word. */
  #alarm: Alarm | null = null
  #probes: readonly { verdict: (alive: boolean) => void; alarm: Alarm }[] = NONE

  constructor(endpoint: Endpoint<unknown>, arrival: Arrival, world: ConnectionWorld) {
    this.id = arrival.id
    this.#endpoint = endpoint
    this.#world = world
    this.#giveBack = arrival.giveBack
    this.#address = arrival.address
    const { rates, clock } = world
    const now = clock.now()
    this.#heardAt = now
    this.#pingedAt = now
    this.#allowance = new Allowance(rates, now)
  }

  get open(): boolean {
    return this.#open
  }

  /** Made when there is something to say: ten thousand connections that are silent need none. */
  get #log(): Log {
    return this.#world.log.child({ connection: this.id, address: this.#address, ...this.#who })
  }

  /** The handshake is done. */
  opened(socket: Socket): void {
    this.#socket = socket
    this.#log.debug({}, 'connection open')
    const { clock } = this.#world
    // Before the session is made, which may admit or close.
    this.#alarm = clock.alarm(clock.now() + this.#endpoint.firstWordWithin, () => this.#firstWordMissing())
    this.#session = this.#endpoint.open(this)
  }

  received(data: string | Uint8Array): void {
    const now = this.#world.clock.now()
    this.#heard(now)
    if (!this.#open) return
    const sampled = (++this.#seen & (SAMPLE - 1)) === 0
    const startedAt = sampled ? performance.now() : 0
    try {
      if (typeof data !== 'string') throw fail('binary_not_allowed')
      this.#checkBounds(data, now)
      const message = this.#endpoint.codec.read(data)
      const forwarded = this.#session?.message(message, data)
      if (forwarded !== true) return
      const { metrics } = this.#world
      metrics.relayed(this.#endpoint.kind)
      if (sampled) metrics.relayTook(this.#endpoint.kind, performance.now() - startedAt)
    } catch (error) {
      this.#failed(error, now)
    }
  }

  pinged(): void {
    const now = this.#world.clock.now()
    this.#heard(now)
    if (this.#open && !this.#allowance.takeMessages(1, now)) this.#failed(fail('rate_limited'), now)
  }

  /** A pong came; `payload` is that of the ping it answers. RFC 6455 section 5.5.3. */
  ponged(payload: string): void {
    this.#heard(this.#world.clock.now())
    if (!this.#open || this.#pongDue === 0 || payload !== String(this.#pongDue)) return
    this.#pongDue = 0
    this.#session?.ponged()
  }

  /** The socket is gone; `code` is what the peer closed with, or 1006. */
  closed(code: number): void {
    const goodbye = this.#open && (code === NORMAL_CLOSE || code === NO_CODE)
    this.#open = false
    this.#socket = null
    this.#alarm?.cancel()
    this.#answerProbes(false)
    this.#log.debug({ code }, 'connection closed')
    const session = this.#session
    this.#session = null
    this.#world.gone(this)
    session?.closed(goodbye)
  }

  send(text: string): boolean {
    if (!this.#open || this.#socket === null) return false
    // Positive: on its way. Otherwise it waits in memory (-1) or was not taken (0).
    const sent = this.#socket.send(text)
    if (sent > 0) return true
    if (sent === -1 && this.#socket.getBufferedAmount() <= MAX_UNREAD) return true
    this.#log.warn({}, 'connection does not read')
    this.#cutOff('slow_reader')
    return false
  }

  refuse(failure: Failure): void {
    if (!this.#open) return
    this.#world.metrics.rejected(failure.code)
    this.#log.debug({ code: failure.code, field: failure.field }, 'message refused')
    this.send(this.#endpoint.codec.failure(failure))
    const { close } = codes[failure.code]
    if (close !== null) this.close(close, failure.code)
  }

  close(code: number, reason: string): void {
    if (!this.#open) return
    this.#open = false
    this.#alarm?.cancel()
    // The runtime waits for the other end to finish the close, and for what it has not read yet: 4 s, then it cuts.
    queueMicrotask(() => this.#socket?.close(code, reason))
  }

  admit(context: object, client: object = this): void {
    if (this.#admitted) return
    this.#admitted = true
    const { rates, clock, allowances } = this.#world
    const now = clock.now()
    this.#allowance = allowances.get(client) ?? new Allowance(rates, now)
    allowances.set(client, this.#allowance)
    if (this.#allowance.takeEntry(now)) this.#giveBack()
    this.#giveBack = NOTHING
    this.#who = context
    this.#log.info({}, 'connection admitted')
    this.#schedule()
  }

  probe(verdict: (alive: boolean) => void): void {
    const { clock } = this.#world
    const alarm = clock.alarm(clock.now() + PROBE_TIMEOUT, () => this.#answerProbes(false))
    this.#probes = [...this.#probes, { verdict, alarm }]
    this.#ping()
  }

  #heard(now: Millis): void {
    this.#heardAt = now
    if (this.#open && this.#probes.length > 0) this.#answerProbes(true)
  }

  #answerProbes(alive: boolean): void {
    const probes = this.#probes
    this.#probes = NONE
    for (const { verdict, alarm } of probes) {
      alarm.cancel()
      verdict(alive)
    }
  }

  #checkBounds(text: string, now: Millis): void {
    const { maxBytes } = this.#endpoint
    const size = Buffer.byteLength(text)
    if (size > maxBytes) throw fail('message_too_large', `A message may have at most ${maxBytes} bytes.`)
    const allowance = this.#allowance
    if (!allowance.takeMessages(1, now) || !allowance.takeBytes(size, now)) throw fail('rate_limited')
  }

  #failed(error: unknown, now: Millis): void {
    const failure = error instanceof Failure ? error : fail('internal')
    if (failure.code === 'internal') this.#log.error({ err: error }, 'a message could not be handled')
    this.refuse(failure)
    if (!this.#open) return
    if (now - this.#errorsSince > ERROR_WINDOW) {
      this.#errorsSince = now
      this.#errors = 0
    }
    if (++this.#errors >= ERRORS_BEFORE_CLOSE) {
      this.#cutOff(failure.code === 'rate_limited' ? 'flooding' : 'too_many_errors')
    }
  }

  #cutOff(cause: CodeName): void {
    this.#world.metrics.rejected(cause)
    this.close(codes[cause].close ?? NORMAL_CLOSE, cause)
  }

  #firstWordMissing(): void {
    this.refuse(fail(this.#endpoint.tooLate))
  }

  /** Sets the alarm for the next ping or for the death of a silent connection, whichever is sooner. */
  #schedule(): void {
    if (!this.#open) return
    const { clock } = this.#world
    const { interval, timeout } = this.#endpoint.heartbeat
    const at = Math.min(this.#pingedAt + interval, this.#heardAt + timeout)
    this.#alarm?.cancel()
    this.#alarm = clock.alarm(at, () => this.#beat(at))
  }

  /** `due`: when it was to come. */
  #beat(due: Millis): void {
    const { interval, timeout } = this.#endpoint.heartbeat
    const now = this.#world.clock.now()
    if (now - due > SLEPT) this.#heardAt = Math.max(this.#heardAt, now - timeout + SLEPT)
    if (now - this.#heardAt >= timeout) {
      this.#log.info({}, 'connection is dead')
      this.#cutOff('heartbeat_timeout')
      return
    }
    if (now - this.#pingedAt >= interval) this.#ping()
    this.#schedule()
  }

  #ping(): void {
    if (!this.#open) return
    this.#pingedAt = this.#world.clock.now()
    this.#pings++
    if (this.#pongDue === 0) {
      this.#pongDue = this.#pings
      this.#session?.pinged()
    }
    this.#socket?.ping(String(this.#pings))
  }
}
