import { expect, test } from 'bun:test'
import { toIso, toSql } from './times.ts'

test('an instant reads the same in SQL and in ISO 8601', () => {
  for (const at of [0, 1, 999, Date.UTC(2026, 1, 28, 23, 59, 59, 999), Date.UTC(2038, 0, 19)]) {
    expect(toIso(toSql(at))).toBe(new Date(at).toISOString())
  }
  expect(toSql(Date.UTC(2026, 0, 31, 9, 30, 0, 5))).toBe('2026-01-31 09:30:00.005')
})

test('what a column without fractions, or with more of them, holds is read to the millisecond', () => {
  expect(toIso('2026-01-31 09:30:00')).toBe('2026-01-31T09:30:00.000Z')
  expect(toIso('2026-01-31 09:30:00.5')).toBe('2026-01-31T09:30:00.500Z')
  expect(toIso('2026-01-31 09:30:00.123456')).toBe('2026-01-31T09:30:00.123Z')
})
