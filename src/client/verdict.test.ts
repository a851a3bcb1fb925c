import { expect, test } from 'bun:test'
import { codes } from '../protocol/codes.ts'
import { verdictOn } from './verdict.ts'

test('every close code of the table is followed as its row says', () => {
  for (const [name, row] of Object.entries(codes)) {
    if (row.close === null) continue
    const verdict = verdictOn(row.close, name)
    expect(verdict, name).toEqual(
      row.retry === 'no'
        ? { is: 'final', code: name as keyof typeof codes }
        : { is: 'resume', soon: row.retry === 'resume' },
    )
  }
})

test('a goodbye is final', () => {
  expect(verdictOn(1000, null)).toEqual({ is: 'final', code: null })
})

test.each([1001, 1005, 1006, 1012, 1013, 1015, 4100, 4199])(
  '%d, which no row has, is a reason to come back',
  (code) => {
    expect(verdictOn(code, null)).toEqual({ is: 'resume', soon: true })
  },
)

test('an unknown 44xx is final', () => {
  expect(verdictOn(4499, null)).toMatchObject({ is: 'final' })
})
