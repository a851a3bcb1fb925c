import { expect } from 'bun:test'
import { join } from 'node:path'
import { testWith } from './kit/need.ts'

const ROOT = join(import.meta.dir, '..')

testWith('shellcheck', 'shell scripts have no known faults', (shellcheck) => {
  const scripts = ['.ci/run', ...new Bun.Glob('{deploy,examples,scripts}/**/*.sh').scanSync(ROOT)]
  const { exitCode, stdout } = Bun.spawnSync([shellcheck, ...scripts], { cwd: ROOT })
  expect(exitCode, stdout.toString()).toBe(0)
})
