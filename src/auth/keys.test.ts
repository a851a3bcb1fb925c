import { afterEach, beforeEach, expect, test } from 'bun:test'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { addKey, KeyFileError, openKeys, retireKeys } from './keys.ts'

const KEY = 'not-a-key-of-anyone-0123456789abcdef'
const nothing = { apiKey: null, adminKey: null, lineKey: null }
let root: string
let data: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'keys-'))
  data = join(root, 'deep', 'data')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const mode = (path: string) => statSync(path).mode & 0o777

test('[T-O7] the first start makes strong keys that nobody else can read, and the next one reads them', () => {
  const first = openKeys(data, nothing)
  expect(first.firstStart).toBe(true)
  expect(first.file).toBe(join(data, 'keys.json'))
  expect(mode(data)).toBe(0o700)
  expect(mode(first.file)).toBe(0o600)
  const [api = '', admin = ''] = [first.effective.api[0], first.effective.admin[0]]
  expect(api).toMatch(/^rd_api_[\w-]{43}$/)
  expect(admin).toMatch(/^rd_admin_[\w-]{43}$/)
  expect([first.api.accepts(api), first.admin.accepts(admin)]).toEqual([true, true])
  expect([first.api.accepts(admin), first.admin.accepts(api)]).toEqual([false, false])
  const [line = ''] = first.effective.line
  expect(line).toMatch(/^rd_line_[\w-]{64}$/)
  expect(line.length).toBe(72)
  expect([first.line.accepts(line), first.api.accepts(line), first.line.accepts(api)]).toEqual([
    true,
    false,
    false,
  ])
  expect(first.secret.length).toBe(32)

  const second = openKeys(data, nothing)
  expect(second.firstStart).toBe(false)
  expect(second.effective).toEqual(first.effective)
  expect(second.secret).toEqual(first.secret)
  expect(readdirSync(data)).toEqual(['keys.json'])

  rmSync(first.file)
  expect(openKeys(data, nothing).effective.api).not.toEqual(first.effective.api)
})

test('keys that the operator set win, and the secret stays', () => {
  const made = openKeys(data, nothing)
  const given = openKeys(data, { apiKey: [KEY, `${KEY}2`], adminKey: null, lineKey: null })
  expect([given.api.accepts(KEY), given.api.accepts(`${KEY}2`)]).toEqual([true, true])
  expect(given.api.accepts(made.effective.api[0] ?? '')).toBe(false)
  expect(given.effective.admin).toEqual(made.effective.admin)
  expect(given.secret).toEqual(made.secret)
  expect(readFileSync(given.file, 'utf8')).not.toContain(KEY)
})

test('a file that others may read is closed to them', () => {
  const { file } = openKeys(data, nothing)
  chmodSync(file, 0o644)
  openKeys(data, nothing)
  expect(mode(file)).toBe(0o600)
})

test('a damaged file stops the start in one line, and is left as it is', () => {
  mkdirSync(data, { recursive: true })
  const file = join(data, 'keys.json')
  const short = JSON.stringify({ api: ['short-secret'], admin: [KEY], secret: 'x'.repeat(43) })
  for (const text of ['', '{', 'null', '[]', '{"api":"x"}', short, '{"api":[],"admin":[],"secret":""}']) {
    writeFileSync(file, text)
    expect(() => openKeys(data, nothing)).toThrow(KeyFileError)
    expect(() => openKeys(data, nothing)).toThrow(/^\S+keys\.json is damaged\. [^\n]*$/)
    expect(readFileSync(file, 'utf8')).toBe(text)
  }
})

test('a folder that cannot be made stops the start in one line', () => {
  writeFileSync(join(root, 'deep'), '')
  expect(() => openKeys(data, nothing)).toThrow(/keys\.json cannot be (read|written): [A-Z]+\.$/)
})

test('[LINE-30] a key file of before the line gets a key for it, unless one is set', () => {
  const { file, effective } = openKeys(data, nothing)
  const { line: _, ...before } = JSON.parse(readFileSync(file, 'utf8'))
  writeFileSync(file, JSON.stringify(before))
  const set = 'k'.repeat(72)
  expect(openKeys(data, { ...nothing, lineKey: [set] }).effective.line).toEqual([set])
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(before)
  const after = openKeys(data, nothing)
  expect(after.effective.line[0]).toMatch(/^rd_line_[\w-]{64}$/)
  expect(after.effective.api).toEqual(effective.api)
  expect(openKeys(data, nothing).effective).toEqual(after.effective)
  expect(mode(file)).toBe(0o600)
})

test('servers that start at once agree on the keys', async () => {
  const script = `import { openKeys } from ${JSON.stringify(join(import.meta.dir, 'keys.ts'))}
    while (Date.now() < ${Date.now() + 400});
    const keys = openKeys(${JSON.stringify(data)}, { apiKey: null, adminKey: null, lineKey: null })
    console.log(JSON.stringify([keys.effective, Buffer.from(keys.secret).toString('hex')]), keys.firstStart)`
  const started = Array.from({ length: 4 }, () =>
    Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe', stderr: 'inherit' }),
  )
  const said = await Promise.all(
    started.map(async ({ stdout }) => (await new Response(stdout).text()).trim().split(' ')),
  )
  expect(new Set(said.map(([keys]) => keys)).size).toBe(1)
  expect(said.filter(([, first]) => first === 'true')).toHaveLength(1)
  expect(readdirSync(data)).toEqual(['keys.json'])
})

test('a key is changed without a pause: add, restart, hand out, retire, restart', () => {
  const [old = ''] = openKeys(data, nothing).effective.api
  const added = addKey(data, 'api')
  const both = openKeys(data, nothing)
  expect([both.api.accepts(old), both.api.accepts(added), both.admin.accepts(added)]).toEqual([
    true,
    true,
    false,
  ])
  expect(retireKeys(data, 'api')).toBe(1)
  const one = openKeys(data, nothing)
  expect([one.api.accepts(old), one.api.accepts(added)]).toEqual([false, true])
  expect(one.secret).toEqual(both.secret)
  expect(mode(one.file)).toBe(0o600)
  expect(() => addKey(root, 'api')).toThrow(KeyFileError)
})
