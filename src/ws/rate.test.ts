import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { Allowance } from './rate.ts'

const allowance = (messagesPerSecond: number) => new Allowance({ messagesPerSecond, bytesPerMinute: 600 }, 0)

test('an allowance gives a burst at once and then so much a minute', () => {
  const it = allowance(1)
  expect(it.takeMessages(4, 0)).toBe(true)
  expect(it.takeMessages(1, 0)).toBe(false)
  expect(it.takeMessages(1, 999)).toBe(false)
  expect(it.takeMessages(1, 1_000)).toBe(true)
  expect(it.takeMessages(5, 3_600_000)).toBe(false)
  expect(it.takeMessages(4, 3_600_000)).toBe(true)
})

test('what an allowance refuses it does not take', () => {
  const it = allowance(2.5)
  for (let i = 0; i < 100; i++) expect(it.takeMessages(11, 0)).toBe(false)
  expect(it.takeMessages(10, 0)).toBe(true)
})

test('in no span of time does an allowance give more than its burst and what came in meanwhile', () => {
  const takes = fc.array(fc.record({ count: fc.nat(50), wait: fc.nat(5_000) }), { maxLength: 100 })
  const bounded = fc.property(takes, fc.nat(99), (all, from) => {
    const it = allowance(10)
    const got: { count: number; at: number }[] = []
    let at = 0
    for (const { count, wait } of all) {
      at += wait
      if (it.takeMessages(count, at)) got.push({ count, at })
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

test('messages, bytes and entries are counted apart, however often one of them is asked for', () => {
  const it = allowance(1)
  expect(it.takeBytes(600, 0)).toBe(true)
  expect(it.takeBytes(1, 0)).toBe(false)
  for (let entry = 0; entry < 20; entry++) expect(it.takeEntry(0)).toBe(true)
  expect(it.takeEntry(0)).toBe(false)
  for (let at = 1; at < 100; at++) expect(it.takeMessages(5, at)).toBe(false)
  expect(it.takeMessages(4, 99)).toBe(true)
  expect(it.takeBytes(1, 99)).toBe(false)
  expect(it.takeBytes(1, 100)).toBe(true)
  expect(it.takeEntry(2_999)).toBe(false)
  expect(it.takeEntry(3_000)).toBe(true)
})
