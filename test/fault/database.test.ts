// What happens to the log of calls when its database dies, hangs, or is cut off: F5, F6, F7. A real MariaDB, killed and
// stopped as a real one would be.
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import type { CallId } from '../../src/core/ids.ts'
import { FastClock } from '../kit/fast-clock.ts'
import { MariaDb } from '../kit/mariadb.ts'
import { describeWith } from '../kit/need.ts'
import { random } from '../kit/random.ts'
import { IN_REAL_TIME } from '../kit/real-time.ts'
import { arrived, created, ended, find, newId, type OpenedStore, openTestStore } from '../kit/stores.ts'
import { type Handling, TcpProxy } from '../kit/tcp-proxy.ts'
import { until } from '../kit/until.ts'

describeWith('mariadbd', 'the database', () => {
  let mariadb: MariaDb
  let database: string
  let number = 0
  const closing: (() => unknown)[] = []

  beforeAll(async () => {
    mariadb = await MariaDb.start()
  }, 60_000)
  afterAll(() => mariadb?.stop())
  afterEach(async () => {
    // A test that failed may have left it killed or stopped.
    await mariadb.up()
    for (const close of closing.splice(0).reverse()) await close()
  })

  const open = (port = mariadb.settings.port, speed = 1): OpenedStore => {
    database = `fault_${++number}`
    const clock = speed === 1 ? null : new FastClock(speed)
    const store = openTestStore({
      mysql: { ...mariadb.settings, port, database },
      ...(clock === null ? {} : { clock }),
    })
    closing.push(async () => {
      await store.close()
      clock?.close()
    })
    return store
  }
  const proxied = async (handle?: () => Handling) => {
    const proxy = await TcpProxy.start(mariadb.settings.port, handle)
    closing.push(() => proxy.close())
    return proxy
  }
  /** How often each session is in the table, and in which state. */
  const tally = async () => {
    const rows = await mariadb.query<{ id: CallId; status: string; connected: number }>(
      'SELECT session_id AS id, status, connected_at IS NOT NULL AS connected FROM call_logs',
      database,
    )
    return rows.map(({ id, status, connected }) => `${id} ${status} ${connected}`).sort()
  }

  /** Calls that are opened, connected and ended at a steady pace, a few at a time; each third is never answered. */
  const load = (store: OpenedStore, perStep: number, pace: number) => {
    const expected = new Map<CallId, string>()
    const waits: number[] = []
    let answering = Promise.resolve()
    let live: CallId[] = []
    const timer = setInterval(() => {
      for (const [i, id] of live.entries()) {
        if (i % 3 > 0) store.callLog.append({ is: 'active', id, at: Date.now() })
        store.callLog.append(ended(id, Date.now()))
        expected.set(id, `${id} ended ${i % 3 > 0 ? 1 : 0}`)
      }
      live = Array.from({ length: perStep }, newId)
      for (const id of live) {
        store.callLog.append(created(id, { at: Date.now() }))
        expected.set(id, `${id} created 0`)
      }
      const asked = performance.now()
      const answer = store.callLog.synced().then(() => void waits.push(performance.now() - asked))
      answering = answering.then(() => answer)
    }, pace)
    closing.push(() => clearInterval(timer))
    return {
      get count() {
        return expected.size
      },
      /** Stops, and returns what the table must hold, and how long those waited who wanted a call written down. */
      stop: async () => {
        clearInterval(timer)
        await answering
        return { expected: [...expected.values()].sort(), waits }
      },
    }
  }

  test('[LOG-4] [F5] killed again and again under load: every call is in it once, in its last state', {
    ...IN_REAL_TIME,
    timeout: 60_000,
  }, async () => {
    const store = open()
    const calls = load(store, 5, 10)
    for (let round = 1; round <= 3; round++) {
      await until(() => calls.count >= round * 400, 'calls to be made')
      await mariadb.signal('SIGKILL')
      const before = calls.count
      await until(() => calls.count >= before + 100 && !store.status().reachable, 'calls without a database')
      expect(store.status().backlog).toBeGreaterThan(50)
      expect(store.status().backlogSince).toBeGreaterThan(Date.now() - 60_000)
      await mariadb.up()
      await until(() => store.status().reachable, 'the database to be found again')
    }
    const { expected, waits } = await calls.stop()
    await arrived(store)
    expect(await tally()).toEqual(expected)
    expect(expected.length).toBeGreaterThan(1000)
    // Nobody who opened a call waited for the database.
    expect(Math.max(...waits)).toBeLessThan(1000)
    // It is said when it goes and when it comes back, not each time it is tried.
    expect(store.lines.filter(({ level }) => level === 'error').length).toBe(3)
    expect(store.lines.filter(({ level }) => level === 'info').length).toBe(3)
  })

  test('[F5] a long backlog is carried at 2,000 rows a second, and a new call does not wait for its end', {
    ...IN_REAL_TIME,
    timeout: 60_000,
  }, async () => {
    await mariadb.signal('SIGKILL')
    const store = open()
    const ids = Array.from({ length: 20_000 }, newId)
    for (const [i, id] of ids.entries()) {
      store.callLog.append(created(id))
      store.callLog.append(ended(id))
      if (i % 1000 === 0) await store.callLog.synced()
    }
    await store.callLog.synced()
    expect(store.status().backlog).toBe(20_000)
    await mariadb.up()
    await until(() => store.status().backlog < 19_000, 'the carrying to begin')
    const [from, left] = [performance.now(), store.status().backlog]
    const fresh = newId()
    store.callLog.append(created(fresh))
    await store.callLog.synced()
    const there = async () =>
      (await mariadb.query(`SELECT 1 FROM call_logs WHERE session_id = '${fresh}'`, database)).length === 1
    await until(there, 'the new call')
    expect(store.status().backlog).toBeGreaterThan(5000)
    await arrived(store)
    const perSecond = left / ((performance.now() - from) / 1000)
    console.log(`carried ${Math.round(perSecond)} rows a second`)
    expect(perSecond).toBeGreaterThan(2000)
    expect((await tally()).length).toBe(20_001)
  })

  test('[F6] it takes connections and never answers: what asks it is given up in time, and nothing piles up', {
    ...IN_REAL_TIME,
    timeout: 60_000,
  }, async () => {
    const proxy = await proxied()
    // Ten times as fast: patience ends after half a second.
    const store = open(proxy.port, 10)
    await until(() => store.status().reachable, 'the table')
    await find(store)
    const calls = load(store, 5, 10)
    await until(() => calls.count >= 100, 'calls to be made')
    await mariadb.signal('SIGSTOP')
    proxy.most = proxy.size
    Bun.gc(true)
    const heap = process.memoryUsage().heapUsed
    const asked = await Promise.allSettled(Array.from({ length: 200 }, () => find(store)))
    expect(asked.every(({ status }) => status === 'rejected')).toBe(true)
    const before = calls.count
    await until(() => calls.count >= before + 1000 && !store.status().reachable, 'calls without a database')
    Bun.gc(true)
    expect(process.memoryUsage().heapUsed - heap).toBeLessThan(20e6)
    // One to carry, one to read; and for a moment the one that was given up.
    expect(proxy.size).toBeLessThanOrEqual(2)
    expect(proxy.most).toBeLessThanOrEqual(4)
    await mariadb.signal('SIGCONT')
    const { expected, waits } = await calls.stop()
    await arrived(store)
    expect(await tally()).toEqual(expected)
    expect(Math.max(...waits)).toBeLessThan(1000)
    expect((await find(store)).length).toBe(expected.length)
  })

  test(
    '[F6] a server that stops while its database hangs is gone within seconds, and loses nothing',
    IN_REAL_TIME,
    async () => {
      const store = open()
      await until(() => store.status().reachable, 'the table')
      await mariadb.signal('SIGSTOP')
      const id = newId()
      store.callLog.append(created(id))
      await store.callLog.synced()
      const from = performance.now()
      await store.close()
      expect(performance.now() - from).toBeLessThan(4000)
      await mariadb.signal('SIGCONT')
      const next = openTestStore({ dataDir: store.dataDir, mysql: { ...mariadb.settings, database } })
      closing.push(() => next.close())
      await arrived(next)
      expect(await tally()).toEqual([`${id} created 0`])
    },
  )

  test('[F7] cut off around a COMMIT, again and again: every call is in it once', async () => {
    const chance = random()
    const cuts = { before: 0, within: 0, after: 0 }
    const proxy = await proxied(() => {
      let cutNext = false
      return {
        fromClient(bytes, passage) {
          if (!bytes.includes('COMMIT')) return passage.toServer(bytes)
          const kind = (['before', 'within', 'after'] as const)[chance.below(6)]
          if (kind !== undefined) cuts[kind]++
          if (kind === 'before') return passage.cut()
          // What is left of the packet never comes.
          passage.toServer(kind === 'within' ? bytes.subarray(0, 4 + chance.below(bytes.length - 4)) : bytes)
          if (kind === 'within') passage.cut()
          cutNext = kind === 'after'
        },
        fromServer(bytes, passage) {
          // It is committed, and nobody will hear of it.
          if (cutNext) passage.cut()
          else passage.toClient(bytes)
        },
      }
    })
    // Fast, so that the pauses after each cut are short.
    const store = open(proxy.port, 20)
    const calls = load(store, 2, 8)
    const enough = () => calls.count >= 1000 && Math.min(...Object.values(cuts)) >= 25
    await until(enough, `enough cuts (seed ${chance.seed})`, 40_000)
    const { expected } = await calls.stop()
    await arrived(store)
    console.log(
      `cut before, within and after the COMMIT: ${Object.values(cuts).join(', ')} (seed ${chance.seed})`,
    )
    expect(await tally()).toEqual(expected)
  }, 60_000)
})
