import { expect, test } from 'bun:test'
import { clockTime, secondsLeft } from './time.ts'

test.each([
  [0, '0:00'],
  [999, '0:00'],
  [59_999, '0:59'],
  [60_000, '1:00'],
  [3_599_000, '59:59'],
  [3_661_000, '1:01:01'],
  [-5, '0:00'],
])('%d ms is %s', (millis, shown) => {
  expect(clockTime(millis)).toBe(shown)
})

test('a countdown reaches 0 when the time is over, not before', () => {
  expect([10_000, 9_001, 9_000, 1, 0, -1].map((left) => secondsLeft(left, 0))).toEqual([10, 10, 9, 1, 0, 0])
})
