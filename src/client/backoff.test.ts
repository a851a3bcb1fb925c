import { expect, test } from 'bun:test'
import { longestWait, wait } from './backoff.ts'

test('the longest wait doubles and stops growing', () => {
  expect([0, 1, 2, 3, 4, 5, 60].map(longestWait)).toEqual([400, 800, 1600, 3200, 6000, 6000, 6000])
})

test('a wait lies anywhere between nothing and the longest', () => {
  expect(wait(3, 0)).toBe(0)
  expect(wait(3, 0.5)).toBe(1600)
  expect(wait(3, 0.999)).toBeLessThan(longestWait(3))
})
