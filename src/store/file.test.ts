import { Database } from 'bun:sqlite'
import { afterEach, expect, test } from 'bun:test'
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { TestClock } from '../../test/kit/clock.ts'
import { listLog } from '../../test/kit/log.ts'
import { temporaryFolder } from '../../test/kit/stores.ts'
import { IN_MEMORY, LocalFile, Unusable } from './file.ts'
import { MIGRATIONS, migrate, NewerFile } from './schema.ts'

const opened: LocalFile[] = []
afterEach(() => {
  for (const file of opened.splice(0)) file.close()
})

function open(dataDir: string, log = listLog()): LocalFile {
  const file = LocalFile.open(dataDir, new TestClock(), log)
  opened.push(file)
  return file
}

function mode(path: string): string {
  return (statSync(path).mode & 0o777).toString(8)
}

test('nobody else may read the folder or what is in it', () => {
  const dataDir = join(temporaryFolder(), 'made', 'here')
  open(dataDir)
  expect(mode(dataDir)).toBe('700')
  const files = readdirSync(dataDir)
  expect(files.sort()).toEqual(['ringdown.db', 'ringdown.db-shm', 'ringdown.db-wal', 'ringdown.lock'])
  expect(files.map((name) => mode(join(dataDir, name)))).toEqual(['600', '600', '600', '600'])
})

test('a file that others could read is closed to them', () => {
  const dataDir = temporaryFolder()
  writeFileSync(join(dataDir, 'ringdown.db'), '', { mode: 0o644 })
  chmodSync(join(dataDir, 'ringdown.db'), 0o644)
  open(dataDir)
  expect(mode(join(dataDir, 'ringdown.db'))).toBe('600')
})

test('a second server in the same folder is turned away with one line, and let in when the first is gone', () => {
  const dataDir = temporaryFolder()
  const first = open(dataDir)
  const error = attempt(() => open(dataDir))
  expect(error).toBeInstanceOf(Unusable)
  expect(error?.message).toBe(`DATA_DIR ${dataDir} is in use by another server (database is locked)`)
  first.close()
  first.close()
  open(dataDir)
})

test('others may read the database while the server runs', () => {
  const dataDir = temporaryFolder()
  open(dataDir)
  const reader = new Database(join(dataDir, 'ringdown.db'), { readonly: true })
  expect(reader.query('SELECT count(*) AS count FROM call_logs').get()).toEqual({ count: 0 })
  reader.close()
})

test('a folder that cannot be made is named', () => {
  const path = join(temporaryFolder(), 'file')
  writeFileSync(path, '')
  expect(attempt(() => open(join(path, 'data')))?.message).toStartWith(
    `DATA_DIR ${join(path, 'data')} cannot be made: `,
  )
})

test('a file that cannot be opened is named', () => {
  const dataDir = temporaryFolder()
  mkdirSync(join(dataDir, 'ringdown.db'))
  const error = attempt(() => open(dataDir))
  expect(error).toBeInstanceOf(Unusable)
  expect(error?.message).toStartWith(join(dataDir, 'ringdown.db'))
})

test('closing leaves one whole file', () => {
  const dataDir = temporaryFolder()
  open(dataDir).close()
  expect(readdirSync(dataDir).sort()).toEqual(['ringdown.db', 'ringdown.lock'])
})

test('in memory there are no files', () => {
  open(IN_MEMORY)
  expect(existsSync(IN_MEMORY)).toBe(false)
})

test('[F9] a file of a newer version is left alone, and the start refused with one line', () => {
  const dataDir = temporaryFolder()
  open(dataDir).close()
  const path = join(dataDir, 'ringdown.db')
  const newer = new Database(path)
  migrate(newer, path, [
    ...MIGRATIONS,
    'CREATE TABLE of_the_future (x); INSERT INTO of_the_future VALUES (1)',
  ])
  newer.close()
  const error = attempt(() => open(dataDir))
  expect(error).toBeInstanceOf(NewerFile)
  expect(error?.message).toMatch(
    /^\S+ was written by a newer version of Ringdown \(schema \d+; this one knows \d+\): [^\n]+$/,
  )
  expect(readdirSync(dataDir).sort()).toEqual(['ringdown.db', 'ringdown.lock'])
  expect(new Database(path).query('SELECT x FROM of_the_future').all()).toEqual([{ x: 1 }])
})

test('[F9] a file of an older version is brought up to date, and keeps what is in it', () => {
  const db = new Database(':memory:')
  const first = MIGRATIONS.slice(0, 1)
  migrate(db, 'it', first)
  db.run(`INSERT INTO snapshots (id, kind, body) VALUES ('id', 'ride', '{}')`)
  migrate(db, 'it', [...first, 'ALTER TABLE snapshots ADD COLUMN node TEXT'])
  expect(db.query('SELECT id, node FROM snapshots').all()).toEqual([{ id: 'id', node: null }])
  expect(db.query('PRAGMA user_version').get()).toEqual({ user_version: 2 })
  // One that fails leaves the file as it was.
  const broken = [...first, 'SELECT 1', 'CREATE TABLE half (x)', 'nonsense']
  expect(() => migrate(db, 'it', broken)).toThrow()
  expect(db.query('PRAGMA user_version').get()).toEqual({ user_version: 2 })
  expect(db.query(`SELECT name FROM sqlite_schema WHERE name = 'half'`).all()).toEqual([])
})

test('every released file can be brought up to date', () => {
  for (let version = 1; version < MIGRATIONS.length; version++) {
    const dataDir = temporaryFolder()
    const old = new Database(join(dataDir, 'ringdown.db'))
    migrate(old, 'it', MIGRATIONS.slice(0, version))
    old.close()
    const log = listLog()
    open(dataDir, log)
    expect(log.lines).toEqual([])
  }
})

function attempt(act: () => unknown): Error | null {
  try {
    act()
    return null
  } catch (error) {
    return error as Error
  }
}
