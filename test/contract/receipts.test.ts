// The contract of Receipts (src/core/ports.ts), for every implementation.
import { expect, test } from 'bun:test'
import { T0 } from '../kit/stores.ts'
import { forEveryStore } from './implementations.ts'

const receipt = { digest: 'of the request', answer: '{"session_id":"🚕"}', expires: T0 + 1000 }

forEveryStore((stores) => {
  test('[T-R10] a receipt is found until it expires', async () => {
    const { receipts, callLog } = await stores.open()
    receipts.keep('key', receipt)
    for (let i = 0; i < 2; i++) {
      expect(receipts.find('key', T0)).toEqual(receipt)
      expect(receipts.find('key', T0 + 999)).toEqual(receipt)
      expect(receipts.find('KEY', T0)).toBeNull()
      await callLog.synced()
    }
    expect(receipts.find('key', T0 + 1000)).toBeNull()
    receipts.keep('late', receipt)
    expect(receipts.find('late', T0 + 1000)).toBeNull()
  })

  test('the last one under a key counts', async () => {
    const { receipts, callLog } = await stores.open()
    receipts.keep('key', receipt)
    await callLog.synced()
    receipts.keep('key', { ...receipt, answer: 'second' })
    for (let i = 0; i < 2; i++) {
      expect(receipts.find('key', T0)?.answer).toBe('second')
      await callLog.synced()
    }
  })

  test('one that was dropped is not found', async () => {
    const { receipts, callLog } = await stores.open()
    receipts.keep('written', receipt)
    await callLog.synced()
    receipts.keep('fresh', receipt)
    for (const key of ['written', 'fresh', 'never']) receipts.drop(key)
    for (let i = 0; i < 2; i++) {
      for (const key of ['written', 'fresh', 'never']) expect(receipts.find(key, T0)).toBeNull()
      await callLog.synced()
    }
  })

  if (stores.again !== null) {
    const { again } = stores
    test('receipts outlive the server, and those that expired do not pile up', async () => {
      const store = await stores.open()
      for (let i = 0; i < 120; i++) store.receipts.keep(`old ${i}`, receipt)
      store.receipts.keep('young', { ...receipt, expires: T0 + 9000 })
      await store.callLog.synced()
      for (let i = 0; i < 4; i++) {
        store.receipts.find('any', T0 + 5000)
        store.receipts.keep(`new ${i}`, { ...receipt, expires: T0 + 9000 })
        await store.callLog.synced()
      }
      const { receipts } = await again(store)
      expect(receipts.find('young', T0)).not.toBeNull()
      // Asked for a time at which they were good: they are not only hidden.
      for (let i = 0; i < 120; i++) expect(receipts.find(`old ${i}`, T0)).toBeNull()
    })
  }
})
