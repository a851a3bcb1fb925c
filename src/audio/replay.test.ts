import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { ReplayGuard } from './replay.ts'

test('on an ordered link only what is above the last is new', () => {
  const guard = new ReplayGuard()
  expect([5, 5, 4, 6, 9, 8, 2 ** 40, 10].map((counter) => guard.accept(counter))).toEqual([
    true,
    false,
    false,
    true,
    true,
    false,
    true,
    false,
  ])
  expect(guard.last).toBe(2 ** 40)
  expect(guard.gaps).toBe(2 ** 40 - 5 + 1 - 4)
})

test('nothing is had twice, and within the window nothing new is refused', () => {
  const counters = fc.array(fc.oneof(fc.nat(60), fc.nat(5_000)), { maxLength: 200 })
  fc.assert(
    fc.property(counters, fc.constantFrom(0, 1, 8, 1_024), (all, window) => {
      const guard = new ReplayGuard(window)
      const had = new Set<number>()
      let last = -1
      let first = Number.POSITIVE_INFINITY
      for (const counter of all) {
        const expected = counter > last || (!had.has(counter) && last - counter < window && counter >= first)
        expect(guard.accept(counter)).toBe(expected)
        if (!expected) continue
        if (last < 0) first = counter
        had.add(counter)
        last = Math.max(last, counter)
      }
      expect(guard.accepted).toBe(had.size)
      expect(guard.gaps).toBe(last < 0 ? 0 : last - first + 1 - had.size)
    }),
    { numRuns: 500 },
  )
})

test('a question changes nothing', () => {
  const guard = new ReplayGuard(1_024)
  guard.accept(0)
  expect(guard.isNew(2 ** 50)).toBe(true)
  expect(guard.isNew(1)).toBe(true)
  expect(guard.last).toBe(0)
})
