import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dotenvWarnings } from './dotenv.ts'

test('a value in .env that the runtime reads otherwise than it is written is warned about', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ringdown-'))
  const values: [value: string, warned: boolean][] = [
    ['plain', false],
    ['pa$HOME', true],
    ["'pa$HOME'", true],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: that is what is written in the file.
    ['pa${HOME}', true],
    ['pa\\$HOME', false],
    ['costs 5$', false],
    ['abc#def', true],
    ['"abc#def"', false],
    ["'abc#def'", false],
    ['abc # a comment', false],
    ['"abc" # a comment', false],
  ]
  for (const [value, warned] of values) {
    writeFileSync(
      join(folder, '.env'),
      `# DB_PASSWORD=x#y\nOTHER=x#y\nDB_PASSWORD=${value}\nLOG_LEVEL=info\n`,
    )
    const warnings = dotenvWarnings(join(folder, '.env'))
    expect(warnings.length, value).toBe(warned ? 1 : 0)
    // The warning is right: the runtime does read something else.
    const { stdout } = Bun.spawnSync(
      [process.execPath, '-e', 'process.stdout.write(process.env.DB_PASSWORD)'],
      { cwd: folder, env: { HOME: '/home/x', PATH: process.env.PATH } },
    )
    const written = value
      .replace(/^(["'])(.*)\1.*$/, '$2')
      .replace(/ #.*$/, '')
      .replaceAll('\\$', '$')
    expect(stdout.toString() === written, value).toBe(!warned)
  }
  expect(dotenvWarnings(join(folder, 'absent'))).toEqual([])
  rmSync(folder, { recursive: true })
})
