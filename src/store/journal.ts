/**
 * The journal: brings what the parts of the store hold in memory into the local file, in groups, and onto the disk,
 * and never lets the event loop wait for the disk.
 *
 *        changed            5 ms, or somebody waits             2 ms
 *   idle ──────▶ collecting ───────────────────────▶ writing ─────────▶ resting ──▶ idle, or writing again
 *                                                     ▲    │ it failed
 *                                              in 1 s └─ failing
 *
 * One round of writing at a time. A commit goes to SQLite's write-ahead log without a sync (synchronous = OFF), which
 * is a copy into the page cache; the sync is `fdatasync` in the thread pool, at once when somebody waits for it, else
 * soon. Nothing is committed while one runs, because on some file systems the write would wait for it; what comes
 * meanwhile is the next round's.
 *
 * Since SQLite does not sync, the order at a checkpoint is kept here. The log is on the disk before its pages are
 * copied into the file, and the file is on the disk before the log is begun anew. The first commit of a log begun anew
 * overwrites the log's header, which must not be torn apart from the commits after it: it is the `turn`, one page that
 * nothing else is in, synced by itself. Whatever of it reaches the disk, the log then reads as the old one, whole, or
 * as an empty one. Without this, a power cut could leave the start of the old log, and it would be played back.
 */
import type { Statement } from 'bun:sqlite'
import type { Alarm, Clock, Log } from '../core/ports.ts'
import { fail } from '../protocol/codes.ts'
import { isDamage } from './damage.ts'
import { type LocalFile, messageOf } from './file.ts'

/** What nobody waits for is written within so many milliseconds. */
const COLLECT = 5
/** What was written and nobody waits for is synced within so many milliseconds. A crash of this process loses none of it. */
const SYNC_WITHIN = 100
/**
 * After a round the next one waits for so many milliseconds, so that under load there are fewer and larger ones: what a
 * round costs by itself is most of what a small one costs.
 */
const REST = 2
/** Pages in the log that make a checkpoint worth while when nobody waits, and in any case. 1,000 pages cost about 1 ms. */
const CHECKPOINT_QUIET = 500
const CHECKPOINT = 1500
/** What could not be written is tried again after so many milliseconds. */
const RETRY = 1000
/** Somebody else's transaction on the file (an operator's) is waited for: so many times, so many milliseconds. */
const BUSY_TRIES = 100
const BUSY_WAIT = 20
/** A transaction takes so many changes of each part, a few milliseconds of the loop; more take several. */
const PORTION = 500
/** So many changes are held in memory while nothing can be written. */
const HELD = 100_000

/** A part of the store, which collects changes in memory. */
export interface Part {
  /** How many changes it holds. */
  readonly held: number
  /** Writes them, within a transaction, oldest first; of a great many at least so many. */
  write(least: number): void
  /** How the transaction ended. What was not committed is to be written again later. */
  settled(committed: boolean): void
}

interface Waiter {
  resolve(): void
  reject(error: Error): void
}

/** A round that syncs takes on whoever comes to wait while nothing new is held. */
type Writing = { is: 'writing'; syncs: boolean; waiters: Waiter[] }

type State =
  | { is: 'idle' }
  | { is: 'collecting'; timer: ReturnType<typeof setTimeout> }
  /** Starts once this turn of the loop is over, so that whatever else happens in it comes along. */
  | { is: 'hurrying' }
  | Writing
  | { is: 'resting' }
  | { is: 'failing'; retry: Alarm }
  | { is: 'closed' }

export interface JournalDeps {
  readonly file: LocalFile
  readonly clock: Clock
  readonly log: Log
}

interface LogLength {
  /** Pages in the log, and how many of them are in the file as well. */
  log: number
  checkpointed: number
}

export class Journal {
  readonly #deps: JournalDeps
  readonly #parts: Part[] = []
  readonly #begin: Statement
  readonly #commit: Statement
  readonly #rollback: Statement
  readonly #turn: Statement
  readonly #logLength: Statement<LogLength, []>
  readonly #checkpoint: Statement<LogLength, []>
  #state: State = { is: 'idle' }
  /** Something is held that is not committed. */
  #dirty = false
  /** Something is committed that is not known to be on the disk. */
  #unsynced = false
  /** The next round must sync though nobody waits. */
  #syncDue = false
  #syncTimer: ReturnType<typeof setTimeout> | null = null
  /** Who waits for the next round. */
  #waiters: Waiter[] = []
  #readers: (() => void)[] = []
  /** A sync failed, and the kernel may have forgotten what it could not write: a checkpoint writes all of it again. */
  #suspect = false
  /** Of the log, when it was last looked at. */
  #length: LogLength = { log: 0, checkpointed: 0 }
  /** Length of the log at which a checkpoint may be tried again, when somebody's reading cut the last one short. */
  #checkpointAt = 0
  #closing: Promise<void> | null = null
  #still: (() => void) | null = null

