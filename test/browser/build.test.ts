import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
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
