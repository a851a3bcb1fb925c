import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pages, ROOT } from '../scripts/docs.ts'

for (const { path, make } of pages) {
  test(`${path} is what the source says: npm run docs`, () => {
    expect(readFileSync(join(ROOT, path), 'utf8')).toBe(make())
  })
}
