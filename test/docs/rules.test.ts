// Every rule of docs/protocol.md has a test whose name begins with its ID, and no test names a rule that there is not.
import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Glob } from 'bun'

const root = join(import.meta.dir, '../..')

const rules = (readFileSync(join(root, 'docs/protocol.md'), 'utf8').match(/^- \*\*[A-Z]+-\d+/gm) ?? []).map(
  (line) => line.slice('- **'.length),
)
const services = new Set(rules.map((rule) => rule.split('-')[0]))

/** IDs at the beginning of the names of tests. */
const named = new Set(
  [...new Glob('{src,test}/**/*.test.{ts,tsx}').scanSync(root)].flatMap((path) => {
    const names = readFileSync(join(root, path), 'utf8').matchAll(
      /\b(?:test|describe)(?:\.\w+)?(?:\([^()]*\))?\(\s*['"`]((?:\[[A-Z]+-[A-Z]?\d+\] ?|\[[A-Z]\d+\] ?)+)/g,
    )
    return [...names].flatMap(([, ids = '']) => ids.match(/[A-Z]+-\d+/g) ?? [])
  }),
)

test('every rule has a test', () => {
  expect(rules.length).toBeGreaterThan(80)
  expect(rules.filter((rule) => !named.has(rule))).toEqual([])
  expect(rules.length).toBe(new Set(rules).size)
})

test('no test names a rule that there is not', () => {
  const known = new Set(rules)
  const ours = [...named].filter((id) => services.has(id.split('-')[0] ?? ''))
  expect(ours.filter((id) => !known.has(id))).toEqual([])
})
