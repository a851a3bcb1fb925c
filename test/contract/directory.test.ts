// The contract of Directory (src/core/ports.ts), for every implementation; and what MariaDB's absence looks like.
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import type { BoundIdentity, Directory, DirectoryKey } from '../../src/core/ports.ts'
import { MariaDb } from '../kit/mariadb.ts'
import { describeWith } from '../kit/need.ts'
import { IN_REAL_TIME } from '../kit/real-time.ts'
import { type OpenedStore, openTestStore, T0 } from '../kit/stores.ts'
import { until } from '../kit/until.ts'
import { forEveryStore } from './implementations.ts'

const first: BoundIdentity = { publicKey: 'MCowBQYDK2VwAyEA-first', boundAt: T0 }
const second: BoundIdentity = { publicKey: 'MCowBQYDK2VwAyEA_second', boundAt: T0 + 1 }

function key(version: number, more: Partial<DirectoryKey> = {}): DirectoryKey {
  return {
    publicKey: `key ${version}`,
    version,
    changedAt: T0 + version,
    previous: version === 1 ? '' : `hash ${version - 1}`,
    hash: `hash ${version}`,
    owner: 'line',
    ...more,
  }
}

async function putAll(directory: Directory, clientId: string, count: number): Promise<void> {
  for (let version = 1; version <= count; version++) {
    expect(await directory.put(clientId, key(version))).toBe(true)
  }
}

const NOBODY = { identity: null, key: null }
/** A deadline of 2 s, and what a busy machine adds. */
const IN_TIME = 2500

