// The contract of CallLog and CallHistory (src/core/ports.ts), for every implementation.
import { expect, test } from 'bun:test'
import type { CallId } from '../../src/core/ids.ts'
import type { CallRecord, CallRow } from '../../src/core/ports.ts'
import { arrived, created, ended, find, newId, T0 } from '../kit/stores.ts'
import { forEveryStore } from './implementations.ts'

/** Ids as an app may choose them: quotes, SQL, control sequences, other scripts, four-byte characters, lone spaces. */
const HOSTILE = [
  `'; DROP TABLE call_logs; --`,
  `" OR ""="`,
  '\\',
  '%_',
  '=cmd|/c calc',
  '\u001b[31mred',
  'a\r\nb',
  'a\u0000b',
  '\u202eoverride',
  ' leading',
  'trailing ',
  '?',
  '$1',
  ':name',
  '`tick`',
  'Straße',
  'STRASSE',
  'é',
  'e\u0301',
  '乘客',
  'سائق',
  '👨‍👩‍👧',
  '🚕'.repeat(255),
  'x'.repeat(255),
]

forEveryStore((stores) => {
  test('a created call has the row of the document', async () => {
    const store = await stores.open()
    const id = newId()
    store.callLog.append(created(id, { metadata: { fare: 12.5, notes: ['a', null] } }))
    await arrived(store)

    expect(await store.history.get(id)).toEqual({
      id: expect.any(Number),
      session_id: id,
      ride_id: 'ride_456',
      driver_id: 'user_123',
      passenger_id: 'user_789',
      status: 'created',
      initiated_by: null,
      end_reason: null,
      created_at: '2026-01-31T09:30:00.250Z',
      connected_at: null,
      ended_at: null,
      service: 'ride',
      ended_by: null,
      detail: null,
      metadata: { fare: 12.5, notes: ['a', null] },
    } satisfies CallRow)
  })

  const connected = { status: 'active', connected_at: '2026-01-31T09:30:05.000Z' } as const
  const over = {
    status: 'ended',
    end_reason: 'user_terminated',
    ended_at: '2026-01-31T09:31:00.250Z',
  } as const
  /** What may be told of a call after it was created, and what its row then says. */
  const told = (id: CallId): [CallRecord, Partial<CallRow>][] => [
    [{ is: 'active', id, at: T0 + 4750 }, connected],
    [
      { is: 'initiated', id, by: 'user_789' },
      { ...connected, initiated_by: 'user_789' },
    ],
    [ended(id), { ...connected, ...over, initiated_by: 'user_789', ended_by: 'driver' }],
  ]

  test('what is told later is added to the row, step by step', async () => {
    const store = await stores.open()
    const id = newId()
    store.callLog.append(created(id))
    await arrived(store)
    for (const [record, row] of told(id)) {
      store.callLog.append(record)
      await arrived(store)
      expect(await find(store)).toMatchObject([row])
    }
  })

  test('what is told at once is one row that says it all', async () => {
    const store = await stores.open()
    const id = newId()
    store.callLog.append(created(id))
    for (const [record] of told(id)) store.callLog.append(record)
    await arrived(store)
    expect(await find(store)).toMatchObject([{ ...connected, ...over, initiated_by: 'user_789' }])
  })

  test('a record told twice counts once, and the first word stands', async () => {
    const store = await stores.open()
    const id = newId()
    const twice = [created(id), ...told(id).map(([record]) => record)]
    for (const record of twice) {
      store.callLog.append(record)
      store.callLog.append(record)
      await arrived(store)
      store.callLog.append(record)
      await arrived(store)
    }
    store.callLog.append(created(id, { subject: 'another' }))
    store.callLog.append({ is: 'active', id, at: T0 + 99_000 })
    store.callLog.append({ is: 'initiated', id, by: 'another' })
    store.callLog.append({
      is: 'ended',
      id,
      at: T0 + 99_000,
      reason: 'disconnect_driver',
      by: 'clock',
      detail: 'x',
    })
    await arrived(store)

    const row = {
      ...over,
      connected_at: connected.connected_at,
      initiated_by: 'user_789',
      ride_id: 'ride_456',
    }
    expect(await find(store)).toMatchObject([{ ...row, detail: null, ended_by: 'driver' }])
  })

  test('created, connected and ended are in this order in the log, whatever the clock did', async () => {
    const store = await stores.open()
    const [inSteps, atOnce] = [newId(), newId()]
    for (const [id, next] of [
      [inSteps, () => arrived(store)],
      [atOnce, async () => {}],
    ] as const) {
      store.callLog.append(created(id))
      await next()
      store.callLog.append({ is: 'active', id, at: T0 - 3_600_000 })
      await next()
      store.callLog.append(ended(id, T0 - 7_200_000))
      await arrived(store)
      const start = '2026-01-31T09:30:00.250Z'
      expect(await store.history.get(id)).toMatchObject({
        created_at: start,
        connected_at: start,
        ended_at: start,
      })
    }
  })

  test('who ended a call is named in the words of its kind', async () => {
    const store = await stores.open()
    const words = [
      ['ride', 0, 'driver'],
      ['ride', 1, 'passenger'],
      ['direct', 0, 'caller'],
      ['direct', 1, 'callee'],
      ['ride', 'backend', 'backend'],
      ['direct', 'operator', 'operator'],
      ['line', 'clock', 'clock'],
    ] as const
    for (const [kind, by, word] of words) {
      const [inSteps, atOnce] = [newId(), newId()]
      store.callLog.append(created(inSteps, { kind }))
      await arrived(store)
      store.callLog.append(created(atOnce, { kind }))
      for (const id of [inSteps, atOnce]) {
        store.callLog.append({ is: 'ended', id, at: T0, reason: 'max_duration_reached', by, detail: 'why' })
      }
      await arrived(store)
      for (const id of [inSteps, atOnce]) {
        expect(await store.history.get(id)).toMatchObject({ service: kind, ended_by: word, detail: 'why' })
      }
    }
  })

  test('a call that is retracted leaves nothing, whether it was written already or not', async () => {
    const store = await stores.open()
    const [written, fresh, kept] = [newId(), newId(), newId()]
    store.callLog.append(created(written))
    await arrived(store)
    store.callLog.append(created(fresh))
    store.callLog.append(created(kept))
    for (const id of [written, fresh]) {
      store.callLog.retract(id)
      store.callLog.append(ended(id))
    }
    await arrived(store)
    expect((await find(store)).map((row) => row.session_id)).toEqual([kept])
  })

  test('[T-R8] [B25] ids of any script and malice are kept byte for byte, and found by exactly their bytes', async () => {
    const store = await stores.open()
    for (const text of HOSTILE) {
      store.callLog.append(created(newId(), { subject: text, parties: [`d${text}`.slice(0, 255), text] }))
    }
    await arrived(store)
    expect((await find(store)).map((row) => row.passenger_id).sort()).toEqual([...HOSTILE].sort())
    for (const text of HOSTILE) {
      expect((await find(store, { ride: text })).map((row) => row.ride_id)).toEqual([text])
      expect((await find(store, { user: text })).map((row) => row.passenger_id)).toEqual([text])
    }
    expect(await find(store, { ride: 'straße' })).toEqual([])
    expect(await find(store, { ride: 'trailing' })).toEqual([])
  })

  test('calls are found by ride, user, service, status, reason and time, newest first', async () => {
    const store = await stores.open()
    const ids = Array.from({ length: 6 }, newId)
    for (const [i, id] of ids.entries()) {
      store.callLog.append(
        created(id, {
          at: T0 + i,
          kind: i === 5 ? 'direct' : 'ride',
          subject: i === 5 ? null : `ride_${i % 2}`,
          parties: [`user_${i % 3}`, 'other'],
        }),
      )
      await arrived(store)
    }
    const at = (index: number) => ids[index] ?? newId()
    store.callLog.append({ is: 'active', id: at(0), at: T0 + 10 })
    store.callLog.append(ended(at(1)))
    await arrived(store)

    const which = async (query: Parameters<typeof find>[1]) =>
      (await find(store, query)).map((row) => ids.indexOf(row.session_id as never))
    expect(await which({})).toEqual([5, 4, 3, 2, 1, 0])
    expect(await which({ ride: 'ride_0' })).toEqual([4, 2, 0])
    expect(await which({ user: 'user_1' })).toEqual([4, 1])
    expect(await which({ user: 'other', service: 'ride', limit: 2 })).toEqual([4, 3])
    expect(await which({ service: 'direct' })).toEqual([5])
    expect(await which({ status: 'active' })).toEqual([0])
    expect(await which({ reason: 'user_terminated' })).toEqual([1])
    expect(await which({ from: T0 + 1, to: T0 + 3 })).toEqual([2, 1])
    expect(await which({ ride: 'ride_0', user: 'user_2', status: 'created' })).toEqual([2])
    expect(await which({ ride: 'none' })).toEqual([])
    expect(await which({ limit: 0 })).toEqual([])
  })

  test('pages of any size give every call once', async () => {
    const store = await stores.open()
    const ids = Array.from({ length: 25 }, newId)
    for (const id of ids) {
      store.callLog.append(created(id))
      await store.callLog.synced()
    }
    await arrived(store)
    for (const limit of [1, 7, 25, 26]) {
      const seen: CallRow[] = []
      for (;;) {
        const page = await find(store, { before: seen.at(-1)?.id ?? null, limit })
        seen.push(...page)
        if (page.length < limit) break
      }
      expect(seen.map((row) => row.session_id as string).sort()).toEqual([...ids].sort())
      expect(seen.map((row) => row.id)).toEqual(seen.map((row) => row.id).sort((a, b) => b - a))
    }
  })

  test('a call that nobody knows is null', async () => {
    const store = await stores.open()
    expect(await store.history.get(newId())).toBeNull()
    expect(await store.history.get(`' OR 1=1 --`)).toBeNull()
  })

  test('many who wait are answered, and find their calls', async () => {
    const store = await stores.open()
    const ids = Array.from({ length: 300 }, newId)
    await Promise.all(
      ids.map(async (id, i) => {
        if (i % 3 > 0) await Bun.sleep(i % 7)
        store.callLog.append(created(id))
        await store.callLog.synced()
        expect(await store.history.get(id)).not.toBeNull()
      }),
    )
    await arrived(store)
    expect((await find(store)).length).toBe(300)
  })

  test('[I4] calls that are open and not taken up again end with server_restart, the others stay', async () => {
    const store = await stores.open()
    const [live, waiting, active, over] = [newId(), newId(), newId(), newId()]
    for (const id of [live, waiting, active, over]) store.callLog.append(created(id))
    store.callLog.append({ is: 'active', id: active, at: T0 + 10 })
    store.callLog.append(ended(over))
    await arrived(store)

    expect(store.closeOrphans([live], T0 + 1000)).toBe(2)
    await arrived(store)
    const orphan = {
      status: 'ended',
      end_reason: 'server_restart',
      ended_by: 'clock',
      ended_at: '2026-01-31T09:30:01.250Z',
    }
    expect(await store.history.get(live)).toMatchObject({ status: 'created' })
    expect(await store.history.get(waiting)).toMatchObject({ ...orphan, connected_at: null })
    expect(await store.history.get(active)).toMatchObject({
      ...orphan,
      connected_at: '2026-01-31T09:30:00.260Z',
    })
    expect(await store.history.get(over)).toMatchObject({ end_reason: 'user_terminated' })
    expect(store.closeOrphans([live], T0 + 2000)).toBe(0)
  })

  test('calls that ended long ago are deleted, and no others', async () => {
    const store = await stores.open()
    const day = 24 * 3600 * 1000
    const now = Date.now()
    const [old, oldButOpen, oldButLong, young] = [newId(), newId(), newId(), newId()]
    for (let i = 0; i < 450; i++) {
      const id = newId()
      store.callLog.append(created(id, { at: now - 100 * day }))
      store.callLog.append(ended(id, now - 100 * day))
    }
    for (const id of [old, oldButOpen, oldButLong]) store.callLog.append(created(id, { at: now - 100 * day }))
    store.callLog.append(created(young, { at: now - 80 * day }))
    store.callLog.append(ended(old, now - 91 * day))
    store.callLog.append(ended(oldButLong, now - 89 * day))
    store.callLog.append(ended(young, now - 80 * day))
    await arrived(store)

    expect(await store.retain(0)).toBe(0)
    expect(await store.retain(90)).toBe(451)
    const left = (await find(store)).map((row) => row.session_id)
    expect(left.sort()).toEqual([oldButOpen, oldButLong, young].sort())
    expect(await store.retain(90)).toBe(0)
  })

  if (stores.again !== null) {
    const { again } = stores
    test('the log outlives the server', async () => {
      let store = await stores.open()
      const [open, over] = [newId(), newId()]
      store.callLog.append(created(open))
      store.callLog.append(created(over))
      store.callLog.append(ended(over))
      // Nobody waits for it: closing does.
      store = await again(store)
      await arrived(store)
      expect((await find(store)).map((row) => row.status).sort()).toEqual(['created', 'ended'])
      store.callLog.append(ended(open))
      store = await again(store)
      await arrived(store)
      expect((await find(store)).map((row) => row.status)).toEqual(['ended', 'ended'])
    })
  }
})
