import { expect, test } from 'bun:test'
import { WORDS } from './word-list.ts'

test('a byte has a word, and no two words are a letter apart', () => {
  expect(new Set(WORDS).size).toBe(256)
  for (const word of WORDS) {
    expect(word).toMatch(/^[a-z]{3,9}$/)
    for (const other of WORDS) if (other !== word) expect(distance(word, other)).toBeGreaterThan(1)
  }
})

/** Letters to add, take away or change to make `a` into `b`. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++)
      next.push(Math.min((row[j] ?? 0) + (a[i] === b[j] ? 0 : 1), (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    row = next
  }
  return row.at(-1) ?? 0
}
