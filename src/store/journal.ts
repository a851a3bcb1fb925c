/**
 * The journal: brings what the parts of the store hold in memory into the local file, in groups, and onto the disk,
 * and never lets the event loop wait for the disk.
 *
 *        changed            5 ms, or somebody waits                  on the disk
 *   idle ──────▶ collecting ───────────────────────▶ commit, sync ─────────────────▶ idle, or the next round
 *                                                     ▲    │ failed
 *                                              in 1 s └─ failing
 *
 * One round at a time. A commit writes to SQLite's write-ahead log without syncing it (synchronous = OFF), which is a
 * copy into the page cache; the sync is `fdatasync` in the thread pool. Nothing is committed while one runs, because on
 * some file systems the write would wait for it; what comes meanwhile is the next round's.
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
import { type LocalFile, messageOf } from './file.ts'

/** What nobody waits for is written within so many milliseconds. */
const COLLECT = 5
/** Pages in the log that make a checkpoint worth while when nobody waits, and in any case. 1,000 pages cost about 1 ms. */
const CHECKPOINT_QUIET = 500
const CHECKPOINT = 1500
/** What could not be written is tried again after so many milliseconds. */
const RETRY = 1000
/** Somebody else's transaction on the file (an operator's) is waited for: so many times, so many milliseconds. */
const BUSY_TRIES = 100
const BUSY_WAIT = 20
/** So many changes are held in memory while nothing can be written. */
const HELD = 100_000

/** A part of the store, which collects changes in memory. */
export interface Part {
  /** How many changes it holds. */
  readonly held: number
  /** Writes them all, within a transaction. When it throws, or the commit fails, it is asked again later. */
  write(): void
  /** What was written is committed. */
  wrote(): void
}

interface Waiter {
  resolve(): void
  reject(error: Error): void
}

/** `waiters` wait for this round. */
type Writing = { is: 'writing'; waiters: Waiter[] }

type State =
  | { is: 'idle' }
  | { is: 'collecting'; timer: ReturnType<typeof setTimeout> }
  | { is: 'hurrying' }
  | Writing
  | { is: 'failing'; retry: Alarm }

