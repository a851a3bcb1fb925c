/** The tables in MySQL, as `database.sql` has them, and the statements that fill `call_logs`. */
import schema from '../../database.sql' with { type: 'text' }
import type { Log } from '../core/ports.ts'
import { type MysqlConnection, Refusal, type Value } from './mysql.ts'
import type { CarriedCall } from './outbox.ts'

/** Columns that are not in the reference document, so that an older table may lack them. */
const ADDED = ['service', 'ended_by', 'detail', 'media_connected_at', 'relay', 'metadata']

/** ER_TABLEACCESS_DENIED_ERROR */
const NOT_ALLOWED = 1142

/** Makes the tables that are not there. A user who may not make any does with those that are. */
export async function makeTables(connection: MysqlConnection): Promise<void> {
  for (const statement of statements(schema)) {
    try {
      await connection.run(statement)
    } catch (error) {
      if (!(error instanceof Refusal) || error.errno !== NOT_ALLOWED) throw error
    }
  }
}

/** Makes the tables, and adds to `call_logs` what it lacks. What is in it stays. */
export async function prepareTable(connection: MysqlConnection, log: Log): Promise<void> {
  await makeTables(connection)
  const columns = await connection.rows<{ name: string; charset: string | null }>(`
    SELECT column_name AS name, character_set_name AS charset FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'call_logs'`)
  if (columns.length === 0) throw new Error('there is no table call_logs, and this user may not make it')
  const missing = ADDED.filter((name) => !columns.some((column) => column.name === name))
  if (missing.length > 0) {
    await connection.run(
      `ALTER TABLE call_logs ${missing.map((name) => `ADD COLUMN ${definition(name)}`).join(', ')}`,
    )
    log.info({ columns: missing }, 'columns added to call_logs')
  }
  if (!(await hasUniqueSession(connection))) {
    await connection.run('ALTER TABLE call_logs ADD UNIQUE KEY call_logs_session (session_id)')
    log.info({}, 'unique index on session_id added to call_logs')
  }
  const narrow = columns.filter(({ charset }) => charset !== null && !charset.startsWith('utf8mb4'))
  if (narrow.length > 0) {
    log.warn(
      { columns: narrow.map(({ name }) => name) },
      'columns of call_logs are not utf8mb4: rows whose ids do not fit into them cannot be carried',
    )
  }
}

async function hasUniqueSession(connection: MysqlConnection): Promise<boolean> {
  const found = await connection.rows(`
    SELECT index_name AS name FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = 'call_logs'
    GROUP BY index_name HAVING count(*) = 1 AND max(non_unique) = 0 AND max(column_name) = 'session_id'`)
  return found.length > 0
}

function statements(sql: string): string[] {
  const code = sql.replace(/--.*$/gm, '')
  return code.split(';').filter((statement) => statement.trim() !== '')
}

/** The line of `database.sql` that defines a column. */
function definition(column: string): string {
  const line = new RegExp(`^\\s*(${column} [^,]*)`, 'm').exec(schema.replace(/--.*$/gm, ''))
  if (line?.[1] === undefined) throw new Error(`database.sql has no column ${column}`)
  return line[1]
}

/** Columns that are empty at first. What once was written into them stays. */
const FILLED = ['initiated_by', 'connected_at', 'media_connected_at', 'relay'] as const
/** Columns about the end, which are written together. `ended_at` is the last, since it says whether they were. */
const OF_THE_END = ['end_reason', 'ended_by', 'detail', 'ended_at'] as const
const CARRIED = [
  ...([
    'session_id',
    'ride_id',
    'driver_id',
    'passenger_id',
    'created_at',
    'service',
    'metadata',
    'status',
  ] as const),
  ...FILLED,
  ...OF_THE_END,
] satisfies (keyof CarriedCall)[]

/**
 * Assignments that fill a row up, so that it never goes back, whatever comes twice or late. MySQL assigns from left to
 * right, and each sees what those before it did.
 */
function fillUp(news: (column: keyof CarriedCall) => string): string {
  return [
    ...FILLED.map((column) => `${column} = coalesce(${column}, ${news(column)})`),
    ...OF_THE_END.map((column) => `${column} = IF(ended_at IS NULL, ${news(column)}, ${column})`),
    `status = CASE WHEN ended_at IS NOT NULL THEN 'ended' WHEN connected_at IS NOT NULL THEN 'active' ELSE 'created' END`,
  ].join(', ')
}

/** Few sizes, so that the server keeps few prepared statements. */
const SIZES = [100, 10, 1]

/** Inserts rows that are new over there, or fills them up when they are not. */
export async function insert(connection: MysqlConnection, rows: readonly CarriedCall[]): Promise<void> {
  const places = `(${CARRIED.map(() => '?').join(', ')})`
  for (const chunk of chunks(rows)) {
    await connection.run(
      `INSERT INTO call_logs (${CARRIED.join(', ')}) VALUES ${chunk.map(() => places).join(', ')}
       ON DUPLICATE KEY UPDATE ${fillUp((column) => `VALUES(${column})`)}`,
      chunk.flatMap((row) => CARRIED.map((column) => value(row, column))),
    )
  }
}

/**
 * Fills up rows that are there already. An insert would do it as well, but each time it finds the row there it uses up
 * a number of the AUTO_INCREMENT, which ends at 2,147,483,647. Rows that are not there after all are inserted.
 */
export async function update(connection: MysqlConnection, rows: readonly CarriedCall[]): Promise<void> {
  for (const chunk of chunks(rows)) {
    const cases = `CASE session_id ${chunk.map(() => 'WHEN ? THEN ?').join(' ')} END`
    const columns = [...FILLED, ...OF_THE_END]
    const { affectedRows } = await connection.run(
      // An older table may have a created_at that updates itself unless it is set.
      `UPDATE call_logs SET created_at = created_at, ${fillUp(() => cases)}
       WHERE session_id IN (${chunk.map(() => '?').join(', ')})`,
      [
        ...columns.flatMap((column) => chunk.flatMap((row) => [row.session_id, value(row, column)])),
        ...chunk.map((row) => row.session_id),
      ],
    )
    if (affectedRows < chunk.length) await insert(connection, chunk)
  }
}

export async function remove(connection: MysqlConnection, ids: readonly string[]): Promise<void> {
  for (const id of ids) await connection.run('DELETE FROM call_logs WHERE session_id = ?', [id])
}

function value(row: CarriedCall, column: keyof CarriedCall): Value {
  const it = row[column]
  return it === null ? null : String(it)
}

function* chunks(rows: readonly CarriedCall[]): Generator<readonly CarriedCall[]> {
  let at = 0
  for (const size of SIZES) {
    for (; rows.length - at >= size; at += size) yield rows.slice(at, at + size)
  }
}
