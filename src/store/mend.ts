/**
 * After a server that did not close its file, or a disk that did not keep it: what is whole is kept, what is not is
 * put aside under another name and said. Nothing is lost in silence.
 */
import { Database } from 'bun:sqlite'
import { copyFileSync, existsSync, renameSync, statSync } from 'node:fs'
import type { Millis } from '../core/ids.ts'
import type { Log } from '../core/ports.ts'
import { Damaged } from './damage.ts'
import { checkSchema } from './schema.ts'
import { findDamage } from './wal.ts'

/** Up to this size the whole file is checked, which takes up to a sixth of a second; of a larger one the small tables. */
const WHOLE_CHECK_BYTES = 8 * 1024 * 1024
const LARGEST_LOG_BYTES = 256 * 1024 * 1024
/** Those that a running server cannot do without, and that stay small. */
const SMALL_TABLES = ['meta', 'snapshots', 'outbox', 'refused']
/** Tables whose rows are worth saving, in this order. */
const SAVED = ['call_logs', 'outbox', 'refused', 'snapshots', 'receipts', 'direct_identities', 'direct_keys']
/** Rows that are looked for one by one where a part of a table cannot be read. */
const MOST_PROBES = 100_000

/** Before SQLite opens the file: says what it will not take from the write-ahead log, and keeps a copy of that. */
export function inspectLog(path: string, now: Millis, log: Log): void {
  const wal = `${path}-wal`
  if (!existsSync(wal) || statSync(wal).size > LARGEST_LOG_BYTES) return
  const damage = findDamage(wal)
  if (damage === null) return
  const kept = aside(wal, now)
  copyFileSync(wal, kept)
  log.error(
    { file: wal, ...damage, kept },
    'the log of the local file cannot be read beyond this place: what was written after it is lost',
  )
}

/** Throws when the file is damaged. `thorough` when there is a reason to think so. */
export function check(db: Database, path: string, thorough: boolean): void {
  checkSchema(db)
  const whole = thorough && statSync(path).size <= WHOLE_CHECK_BYTES
  const checks = whole ? ['integrity_check(1)'] : SMALL_TABLES.map((table) => `quick_check(${table})`)
  for (const name of checks) {
    const found = db.query<Record<string, string>, []>(`PRAGMA ${name}`).values() as string[][]
    const said = found[0]?.[0]
    if (said !== 'ok') throw new Damaged(said)
  }
}

/** Puts a damaged file aside. Returns its new name. */
export function putAside(path: string, now: Millis): string {
  const kept = aside(path, now)
  renameSync(path, kept)
  for (const suffix of ['-wal', '-shm']) {
    if (existsSync(path + suffix)) renameSync(path + suffix, kept + suffix)
  }
  return kept
}

/** Copies the rows that can be read from a damaged file into a fresh one. Returns how many of each table. */
export function salvage(damaged: string, into: Database): Record<string, number> {
  const counts: Record<string, number> = {}
  let from: Database
  try {
    from = new Database(damaged)
  } catch {
    return counts
  }
  // Tables whose own definition is whole can then be read though that of another is not.
  attempt(() => from.run('PRAGMA writable_schema = ON'))
  into.transaction(() => {
    for (const table of SAVED) counts[table] = salvageTable(from, into, table)
  })()
  from.close()
  return counts
}

type Row = Record<string, string | number | null>

function salvageTable(from: Database, into: Database, table: string): number {
  let saved = 0
  // By position: what a damaged definition calls a column does not matter.
  const columns = into.query<{ name: string }, []>(`SELECT name FROM pragma_table_info('${table}')`).all()
  const keep = (row: Row) => {
    const { place: _, ...rest } = row
    const values = Object.values(rest)
    const names = columns.slice(0, values.length).map(({ name }) => name)
    const places = values.map(() => '?').join(', ')
    // A row that does not fit any more is one of those that cannot be read.
    const insert = `INSERT OR IGNORE INTO ${table} (${names.join(', ')}) VALUES (${places})`
    saved += attempt(() => into.run(insert, values).changes) ?? 0
  }
  const last = walk(from, table, 'ASC', keep)
  if (last === null) return saved
  // A part in the middle cannot be read. What lies after it is reached from the end, what lies within one by one.
  const first = walk(from, table, 'DESC', keep)
  if (first === null || saved === 0) return saved
  const one = from.query<Row, [number]>(`SELECT rowid AS place, * FROM ${table} WHERE rowid = ?`)
  for (let place = last + 1; place < Math.min(first, last + MOST_PROBES); place++) {
    const row = attempt(() => one.get(place))
    if (row) keep(row)
  }
  return saved
}

/** Goes through a table from one end. Returns the place where it could not go on, or null when it was through. */
function walk(
  from: Database,
  table: string,
  direction: 'ASC' | 'DESC',
  keep: (row: Row) => void,
): number | null {
  let place = direction === 'ASC' ? -1 : Number.MAX_SAFE_INTEGER
  for (;;) {
    const row = attempt(() =>
      from
        .query<Row, [number]>(
          `SELECT rowid AS place, * FROM ${table} WHERE rowid ${direction === 'ASC' ? '>' : '<'} ? ORDER BY rowid ${direction} LIMIT 1`,
        )
        .get(place),
    )
    if (row === null) return null
    // In a damaged tree the next row may be one that was there before.
    const next = row?.place as number | undefined
    if (row === undefined || next === undefined || (direction === 'ASC' ? next <= place : next >= place))
      return place
    place = next
    keep(row)
  }
}

/** Undefined when it threw. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

function aside(path: string, now: Millis): string {
  return `${path}.damaged-${new Date(now).toISOString().replaceAll(':', '-')}`
}
