// What the store does with the table `call_logs` in MySQL: makes it as the reference document shows it, adds to one that
// is there, and is not held up by what the table will not take.
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'
import { MariaDb } from '../kit/mariadb.ts'
import { describeWith } from '../kit/need.ts'
import {
  arrived,
  created,
  ended,
  find,
  newId,
  type OpenedStore,
  openTestStore,
  T0,
  temporaryFolder,
} from '../kit/stores.ts'
import { until } from '../kit/until.ts'

/** The table of the reference document, as an app may have it: no index, seconds only, a created_at that updates itself. */
const OLD_TABLE = `
  CREATE TABLE call_logs (
    id INT AUTO_INCREMENT PRIMARY KEY,
    session_id VARCHAR(36),
    ride_id VARCHAR(255),
    driver_id VARCHAR(255),
    passenger_id VARCHAR(255),
    status VARCHAR(50),
    initiated_by VARCHAR(255),
    end_reason VARCHAR(255),
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    connected_at TIMESTAMP NULL,
    ended_at TIMESTAMP NULL
  ) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci`

function complaints(store: OpenedStore): unknown[] {
  return store.lines.flatMap(({ level, context }) => (level === 'error' ? [context.error] : []))
}

describeWith('mariadbd', 'the table in MySQL', () => {
  let mariadb: MariaDb
  let database: string
  let number = 0
  const opened = new Set<OpenedStore>()

  beforeAll(async () => {
    mariadb = await MariaDb.start()
  }, 60_000)
  afterAll(() => mariadb?.stop())
  afterEach(async () => {
    for (const store of opened) await store.close()
    opened.clear()
  })

  const open = (more: { dataDir?: string; username?: string } = {}) => {
    const { dataDir = temporaryFolder(), username = 'root' } = more
    const store = openTestStore({ dataDir, mysql: { ...mariadb.settings, username, database } })
    opened.add(store)
    return store
  }
  const close = async (store: OpenedStore) => {
    await store.close()
    opened.delete(store)
  }
  const freshDatabase = () => {
    database = `table_${++number}`
  }
  const given = async (...statements: string[]) => {
    freshDatabase()
    await mariadb.query(`CREATE DATABASE ${database}`)
    for (const statement of statements) await mariadb.query(statement, database)
  }
  const rows = () => mariadb.query<Record<string, unknown>>('SELECT * FROM call_logs ORDER BY id', database)

  test('it is made with the columns of the document, in their order and types, and ours after them', async () => {
    freshDatabase()
    const store = open()
    await until(() => store.status().reachable, 'the table')
    const columns = await mariadb.query<{ name: string; type: string; nullable: string; extra: string }>(`
      SELECT column_name AS name, column_type AS type, is_nullable AS nullable, extra
      FROM information_schema.columns
      WHERE table_schema = '${database}' AND table_name = 'call_logs' ORDER BY ordinal_position`)
    expect(columns.map(({ name, type }) => `${name} ${type.replace(/^int\(11\)$/, 'int')}`)).toEqual([
      'id int',
      'session_id varchar(36)',
      'ride_id varchar(255)',
      'driver_id varchar(255)',
      'passenger_id varchar(255)',
      'status varchar(50)',
      'initiated_by varchar(255)',
      'end_reason varchar(255)',
      'created_at timestamp(3)',
      'connected_at timestamp(3)',
      'ended_at timestamp(3)',
      'service varchar(16)',
      'ended_by varchar(16)',
      'detail text',
      'media_connected_at timestamp(3)',
      'relay tinyint(1)',
      'metadata text',
    ])
    expect(columns.slice(11).every(({ nullable }) => nullable === 'YES')).toBe(true)
    // Not even the first timestamp updates itself, which older servers add unasked.
    expect(columns.filter(({ extra }) => extra.includes('on update'))).toEqual([])
    expect(columns[0]?.extra).toBe('auto_increment')
  })

  test('one that is there keeps its rows and gets what it lacks', async () => {
    await given(
      OLD_TABLE,
      `INSERT INTO call_logs (session_id, ride_id, driver_id, passenger_id, status, created_at, ended_at)
       VALUES ('old', 'ride_1', 'd', 'p', 'ended', '2020-01-01 00:00:00', '2020-01-01 00:01:00')`,
    )
    const before = await rows()
    const store = open()
    const id = newId()
    store.callLog.append(created(id, { subject: 'Straße 🚕' }))
    await arrived(store)
    store.callLog.append({ is: 'active', id, at: T0 + 5000 })
    await arrived(store)
    store.callLog.append(ended(id))
    await arrived(store)

    const [old, ours, ...more] = await rows()
    expect(more).toEqual([])
    expect(old).toMatchObject(before[0] ?? {})
    // To the second, as the old columns have it; and creation stays when the row is updated.
    expect(ours).toMatchObject({ session_id: id, status: 'ended', created_at: '2026-01-31 09:30:00' })
    expect(await find(store)).toMatchObject([
      { session_id: id, created_at: '2026-01-31T09:30:00.000Z', ended_at: '2026-01-31T09:31:00.000Z' },
      { session_id: 'old', service: 'ride', metadata: null },
    ])
    // A folding collation finds no more than the id itself.
    expect(await find(store, { ride: 'STRASSE 🚕' })).toEqual([])
    expect((await find(store, { ride: 'Straße 🚕' })).length).toBe(1)

    // Rows of others are not ours to delete, however old.
    expect(await store.retain(1)).toBe(1)
    expect((await rows()).map((row) => row.session_id)).toEqual(['old'])
  })

  test('a table that has everything is not changed at the next start', async () => {
    await given(OLD_TABLE)
    const first = open()
    await until(() => first.status().reachable, 'the table')
    const shown = async () => (await mariadb.query('SHOW CREATE TABLE call_logs', database))[0]
    const before = await shown()
    expect(first.lines.filter(({ message }) => message.includes('added to call_logs')).length).toBe(2)
    await close(first)
    const second = open()
    await until(() => second.status().reachable, 'the table')
    expect(await shown()).toEqual(before)
    expect(second.lines).toEqual([])
  })

  test('two rows of one session stop the carrying and are named, and nothing is lost', async () => {
    await given(OLD_TABLE, `INSERT INTO call_logs (session_id) VALUES ('twice'), ('twice')`)
    const store = open()
    const id = newId()
    store.callLog.append(created(id))
    await store.callLog.synced()
    await until(() => complaints(store).length > 0, 'the complaint')
    expect(complaints(store)).toEqual([expect.stringContaining('twice')])
    expect(store.status()).toMatchObject({ reachable: false, writable: true, backlog: 1 })
    await mariadb.query(`DELETE FROM call_logs WHERE session_id = 'twice' LIMIT 1`, database)
    await arrived(store)
    expect((await rows()).map((row) => row.session_id)).toEqual(['twice', id])
  })

  test('a user without any right to make a database leaves the rows waiting, and says what is missing', async () => {
    freshDatabase()
    await mariadb.query(`CREATE USER IF NOT EXISTS small@'%'`)
    const store = open({ username: 'small' })
    store.callLog.append(created(newId()))
    await store.callLog.synced()
    await until(() => complaints(store).length > 0, 'the complaint')
    expect(complaints(store)).toEqual([expect.stringContaining(database)])
    await mariadb.query(`CREATE DATABASE ${database}; GRANT ALL ON ${database}.* TO small@'%'`)
    await arrived(store)
    expect((await rows()).length).toBe(1)
  })

  test('a user who may do no more than read and write rows can do with a table that is there', async () => {
    await given()
    await mariadb.query(`
      CREATE USER IF NOT EXISTS clerk@'%';
      GRANT SELECT, INSERT, UPDATE, DELETE ON ${database}.* TO clerk@'%'`)
    const store = open({ username: 'clerk' })
    store.callLog.append(created(newId()))
    await store.callLog.synced()
    await until(() => complaints(store).length > 0, 'the complaint')
    expect(complaints(store)).toEqual(['there is no table call_logs, and this user may not make it'])
    // As an operator gives it to the client.
    await mariadb.query(await Bun.file(join(import.meta.dir, '../../database.sql')).text(), database)
    await arrived(store)
    expect((await rows()).length).toBe(1)
  })

  test('a row that the table will not have is put aside and named; the others arrive, and it too once it fits', async () => {
    await given(
      OLD_TABLE.replace('ride_id VARCHAR(255)', 'ride_id VARCHAR(255) CHARACTER SET latin1').replace(
        'driver_id VARCHAR(255)',
        'driver_id VARCHAR(8)',
      ),
    )
    const store = open()
    const [unknownLetter, tooLong, ...fine] = Array.from({ length: 30 }, newId)
    if (unknownLetter === undefined || tooLong === undefined) throw new Error('no ids')
    store.callLog.append(created(unknownLetter, { subject: '乘客' }))
    store.callLog.append(created(tooLong, { parties: ['ninechars', 'p'] }))
    for (const id of fine) store.callLog.append(created(id))
    await arrived(store)
    const stored = async () => (await rows()).map((row) => String(row.session_id)).sort()
    expect(await stored()).toEqual([...fine].sort())
    const named = store.lines.flatMap(({ level, context }) =>
      level === 'error' && context.session ? [context.session] : [],
    )
    expect(named.sort()).toEqual([unknownLetter, tooLong].sort())

    // What changes is tried again; so is everything at a start.
    await mariadb.query('ALTER TABLE call_logs MODIFY driver_id VARCHAR(255)', database)
    store.callLog.append(ended(tooLong))
    await arrived(store)
    expect(await stored()).toEqual([tooLong, ...fine].sort())
    await mariadb.query('ALTER TABLE call_logs MODIFY ride_id VARCHAR(255) CHARACTER SET utf8mb4', database)
    await close(store)
    await arrived(open({ dataDir: store.dataDir }))
    expect(await stored()).toEqual([unknownLetter, tooLong, ...fine].sort())
  })

  test('a call uses up one number of the table, however often its row changes', async () => {
    freshDatabase()
    const store = open()
    const ids = Array.from({ length: 15 }, newId)
    const steps = [
      (id: (typeof ids)[number]) => created(id),
      (id: (typeof ids)[number]) => ({ is: 'active', id, at: T0 }) as const,
      (id: (typeof ids)[number]) => ({ is: 'initiated', id, by: 'user_123' }) as const,
      (id: (typeof ids)[number]) => ended(id),
    ]
    for (const step of steps) {
      for (const id of ids) store.callLog.append(step(id))
      await arrived(store)
    }
    expect((await rows()).map((row) => row.id)).toEqual(ids.map((_, i) => i + 1))
    expect(new Set((await rows()).map((row) => row.status))).toEqual(new Set(['ended']))
  })

  test('a row that somebody deleted over there comes back with its next change', async () => {
    freshDatabase()
    const store = open()
    const id = newId()
    store.callLog.append(created(id))
    await arrived(store)
    await mariadb.query('DELETE FROM call_logs', database)
    store.callLog.append(ended(id))
    await arrived(store)
    expect(await rows()).toMatchObject([{ session_id: id, ride_id: 'ride_456', status: 'ended' }])
  })

  test('an ended row never goes back, not even to what another server says of it later', async () => {
    freshDatabase()
    const [first, second] = [open(), open()]
    const id = newId()
    for (const store of [first, second]) {
      store.callLog.append(created(id))
      await arrived(store)
    }
    first.callLog.append(ended(id))
    await arrived(first)
    second.callLog.append({ is: 'active', id, at: T0 + 1000 })
    second.callLog.append({
      is: 'ended',
      id,
      at: T0 + 9000,
      reason: 'server_restart',
      by: 'clock',
      detail: 'late',
    })
    await arrived(second)
    expect(await rows()).toMatchObject([
      { status: 'ended', end_reason: 'user_terminated', ended_by: 'driver', detail: null },
    ])
  })
})
