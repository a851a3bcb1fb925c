/**
 * One WebSocket connection, from the 101 to its close: bounds what comes in, notices when the other end is dead, and
 * closes. What is spoken on it makes the difference between its two kinds: `TextConnection` and `BytesConnection`.
 * They extend this one, since a part of its own would be one object more for each of ten thousand that are silent.
 *
 * The runtime calls `close` handlers from inside `ws.close`, and a send can find out that a connection must be closed
 * while a service is in the middle of a change. So nothing here closes at once: it marks the connection as no longer
 * open, and closes when the change is finished.
 */
import type { ServerWebSocket } from 'bun'
import type { Endpoint, Query, Rates } from '../core/door.ts'
import type { Millis } from '../core/ids.ts'
import type { Alarm, Clock, Log, Metrics, Remote } from '../core/ports.ts'
import { type CodeName, codes, NORMAL_CLOSE } from '../protocol/codes.ts'
import { ERROR_WINDOW, ERRORS_BEFORE_CLOSE, PROBE_TIMEOUT } from '../protocol/limits.ts'
import { Allowance } from './rate.ts'

export interface ConnectionWorld {
  /** What the operator lets every connection send in messages. */
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
  /** What it asked for in the address; never for the log. */
  readonly query: Query
  /** The client has said who it is: its address gets the attempt back. */
  readonly giveBack: () => void
}

/** Bytes that may wait to be read by a client before it counts as one that does not read. */
export const MAX_UNREAD = 256 * 1024
/** A beat that is later than this finds that the process has slept; what clients said meanwhile is still unread. */
const SLEPT: Millis = 1_000

/** What a connection has none of shares one value. */
const NONE = [] as const
const NOTHING = () => {}

export type Socket = ServerWebSocket<Connection>

export abstract class Connection implements Remote {
  // First what is touched for every frame, here and at the other end, so that it lies together.

  protected socket: Socket | null = null
  #open = true
  protected readonly world: ConnectionWorld
  #heardAt: Millis
  #probes: readonly { verdict: (alive: boolean) => void; alarm: Alarm }[] = NONE
  #allowance: Allowance

  readonly id: string
  readonly #endpoint: Endpoint
  readonly #rates: Rates
  readonly #address: string
  #giveBack: () => void
  /** Who the peer said it is, for the log. */
  #who: object = {}
  #admitted = false
  #pingedAt: Millis
  #pings = 0
  #errors = 0
  #errorsSince: Millis = 0
  /** Wakes for the next ping, or for the missing first word. */
  #alarm: Alarm | null = null

  protected constructor(endpoint: Endpoint, rates: Rates, arrival: Arrival, world: ConnectionWorld) {
    this.id = arrival.id
    this.#endpoint = endpoint
    this.#rates = rates
    this.world = world
    this.#giveBack = arrival.giveBack
    this.#address = arrival.address
    const now = world.clock.now()
    this.#heardAt = now
    this.#pingedAt = now
    this.#allowance = new Allowance(rates, now)
  }

  get open(): boolean {
    return this.#open
  }

  /** A frame came. */
  abstract received(data: string | Uint8Array): void

  /** What the log calls it when it is admitted. */
  protected abstract get letIn(): string

  /** The handshake is done: makes the session, which may admit or close. */
  protected abstract begin(): void

  /** The session, if any, hears of the end. */
  protected abstract end(code: number): void

  /** A ping came that is over the rate. */
  protected abstract overRate(now: Millis): void

