/**
 * The carrier: takes rows out of the outbox and to MySQL, one batch after another, each in one transaction. A batch
 * whose fate is unknown is carried again, which changes nothing if it had arrived.
 *
 *   waiting for something to carry ──▶ taking a batch, which is on our disk ──▶ carrying ──▶ a short rest ──▶ …
 *                                              ▲                                  │ failed
 *                                              └──────── a growing pause ─────────┘
 */
import type { CallId, Millis } from '../core/ids.ts'
import type { Clock, Log } from '../core/ports.ts'
import { messageOf } from './file.ts'
import type { Journal } from './journal.ts'
import { connect, type MysqlConnection, type MysqlSettings, Refusal } from './mysql.ts'
import type { CarriedCall, Outbox, Parcel } from './outbox.ts'
import { insert, prepareTable, remove, update } from './table.ts'

/** Rows in a batch. Reading that many takes about a millisecond of the event loop. */
const BATCH = 100
/** Between batches that are not full, so that live calls are carried a few at a time. */
const REST: Millis = 100
/** With nothing to carry, the database is asked for a sign of life so often. */
const PING: Millis = 10_000
/** After a failure. Doubles with each, and is shortened by up to a half at random. */
const PAUSE: Millis = 200
const LONGEST_PAUSE: Millis = 5000
/** What is left when the server stops is still carried, for so long. The rest waits for the next start. */
const LAST_EFFORT: Millis = 2000

export interface CarrierDeps {
  readonly settings: MysqlSettings
  readonly outbox: Outbox
  readonly journal: Journal
  readonly clock: Clock
  readonly log: Log
}

export class Carrier {
  readonly #deps: CarrierDeps
  /** Open calls that have their row over there. */
  readonly #known = new Set<CallId>()
  readonly #loop: Promise<void>
  #connection: MysqlConnection | null = null
  #reachable: boolean | null = null
  #failures = 0
  #closing = false
  #stopped = false
  #wake: () => void = () => {}

  constructor(deps: CarrierDeps) {
    this.#deps = deps
    this.#loop = this.#run()
  }

  /** The database answered when it was last asked. */
  get reachable(): boolean {
    return this.#reachable === true
  }

  /** Carries what is left, as far as that goes quickly, and lets go of the connection. */
  async close(): Promise<void> {
    const { clock } = this.#deps
    this.#closing = true
    this.#wake()
    const stop = new Promise<void>((stopped) => {
      const alarm = clock.alarm(clock.now() + LAST_EFFORT, stopped)
      this.#loop.then(() => {
        alarm.cancel()
        stopped()
      }, stopped)
    })
    await stop
    this.#stopped = true
    this.#wake()
    this.#connection?.close()
  }

  async #run(): Promise<void> {
    const { outbox } = this.#deps
    while (!this.#stopped) {
      try {
        const carried = await this.#carryNext()
        this.#answered()
        if (this.#closing && outbox.count === 0) return
        if (carried < BATCH) await this.#pause(REST)
        if (outbox.count === 0) await this.#pause(PING, outbox.filled())
      } catch (error) {
        this.#failed(error)
        if (this.#closing) return
        await this.#pause(Math.min(PAUSE * 2 ** this.#failures, LONGEST_PAUSE) * (1 - Math.random() / 2))
      }
    }
  }

  /** Returns how many. With none there is at least a sign of life. */
  async #carryNext(): Promise<number> {
    const { outbox, journal, log } = this.#deps
    const connection = await this.#connect()
    const parcels = await journal.durably(() => outbox.take(BATCH))
    if (parcels.length === 0) {
      await connection.run('DO 0')
      return 0
    }
    try {
      await this.#carry(connection, parcels)
    } catch (error) {
      if (!(error instanceof Refusal) || !error.ofTheValues) throw error
      log.error({ error: error.message }, 'the database refused some rows')
      await this.#carryEach(connection, parcels)
    }
    // Without this the same parcels would be taken again.
    await journal.synced().catch(() => {})
    return parcels.length
  }

  async #connect(): Promise<MysqlConnection> {
    if (this.#connection?.alive) return this.#connection
    const { settings, clock, log } = this.#deps
    const connection = await connect(settings, clock)
    if (this.#stopped) connection.close()
    this.#connection = connection
    await prepareTable(connection, log)
    return connection
  }

  async #carry(connection: MysqlConnection, parcels: readonly Parcel[]): Promise<void> {
    const rows = parcels.flatMap(({ row }) => (row === null ? [] : [row]))
    const isKnown = (row: CarriedCall) => this.#known.has(row.session_id as CallId)
    await connection.transaction(async () => {
      await insert(
        connection,
        rows.filter((row) => !isKnown(row)),
      )
      await update(connection, rows.filter(isKnown))
      await remove(
        connection,
        parcels.filter(({ gone }) => gone).map(({ id }) => id),
      )
    })
    for (const { id, row } of parcels) {
      if (row === null || row.status === 'ended') this.#known.delete(id)
      else this.#known.add(id)
    }
    this.#deps.outbox.carried(parcels)
  }

  /** One by one, so that what the database will not have does not hold up the rest. */
  async #carryEach(connection: MysqlConnection, parcels: readonly Parcel[]): Promise<void> {
    for (const parcel of parcels) {
      try {
        await this.#carry(connection, [parcel])
      } catch (error) {
        if (!(error instanceof Refusal) || !error.ofTheValues) throw error
        this.#deps.log.error(
          { session: parcel.id, error: error.message },
          'this row is put aside until the next start',
        )
        this.#deps.outbox.refused([parcel])
      }
    }
  }

  #answered(): void {
    if (this.#reachable === false)
      this.#deps.log.info({ rows: this.#deps.outbox.count }, 'the database answers again')
    this.#reachable = true
    this.#failures = 0
  }

  #failed(error: unknown): void {
    const { log, outbox } = this.#deps
    if (this.#reachable !== false) {
      log.error(
        { error: messageOf(error), rows: outbox.count },
        'the database cannot be reached; rows wait in the local file',
      )
    }
    this.#reachable = false
    this.#failures++
    // The next attempt is on a new connection, which also looks at the table again.
    this.#connection?.close()
    this.#connection = null
  }

  /** Until the time is over, or `done`, or the server stops. */
  #pause(span: Millis, done?: Promise<void>): Promise<void> {
    const { clock } = this.#deps
    if (this.#closing) return Promise.resolve()
    return new Promise((resume) => {
      const alarm = clock.alarm(clock.now() + span, resume)
      this.#wake = () => {
        alarm.cancel()
        resume()
      }
      done?.then(this.#wake, this.#wake)
    })
  }
}
