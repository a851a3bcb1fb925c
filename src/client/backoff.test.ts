import { expect, test } from 'bun:test'
import { longestWait, PATIENT, wait } from './backoff.ts'

test('the longest wait doubles and stops growing', () => {
  expect([0, 1, 2, 3, 4, 5, 60].map((attempt) => longestWait(attempt))).toEqual([
    400, 800, 1600, 3200, 6000, 6000, 6000,
  ])
})

test('a wait lies anywhere between nothing and the longest', () => {
  expect(wait(3, 0)).toBe(0)
  expect(wait(3, 0.5)).toBe(1600)
  expect(wait(3, 0.999)).toBeLessThan(longestWait(3))
})

test('a client that is there all day waits between 1 s and 30 s', () => {
  expect([0, 1, 2, 3, 4, 5, 60].map((attempt) => longestWait(attempt, PATIENT))).toEqual([
    1000, 2000, 4000, 8000, 16_000, 30_000, 30_000,
  ])
})
