import { expect } from 'bun:test'
import { join } from 'node:path'
import { testWith } from './kit/need.ts'

const ROOT = join(import.meta.dir, '..')

testWith('shellcheck', 'shell scripts have no known faults', (shellcheck) => {
  const globs = ['*.sh', '{deploy,examples,scripts}/**/*.sh']
  const scripts = ['.ci/run', ...globs.flatMap((glob) => [...new Bun.Glob(glob).scanSync(ROOT)])]
  const { exitCode, stdout } = Bun.spawnSync([shellcheck, ...scripts], { cwd: ROOT })
  expect(exitCode, stdout.toString()).toBe(0)
})
