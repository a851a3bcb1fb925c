import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dotenvWarnings, merge } from './dotenv.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringdown-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const config = (flags: string[], env: Record<string, string>) => {
  const argv = [process.execPath, ...flags, join(import.meta.dir, 'main.ts'), 'config']
  return Bun.spawnSync(argv, {
    cwd: folder,
    env: { PATH: process.env.PATH ?? '', HOME: '/home/x', ...env },
  }).stdout.toString()
}

test.skipIf(process.platform !== 'linux')(
  '.env is read as written, and what was set before the start wins over it',
  () => {
    writeFileSync(
      join(folder, '.env'),
      "DB_DATABASE=a$HOME\nDB_USERNAME='b$HOME#c'\nDATA_DIR=file\nexport LOG_LEVEL=warn\r\n",
    )
    const shown = config([], { DATA_DIR: 'given' })
    expect(shown).toContain('DB_DATABASE=a$HOME ')
    expect(shown).toContain('DB_USERNAME=b$HOME#c ')
    expect(shown).toContain('LOG_LEVEL=warn ')
    expect(shown).toContain('DATA_DIR=given ')
    expect(config(['--no-env-file'], {})).toContain('DB_DATABASE=callDB ')
  },
)

test('where it cannot be told what was set before, the runtime has the last word', () => {
  const env = { DB_DATABASE: 'runtime', PATH: 'p' }
  const file = { DB_DATABASE: 'file', DB_USERNAME: 'file', PATH: 'file' }
  expect(merge(env, file, null)).toEqual({ DB_DATABASE: 'runtime', DB_USERNAME: 'file', PATH: 'p' })
  expect(merge(env, file, new Set(['PATH']))).toEqual({ DB_DATABASE: 'file', DB_USERNAME: 'file', PATH: 'p' })
})

test('a value that ends at a # is warned about', () => {
  const values: [value: string, warned: boolean][] = [
    ['plain', false],
    ['abc#def', true],
    ['abc#def # a comment', true],
    ['"abc#def"', false],
    ["'abc#def'", false],
    ['abc # a comment', false],
    ['"abc" # a comment', false],
    ['# a comment', false],
  ]
  for (const [value, warned] of values) {
    writeFileSync(
      join(folder, 'values'),
      `# DB_PASSWORD=x#y\nOTHER=x#y\nDB_PASSWORD=${value}\nLOG_LEVEL=info\n`,
    )
    expect(dotenvWarnings(join(folder, 'values')).length, value).toBe(warned ? 1 : 0)
  }
  expect(dotenvWarnings(join(folder, 'absent'))).toEqual([])
})
