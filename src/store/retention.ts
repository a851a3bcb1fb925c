/** Deletes calls that ended long ago, a few at a time, so that nothing waits for it. */
import type { Statement } from 'bun:sqlite'
import type { Millis } from '../core/ids.ts'
import type { Clock, Log } from '../core/ports.ts'
import type { LocalFile } from './file.ts'
import { messageOf } from './file.ts'
import type { Journal, Part } from './journal.ts'
import { connect, type MysqlConnection, type MysqlSettings } from './mysql.ts'
import { toSql } from './times.ts'

const DAY: Millis = 24 * 3600 * 1000
/** Rows looked at in one go: about a millisecond here. */
const CHUNK = 200
const REMOTE_CHUNK = 1000

interface Old {
  id: number
  status: string
  service: string | null
  created_at: string
  ended_at: string | null
}

interface Job {
  readonly before: string
  /** Rows up to this id were looked at. */
  after: number
  seen: readonly Old[]
  deleted: number
  deletedNow: number
  done(): void
}

export interface RetentionDeps {
  readonly file: LocalFile
  readonly journal: Journal
  readonly mysql: MysqlSettings | null
  readonly clock: Clock
  readonly log: Log
}

export class Retention implements Part {
  readonly #deps: RetentionDeps
  readonly #next: Statement<Old, [number, number]>
  readonly #delete: Statement<unknown, [number]>
  #job: Job | null = null

  constructor(deps: RetentionDeps) {
    this.#deps = deps
    this.#next = deps.file.prepare(`
      SELECT id, status, service, created_at, ended_at FROM call_logs WHERE id > ? ORDER BY id LIMIT ?`)
    // What has still to be carried to the other database stays.
    this.#delete = deps.file.prepare(`
      DELETE FROM call_logs WHERE id = ?
        AND session_id NOT IN (SELECT session_id FROM outbox) AND session_id NOT IN (SELECT session_id FROM refused)`)
    deps.journal.add(this)
  }

  /** As `Store.retain`. */
  async retain(days: number): Promise<number> {
    if (days === 0 || this.#job !== null) return 0
    const { clock, mysql, log } = this.#deps
    const before = toSql(clock.now() - days * DAY)
    const here = await this.#retainHere(before)
    if (mysql === null) return here
    try {
      const connection = await connect(mysql, clock)
      return here + (await retainThere(connection, before).finally(() => connection.close()))
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'old calls could not be deleted from the database')
      return here
    }
  }

  readonly held = 0

  write(): void {
    const job = this.#job
    if (job === null) return
    job.seen = this.#next.all(job.after, CHUNK)
    job.deletedNow = 0
    for (const row of job.seen)
      if (isOver(row, job.before)) job.deletedNow += this.#delete.run(row.id).changes
  }

  settled(committed: boolean): void {
    const job = this.#job
    if (job === null || !committed) return
    job.deleted += job.deletedNow
    job.after = job.seen.at(-1)?.id ?? job.after
    if (isLast(job.seen, job.before)) job.done()
    else setImmediate(() => this.#deps.journal.changed())
  }

  async #retainHere(before: string): Promise<number> {
    const job: Job = { before, after: 0, seen: [], deleted: 0, deletedNow: 0, done: () => {} }
    this.#job = job
    await new Promise<void>((done) => {
      job.done = done
      this.#deps.journal.changed()
    })
    this.#job = null
    return job.deleted
  }
}

async function retainThere(connection: MysqlConnection, before: string): Promise<number> {
  let deleted = 0
  for (let after = 0; ; ) {
    const rows: Old[] = await connection.rows(`
      SELECT id, status, service, created_at, ended_at FROM call_logs
      WHERE id > ${after} ORDER BY id LIMIT ${REMOTE_CHUNK}`)
    const over = rows.filter((row) => isOver(row, before)).map(({ id }) => id)
    if (over.length > 0) {
      const { affectedRows } = await connection.run(`DELETE FROM call_logs WHERE id IN (${over.join(', ')})`)
      deleted += affectedRows
    }
    if (isLast(rows, before)) return deleted
    after = rows.at(-1)?.id ?? after
  }
}

/** Rows that others wrote, who named no service, are not ours to delete. */
function isOver({ status, service, ended_at }: Old, before: string): boolean {
  return status === 'ended' && service !== null && ended_at !== null && ended_at < before
}

/** Rows are in the order of their creation, more or less: when all of a chunk are young, so are those after it. */
function isLast(rows: readonly Old[], before: string): boolean {
  return rows.every(({ created_at }) => created_at >= before)
}
