/**
 * The directory of direct calls in MySQL or MariaDB. Clients wait for it when they register, so there are a few
 * connections beside those of the log, and nobody waits for longer than a deadline. A change whose answer did not come
 * may have happened: whoever tries again finds it.
 */
import type { Millis } from '../core/ids.ts'
import type { BoundIdentity, Clock, Directory, DirectoryKey, Log } from '../core/ports.ts'
import { fail } from '../protocol/codes.ts'
import { type Entry, FIND, type Found, HISTORY, toEntry, toKey } from './directory.ts'
import { messageOf } from './file.ts'
import { connect, type MysqlConnection, type MysqlSettings, Refusal } from './mysql.ts'
import { makeTables } from './table.ts'

/** From the question to its answer, connecting included. */
const PATIENCE: Millis = 2000
const LANES = 4
/** Questions that wait for an answer; more are turned away. */
const MOST_ASKED = 10_000
const DUPLICATE = 1062

/** One connection, which is made when it is needed. */
interface Lane {
  connection: MysqlConnection | null
  opening: Promise<MysqlConnection> | null
  asked: number
}

export interface RemoteDirectoryDeps {
  readonly settings: MysqlSettings
  readonly clock: Clock
  readonly log: Log
}

export class RemoteDirectory implements Directory {
  readonly #deps: RemoteDirectoryDeps
  readonly #lanes: readonly Lane[]
  #asked = 0
  #answers = true
  #closed = false

  constructor(deps: RemoteDirectoryDeps) {
    this.#deps = deps
    this.#lanes = Array.from({ length: LANES }, () => ({ connection: null, opening: null, asked: 0 }))
  }

  find(clientId: string): Promise<Entry> {
    return this.#ask(async (connection) => {
      const [found] = await connection.rows<Found>(FIND, [clientId, clientId, clientId])
      return toEntry(found)
    })
  }

  history(clientId: string, after: number, limit: number): Promise<DirectoryKey[]> {
    return this.#ask(async (connection) => {
      const sql = `${HISTORY} LIMIT ${Math.trunc(limit)}`
      return (await connection.rows<Parameters<typeof toKey>[0]>(sql, [clientId, String(after)])).map(toKey)
    })
  }

  bind(clientId: string, before: string | null, { publicKey, boundAt }: BoundIdentity): Promise<boolean> {
    return this.#ask((connection) =>
      before === null
        ? inserted(
            connection.run(
              'INSERT INTO direct_identities (client_id, public_key, bound_at) VALUES (?, ?, ?)',
              [clientId, publicKey, String(boundAt)],
            ),
          )
        : // The driver counts rows that were found, also when they have these values already.
          changed(
            connection.run(
              'UPDATE direct_identities SET public_key = ?, bound_at = ? WHERE client_id = ? AND public_key = ?',
              [publicKey, String(boundAt), clientId, before],
            ),
          ),
    )
  }

  put(clientId: string, key: DirectoryKey): Promise<boolean> {
    const { version, publicKey, changedAt, previous, hash, owner } = key
    const values = [clientId, version, publicKey, changedAt, previous, hash, owner].map(String)
    const into = 'INSERT INTO direct_keys (client_id, version, public_key, changed_at, previous, hash, owner)'
    return this.#ask((connection) =>
      inserted(
        version === 1
          ? connection.run(`${into} VALUES (?, ?, ?, ?, ?, ?, ?)`, values)
          : // The version before it must be there; the primary key sees to it that there is none after.
            connection.run(
              `${into} SELECT ?, ?, ?, ?, ?, ?, ? FROM direct_keys WHERE client_id = ? AND version = ?`,
              [...values, clientId, String(version - 1)],
            ),
      ),
    )
  }

  reset(clientId: string): Promise<boolean> {
    return this.#ask(async (connection) => {
      let found = false
      await connection.transaction(async () => {
        const unbound = await changed(
          connection.run('DELETE FROM direct_identities WHERE client_id = ?', [clientId]),
        )
        const disowned = await changed(
          connection.run(
            `UPDATE direct_keys k JOIN (SELECT max(version) AS version FROM direct_keys WHERE client_id = ?) newest
             ON k.version = newest.version SET k.owner = '' WHERE k.client_id = ? AND k.owner <> ''`,
            [clientId, clientId],
          ),
        )
        found = unbound || disowned
      })
      return found
    })
  }

  /** Twice is fine. */
  close(): void {
    this.#closed = true
    for (const lane of this.#lanes) lane.connection?.close()
  }

  async #ask<T>(work: (connection: MysqlConnection) => Promise<T>): Promise<T> {
    if (this.#closed || this.#asked >= MOST_ASKED) throw fail('storage_unavailable')
    const lane = this.#lanes.reduce((idlest, each) => (each.asked < idlest.asked ? each : idlest))
    lane.asked++
    this.#asked++
    try {
      const answer = await this.#inTime(this.#connection(lane).then(work))
      this.#answered()
      return answer
    } catch (error) {
      // After any other error than a plain no, the connection may still be busy with it.
      if (!(error instanceof Refusal) || error.errno === NO_SUCH_TABLE) lane.connection?.close()
      this.#failed(error)
      throw fail('storage_unavailable', 'The key directory does not answer.')
    } finally {
      lane.asked--
      this.#asked--
    }
  }

  #connection(lane: Lane): Promise<MysqlConnection> {
    if (lane.connection?.alive) return Promise.resolve(lane.connection)
    lane.opening ??= this.#open(lane).finally(() => {
      lane.opening = null
    })
    return lane.opening
  }

  async #open(lane: Lane): Promise<MysqlConnection> {
    const { settings, clock } = this.#deps
    const connection = await connect(settings, clock)
    lane.connection = connection
    if (this.#closed) connection.close()
    await makeTables(connection)
    return connection
  }

  #inTime<T>(answer: Promise<T>): Promise<T> {
    const { clock } = this.#deps
    return new Promise((resolve, reject) => {
      const alarm = clock.alarm(clock.now() + PATIENCE, () => {
        reject(new Error(`no answer from the database within ${PATIENCE / 1000} s`))
      })
      answer.then(resolve, reject).finally(() => alarm.cancel())
    })
  }

  #answered(): void {
    if (!this.#answers) this.#deps.log.info({}, 'the key directory answers again')
    this.#answers = true
  }

  #failed(error: unknown): void {
    if (this.#closed) return
    if (this.#answers)
      this.#deps.log.error({ error: messageOf(error) }, 'the key directory cannot be reached')
    this.#answers = false
  }
}

/** The tables are made with each new connection. */
const NO_SUCH_TABLE = 1146

async function changed(answer: Promise<{ affectedRows: number }>): Promise<boolean> {
  return (await answer).affectedRows > 0
}

/** False when the row is there already. */
async function inserted(answer: Promise<{ affectedRows: number }>): Promise<boolean> {
  try {
    return await changed(answer)
  } catch (error) {
    if (error instanceof Refusal && error.errno === DUPLICATE) return false
    throw error
  }
}
