import { Database } from 'bun:sqlite'
import { afterEach, expect, test } from 'bun:test'
import { TestClock } from '../../test/kit/clock.ts'
import { listLog } from '../../test/kit/log.ts'
import { IN_REAL_TIME } from '../../test/kit/real-time.ts'
import { created, ended, newId, T0, temporaryFolder } from '../../test/kit/stores.ts'
import { until } from '../../test/kit/until.ts'
import { Failure } from '../protocol/codes.ts'
import { Calls } from './calls.ts'
import { LocalFile } from './file.ts'
import { Journal } from './journal.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** A journal with the log of calls as its part, and other connections that look into the file. */
function openJournal() {
  const dataDir = temporaryFolder()
  const log = listLog()
  const clock = new TestClock(T0)
  const file = LocalFile.open(dataDir, clock, log)
  const journal = new Journal({ file, clock, log })
  const calls = new Calls({ file, journal, log, changed: () => {} })
  const reader = new Database(file.path ?? '', { readonly: true })
  closing.push(async () => {
    reader.close()
    other.close()
    await journal.close()
    file.close()
  })
  const rows = () =>
    (reader.query('SELECT count(*) AS count FROM call_logs').get() as { count: number }).count
  const other = new Database(file.path ?? '', { readonly: true })
  const pagesInLog = () => (other.query('PRAGMA wal_checkpoint = NOOP').get() as { log: number }).log
  return { file, journal, calls, clock, log, reader, rows, pagesInLog }
}

/** Lets a sync fail once, as of a disk that could not write. */
function failNextSync(file: LocalFile): void {
  file.syncLog = () => {
    file.syncLog = LocalFile.prototype.syncLog
    return Promise.reject(new Error('EIO: i/o error, fdatasync'))
  }
}

test(
  'what nobody waits for is in the file within some milliseconds, where the death of the process leaves it',
  IN_REAL_TIME,
  async () => {
    const { calls, rows } = openJournal()
    const from = performance.now()
    calls.append(created(newId()))
    await until(() => rows() === 1, 'the row')
    expect(performance.now() - from).toBeLessThan(100)
  },
)

test('with nothing to write there is nothing to wait for', async () => {
  const { file, journal } = openJournal()
  await journal.synced()
  let syncs = 0
  file.syncLog = () => {
    syncs++
    return LocalFile.prototype.syncLog.call(file)
  }
  await journal.synced()
  expect(syncs).toBe(0)
})

test('those who wait in the same turn share one sync, and those who come while it runs the next', async () => {
  const { file, calls } = openJournal()
  const begun: (() => void)[] = []
  file.syncLog = () => new Promise((resolve) => begun.push(resolve))
  const open = async () => {
    calls.append(created(newId()))
    await calls.synced()
  }
  const first = Promise.all(Array.from({ length: 20 }, open))
  await until(() => begun.length === 1, 'the first sync')
  const second = Promise.all(Array.from({ length: 20 }, open))
  begun[0]?.()
  await first
  await until(() => begun.length === 2, 'the second sync')
  begun[1]?.()
  await second
  expect(begun.length).toBe(2)
})

test('who waits for what is being synced already waits for no other sync', async () => {
  const { file, calls, rows } = openJournal()
  const begun: (() => void)[] = []
  file.syncLog = () => new Promise((resolve) => begun.push(resolve))
  calls.append(created(newId()))
  const first = calls.synced()
  await until(() => begun.length === 1 && rows() === 1, 'the sync')
  const second = calls.synced()
  begun[0]?.()
  await Promise.all([first, second])
  expect(begun.length).toBe(1)
})

test('nothing is committed while a sync runs', async () => {
  const { file, calls, rows } = openJournal()
  let finish = () => {}
  file.syncLog = () =>
    new Promise((resolve) => {
      finish = resolve
    })
  calls.append(created(newId()))
  const first = calls.synced()
  await until(() => rows() === 1, 'the first row')
  calls.append(created(newId()))
  // Several times as long as it is ever put off.
  await Bun.sleep(30)
  expect(rows()).toBe(1)
  file.syncLog = LocalFile.prototype.syncLog
  finish()
  await first
  await until(() => rows() === 2, 'the second row')
})

test('a sync that fails is told to those who waited; all is then written again, and synced, by a checkpoint', async () => {
  const { file, journal, calls, clock, log, rows } = openJournal()
  const [kept, retracted] = [newId(), newId()]
  calls.append(created(kept))
  await calls.synced()
  failNextSync(file)
  calls.append(created(retracted))
  expect(await calls.synced().catch((error) => error)).toBeInstanceOf(Failure)
  calls.retract(retracted)
  expect(journal.failing).toBe(true)
  expect(await calls.synced().catch((error) => error.code)).toBe('storage_unavailable')

  const order: string[] = []
  for (const name of ['syncPages', 'syncLog'] as const) {
    file[name] = () => {
      order.push(name)
      return LocalFile.prototype[name].call(file)
    }
  }
  await clock.wind(1000)
  await until(() => !journal.failing, 'the next attempt')
  await calls.synced()
  expect(order.slice(0, 2)).toEqual(['syncPages', 'syncLog'])
  expect(rows()).toBe(1)
  expect(log.lines.map(({ level }) => level)).toEqual(['error', 'info'])
})

test('what cannot be written for its own sake is passed over and named, and holds up nobody', async () => {
  const { calls, log, rows } = openJournal()
  calls.append(created(newId(), { at: Number.NaN }))
  calls.append(created(newId()))
  await calls.synced()
  expect(rows()).toBe(1)
  expect(log.lines).toMatchObject([
    { level: 'error', message: 'something cannot be written to the local file' },
  ])
})

test('the log stays short, and grows only while somebody reads', async () => {
  const { calls, reader, log, pagesInLog } = openJournal()
  const write = async (groups: number) => {
    for (let i = 0; i < groups; i++) {
      for (let j = 0; j < 20; j++) calls.append(created(newId(), { subject: 'x'.repeat(200) }))
      await calls.synced()
    }
  }
  await write(150)
  expect(pagesInLog()).toBeLessThan(1600)
  const before = reader.query('SELECT count(*) FROM call_logs')
  reader.run('BEGIN')
  before.get()
  await write(250)
  expect(pagesInLog()).toBeGreaterThan(2000)
  reader.run('COMMIT')
  // Checkpoints are tried again when the log has grown some more.
  await write(250)
  expect(pagesInLog()).toBeLessThan(1600)
  expect(log.lines).toEqual([])
})

test('closing writes what is held; after it nothing is, and twice is fine', async () => {
  const { journal, calls, rows } = openJournal()
  const id = newId()
  calls.append(created(id))
  await Promise.all([journal.close(), journal.close()])
  expect(rows()).toBe(1)
  calls.append(ended(id))
  expect(await calls.synced().catch((error) => error.code)).toBe('storage_unavailable')
})