export interface JournalDeps {
  readonly file: LocalFile
  readonly clock: Clock
  readonly log: Log
  /** Called when all that is committed is on the disk, and before anything else is committed. */
  readonly durable: () => void
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
  /** Something is held or committed that no round has taken on. */
  #dirty = false
  /** Who waits for the next round. */
  #waiters: Waiter[] = []
  /** Length of the log at which the next checkpoint may be tried, when somebody's reading cut the last one short. */
  #checkpointAt = 0
  /** A sync failed, and the kernel may have forgotten what it could not write: a checkpoint writes all of it again. */
  #suspect = false
  #closing: Promise<void> | null = null

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
    if (state.is === 'failing') return Promise.reject(fail('storage_unavailable'))
    if (state.is === 'idle' && !this.#dirty) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const waiter = { resolve, reject }
      if (state.is === 'writing' && !this.#dirty) state.waiters.push(waiter)
      else this.#waiters.push(waiter)
      if (state.is === 'idle' || state.is === 'collecting') this.#hurry()
    })
  }

  /** Nothing can be written at the moment. */
  get failing(): boolean {
    return this.#state.is === 'failing'
  }

  /** So much is held that a part must not take on more. */
  get full(): boolean {
    return this.#parts.reduce((sum, part) => sum + part.held, 0) >= HELD
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
    this.#dirty = true
    try {
      await this.synced()
    } catch (error) {
      this.#deps.log.error({ error: messageOf(error) }, 'what could not be written is lost')
    }
    await this.#rest()
  }

  /** Lets a checkpoint that is under way finish, and leaves no timer behind. */
  async #rest(): Promise<void> {
    while (this.#state.is === 'writing') await new Promise((done) => setImmediate(done))
    if (this.#state.is === 'failing') this.#state.retry.cancel()
    if (this.#state.is === 'collecting') clearTimeout(this.#state.timer)
  }

  /** Starts once this turn of the loop is over, so that whatever else happens in it comes along. */
  #hurry(): void {
    if (this.#state.is === 'collecting') clearTimeout(this.#state.timer)
    this.#state = { is: 'hurrying' }
    setImmediate(() => this.#start())
  }

  #start(): void {
    this.#rounds().catch((error) => {
      this.#deps.log.error({ error: messageOf(error) }, 'a fault in the journal')
    })
  }

  async #rounds(): Promise<void> {
    const failedBefore = this.#state.is === 'failing'
    do {
      const round: Writing = { is: 'writing', waiters: this.#waiters }
      this.#state = round
      this.#waiters = []
      try {
        if (this.#suspect) await this.#moveAll()
        await this.#turnIfMoved()
        await this.#commitAll()
        await this.#syncLog()
      } catch (error) {
        this.#failed(round.waiters, error, failedBefore)
        return
      }
      for (const waiter of round.waiters) waiter.resolve()
      this.#deps.durable()
      await this.#tidy()
    } while (this.#waiters.length > 0)
    this.#state = { is: 'idle' }
    if (failedBefore) this.#deps.log.info({}, 'the local file can be written again')
    if (this.#dirty) this.changed()
  }

  #failed(waiters: readonly Waiter[], error: unknown, failedBefore: boolean): void {
    const { clock, log } = this.#deps
    const refused = [...waiters, ...this.#waiters]
    this.#waiters = []
    this.#dirty = true
    this.#state = { is: 'failing', retry: clock.alarm(clock.now() + RETRY, () => this.#start()) }
    if (!failedBefore)
      log.error({ error: messageOf(error) }, 'the local file cannot be written; trying again each second')
    for (const waiter of refused) waiter.reject(fail('storage_unavailable'))
  }

  /** One transaction with all that the parts hold. Waits, a little and not on the loop, for somebody else's. */
  async #commitAll(): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        this.#begin.run()
        break
      } catch (error) {
        if (tries === BUSY_TRIES || !isBusy(error)) throw error
      }
      await new Promise((done) => setTimeout(done, BUSY_WAIT))
    }
    try {
      for (const part of this.#parts) part.write()
      this.#commit.run()
    } catch (error) {
      this.#rollBack()
      throw error
    }
    this.#dirty = false
    for (const part of this.#parts) part.wrote()
  }

  #rollBack(): void {
    try {
      this.#rollback.run()
    } catch {} // SQLite rolls back by itself when the disk is full, and then there is nothing left to.
  }

  async #syncLog(): Promise<void> {
    try {
      await this.#deps.file.syncLog()
    } catch (error) {
      this.#suspect = true
      throw error
    }
  }

  /** Makes a checkpoint when it is worth while. One that fails is put off: nothing is lost by a long log. */
  async #tidy(): Promise<void> {
    const { log } = this.#length()
    const due = this.#waiters.length > 0 || this.#dirty ? CHECKPOINT : CHECKPOINT_QUIET
    if (log < due || log < this.#checkpointAt) return
    try {
      this.#checkpoint.get()
      await this.#turnIfMoved()
      const { log: left } = this.#length()
      this.#checkpointAt = left < due ? 0 : left + CHECKPOINT
    } catch (error) {
      this.#checkpointAt = log + CHECKPOINT
      this.#deps.log.warn({ error: messageOf(error) }, 'the log of the local file could not be moved into it')
    }
  }

  /** Writes all of the log into the file, from what the kernel still has of it. */
  async #moveAll(): Promise<void> {
    const { log, checkpointed } = this.#checkpoint.get() ?? { log: 0, checkpointed: -1 }
    if (log !== checkpointed)
      throw new Error('somebody is reading the local file, so that its log cannot be moved')
    await this.#turnIfMoved()
    this.#suspect = false
  }

  /** The next commit after all of the log was moved begins it anew, whoever moved it. It must be the turn. */
  async #turnIfMoved(): Promise<void> {
    const { log, checkpointed } = this.#length()
    if (log <= 0 || checkpointed < log) return
    await this.#deps.file.syncPages()
    this.#turn.run()
    await this.#syncLog()
  }

  #length(): LogLength {
    // In memory there is no log, and SQLite says -1.
    return this.#logLength.get() ?? { log: -1, checkpointed: -1 }
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('SQLITE_BUSY')
}
