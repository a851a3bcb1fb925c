/**
 * The ride service with everything around it made of memory: phones on wires that hold what is on its way and can be
 * cut, a log and snapshots that outlive a restart, and a clock that is wound. For tests of the service by itself.
 */
import type { Session as DoorSession } from '../../src/core/door.ts'
import { type CallId, callId, type Millis } from '../../src/core/ids.ts'
import type { Alarm, CallRecord, Clock, Log, Metrics, Peer, Receipt, Snapshot } from '../../src/core/ports.ts'
import { codes, type Failure } from '../../src/protocol/codes.ts'
import { PROBE_TIMEOUT } from '../../src/protocol/limits.ts'
import { type RideUp, rideCodec } from '../../src/protocol/ride.ts'
import { Rides, type RideTerms } from '../../src/services/ride/rides.ts'
import type { RideTokens } from '../../src/services/ride/tokens.ts'
import { TestClock } from './clock.ts'

const TERMS: RideTerms = {
  maxMessageBytes: 4096,
  duration: 60_000,
  maxDuration: 3_600_000,
  joinWindow: 60_000,
  maxJoinWindow: 3_600_000,
  grace: 15_000,
  heartbeat: { interval: 20_000, timeout: 30_000 },
  requireJoinToken: false,
}

const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }

const uncounted: Metrics = {
  callOpened() {},
  callConnected() {},
  callEnded() {},
  relayed() {},
  relayTook() {},
  rejected() {},
  resumed() {},
  socketOpened() {},
  socketClosed() {},
}

/** Tokens that a person can read. What is not one of ours reads as null. */
const tokens: RideTokens = {
  join: (id, side) => `join/${id}/${side}`,
  isJoin: (token, id, side) => token === `join/${id}/${side}`,
  resume: (id, side, generation) => `resume/${id}/${side}/${generation}`,
  readResume(token) {
    const [, id, side, generation] = /^resume\/([^/]+)\/([01])\/(\d+)$/.exec(token) ?? []
    if (id === undefined) return null
    return { id: callId(id), side: side === '0' ? 0 : 1, generation: Number(generation) }
  },
}

export class RideWorld {
  readonly clock = new TestClock()
  /** Every record, in the order it was told. */
  readonly log: CallRecord[] = []
  readonly snapshots = new Map<CallId, string>()
  readonly receipts = new Map<string, Receipt>()
  readonly #terms: RideTerms
  #made = 0
  #phones: Phone[] = []
  /** Makes `synced` fail. */
  diskFull = false
  #process: Process
  rides: Rides

  constructor(terms: Partial<RideTerms> = {}) {
    this.#terms = { ...TERMS, ...terms }
    this.#process = new Process(this.clock)
    this.rides = this.#start(this.#process)
  }

  /** The process ends, with or without a goodbye, and another takes up what was written. */
  restart(how: 'closed' | 'killed'): void {
    if (how === 'closed') this.rides.close()
    else this.#process.kill()
    for (const phone of this.#phones) phone.end()
    this.#phones = []
    this.#process = new Process(this.clock)
    this.rides = this.#start(this.#process)
    this.rides.recover()
  }

  /** A connection that has said nothing yet. */
  connect(pongs = true): Phone {
    const phone = new Phone(this.#process, pongs, (peer) => this.rides.endpoint().open(peer))
    this.#phones.push(phone)
    return phone
  }

  #start(clock: Process): Rides {
    const { log, snapshots, receipts } = this
    return new Rides({
      terms: this.#terms,
      clock,
      callLog: {
        append: (record) => void log.push(record),
        synced: async () => {
          if (this.diskFull) throw new Error('disk full')
        },
        retract: (id) => log.splice(0, log.length, ...log.filter((record) => record.id !== id)),
      },
      snapshots: {
        // As text, so that a snapshot that is not plain JSON is found out.
        save: (snapshot) => void snapshots.set(snapshot.call.id, JSON.stringify(snapshot)),
        drop: (id) => void snapshots.delete(id),
        load: () => [...snapshots.values()].map((text) => JSON.parse(text) as Snapshot),
      },
      receipts: {
        find: (key) => receipts.get(key) ?? null,
        keep: (key, receipt) => void receipts.set(key, receipt),
        drop: (key) => void receipts.delete(key),
      },
      tokens,
      metrics: uncounted,
      log: silent,
      newId: () => callId(`call-${this.#made++}`),
      digest: (text) => text,
    })
  }
}

/** The clock as one process sees it. What was set in one that was killed never rings. */
class Process implements Clock {
  readonly #clock: Clock
  readonly #alarms: Alarm[] = []
  #alive = true

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get alive(): boolean {
    return this.#alive
  }

