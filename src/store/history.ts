/** Reading the log of calls: what both databases share, and the one in the local file. */
import type { Statement } from 'bun:sqlite'
import type { Kind } from '../core/kinds.ts'
import type { CallHistory, CallQuery, CallRow } from '../core/ports.ts'
import type { LocalFile } from './file.ts'
import { toIso, toSql } from './times.ts'

/** A row as either database gives it. */
export interface StoredCall {
  id: number
  session_id: string
  ride_id: string | null
  driver_id: string | null
  passenger_id: string | null
  status: string
  initiated_by: string | null
  end_reason: string | null
  created_at: string
  connected_at: string | null
  ended_at: string | null
  service: string | null
  ended_by: string | null
  detail: string | null
  metadata: string | null
}

export const COLUMNS =
  'id, session_id, ride_id, driver_id, passenger_id, status, initiated_by, end_reason, created_at, connected_at, ended_at, service, ended_by, detail, metadata'

export function toRow(stored: StoredCall): CallRow {
  const { connected_at, ended_at } = stored
  return {
    ...stored,
    status: stored.status as CallRow['status'],
    created_at: toIso(stored.created_at),
    connected_at: connected_at === null ? null : toIso(connected_at),
    ended_at: ended_at === null ? null : toIso(ended_at),
    // A table that was there before this server holds rides only.
    service: (stored.service ?? 'ride') as Kind,
    metadata: readMetadata(stored.metadata),
  }
}

function readMetadata(text: string | null): Record<string, unknown> | null {
  if (text === null) return null
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch {
    return null
  }
}

/**
 * The conditions of a query, each with an AND before it, and what they bind. `same` compares a column with an id, as
 * bytes, binding the id so many times.
 */
export function conditions(
  query: CallQuery,
  same: (column: string) => string,
  times: number,
): [string, string[]] {
  const all: [string, string[]][] = []
  const bound = (id: string) => Array.from({ length: times }, () => id)
  if (query.ride !== null) all.push([same('ride_id'), bound(query.ride)])
  if (query.user !== null) {
    all.push([
      `(${same('driver_id')} OR ${same('passenger_id')})`,
      [...bound(query.user), ...bound(query.user)],
    ])
  }
  if (query.service === 'ride') all.push([`(service = 'ride' OR service IS NULL)`, []])
  else if (query.service !== null) all.push(['service = ?', [query.service]])
  if (query.status !== null) all.push(['status = ?', [query.status]])
  if (query.reason !== null) all.push(['end_reason = ?', [query.reason]])
  if (query.from !== null) all.push(['created_at >= ?', [toSql(query.from)]])
  if (query.to !== null) all.push(['created_at < ?', [toSql(query.to)]])
  return [all.map(([sql]) => ` AND ${sql}`).join(''), all.flatMap(([, values]) => values)]
}

/** Rows looked at before others get their turn: about a millisecond. */
const STRIDE = 2000

export class LocalHistory implements CallHistory {
  readonly #file: LocalFile
  readonly #get: Statement<StoredCall, [string]>

  constructor(file: LocalFile) {
    this.#file = file
    this.#get = file.prepare(`SELECT ${COLUMNS} FROM call_logs WHERE session_id = ?`)
  }

  /** Goes through the table in strides, since a query that finds little would hold up every call meanwhile. */
  async find(query: CallQuery): Promise<CallRow[]> {
    const { db } = this.#file
    const [where, values] = conditions(query, (column) => `${column} = ?`, 1)
    if (query.ride !== null) {
      const sql = `SELECT ${COLUMNS} FROM call_logs WHERE id < ?${where} ORDER BY id DESC LIMIT ?`
      const before = query.before ?? Number.MAX_SAFE_INTEGER
      return db
        .query<StoredCall, (string | number)[]>(sql)
        .all(before, ...values, query.limit)
        .map(toRow)
    }
    const stride = db.query<StoredCall, (string | number)[]>(
      `SELECT ${COLUMNS} FROM call_logs WHERE id < ? AND id >= ?${where} ORDER BY id DESC LIMIT ?`,
    )
    const found: StoredCall[] = []
    const ends = db.query<{ last: number | null; first: number | null }, []>(
      'SELECT max(id) AS last, min(id) AS first FROM call_logs',
    )
    const { last, first } = ends.get() ?? { last: null, first: null }
    let before = Math.min(query.before ?? Number.MAX_SAFE_INTEGER, (last ?? 0) + 1)
    while (before > (first ?? 0) && found.length < query.limit) {
      const from = Math.max(before - STRIDE, 0)
      found.push(...stride.all(before, from, ...values, query.limit - found.length))
      before = from
      await new Promise((done) => setImmediate(done))
    }
    return found.map(toRow)
  }

  async get(id: string): Promise<CallRow | null> {
    const stored = this.#get.get(id)
    return stored === null ? null : toRow(stored)
  }
}