forEveryStore((stores) => {
  test('an id that nobody used has neither identity nor key nor history', async () => {
    const { directory } = await stores.open()
    expect(await directory.find('nobody')).toEqual(NOBODY)
    expect(await directory.history('nobody', 0, 10)).toEqual([])
  })

  test('a binding is found as it was made, by this id and no other', async () => {
    const { directory } = await stores.open()
    expect(await directory.bind('Alice_1', null, first)).toBe(true)
    expect(await directory.find('Alice_1')).toEqual({ identity: first, key: null })
    for (const other of ['alice_1', 'ALICE_1', 'Alice-1', 'Alice_', 'Alice_12']) {
      expect(await directory.find(other)).toEqual(NOBODY)
    }
  })

  test('[T-D1] an id that is bound is bound to no other key, unless the one who asks names its key', async () => {
    const { directory } = await stores.open()
    expect(await directory.bind('a', second.publicKey, first)).toBe(false)
    expect(await directory.find('a')).toEqual(NOBODY)
    await directory.bind('a', null, first)
    expect(await directory.bind('a', null, second)).toBe(false)
    expect(await directory.bind('a', second.publicKey, second)).toBe(false)
    expect(await directory.bind('a', first.publicKey.toLowerCase(), second)).toBe(false)
    expect((await directory.find('a')).identity).toEqual(first)
    expect(await directory.bind('a', first.publicKey, second)).toBe(true)
    expect((await directory.find('a')).identity).toEqual(second)
  })

  test('binding to the same key again succeeds for who names it', async () => {
    const { directory } = await stores.open()
    await directory.bind('a', null, first)
    expect(await directory.bind('a', first.publicKey, first)).toBe(true)
    expect((await directory.find('a')).identity).toEqual(first)
  })

  test('[T-D1] of many who bind an id at once one wins, and only that one is told so', async () => {
    const { directory } = await stores.open()
    for (let round = 0; round < 20; round++) {
      const id = `round-${round}`
      const rivals = Array.from({ length: 8 }, (_, i) => ({ publicKey: `rival-${i}`, boundAt: T0 + i }))
      const won = await Promise.all(rivals.map((rival) => directory.bind(id, null, rival)))
      expect(won.filter(Boolean).length).toBe(1)
      expect((await directory.find(id)).identity).toEqual(rivals[won.indexOf(true)] ?? null)
    }
  })

  test('[T-D2] of many who rotate an identity at once one wins', async () => {
    const { directory } = await stores.open()
    await directory.bind('a', null, first)
    const rivals = Array.from({ length: 8 }, (_, i) => ({ publicKey: `rival-${i}`, boundAt: T0 + i }))
    const won = await Promise.all(rivals.map((rival) => directory.bind('a', first.publicKey, rival)))
    expect(won.filter(Boolean).length).toBe(1)
    expect((await directory.find('a')).identity).toEqual(rivals[won.indexOf(true)] ?? null)
  })

  test('the newest key is found, and every one is in the history, oldest first', async () => {
    const { directory } = await stores.open()
    await putAll(directory, 'a', 12)
    await putAll(directory, 'b', 1)
    expect((await directory.find('a')).key).toEqual(key(12))
    const all = Array.from({ length: 12 }, (_, i) => key(i + 1))
    expect(await directory.history('a', 0, 100)).toEqual(all)
    expect(await directory.history('a', 0, 5)).toEqual(all.slice(0, 5))
    expect(await directory.history('a', 9, 100)).toEqual(all.slice(9))
    expect(await directory.history('a', 12, 100)).toEqual([])
    expect(await directory.history('a', Number.MAX_SAFE_INTEGER, 100)).toEqual([])
  })

  test('a key is put only after the one it follows: no version twice, and none left out', async () => {
    const { directory } = await stores.open()
    expect(await directory.put('a', key(2))).toBe(false)
    expect(await directory.put('a', key(0))).toBe(false)
    await putAll(directory, 'a', 3)
    for (const version of [1, 2, 3, 5, 9]) {
      expect(await directory.put('a', key(version, { publicKey: 'other' }))).toBe(false)
    }
    expect(await directory.history('a', 0, 100)).toEqual([key(1), key(2), key(3)])
  })

  test('[T-D2] of many who put the next key at once one wins, whether it is the first one or a later', async () => {
    const { directory } = await stores.open()
    for (let round = 0; round < 10; round++) {
      const id = `round-${round}`
      for (const version of [1, 2, 3]) {
        const rivals = Array.from({ length: 8 }, (_, i) => key(version, { publicKey: `rival ${i}` }))
        const won = await Promise.all(rivals.map((rival) => directory.put(id, rival)))
        expect(won.filter(Boolean).length).toBe(1)
        expect((await directory.find(id)).key).toEqual(rivals[won.indexOf(true)] ?? null)
      }
      expect((await directory.history(id, 0, 100)).length).toBe(3)
    }
  })

  test('changes of one id that are not waited for are done in their order', async () => {
    const { directory } = await stores.open()
    const done = [1, 2, 3].map((version) => directory.put('a', key(version)))
    if ((await Promise.all(done)).every(Boolean)) expect((await directory.find('a')).key).toEqual(key(3))
    // With a database each is on its way by itself, and may come too early; then it changed nothing.
    else expect((await directory.history('a', 0, 9)).map(({ version }) => version)).not.toContain(3)
  })

  test('keys and owners are kept to the byte: of any script, with NUL, and as long as they may be', async () => {
    const { directory } = await stores.open()
    const odd = [
      '🔑'.repeat(4096),
      '𝒦é\u0301ك\u202e',
      'a\u0000b',
      ' a ',
      "';--\\",
      '\r\n\t',
      'x'.repeat(8192),
      'ß',
      'ss',
      'SS',
    ]
    for (const [i, publicKey] of odd.entries()) {
      expect(await directory.put('a', key(i + 1, { publicKey }))).toBe(true)
      expect((await directory.find('a')).key?.publicKey).toBe(publicKey)
    }
    expect((await directory.history('a', 0, 100)).map(({ publicKey }) => publicKey)).toEqual(odd)
  })

  test('an operator takes binding and ownership away; the key and its history stay', async () => {
    const { directory } = await stores.open()
    await directory.bind('a', null, first)
    await putAll(directory, 'a', 2)
    await directory.bind('b', null, first)
    await putAll(directory, 'c', 1)
    expect(await directory.reset('a')).toBe(true)
    expect(await directory.find('a')).toEqual({ identity: null, key: key(2, { owner: '' }) })
    expect(await directory.history('a', 0, 9)).toEqual([key(1), key(2, { owner: '' })])
    // Others keep theirs.
    expect((await directory.find('b')).identity).toEqual(first)
    expect((await directory.find('c')).key).toEqual(key(1))
    // Somebody else may have it now, and goes on with its history.
    expect(await directory.bind('a', null, second)).toBe(true)
    expect(await directory.put('a', key(3, { owner: 'identity' }))).toBe(true)
  })

  test('there is something to take away with a binding alone and with an owned key alone, and else nothing', async () => {
    const { directory } = await stores.open()
    expect(await directory.reset('nobody')).toBe(false)
    await directory.bind('bound', null, first)
    await putAll(directory, 'keyed', 1)
    for (const id of ['bound', 'keyed']) {
      expect(await directory.reset(id)).toBe(true)
      expect(await directory.reset(id)).toBe(false)
    }
  })

  test('what a change did is seen by who asks after it resolved', async () => {
    const { directory } = await stores.open()
    for (let i = 0; i < 20; i++) {
      await directory.put(`id-${i}`, key(1))
      expect((await directory.find(`id-${i}`)).key).toEqual(key(1))
    }
  })

  if (stores.again !== null) {
    const { again } = stores
    test('bindings, keys and resets outlive the server', async () => {
      const store = await stores.open()
      await store.directory.bind('a', null, first)
      await putAll(store.directory, 'a', 3)
      await store.directory.bind('b', null, first)
      await store.directory.reset('b')
      const { directory } = await again(store)
      expect(await directory.find('a')).toEqual({ identity: first, key: key(3) })
      expect(await directory.history('a', 0, 9)).toEqual([key(1), key(2), key(3)])
      expect(await directory.find('b')).toEqual(NOBODY)
      expect(await directory.bind('a', null, second)).toBe(false)
      expect(await directory.put('a', key(3))).toBe(false)
    })
  }
})