  constructor(deps: JournalDeps) {
    this.#deps = deps
    const { file } = deps
    this.#begin = file.prepare('BEGIN IMMEDIATE')
    this.#commit = file.prepare('COMMIT')
    this.#rollback = file.prepare('ROLLBACK')
    this.#turn = file.prepare(`UPDATE meta SET value = value + 1 WHERE name = 'turn'`)
    this.#logLength = file.prepare('PRAGMA wal_checkpoint = NOOP')
    this.#checkpoint = file.prepare('PRAGMA wal_checkpoint = PASSIVE')
  }

  /** Parts are written in the order they are added. */
  add(part: Part): void {
    this.#parts.push(part)
  }

  /** A part holds something new. */
  changed(): void {
    this.#dirty = true
    if (this.#state.is === 'idle') {
      this.#state = { is: 'collecting', timer: setTimeout(() => this.#start(), COLLECT) }
    }
  }

  /** As `CallLog.synced`. */
  synced(): Promise<void> {
    const state = this.#state
    if (state.is === 'failing' || state.is === 'closed') return Promise.reject(fail('storage_unavailable'))
    if (!this.#dirty && !this.#unsynced) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const waiters = state.is === 'writing' && state.syncs && !this.#dirty ? state.waiters : this.#waiters
      waiters.push({ resolve, reject })
      if (state.is === 'idle' || state.is === 'collecting') this.#hurry()
    })
  }

  /** Resolves with what `read` finds, called at a moment when all that is committed is on the disk. */
  durably<T>(read: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const attempt = () => {
        try {
          resolve(read())
        } catch (error) {
          reject(error)
        }
      }
      if (this.#unsynced || this.#state.is === 'failing') this.#readers.push(attempt)
      else attempt()
    })
  }

  /** Nothing can be written at the moment. */
  get failing(): boolean {
    return this.#state.is === 'failing'
  }

  /**
   * While nothing can be written, only so much is held: nothing of new calls beyond a bound, and nothing at all beyond
   * twice that. Always true while it can be written.
   */
  hasRoom(forNewCalls: boolean): boolean {
    if (this.#state.is !== 'failing') return true
    const held = this.#parts.reduce((sum, part) => sum + part.held, 0)
    return held < (forNewCalls ? HELD : 2 * HELD)
  }

  /** Writes and syncs what is left. Resolves also when that fails, which is logged. Twice is fine. */
  close(): Promise<void> {
    this.#closing ??= this.#finish()
    return this.#closing
  }

  async #finish(): Promise<void> {
    if (this.#state.is === 'failing') {
      this.#state.retry.cancel()
      this.#state = { is: 'idle' }
    }
    try {
      await this.synced()
    } catch (error) {
      this.#deps.log.error({ error: messageOf(error) }, 'what could not be written is lost')
    }
    if (this.#state.is === 'writing' || this.#state.is === 'resting') {
      await new Promise<void>((still) => {
        this.#still = still
      })
    }
    this.#end()
  }

  #end(): void {
    if (this.#state.is === 'failing') this.#state.retry.cancel()
    if (this.#state.is === 'collecting') clearTimeout(this.#state.timer)
    if (this.#syncTimer !== null) clearTimeout(this.#syncTimer)
    this.#state = { is: 'closed' }
  }

  #hurry(): void {
    if (this.#state.is === 'collecting') clearTimeout(this.#state.timer)
    this.#state = { is: 'hurrying' }
    setImmediate(() => this.#start())
  }

  #start(): void {
    const failedBefore = this.#state.is === 'failing'
    const waiters = this.#waiters
    const round: Writing = {
      is: 'writing',
      syncs: waiters.length > 0 || this.#syncDue || failedBefore,
      waiters,
    }
    this.#state = round
    this.#waiters = []
    this.#write(round).then(
      () => this.#wrote(round, failedBefore),
      (error) => this.#failed(round, error, failedBefore),
    )
  }

  async #write(round: Writing): Promise<void> {
    if (this.#suspect) await this.#moveAll()
    await this.#turnIfMoved()
    await this.#commitAll()
    if (round.syncs) await this.#sync()
    else this.#syncTimer ??= setTimeout(() => this.#syncNow(), SYNC_WITHIN)
  }

  #syncNow(): void {
    this.#syncTimer = null
    this.#syncDue = this.#unsynced
    if (this.#syncDue && this.#state.is === 'idle') this.#hurry()
  }

  #wrote(round: Writing, failedBefore: boolean): void {
    // What is held from here on is the next round's, whoever waits.
    round.syncs = false
    for (const waiter of round.waiters) waiter.resolve()
    if (failedBefore) this.#deps.log.info({}, 'the local file can be written again')
    if (this.#unsynced) return this.#rest()
    const readers = this.#readers
    this.#readers = []
    for (const read of readers) read()
    this.#tidy().then(
      () => this.#rest(),
      (error) => {
        this.#checkpointAt = this.#length.log + CHECKPOINT
        this.#deps.log.warn(
          { error: messageOf(error) },
          'the log of the local file could not be moved into it',
        )
        this.#rest()
      },
    )
  }

  #rest(): void {
    this.#state = { is: 'resting' }
    setTimeout(() => {
      if (this.#waiters.length > 0 || this.#syncDue) return this.#start()
      this.#state = { is: 'idle' }
      this.#still?.()
      if (this.#dirty) this.changed()
    }, REST)
  }

  #failed(round: Writing, error: unknown, failedBefore: boolean): void {
    const { clock, log } = this.#deps
    const refused = [...round.waiters, ...this.#waiters]
    this.#waiters = []
    this.#state = { is: 'failing', retry: clock.alarm(clock.now() + RETRY, () => this.#start()) }
    if (isDamage(error)) this.#deps.file.distrust()
    if (!failedBefore) {
      log.error({ error: messageOf(error) }, 'the local file cannot be written; trying again each second')
    }
    for (const waiter of refused) waiter.reject(fail('storage_unavailable'))
    this.#still?.()
  }

  /** Commits all that the parts hold, letting the loop turn in between when it is a great deal. */
  async #commitAll(): Promise<void> {
    const most = Math.max(...this.#parts.map((part) => part.held))
    for (let portion = 0; portion === 0 || portion * PORTION < most; portion++) {
      if (portion > 0) await new Promise((turned) => setImmediate(turned))
      await this.#beginTransaction()
      try {
        for (const part of this.#parts) part.write(PORTION)
        this.#commit.run()
      } catch (error) {
        this.#rollBack()
        for (const part of this.#parts) part.settled(false)
        throw error
      }
      this.#unsynced = true
      for (const part of this.#parts) part.settled(true)
    }
    this.#dirty = this.#parts.some((part) => part.held > 0)
  }

  /** Waits, a little and not on the loop, for somebody else's transaction to end. */
  async #beginTransaction(): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        this.#begin.run()
        return
      } catch (error) {
        if (tries === BUSY_TRIES || !isBusy(error)) throw error
      }
      await new Promise((done) => setTimeout(done, BUSY_WAIT))
    }
  }

  #rollBack(): void {
    try {
      this.#rollback.run()
    } catch {} // SQLite rolls back by itself when the disk is full, and then there is nothing left to.
  }

  async #sync(): Promise<void> {
    try {
      await this.#deps.file.syncLog()
    } catch (error) {
      this.#suspect = true
      throw error
    }
    this.#unsynced = false
    this.#syncDue = false
    if (this.#syncTimer !== null) clearTimeout(this.#syncTimer)
    this.#syncTimer = null
  }

  /** Makes a checkpoint when it is worth while. Without one nothing is lost: the log grows. */
  async #tidy(): Promise<void> {
    const due = this.#waiters.length > 0 || this.#dirty ? CHECKPOINT : CHECKPOINT_QUIET
    if (this.#length.log < Math.max(due, this.#checkpointAt)) return
    this.#checkpoint.get()
    await this.#turnIfMoved()
    this.#checkpointAt = this.#length.log < due ? 0 : this.#length.log + CHECKPOINT
  }

  /** Writes all of the log into the file, from what the kernel still has of it. */
  async #moveAll(): Promise<void> {
    const { log, checkpointed } = this.#checkpoint.get() ?? this.#length
    if (log !== checkpointed) throw new Error('the log cannot be moved into the file while somebody reads it')
    await this.#turnIfMoved()
    this.#suspect = false
  }

  /** The next commit after all of the log was moved begins it anew, whoever moved it. It must be the turn. */
  async #turnIfMoved(): Promise<void> {
    // In memory there is no log, and SQLite says -1.
    this.#length = this.#logLength.get() ?? this.#length
    const { log, checkpointed } = this.#length
    if (log <= 0 || checkpointed < log) return
    await this.#deps.file.syncPages()
    this.#turn.run()
    await this.#sync()
    this.#length = this.#logLength.get() ?? this.#length
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('SQLITE_BUSY')
}