  /** Made when there is something to say: ten thousand connections that are silent need none. */
  protected get log(): Log {
    return this.world.log.child({ connection: this.id, address: this.#address, ...this.#who })
  }

  /** The handshake is done. */
  opened(socket: Socket): void {
    this.socket = socket
    this.log.debug({}, 'connection open')
    this.begin()
  }

  pinged(): void {
    const now = this.world.clock.now()
    this.heard(now)
    if (this.#open && !this.#allowance.takeMessages(1, now)) this.overRate(now)
  }

  /** A pong came. */
  ponged(_payload: Uint8Array): void {
    this.heard(this.world.clock.now())
  }

  /** The socket is gone; `code` is what the peer closed with, or 1006. */
  closed(code: number): void {
    const endedBy = this.#open ? code : CLOSED_HERE
    this.#open = false
    this.socket = null
    this.#alarm?.cancel()
    this.#answerProbes(false)
    this.log.debug({ code }, 'connection closed')
    this.world.gone(this)
    this.end(endedBy)
  }

  close(code: number, reason: string): void {
    if (!this.#open) return
    this.#open = false
    this.#alarm?.cancel()
    // The runtime waits for the other end to finish the close, and for what it has not read yet: 4 s, then it cuts.
    queueMicrotask(() => this.socket?.close(code, reason))
  }

  admit(context: object, client: object = this): void {
    if (this.#admitted) return
    this.#admitted = true
    const { clock, allowances } = this.world
    const now = clock.now()
    this.#allowance = allowances.get(client) ?? new Allowance(this.#rates, now)
    allowances.set(client, this.#allowance)
    if (this.#allowance.takeEntry(now)) this.#giveBack()
    this.#giveBack = NOTHING
    this.#who = context
    this.log.info({}, this.letIn)
    this.#schedule()
  }

  probe(verdict: (alive: boolean) => void): void {
    const { clock } = this.world
    const alarm = clock.alarm(clock.now() + PROBE_TIMEOUT, () => this.#answerProbes(false))
    this.#probes = [...this.#probes, { verdict, alarm }]
    this.#ping()
  }

  protected heard(now: Millis): void {
    this.#heardAt = now
    if (this.#open && this.#probes.length > 0) this.#answerProbes(true)
  }

  /** Takes a message of this size out of what the client may send; false when it is over that. */
  protected take(bytes: number, now: Millis): boolean {
    const allowance = this.#allowance
    return allowance.takeMessages(1, now) && allowance.takeBytes(bytes, now)
  }

  /** Counts a wrong message; after too many, the connection is closed for `cause`. */
  protected wrong(cause: CodeName, now: Millis): void {
    if (now - this.#errorsSince > ERROR_WINDOW) {
      this.#errorsSince = now
      this.#errors = 0
    }
    if (++this.#errors >= ERRORS_BEFORE_CLOSE) this.cutOff(cause)
  }

  protected cutOff(cause: CodeName): void {
    this.world.metrics.rejected(cause)
    this.close(codes[cause].close ?? NORMAL_CLOSE, cause)
  }

  /** Wakes once at the instant; the heart's beats replace it once the connection is admitted. */
  protected wakeAt(at: Millis, wake: () => void): void {
    this.#alarm?.cancel()
    this.#alarm = this.world.clock.alarm(at, wake)
  }

  /** A ping goes out: its number. */
  protected pinging(_number: number): void {}

  #answerProbes(alive: boolean): void {
    const probes = this.#probes
    this.#probes = NONE
    for (const { verdict, alarm } of probes) {
      alarm.cancel()
      verdict(alive)
    }
  }

  /** Sets the alarm for the next ping or for the death of a silent connection, whichever is sooner. */
  #schedule(): void {
    if (!this.#open) return
    const { interval, timeout } = this.#endpoint.heartbeat
    const at = Math.min(this.#pingedAt + interval, this.#heardAt + timeout)
    this.wakeAt(at, () => this.#beat(at))
  }

  /** `due`: when it was to come. */
  #beat(due: Millis): void {
    const { interval, timeout } = this.#endpoint.heartbeat
    const now = this.world.clock.now()
    if (now - due > SLEPT) this.#heardAt = Math.max(this.#heardAt, now - timeout + SLEPT)
    if (now - this.#heardAt >= timeout) {
      this.log.info({}, 'connection is dead')
      this.cutOff('heartbeat_timeout')
      return
    }
    if (now - this.#pingedAt >= interval) this.#ping()
    this.#schedule()
  }

  #ping(): void {
    if (!this.#open) return
    this.#pingedAt = this.world.clock.now()
    this.#pings++
    this.pinging(this.#pings)
    this.socket?.ping(String(this.#pings))
  }
}

/** In place of a close code: this end began to close, so the other said no goodbye. */
const CLOSED_HERE = 0
