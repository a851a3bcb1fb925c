// The contract of Snapshots (src/core/ports.ts), for every implementation.
import { expect, test } from 'bun:test'
import { created, newId, T0, waitingCall } from '../kit/stores.ts'
import { forEveryStore } from './implementations.ts'

forEveryStore((stores) => {
  test('what was saved last is loaded, with its detail', async () => {
    const { snapshots, callLog } = await stores.open()
    const id = newId()
    const call = waitingCall(id)
    snapshots.save({ call, detail: { n: 1 } })
    await callLog.synced()
    snapshots.save({ call, detail: { n: 2 } })
    snapshots.save({ call, detail: { n: 3, text: '🚕\n"' } })
    for (let i = 0; i < 2; i++) {
      expect(snapshots.load('ride')).toEqual([{ call, detail: { n: 3, text: '🚕\n"' } }])
      await callLog.synced()
    }
  })

  test('calls come in the order of their first save, each kind by itself', async () => {
    const { snapshots, callLog } = await stores.open()
    const ids = Array.from({ length: 6 }, newId)
    for (const [i, id] of ids.entries()) {
      snapshots.save({ call: waitingCall(id, i < 4 ? 'ride' : 'direct'), detail: null })
      if (i === 2) await callLog.synced()
    }
    for (const id of ids.slice(0, 2).reverse()) snapshots.save({ call: waitingCall(id), detail: 'again' })
    const loaded = (kind: 'ride' | 'direct' | 'line') => snapshots.load(kind).map(({ call }) => call.id)
    for (let i = 0; i < 2; i++) {
      expect(loaded('ride')).toEqual(ids.slice(0, 4))
      expect(loaded('direct')).toEqual(ids.slice(4))
      expect(loaded('line')).toEqual([])
      await callLog.synced()
    }
  })

  test('one that was dropped is gone, was it written or not; dropping it again does nothing', async () => {
    const { snapshots, callLog } = await stores.open()
    const [written, fresh, kept] = [newId(), newId(), newId()]
    snapshots.save({ call: waitingCall(written), detail: null })
    await callLog.synced()
    for (const id of [fresh, kept]) snapshots.save({ call: waitingCall(id), detail: null })
    for (const id of [written, fresh, newId()]) {
      snapshots.drop(id)
      snapshots.drop(id)
    }
    for (let i = 0; i < 2; i++) {
      expect(snapshots.load('ride').map(({ call }) => call.id)).toEqual([kept])
      await callLog.synced()
    }
  })

  test('one that is dropped and saved again is there, as the last', async () => {
    const { snapshots, callLog } = await stores.open()
    const [first, second] = [newId(), newId()]
    for (const id of [first, second]) snapshots.save({ call: waitingCall(id), detail: null })
    await callLog.synced()
    snapshots.drop(first)
    await callLog.synced()
    snapshots.save({ call: waitingCall(first), detail: null })
    expect(snapshots.load('ride').map(({ call }) => call.id)).toEqual([second, first])
  })

  if (stores.again !== null) {
    const { again } = stores
    test('live calls outlive the server', async () => {
      const store = await stores.open()
      const ids = Array.from({ length: 3 }, newId)
      for (const id of ids) store.snapshots.save({ call: waitingCall(id), detail: { id } })
      store.snapshots.drop(ids[1] ?? newId())
      const { snapshots } = await again(store)
      expect(snapshots.load('ride').map(({ detail }) => detail)).toEqual([{ id: ids[0] }, { id: ids[2] }])
    })

    test('closing the orphans forgets the snapshots of calls that were not taken up', async () => {
      const store = await stores.open()
      const [taken, lost] = [newId(), newId()]
      for (const id of [taken, lost]) {
        store.callLog.append(created(id))
        store.snapshots.save({ call: waitingCall(id), detail: null })
      }
      const next = await again(store)
      expect(next.snapshots.load('ride').length).toBe(2)
      expect(next.closeOrphans([taken], T0)).toBe(1)
      const last = await again(next)
      expect(last.snapshots.load('ride').map(({ call }) => call.id)).toEqual([taken])
    })
  }
})
