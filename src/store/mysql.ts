/**
 * Connections to MySQL or MariaDB. Whatever does not answer in time is cut off, so that nothing piles up behind a
 * server that hangs. The driver is loaded with the first connection, since it takes a while.
 */
import { connect as connectSocket } from 'node:net'
import type { Connection, ConnectionOptions, QueryError, ResultSetHeader } from 'mysql2'
import type { Millis } from '../core/ids.ts'
import type { Clock } from '../core/ports.ts'

export interface MysqlSettings {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly username: string
  readonly password: string
}

/** What a placeholder takes. */
export type Value = string | null

/** Making a connection, and each statement, may take so long. */
export const PATIENCE: Millis = 5000

/** The database did answer, and the answer is no. After any other error nobody knows what it did. */
export class Refusal extends Error {
  readonly errno: number
  readonly sqlState: string

  constructor(message: string, errno: number, sqlState: string) {
    super(message)
    this.errno = errno
    this.sqlState = sqlState
  }

  /** It will not have these values, whenever it is asked. */
  get ofTheValues(): boolean {
    return /^2[23]/.test(this.sqlState) || VALUE_ERRORS.has(this.errno)
  }
}

/** ER_TRUNCATED_WRONG_VALUE_FOR_FIELD and ER_NO_DEFAULT_FOR_FIELD, whose state says nothing. */
const VALUE_ERRORS = new Set([1366, 1364])
const NO_SUCH_DATABASE = 1049

/** One connection. Once a statement got no answer, or the server hung up, every further one is rejected. */
export class MysqlConnection {
  readonly #connection: Connection
  readonly #clock: Clock
  readonly #cut: () => void
  #lost: Error | null = null

  constructor(connection: Connection, cut: () => void, clock: Clock) {
    this.#connection = connection
    this.#clock = clock
    this.#cut = cut
    connection.on('error', (error) => this.#lose(error))
    connection.on('end', () => this.#lose(new Error('the database hung up')))
  }

  get alive(): boolean {
    return this.#lost === null
  }

  run(sql: string, values: readonly Value[] = []): Promise<ResultSetHeader> {
    return this.#ask(sql, values) as Promise<ResultSetHeader>
  }

  rows<Row>(sql: string, values: readonly Value[] = []): Promise<Row[]> {
    return this.#ask(sql, values) as Promise<Row[]>
  }

  /** All of `work` or nothing. When it rejects with a `Refusal`, nothing was done. */
  async transaction(work: () => Promise<void>): Promise<void> {
    await this.run('START TRANSACTION')
    try {
      await work()
    } catch (error) {
      await this.run('ROLLBACK')
      throw error
    }
    await this.run('COMMIT')
  }

  /** Twice is fine. */
  close(): void {
    this.#lose(new Error('the connection was closed'))
  }

  #ask(sql: string, values: readonly Value[]): Promise<unknown> {
    if (this.#lost !== null) return Promise.reject(this.#lost)
    return within(this.#clock, PATIENCE, (resolve, reject) => {
      const answer = (error: QueryError | null, result: unknown) => {
        if (error === null) resolve(result)
        else reject(this.#understand(error))
      }
      // Without values it is sent as text: not every statement can be prepared.
      if (values.length === 0) this.#connection.query(sql, answer)
      else this.#connection.execute(sql, [...values], answer)
    }).catch((error) => {
      if (!(error instanceof Refusal)) this.#lose(error)
      throw error
    })
  }

  #understand(error: QueryError): Error {
    const { errno, sqlState } = error as { errno?: number; sqlState?: string }
    // 08 is a connection that ends, such as that of a server that shuts down.
    if (error.fatal || errno === undefined || sqlState === undefined || sqlState.startsWith('08'))
      return error
    return new Refusal(error.message, errno, sqlState)
  }

  #lose(error: Error): void {
    this.#lost ??= error
    this.#cut()
  }
}

/** Connects, and makes the database if it is missing and that is allowed. */
export async function connect(settings: MysqlSettings, clock: Clock): Promise<MysqlConnection> {
  try {
    return await connectTo(settings, settings.database, clock)
  } catch (error) {
    if ((error as { errno?: number }).errno !== NO_SUCH_DATABASE) throw error
  }
  const connection = await connectTo(settings, undefined, clock)
  const name = `\`${settings.database.replaceAll('`', '``')}\``
  await connection.run(`CREATE DATABASE IF NOT EXISTS ${name} DEFAULT CHARACTER SET utf8mb4`)
  await connection.run(`USE ${name}`)
  return connection
}

async function connectTo(
  settings: MysqlSettings,
  database: string | undefined,
  clock: Clock,
): Promise<MysqlConnection> {
  const { createConnection } = await import('mysql2')
  // A socket of our own: the driver's way of closing one waits for the other end.
  const socket = connectSocket(settings.port, settings.host).setNoDelay(true).setKeepAlive(true)
  const options: ConnectionOptions = {
    stream: socket,
    user: settings.username,
    password: settings.password,
    charset: 'utf8mb4',
    dateStrings: true,
    maxPreparedStatements: 32,
    ...(database === undefined ? {} : { database }),
  }
  const raw = createConnection(options)
  // Without a listener an error that comes after the deadline would end the process.
  raw.on('error', () => {})
  try {
    await within(clock, PATIENCE, (resolve, reject) => {
      socket.once('error', reject)
      raw.connect((error) => (error === null ? resolve(null) : reject(error)))
    })
  } catch (error) {
    socket.destroy()
    throw error
  }
  const connection = new MysqlConnection(raw, () => socket.destroy(), clock)
  await connection.run(
    `SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', innodb_lock_wait_timeout = 4`,
  )
  return connection
}

type Settle = (resolve: (value: unknown) => void, reject: (error: Error) => void) => void

/** A promise that is rejected when the time is over. */
function within(clock: Clock, span: Millis, settle: Settle): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const alarm = clock.alarm(clock.now() + span, () => {
      reject(new Error(`no answer from the database within ${span / 1000} s`))
    })
    settle(
      (value) => {
        alarm.cancel()
        resolve(value)
      },
      (error) => {
        alarm.cancel()
        reject(error)
      },
    )
  })
}
