import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { Bucket } from './rate.ts'

test('a bucket gives a burst at once and then so much a minute', () => {
  const bucket = new Bucket(60, 4, 0)
  expect(bucket.take(4, 0)).toBe(true)
  expect(bucket.take(1, 0)).toBe(false)
  expect(bucket.take(1, 999)).toBe(false)
  expect(bucket.take(1, 1_000)).toBe(true)
  expect(bucket.take(5, 3_600_000)).toBe(false)
  expect(bucket.take(4, 3_600_000)).toBe(true)
})

test('what a bucket refuses it does not take', () => {
  const bucket = new Bucket(60, 10, 0)
  for (let i = 0; i < 100; i++) expect(bucket.take(11, 0)).toBe(false)
  expect(bucket.take(10, 0)).toBe(true)
})

test('in no span of time does a bucket give more than its burst and what came in meanwhile', () => {
  const takes = fc.array(fc.record({ count: fc.nat(50), wait: fc.nat(5_000) }), { maxLength: 100 })
  const bounded = fc.property(takes, fc.nat(99), (all, from) => {
    const bucket = new Bucket(600, 40, 0)
    const got: { count: number; at: number }[] = []
    let at = 0
    for (const { count, wait } of all) {
      at += wait
      if (bucket.take(count, at)) got.push({ count, at })
    }
    const span = got.slice(from)
    const first = span[0]?.at ?? 0
    let sum = 0
    for (const each of span) {
      sum += each.count
      const most = 40 + (each.at - first) / 100
      if (sum > most + 1e-6) throw new Error(`broken: ${sum} where ${most} was allowed`)
    }
  })
  fc.assert(bounded, { includeErrorInReport: true })
})
