// The same tests as every day, with more of everything.
import { expect, test } from 'bun:test'
import { join } from 'node:path'

const ROOT = join(import.meta.dir, '../..')
const LONG = 3_600_000

test.each([
  ['random schedules of the ride service', 'src/services/ride/rides.test.ts', 'order', { RUNS: '500000' }],
  ['races for a place', 'test/server/attacks.test.ts', 'at once with others', { ROUNDS: '2000' }],
  ['kills while sessions are created', 'test/fault/server.test.ts', 'F2', { KILLS: '500' }],
] as const)(
  '%s',
  async (_, file, name, more) => {
    const child = Bun.spawn([process.execPath, 'test', `--timeout=${LONG}`, `./${file}`, '-t', name], {
      cwd: ROOT,
      env: { ...process.env, ...more },
      stdout: 'pipe',
      stderr: 'pipe',
    })
    const [code, printed] = await Promise.all([child.exited, new Response(child.stderr).text()])
    expect(code, printed).toBe(0)
  },
  LONG,
)
