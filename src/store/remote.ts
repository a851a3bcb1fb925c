/** Reading the log of calls in MySQL, over a connection of its own: a long query holds up no row on its way there. */
import type { Millis } from '../core/ids.ts'
import type { CallHistory, CallQuery, CallRow, Clock } from '../core/ports.ts'
import { fail } from '../protocol/codes.ts'
import { COLUMNS, conditions, type LocalHistory, type StoredCall, toRow } from './history.ts'
import { connect, type MysqlConnection, type MysqlSettings, PATIENCE, Refusal, type Value } from './mysql.ts'

/** The carrier makes the table with its first connection; until then there are no calls. */
const NO_SUCH_TABLE = 1146
/** Queries that wait for those before them; more are turned away. */
const WAITING = 16

export interface RemoteHistoryDeps {
  readonly settings: MysqlSettings
  /** Knows the calls whose row is still on its way. */
  readonly local: LocalHistory
  readonly clock: Clock
}

export class RemoteHistory implements CallHistory {
  readonly #deps: RemoteHistoryDeps
  #connection: MysqlConnection | null = null
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0
  #closed = false

  constructor(deps: RemoteHistoryDeps) {
    this.#deps = deps
  }

  async find(query: CallQuery): Promise<CallRow[]> {
    // The first comparison finds the index whatever its collation; the second one holds for bytes.
    const same = (column: string) =>
      `(${column} = ? AND CAST(CONVERT(${column} USING utf8mb4) AS BINARY) = CAST(? AS BINARY))`
    const [where, values] = conditions(query, same, 2)
    const before = query.before === null ? '' : ` AND id < ${Math.trunc(query.before)}`
    return this.#rows(
      `SELECT ${COLUMNS} FROM call_logs WHERE TRUE${before}${where} ORDER BY id DESC LIMIT ${Math.trunc(query.limit)}`,
      values,
    )
  }

  async get(id: string): Promise<CallRow | null> {
    const local = await this.#deps.local.get(id)
    if (local !== null) return local
    const [row] = await this.#rows(`SELECT ${COLUMNS} FROM call_logs WHERE session_id = ?`, [id])
    return row ?? null
  }

  /** Twice is fine. */
  close(): void {
    this.#closed = true
    this.#connection?.close()
  }

  async #rows(sql: string, values: readonly Value[]): Promise<CallRow[]> {
    if (this.#waiting >= WAITING || this.#closed) throw fail('storage_unavailable')
    this.#waiting++
    const deadline = this.#deps.clock.now() + PATIENCE
    const answer = this.#last.then(() => this.#ask(sql, values, deadline))
    this.#last = answer.catch(() => {})
    try {
      return (await answer).map(toRow)
    } catch (error) {
      if (error instanceof Refusal && error.errno === NO_SUCH_TABLE) return []
      throw fail('storage_unavailable', 'The database of the call log does not answer.')
    } finally {
      this.#waiting--
    }
  }

  async #ask(sql: string, values: readonly Value[], deadline: Millis): Promise<StoredCall[]> {
    // Those that queued behind one without an answer have waited as long as it did.
    if (this.#deps.clock.now() >= deadline) throw new Error('too late')
    if (!this.#connection?.alive) this.#connection = await connect(this.#deps.settings, this.#deps.clock)
    if (this.#closed) this.#connection.close()
    return await this.#connection.rows<StoredCall>(sql, values)
  }
}
