/**
 * The ride service with everything around it made of memory: phones on wires that hold what is on its way and can be
 * cut, a log and snapshots that outlive a restart, and a clock that is wound. For tests of the service by itself.
 */
import { type CallId, callId } from '../../src/core/ids.ts'
import type { CallRecord, Receipt, Snapshot } from '../../src/core/ports.ts'
import type { RideRead } from '../../src/protocol/ride.ts'
import { Rides, type RideTerms } from '../../src/services/ride/rides.ts'
import type { RideTokens } from '../../src/services/ride/tokens.ts'
import { TestClock } from './clock.ts'
import { silentLog } from './log.ts'
import { uncounted } from './metrics.ts'
import { Phone } from './phone.ts'
import { ProcessClock } from './process-clock.ts'

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
  #phones: Phone<RideRead>[] = []
  /** Makes `synced` fail. */
  diskFull = false
  #process: ProcessClock
  rides: Rides

  constructor(terms: Partial<RideTerms> = {}) {
    this.#terms = { ...TERMS, ...terms }
    this.#process = new ProcessClock(this.clock)
    this.rides = this.#start(this.#process)
  }

  /** The process ends, with or without a goodbye, and another takes up what was written. */
  restart(how: 'closed' | 'killed'): void {
    if (how === 'closed') this.rides.close()
    else this.#process.kill()
    for (const phone of this.#phones) phone.end()
    this.#phones = []
    this.#process = new ProcessClock(this.clock)
    this.rides = this.#start(this.#process)
    this.rides.recover()
  }

  /** A connection that has said nothing yet. */
  connect(pongs = true): Phone<RideRead> {
    const phone = new Phone(this.rides.endpoint(), this.#process, pongs)
    this.#phones.push(phone)
    return phone
  }

  #start(clock: ProcessClock): Rides {
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
      turn: null,
      metrics: uncounted,
      log: silentLog,
      newId: () => callId(`call-${this.#made++}`),
      digest: (text) => text,
    })
  }
}
