/**
 * The tables of the local file. `call_logs` has the columns of the reference document, then ours; `database.sql` in
 * the root of the repository is the same for MySQL, with the directory of direct calls. The number of the last migration is the file's
 * `user_version`.
 */
import { Database } from 'bun:sqlite'
import { Damaged } from './damage.ts'

/** Each takes a file from the number before it to its own, counted from 1. One that was released is never changed. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  INSERT INTO meta VALUES ('turn', 0);

  CREATE TABLE call_logs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id VARCHAR(36) NOT NULL UNIQUE,
    ride_id VARCHAR(255),
    driver_id VARCHAR(255),
    passenger_id VARCHAR(255),
    status VARCHAR(50) NOT NULL DEFAULT 'created',
    initiated_by VARCHAR(255),
    end_reason VARCHAR(255),
    created_at TIMESTAMP NOT NULL,
    connected_at TIMESTAMP,
    ended_at TIMESTAMP,
    service VARCHAR(16),
    ended_by VARCHAR(16),
    detail TEXT,
    media_connected_at TIMESTAMP,
    relay BOOLEAN,
    metadata TEXT
  );
  CREATE INDEX call_logs_ride ON call_logs (ride_id) WHERE ride_id IS NOT NULL;
  -- The calls that are open, which are this server's own: nobody else writes this file.
  -- By id, so that the open ones lie together.
  CREATE INDEX call_logs_open ON call_logs (id) WHERE status <> 'ended';

  -- Calls whose row must be carried to the other database, or, when it is gone here, deleted there.
  CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    gone BOOLEAN NOT NULL,
    since INTEGER NOT NULL
  );

  -- Calls whose row the other database will not have as it is.
  CREATE TABLE refused (session_id TEXT PRIMARY KEY, since INTEGER NOT NULL);

  CREATE TABLE snapshots (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
  );

  CREATE TABLE receipts (
    seq INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,
    answer TEXT NOT NULL,
    expires INTEGER NOT NULL
  );
  `,
  `
  -- Who a client id of direct calls is, and every state its key has had.
  CREATE TABLE direct_identities (
    client_id TEXT NOT NULL PRIMARY KEY,
    public_key TEXT NOT NULL,
    bound_at INTEGER NOT NULL
  );
  CREATE TABLE direct_keys (
    client_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    public_key TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL,
    owner TEXT NOT NULL,
    PRIMARY KEY (client_id, version)
  );
  `,
]

/** Thrown when a file was written by a newer version. The message is one line for the operator. */
export class NewerFile extends Error {}

/** Brings a file up to date, all or nothing. `name` is what the operator calls it. Throws `NewerFile`, `Damaged`. */
export function migrate(db: Database, name: string, migrations: readonly string[] = MIGRATIONS): void {
  const version = versionOf(db)
  if (version > migrations.length) {
    throw new NewerFile(
      `${name} was written by a newer version of Ringdown (schema ${version}; this one knows ${migrations.length}): start that version, or choose another DATA_DIR`,
    )
  }
  if (version === migrations.length) return
  db.transaction(() => {
    for (const statements of migrations.slice(version)) db.run(statements)
    db.run(`PRAGMA user_version = ${migrations.length}`)
    db.run(`INSERT OR REPLACE INTO meta VALUES ('version', ${migrations.length})`)
  }).immediate()
}

/** It stands in two places, so that a byte that changed is not taken for another version. */
function versionOf(db: Database): number {
  const { user_version: version } = db.query('PRAGMA user_version').get() as { user_version: number }
  const [{ tables } = { tables: 0 }] = db
    .query<{ tables: number }, []>('SELECT count(*) AS tables FROM sqlite_schema')
    .all()
  if (version === 0 && tables === 0) return 0
  const noted = notedVersion(db)
  if (noted !== version) throw new Damaged(`its schema is ${version} in one place and ${noted} in another`)
  return version
}

function notedVersion(db: Database): number | null {
  try {
    return (
      db.query<{ value: number }, []>(`SELECT value FROM meta WHERE name = 'version'`).get()?.value ?? null
    )
  } catch {
    return null
  }
}

/** Throws `Damaged` when the tables of a file that is up to date are not those of the migrations. */
export function checkSchema(db: Database): void {
  const model = new Database(':memory:')
  migrate(model, 'the model')
  const wanted = definitions(model)
  model.close()
  const found = new Set(definitions(db))
  const missing = wanted.find((definition) => !found.has(definition))
  if (missing !== undefined) throw new Damaged(`it lacks this: ${missing.replace(/\s+/g, ' ').slice(0, 60)}…`)
}

function definitions(db: Database): string[] {
  return db
    .query<{ definition: string }, []>(
      `SELECT type || name || tbl_name || coalesce(sql, '') AS definition FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%'`,
    )
    .all()
    .map(({ definition }) => definition)
}
