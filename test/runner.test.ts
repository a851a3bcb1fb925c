// What scripts/test.mjs makes of what Bun prints, tried on a file whose tests end in every way.
import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const RUNNER = join(import.meta.dir, '../scripts/test.mjs')
const TESTS = `
import { expect, test } from 'bun:test'
let tries = 0
test('at the third attempt', () => expect(++tries).toBe(3), { retry: 2 })
test('at once', () => {})
test.skip('not at all', () => {})
`

const folder = mkdtempSync(join(tmpdir(), 'ringdown-runner-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The lines that the whole ends with, and its exit code. */
async function run(name: string, tests: string) {
  const root = join(folder, name)
  const program = `
    import { runTests } from ${JSON.stringify(RUNNER)}
    process.exitCode = await runTests({ root: ${JSON.stringify(root)}, bun: ${JSON.stringify(process.execPath)}, args: [], log() {} })`
  await Bun.write(join(root, 'test/some.test.ts'), tests)
  writeFileSync(join(root, 'run.mjs'), program)
  const child = Bun.spawn(['node', join(root, 'run.mjs')], {
    env: { PATH: process.env.PATH },
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [output, code] = await Promise.all([new Response(child.stdout).text(), child.exited])
  const end = output.slice(output.lastIndexOf('Ran ')).split('\n\n').slice(1)
  return { end: end.map((part) => part.trim()), code }
}

test('a test that passes when it is tried again has passed once, and is named', async () => {
  const { end, code } = await run('passing', TESTS)
  expect(end).toEqual([
    'Skipped:\n  test/some.test.ts: not at all',
    'Passed only when tried again:\n  test/some.test.ts: at the third attempt (attempt 3)',
    '2 passed, 0 failed, 1 skipped',
  ])
  expect(code).toBe(0)
})

test('a test that never passes has failed once, however often it was tried', async () => {
  const { end, code } = await run(
    'failing',
    `${TESTS}test('never', () => expect(tries).toBe(-1), { retry: 2 })\n`,
  )
  expect(end.slice(2)).toEqual([
    'Failed:\n  test/some.test.ts: never (attempt 3)',
    '2 passed, 1 failed, 1 skipped',
  ])
  expect(code).toBe(1)
})