  kill(): void {
    this.#alive = false
    for (const alarm of this.#alarms) alarm.cancel()
  }

  now(): Millis {
    return this.#clock.now()
  }

  alarm(at: Millis, ring: () => void): Alarm {
    const alarm = this.#clock.alarm(at, ring)
    this.#alarms.push(alarm)
    return alarm
  }
}

/** One connection, both ends of it: what the service holds as its `Peer`, and the phone at the other end of the wire. */
export class Phone implements Peer {
  static #made = 0
  readonly id = `phone-${Phone.#made++}`
  readonly #process: Process
  readonly #pongs: boolean
  readonly #session: DoorSession<RideUp>
  #wire: ({ is: 'text'; text: string } | { is: 'ping' })[] = []
  #open = true
  #gone = false
  #probes: { verdict: (alive: boolean) => void; alarm: Alarm }[] = []
  /** What has arrived. */
  readonly got: string[] = []
  /** What the server closed with. */
  code: number | null = null
  admitted = false
  /** The server finds it slow with the next frame. */
  slow = false

  constructor(process: Process, pongs: boolean, open: (peer: Peer) => DoorSession<RideUp>) {
    this.#process = process
    this.#pongs = pongs
    this.#session = open(this)
  }

  get open(): boolean {
    return this.#open
  }

  /** The wire is there; after a close of the server's, until the close has got through. */
  get connected(): boolean {
    return !this.#gone
  }

  send(text: string): boolean {
    if (!this.#open) return false
    if (this.slow) this.close(codes.slow_reader.close, 'slow_reader')
    else this.#wire.push({ is: 'text', text })
    return this.#open
  }

  refuse(failure: Failure): void {
    this.send(rideCodec.failure(failure))
    const { close } = codes[failure.code]
    if (close !== null) this.close(close, failure.code)
  }

  close(code: number, _reason: string): void {
    if (!this.#open) return
    this.#open = false
    this.code = code
  }

  admit(): void {
    this.admitted = true
  }

  probe(verdict: (alive: boolean) => void): void {
    const alarm = this.#process.alarm(this.#process.now() + PROBE_TIMEOUT, () => this.#answer(false))
    this.#probes.push({ verdict, alarm })
    this.ping()
  }

  /** The door pings: at an interval, or to see whether there is life. */
  ping(): void {
    if (!this.#open) return
    if (!this.#wire.some(({ is }) => is === 'ping')) this.#session.pinged()
    this.#wire.push({ is: 'ping' })
  }

  /** The phone says something. Whatever is wrong with it is answered as the door does. Null: it was well. */
  say(message: object): Failure | null {
    if (!this.#open) return null
    this.#answer(true)
    if (!this.#open) return null
    const text = JSON.stringify(message)
    try {
      this.#session.message(rideCodec.read(text), text)
      return null
    } catch (error) {
      this.refuse(error as Failure)
      return error as Failure
    }
  }

  /** So much of what is on the wire arrives. Pongs are back at once. Returns the texts. */
  receive(count = Number.POSITIVE_INFINITY): string[] {
    if (this.#gone) return []
    const arrived: string[] = []
    for (const thing of this.#wire.splice(0, count)) {
      if (thing.is === 'text') arrived.push(thing.text)
      else if (this.#pongs && this.#open) {
        this.#answer(true)
        this.#session.ponged()
      }
    }
    this.got.push(...arrived)
    return arrived
  }

  /** The wire is cut, or the close that the server began is through; or the phone says goodbye. */
  end(goodbye = false): void {
    if (this.#gone) return
    const said = goodbye && this.#open
    this.#gone = true
    this.#open = false
    this.#wire = []
    if (!this.#process.alive) return
    this.#answer(false)
    this.#session.closed(said)
  }

  #answer(alive: boolean): void {
    for (const { verdict, alarm } of this.#probes.splice(0)) {
      alarm.cancel()
      verdict(alive)
    }
  }
}