/** Fails unless it is rejected as unavailable, and in time. */
async function expectUnavailable(asked: Promise<unknown>): Promise<void> {
  const start = performance.now()
  // `rejects` of the runtime would not look at the others meanwhile.
  expect(await asked.catch((error: unknown) => error)).toMatchObject({ code: 'storage_unavailable' })
  expect(performance.now() - start).toBeLessThan(IN_TIME)
}

describeWith('mariadbd', 'the directory without its MariaDB', () => {
  let mariadb: MariaDb
  let store: OpenedStore
  beforeAll(async () => {
    mariadb = await MariaDb.start()
    store = openTestStore({ mysql: { ...mariadb.settings, database: 'outage' } })
  }, 60_000)
  afterAll(async () => {
    await store?.close()
    await mariadb?.stop()
  })
  afterEach(() => mariadb.signal('SIGCONT'))

  const everything = () => {
    const { directory } = store
    return [
      directory.find('a'),
      directory.history('a', 0, 10),
      directory.bind('a', first.publicKey, second),
      directory.put('a', key(2)),
      directory.reset('a'),
    ]
  }
  const answersAgain = () =>
    until(
      () =>
        store.directory.find('a').then(
          () => true,
          () => false,
        ),
      'the directory',
    )

  test('killed: every question is answered in time, nothing is changed, and it goes on once the database is back', async () => {
    await store.directory.bind('a', null, first)
    await putAll(store.directory, 'a', 1)
    await mariadb.signal('SIGKILL')
    await Promise.all(everything().map(expectUnavailable))
    await mariadb.up()
    await answersAgain()
    expect(await store.directory.find('a')).toEqual({ identity: first, key: key(1) })
    expect(await store.directory.put('a', key(2))).toBe(true)
    const said = store.lines.filter(({ message }) => message.includes('key directory'))
    expect(said.map(({ level }) => level)).toEqual(['error', 'info'])
  }, 60_000)

  test('frozen: every question is answered in time, also the thousandth, and none piles up', {
    ...IN_REAL_TIME,
    timeout: 60_000,
  }, async () => {
    await answersAgain()
    const before = await store.directory.find('a')
    await mariadb.signal('SIGSTOP')
    const finds = Array.from({ length: 1500 }, (_, i) => store.directory.find(`id-${i}`))
    await Promise.all(finds.map(expectUnavailable))
    // Connections that were being made when it froze are waited for no longer than the others.
    await Promise.all(finds.slice(0, 20).map((_, i) => expectUnavailable(store.directory.find(`id-${i}`))))
    await mariadb.signal('SIGCONT')
    await answersAgain()
    expect(await store.directory.find('a')).toEqual(before)
  })

  test('tables that somebody dropped are made again', { ...IN_REAL_TIME, timeout: 60_000 }, async () => {
    await answersAgain()
    await mariadb.query('DROP TABLE direct_keys', 'outage')
    await expectUnavailable(store.directory.find('a'))
    await answersAgain()
    expect((await store.directory.find('a')).key).toBeNull()
  })

  test('two servers agree on who is first', async () => {
    const other = openTestStore({ mysql: { ...mariadb.settings, database: 'outage' } })
    try {
      for (let i = 0; i < 30; i++) {
        const won = await Promise.all(
          [store, other, store, other].map(({ directory }, n) =>
            directory.bind(`shared-${i}`, null, { publicKey: `rival-${n}`, boundAt: T0 }),
          ),
        )
        expect(won.filter(Boolean).length).toBe(1)
        const put = await Promise.all(
          [store, other].map(({ directory }) => directory.put(`shared-${i}`, key(1))),
        )
        expect(put.filter(Boolean).length).toBe(1)
      }
    } finally {
      await other.close()
    }
  })
})

test('on a disk that cannot be written every change is refused, and does not happen later', {
  ...IN_REAL_TIME,
  timeout: 20_000,
}, async () => {
  const store = openTestStore()
  const { Database } = await import('bun:sqlite')
  await store.directory.bind('a', null, first)
  // Somebody else's transaction stands in for a disk that takes nothing.
  const other = new Database(`${store.dataDir}/ringdown.db`)
  other.run('BEGIN IMMEDIATE')
  const refused = store.directory.bind('b', null, first).catch((error: unknown) => error)
  expect(await refused).toMatchObject({ code: 'storage_unavailable' })
  expect(store.status().writable).toBe(false)
  await expectUnavailable(store.directory.put('b', key(1)))
  expect((await store.directory.find('a')).identity).toEqual(first)
  other.run('ROLLBACK')
  other.close()
  await until(() => store.status().writable, 'the file to be writable')
  expect(await store.directory.find('b')).toEqual(NOBODY)
  expect(await store.directory.bind('b', null, second)).toBe(true)
  await store.close()
})
