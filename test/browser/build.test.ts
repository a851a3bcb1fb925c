import { expect, test } from 'bun:test'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const DIST = join(import.meta.dir, '../../dist')

const files = readdirSync(DIST, { recursive: true, encoding: 'utf8' })
  .filter((path) => /^(web|client)\/.*\.(html|js|css)$/.test(path))
  .map((path) => ({ path, text: readFileSync(join(DIST, path), 'utf8') }))

test('there is a page and a client library', () => {
  const paths = files.map(({ path }) => path)
  expect(paths).toContain('web/call.html')
  expect(paths).toContain('web/direct.html')
  expect(paths).toContain('client/ringdown.js')
})

test('pages hold no script or style of their own, which the content security policy would stop', () => {
  for (const { path, text } of files.filter(({ path }) => path.endsWith('.html'))) {
    expect(text, path).not.toMatch(/<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)/i)
  }
})

test('browsers are sent to no third party', () => {
  for (const { path, text } of files) {
    const urls = text.match(/(https?|wss?):\/\/[^\s"'`)]+/g) ?? []
    expect(
      urls.filter((url) => !url.startsWith('http://www.w3.org/')),
      path,
    ).toEqual([])
  }
})

test('browsers get the protocol without the schemas that check it', () => {
  for (const { path, text } of files) expect(text, path).not.toMatch(/typebox|TypeCompiler|instancePath/i)
})

test('the client library is a module that stands alone and can be imported without a browser', async () => {
  const library = (await import(join(DIST, 'client/ringdown.js'))) as Record<string, unknown>
  expect(Object.keys(library).sort()).toEqual([
    'DirectCall',
    'DirectClient',
    'KeyBook',
    'LevelMeter',
    'MicrophoneError',
    'Refused',
    'RideCall',
    'RideSignalling',
    'canSign',
    'fingerprintOf',
    'identityOf',
    'keysInMemory',
    'makeKeyPair',
    'openMicrophone',
    'safetyNumber',
    'socketsOf',
    'systemTimers',
    'verifies',
  ])
  expect(readFileSync(join(DIST, 'client/ringdown.js'), 'utf8')).not.toMatch(/^import /m)
})

test('the page of a line weighs less than 60 KB, packed, with its threads', () => {
  const weights = [...loadedBy('line.html')].map((path) => ({
    path,
    bytes: Bun.gzipSync(readFileSync(join(DIST, 'web', path))).length,
  }))
  expect(weights.map(({ path }) => path).join()).toMatch(/line-worker-.*playout-.*capture-/s)
  const total = weights.reduce((sum, { bytes }) => sum + bytes, 0)
  expect(total, JSON.stringify(weights)).toBeLessThan(60_000)
})

test('the same sources make the same files, so that anybody can check what a server serves', async () => {
  const out = mkdtempSync(join(tmpdir(), 'ringdown-build-'))
  try {
    const build = Bun.spawn([process.execPath, join(DIST, '../scripts/build.ts'), `--out=${out}`])
    expect(await build.exited).toBe(0)
    expect(hashesIn(join(out, 'web'))).toEqual(hashesIn(join(DIST, 'web')))
  } finally {
    rmSync(out, { recursive: true, force: true })
  }
})

test('[LINE-36] the hashes that are published are those of all files', () => {
  const { 'files.json': _, ...files } = hashesIn(join(DIST, 'web'))
  expect(JSON.parse(readFileSync(join(DIST, 'web/files.json'), 'utf8'))).toEqual(files)
})

/** A page and everything that it, or what it loads, has the address of. */
function loadedBy(page: string): Set<string> {
  const found = new Set([page])
  for (const path of found) {
    const text = readFileSync(join(DIST, 'web', path), 'utf8')
    for (const [, address] of text.matchAll(/\/(assets\/[\w.-]+\.\w+)/g)) found.add(address ?? '')
  }
  return found
}

function hashesIn(folder: string): Record<string, string> {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.includes('.'),
  )
  return Object.fromEntries(
    paths.sort().map((path) => [path, Bun.SHA256.hash(readFileSync(join(folder, path)), 'hex')]),
  )
}
