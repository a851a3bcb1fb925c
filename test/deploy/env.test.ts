import { expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Option, options } from '../../src/config/options.ts'
import { readConfig } from '../../src/config/read.ts'

const ROOT = join(import.meta.dir, '../..')
const text = readFileSync(join(ROOT, '.env.example'), 'utf8')
const entries = [...text.matchAll(/^(#?)([A-Z_]+)=(.*)$/gm)].map(([, mark, name = '', value = '']) => ({
  name,
  value,
  ready: mark === '',
}))

/** The table "Environment Variables" of the reference document for rides, and the variable of the one for the line. */
const DOCUMENT: Record<string, string> = {
  SERVER_ADDR: '127.0.0.1:47880',
  API_KEY: '',
  APIKEY: '',
  LOG_LEVEL: 'info',
  MAX_MESSAGE_BYTES: '4096',
  HEARTBEAT_INTERVAL: '20s',
  HEARTBEAT_TIMEOUT: '30s',
  SESSION_DURATION: '60s',
  RATE_LIMIT_PER_MIN: '10',
  ENVIRONMENT: 'production',
  DB_HOST: '127.0.0.1',
  DB_PORT: '3306',
  DB_DATABASE: 'callDB',
  DB_USERNAME: '',
  DB_PASSWORD: '',
}

test('it has every option once, and no secret', () => {
  expect(entries.map(({ name }) => name).sort()).toEqual(Object.keys(options).sort())
  const secrets = entries.filter(({ name }) => (options as Record<string, Option>)[name]?.form.secret)
  expect(secrets.map(({ value }) => value).join('')).toBe('')
})

test("the document's variables stand ready, with the document's defaults", () => {
  expect(
    Object.fromEntries(entries.filter(({ ready }) => ready).map(({ name, value }) => [name, value])),
  ).toEqual(DOCUMENT)
})

test('a copy of it with a key is a whole configuration: what it shows as defaults are the defaults', () => {
  const key = '0123456789abcdef0123456789abcdef'
  const settings = Object.fromEntries(entries.map(({ name, value }) => [name, value]))
  const all = readConfig({ ...settings, API_KEY: key }, [])
  expect(all.warnings).toEqual([])
  expect(all.config).toEqual(readConfig({ API_KEY: key }, []).config)
})

test('the command line reads a copy of it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ringdown-env-'))
  writeFileSync(join(folder, '.env'), text.replace(/^API_KEY=$/m, `API_KEY=${'0123456789abcdef'.repeat(2)}`))
  const { exitCode, stdout, stderr } = Bun.spawnSync(
    [process.execPath, join(ROOT, 'src/cli/main.ts'), 'config'],
    { cwd: folder, env: { PATH: process.env.PATH }, stdout: 'pipe', stderr: 'pipe' },
  )
  rmSync(folder, { recursive: true })
  expect(stderr.toString()).toBe('')
  expect(exitCode).toBe(0)
  expect(stdout.toString()).toContain('SESSION_DURATION=60s')
})
