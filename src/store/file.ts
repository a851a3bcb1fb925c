/**
 * The local file: one SQLite database in the data folder, which holds the log of calls (or what of it is still to be
 * carried to another database), the snapshots of live calls, and receipts. Opens it, keeps a second server out of it,
 * and closes it. When anything is written, and when it is safe, is the journal's business.
 */
import { Database, type SQLQueryBindings, type Statement } from 'bun:sqlite'
import {
  chmodSync,
  closeSync,
  existsSync,
  fdatasync,
  fsyncSync,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Clock, Log } from '../core/ports.ts'
import { isDamage } from './damage.ts'
import { check, inspectLog, putAside, salvage } from './mend.ts'
import { migrate, NewerFile } from './schema.ts'

/** Data folder of a store that keeps everything in memory. */
export const IN_MEMORY = ':memory:'

/** Thrown when the file cannot be used. The message is one line for the operator. */
export class Unusable extends Error {}

export class LocalFile {
  readonly db: Database
  /** Null: the database is in memory. */
  readonly path: string | null
  readonly #statements: Statement[] = []
  readonly #lock: Database | null
  readonly #fds = new Map<string, number>()
  #closed = false

  private constructor(db: Database, path: string | null, lock: Database | null) {
    this.db = db
    this.path = path
    this.#lock = lock
  }

  /** Opens the file in this folder, making both if missing, and mends it. Throws `Unusable` and `NewerFile`. */
  static open(dataDir: string, clock: Clock, log: Log): LocalFile {
    if (dataDir === IN_MEMORY)
      return new LocalFile(prepare(new Database(':memory:'), 'the database'), null, null)
    makeFolder(dataDir)
    const lock = lockFolder(dataDir)
    try {
      const path = join(dataDir, 'ringdown.db')
      makePrivate(path)
      const db = openMended(path, clock, log)
      syncFolder(dataDir)
      return new LocalFile(db, path, lock)
    } catch (error) {
      lock.close()
      throw error
    }
  }

  /** A statement that lives as long as the file. */
  prepare<Row, Params extends SQLQueryBindings[]>(sql: string): Statement<Row, Params> {
    const statement = this.db.prepare<Row, SQLQueryBindings[]>(sql) as unknown as Statement<Row, Params>
    this.#statements.push(statement)
    return statement
  }

  /** Resolves when what was committed is on the disk. The work is the thread pool's. */
  syncLog(): Promise<void> {
    return this.#sync('-wal')
  }

  /** Resolves when what a checkpoint moved into the file is on the disk. */
  syncPages(): Promise<void> {
    return this.#sync('')
  }

  #sync(suffix: string): Promise<void> {
    if (this.path === null) return Promise.resolve()
    const path = this.path + suffix
    const fd = this.#fds.get(path) ?? openSync(path, 'r+')
    this.#fds.set(path, fd)
    return new Promise((resolve, reject) => fdatasync(fd, (error) => (error ? reject(error) : resolve())))
  }

  /** Has the whole file checked at the next start, whatever its size. */
  distrust(): void {
    if (this.path !== null) closeSync(openSync(distrustMark(this.path), 'a', 0o600))
  }

  /** Leaves one whole file behind. Blocks until it is on the disk. Twice is fine. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    // Closing moves the rest of the write-ahead log into the file and deletes it; that order must reach the disk.
    this.db.run('PRAGMA synchronous = FULL')
    for (const statement of this.#statements) statement.finalize()
    this.db.close()
    // Only now: closing any descriptor of a file lets go of every lock this process has on it (POSIX fcntl).
    for (const fd of this.#fds.values()) closeSync(fd)
    this.#lock?.close()
  }
}

/** A log that was left behind, or a mark, says that the last server did not end well. */
function openMended(path: string, clock: Clock, log: Log): Database {
  const mark = distrustMark(path)
  const unclean = sizeOf(`${path}-wal`) > 0 || existsSync(mark)
  if (unclean) inspectLog(path, clock.now(), log)
  let db: Database | null = null
  try {
    db = prepare(new Database(path), path)
    check(db, path, unclean)
  } catch (error) {
    db?.close()
    if (error instanceof NewerFile) throw error
    if (!isDamage(error)) throw new Unusable(`${path} cannot be opened: ${messageOf(error)}`)
    const kept = putAside(path, clock.now())
    makePrivate(path)
    db = prepare(new Database(path), path)
    const rows = salvage(kept, db)
    log.error(
      { file: path, error: messageOf(error), kept, rows },
      'the local file is damaged: what could be read was kept',
    )
  }
  rmSync(mark, { force: true })
  return db
}

function distrustMark(path: string): string {
  return `${path}.check`
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

function makeFolder(dataDir: string): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new Unusable(`DATA_DIR ${dataDir} cannot be made: ${messageOf(error)}`)
  }
}

/** Before SQLite opens it: the files it makes beside this one get the same mode. */
function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, 'a', 0o600))
    chmodSync(path, 0o600)
  } catch (error) {
    throw new Unusable(`${path} cannot be written: ${messageOf(error)}`)
  }
}

/** A file that was just made is on the disk only when its folder is. */
function syncFolder(dataDir: string): void {
  const fd = openSync(dataDir, 'r')
  fsyncSync(fd)
  closeSync(fd)
}

/**
 * Two servers in one folder would each end the calls of the other. The lock is SQLite's own, on a file of its own, so
 * that the database stays readable for everybody; the kernel lets go of it however this process ends.
 */
function lockFolder(dataDir: string): Database {
  const path = join(dataDir, 'ringdown.lock')
  makePrivate(path)
  const lock = new Database(path)
  try {
    lock.run('PRAGMA journal_mode = MEMORY')
    lock.run('BEGIN EXCLUSIVE')
    return lock
  } catch (error) {
    lock.close()
    throw new Unusable(`DATA_DIR ${dataDir} is in use by another server (${messageOf(error)})`)
  }
}

function prepare(db: Database, name: string): Database {
  try {
    db.run('PRAGMA auto_vacuum = NONE')
    db.run('PRAGMA journal_mode = WAL')
    // The journal syncs, off the event loop, and moves pages from the log to the file when that is safe.
    db.run('PRAGMA synchronous = OFF')
    db.run('PRAGMA wal_autocheckpoint = 0')
    db.run('PRAGMA busy_timeout = 0')
    migrate(db, name)
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
