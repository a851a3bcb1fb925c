/**
 * The outbox: which calls have a row that differs from the one in the other database. It names calls, not changes:
 * what is carried is the row as it then is, so that a call which was opened, connected and ended while the database was
 * away is carried once, and order matters only in that nothing older overtakes.
 */
import type { Statement } from 'bun:sqlite'
import type { CallId, Millis } from '../core/ids.ts'
import type { Clock } from '../core/ports.ts'
import type { LocalFile } from './file.ts'
import type { StoredCall } from './history.ts'
import type { Journal, Part } from './journal.ts'

/** A call to carry, as it was when it was taken. */
export interface Parcel {
  readonly id: CallId
  readonly version: number
  /** The call was taken back. Otherwise it has a row, or nothing is to be done after all. */
  readonly gone: boolean
  readonly row: CarriedCall | null
}

/** All columns but the number of the row, which each database gives itself. */
export type CarriedCall = Omit<StoredCall, 'id'> & { media_connected_at: string | null; relay: number | null }

/** Of each batch, this part is the newest when there is more than a batch, so that live calls do not wait for a backlog. */
const NEWEST = 1 / 4

export interface OutboxDeps {
  readonly file: LocalFile
  readonly journal: Journal
  readonly clock: Clock
}

type Taken = Omit<CarriedCall, 'session_id'> & {
  session_id: string | null
  queued: CallId
  version: number
  gone: number
}

export class Outbox implements Part {
  readonly #deps: OutboxDeps
  /** Not to be carried any more, as long as the version is still the same. */
  #carried: Parcel[] = []
  #refused: Parcel[] = []
  /** Were put aside since the start. */
  readonly #aside = new Set<CallId>()
  #count: number
  #countInTransaction: number
  #wake: (() => void) | null = null
  readonly #again: Statement<unknown, [boolean, string]>
  readonly #put: Statement<unknown, [string, boolean, Millis]>
  readonly #remove: Statement<unknown, [string, number]>
  readonly #forget: Statement<unknown, [string]>
  readonly #refuse: Statement<unknown, [string]>
  readonly #takeBack: Statement<unknown, [string]>
  readonly #oldest: Statement<Taken, [number]>
  readonly #newest: Statement<Taken, [number]>
  readonly #since: Statement<{ since: Millis }, []>

  constructor(deps: OutboxDeps) {
    this.#deps = deps
    const { file, journal } = deps
    // What was refused may have been put right since the last start.
    file.db.run(`
      INSERT INTO outbox (session_id, version, gone, since)
        SELECT session_id, 1, FALSE, since FROM refused WHERE session_id NOT IN (SELECT session_id FROM outbox);
      DELETE FROM refused`)
    const counted = file.db.query<{ count: number }, []>('SELECT count(*) AS count FROM outbox').get()
    this.#count = this.#countInTransaction = counted?.count ?? 0
    this.#again = file.prepare('UPDATE outbox SET version = version + 1, gone = ? WHERE session_id = ?')
    this.#put = file.prepare('INSERT INTO outbox (session_id, version, gone, since) VALUES (?, 1, ?, ?)')
    this.#remove = file.prepare('DELETE FROM outbox WHERE session_id = ? AND version = ?')
    this.#forget = file.prepare(`DELETE FROM call_logs WHERE session_id = ? AND status = 'ended'`)
    this.#refuse = file.prepare(`
      INSERT INTO refused (session_id, since) SELECT session_id, since FROM outbox WHERE session_id = ?
      ON CONFLICT DO NOTHING`)
    this.#takeBack = file.prepare('DELETE FROM refused WHERE session_id = ?')
    const take = (order: string) => `
      SELECT outbox.session_id AS queued, outbox.version, outbox.gone, call_logs.*
      FROM outbox LEFT JOIN call_logs ON call_logs.session_id = outbox.session_id
      ORDER BY outbox.seq ${order} LIMIT ?`
    this.#oldest = file.prepare(take('ASC'))
    this.#newest = file.prepare(take('DESC'))
    this.#since = file.prepare('SELECT since FROM outbox ORDER BY seq LIMIT 1')
    journal.add(this)
  }

  /** The row of a call was written, or deleted; within that transaction. */
  changed(id: CallId, gone: boolean): void {
    if (this.#aside.has(id)) this.#takeBack.run(id)
    if (this.#again.run(gone, id).changes > 0) return
    this.#put.run(id, gone, this.#deps.clock.now())
    this.#countInTransaction++
  }

  /** How many calls wait. */
  get count(): number {
    return this.#count
  }

  /** When the one that waits longest was first changed. */
  since(): Millis | null {
    return this.#since.get()?.since ?? null
  }

  /** Resolves when something waits to be carried. For one caller at a time. */
  async filled(): Promise<void> {
    if (this.#count > 0) return
    await new Promise<void>((wake) => {
      this.#wake = wake
    })
  }

  /** The next calls to carry: the oldest, and some of the newest. They stay until they are `carried`. */
  take(most: number): Parcel[] {
    if (this.#count <= most) return this.#oldest.all(most).map(toParcel)
    const newest = Math.floor(most * NEWEST)
    const oldest = this.#oldest.all(most - newest)
    const known = new Set(oldest.map(({ queued }) => queued))
    return [...oldest, ...this.#newest.all(newest).filter(({ queued }) => !known.has(queued))].map(toParcel)
  }

  /** These arrived. What of them changed meanwhile stays; the rest leaves the outbox, and the file if it ended. */
  carried(parcels: readonly Parcel[]): void {
    this.#carried.push(...parcels)
    this.#deps.journal.changed()
  }

  /** The database will not have these. They are put aside until the next start, or until they change. */
  refused(parcels: readonly Parcel[]): void {
    this.#refused.push(...parcels)
    for (const { id } of parcels) this.#aside.add(id)
    this.#deps.journal.changed()
  }

  get held(): number {
    return this.#carried.length + this.#refused.length
  }

  write(): void {
    for (const { id } of this.#refused) this.#refuse.run(id)
    for (const { id, version } of this.#refused)
      this.#countInTransaction -= this.#remove.run(id, version).changes
    for (const { id, version } of this.#carried) {
      const { changes } = this.#remove.run(id, version)
      this.#countInTransaction -= changes
      if (changes > 0) this.#forget.run(id)
    }
  }

  settled(committed: boolean): void {
    if (!committed) {
      this.#countInTransaction = this.#count
      return
    }
    this.#count = this.#countInTransaction
    this.#carried = []
    this.#refused = []
    if (this.#count > 0) this.#wake?.()
  }
}

function toParcel({ queued, version, gone, session_id, ...row }: Taken): Parcel {
  return { id: queued, version, gone: gone === 1, row: session_id === null ? null : { ...row, session_id } }
}
