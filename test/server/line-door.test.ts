/** Who may open a line, over what, and what is left of it in logs: the page route and the door of its socket. */
import { afterAll, afterEach, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { Pages } from '../../src/http/pages.ts'
import { LINE_FILES, LINE_PAGE, lineFolder } from '../kit/line-folder.ts'
import { exchange, request } from '../kit/raw-http.ts'
import { RawPeer, type RawPeerOptions, Refused } from '../kit/raw-peer.ts'
import { API_KEY, closeServers, LINE_KEY, startServer, type TestServer } from '../kit/server.ts'

const pages = lineFolder()
afterEach(closeServers)
afterAll(() => rmSync(pages, { recursive: true }))

const PLACES = ['/', '/line.html']
const start = (settings: Record<string, string> = {}) => startServer(settings, { pages })
const open = (server: TestServer, path: string, headers: Record<string, string> = {}) =>
  server.ask('GET', path, undefined, { 'x-api-key': '', ...headers })

describe('the page of a line', () => {
  test('[LINE-31] is at / and /line.html for whoever shows a key, with and without pages to try', async () => {
    for (const TRY_PAGES of ['true', 'false']) {
      const server = await start({ TRY_PAGES })
      for (const place of PLACES) {
        const { status, text, headers } = await open(server, `${place}?apikey=${LINE_KEY}`)
        expect([status, text]).toEqual([200, LINE_PAGE])
        expect(headers.get('content-type')).toBe('text/html;charset=utf-8')
        expect((await open(server, `${place}?apikey=${LINE_KEY}&mobile=1`)).text).toBe(LINE_PAGE)
        const head = await server.ask('HEAD', `${place}?apikey=${LINE_KEY}`)
        expect([head.status, head.text]).toEqual([200, ''])
        expect((await server.ask('POST', `${place}?apikey=${LINE_KEY}`)).status).toBe(405)
      }
      expect((await open(server, '/call.html')).status).toBe(TRY_PAGES === 'true' ? 200 : 404)
      await server.close()
    }
  })

  test('[LINE-30] any of several keys is right, and a made one is', async () => {
    const [one, other] = ['a'.repeat(72), 'b'.repeat(100)]
    const server = await start({ APIKEY: `${one},${other}` })
    for (const key of [one, other]) expect((await open(server, `/?apikey=${key}`)).status).toBe(200)
    expect((await open(server, `/?apikey=${LINE_KEY}`)).status).toBe(401)
    const made = await start({ APIKEY: '' })
    expect((await open(made, `/?apikey=${made.keys.effective.line[0]}`)).status).toBe(200)
  })

  const wrong: [string, string][] = [
    ['no key', ''],
    ['an empty key', '?apikey='],
    ['a short key', `?apikey=${LINE_KEY.slice(0, 71)}`],
    ['a longer key', `?apikey=${LINE_KEY}x`],
    ['another key', `?apikey=${'x'.repeat(72)}`],
    ['the backend’s key', `?apikey=${API_KEY}`],
    ['the key twice', `?apikey=${LINE_KEY}&apikey=${LINE_KEY}`],
    ['a long key', `?apikey=${'x'.repeat(6_000)}`],
  ]

  test('[LINE-32] is refused with the same sentence whatever is wrong with the key', async () => {
    const answers = new Set<string>()
    for (const place of PLACES) {
      for (const [, query] of wrong) {
        const server = await start()
        const { text } = await exchange(server.port, request(`GET ${place}${query}`))
        answers.add(text.replace(/\r\ndate: [^\r]*/i, ''))
        await server.close()
      }
    }
    expect(answers.size).toBe(1)
    const [answer = ''] = answers
    expect(answer).toStartWith('HTTP/1.1 401 ')
    expect(answer).toMatch(/\r\ncontent-type: text\/plain; charset=utf-8\r\n/i)
    expect(answer).toMatch(/\r\ncache-control: no-store\r\n/i)
    expect(answer).toMatch(/\r\n\r\nThis link does not open a line: ask whoever sent it for a new one\.\n$/)
    const server = await start()
    expect((await open(server, '/', { 'x-api-key': LINE_KEY })).status).toBe(401)
    expect((await open(server, '/', { cookie: `apikey=${LINE_KEY}` })).status).toBe(401)
  })

  test('[LINE-32] after ten wrong keys an address is told to wait, and the right key is let in', async () => {
    const server = await start()
    const from = (address: string, path: string) => open(server, path, { 'x-forwarded-for': address })
    for (let i = 0; i < 10; i++)
      expect((await from('192.0.2.1', `/line.html?apikey=guess${i}`)).status).toBe(401)
    const cut = await from('192.0.2.1', '/?apikey=guess')
    expect([cut.status, cut.text]).toEqual([429, 'Too much in too short a time.\n'])
    expect(Number(cut.headers.get('retry-after'))).toBeGreaterThan(0)
    expect((await from('192.0.2.1', `/?apikey=${LINE_KEY}`)).status).toBe(200)
    expect((await from('192.0.2.2', '/?apikey=guess')).status).toBe(401)
  })

  test('[LINE-33] comes with strict headers, and so do the files it is made of, for anybody', async () => {
    const server = await start({ TRY_PAGES: 'false' })
    const page = (await open(server, `/?apikey=${LINE_KEY}`)).headers
    const asset = await open(server, '/assets/line-x1.js')
    expect([asset.status, asset.text]).toEqual([200, 'export const x = 1\n'])
    for (const headers of [page, asset.headers]) {
      expect(headers.get('content-security-policy')).toBe(
        "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      )
      expect(headers.get('cross-origin-embedder-policy')).toBe('require-corp')
      expect(headers.get('cross-origin-opener-policy')).toBe('same-origin')
      expect(headers.get('cross-origin-resource-policy')).toBe('same-origin')
      expect(headers.get('referrer-policy')).toBe('no-referrer')
      expect(headers.get('x-content-type-options')).toBe('nosniff')
    }
    expect(page.get('permissions-policy')).toBe(
      'microphone=(self), screen-wake-lock=(self), speaker-selection=(self), camera=(), geolocation=()',
    )
    expect(page.get('cache-control')).toBe('no-store')
    expect(asset.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
    expect((await open(server, '/assets/nothing.js')).status).toBe(404)
    expect((await open(server, '/assets/../line.html')).status).toBe(401)
    for (const path of ['/assets/..%2fline.html', '/files.json', '/LINE.HTML', '/line.html/'])
      expect((await open(server, path)).status).toBe(404)
  })

  test('[LINE-33] does not leak to whoever has the pages to try', async () => {
    const server = await start({ TRY_PAGES: 'true' })
    for (const path of ['/Line.html', '/line%2ehtml', '/./line.html', '//line.html'])
      expect([401, 404]).toContain((await open(server, path)).status)
    // Also where file names are the same in capitals.
    for (const path of ['/line.html', '/Line.html']) expect(await new Pages(pages, true).at(path)).toBeNull()
  })

  test('[LINE-36] the hashes of its files are for anybody', async () => {
    const server = await start({ TRY_PAGES: 'false' })
    const { status, headers, body } = await open(server, '/line/files.json')
    expect([status, body]).toEqual([200, LINE_FILES])
    expect(headers.get('content-type')).toBe('application/json')
  })

  test('[LINE-38] is to be asked for over TLS only, once people reach it so', async () => {
    const seen = async (server: TestServer, path: string) =>
      (await open(server, path)).headers.get('strict-transport-security')
    const plain = await start({ SITEURL: 'http://line.example.com' })
    const secure = await start({ SITEURL: 'https://line.example.com' })
    for (const path of [`/?apikey=${LINE_KEY}`, '/', '/assets/line-x1.js', '/health', '/nothing']) {
      expect(await seen(plain, path)).toBeNull()
      expect(await seen(secure, path)).toBe('max-age=31536000')
    }
  })

  test('[LINE-35] no key and no query stands in a line of the log or in a metric', async () => {
    const server = await start()
    for (const place of PLACES) {
      await open(server, `${place}?apikey=${LINE_KEY}&marked=1`)
      await open(server, `${place}?apikey=marked${LINE_KEY}`)
    }
    await open(server, '/line.html?apikey=%ff%00marked')
    const metrics = (await server.ask('GET', '/metrics')).text
    const written = JSON.stringify(server.logged) + metrics
    expect(written).not.toContain(LINE_KEY)
    expect(written).not.toContain('marked')
  })
})

describe('the socket of a line', () => {
  const newId = () => randomBytes(16).toString('base64url')
  const seated = (query: string) => `/line?${query}&room=${newId()}&seat=${newId()}`
  const right = seated(`apikey=${LINE_KEY}`)
  /** 101, or what a refusal says. */
  const shake = async (server: TestServer, path: string, options: RawPeerOptions = {}) => {
    try {
      const peer = await RawPeer.open(server.url, { path, ...options })
      peer.drop()
      return '101'
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      return `${error.status} ${error.body}`
    }
  }

  test('[LINE-34] opens to whom has a key, and is refused before the upgrade with the same bytes to others', async () => {
    const server = await start()
    expect(await shake(server, right)).toBe('101')
    const wrong = [
      `apikey=${'x'.repeat(72)}`,
      'apikey=',
      'none=1',
      `apikey=${LINE_KEY}&apikey=${LINE_KEY}`,
      `apikey=${API_KEY}`,
    ]
    const answers = await Promise.all(
      [...wrong.map(seated), '/line', '/line?room=x'].map((path) => shake(server, path)),
    )
    expect(new Set(answers).size).toBe(1)
    expect(answers[0]).toStartWith('401 {"error":{"code":"invalid_api_key"')
    const headers = { 'X-API-Key': LINE_KEY, Authorization: `Bearer ${LINE_KEY}` }
    expect(await shake(server, '/line', { headers })).toBe(answers[0] ?? '')
  })

  test('[LINE-34] is no door for pages of other sites, whose visitors have a key', async () => {
    const server = await start()
    const from = (origin: string, path = right) => shake(server, path, { headers: { Origin: origin } })
    expect(await from(server.url)).toBe('101')
    expect(await from('https://elsewhere.example')).toStartWith('403 {"error":{"code":"origin_not_allowed"')
    expect(await from('https://elsewhere.example', '/line')).toStartWith('401 ')
  })

  test('[LINE-34] who guesses keys uses up no attempt of who has one, and is not heard after ten', async () => {
    const server = await start({ RATE_LIMIT_PER_MIN: '3' })
    for (let i = 0; i < 5; i++) expect(await shake(server, seated(`apikey=guess${i}`))).toStartWith('401 ')
    for (let i = 0; i < 5; i++) expect((await open(server, `/?apikey=guess${i}`)).status).toBe(401)
    expect(await shake(server, seated('apikey=guess'))).toStartWith('429 ')
    expect((await open(server, '/?apikey=guess')).status).toBe(429)
    expect(await shake(server, right)).toBe('101')
  })

  test('[LINE-34] a request that is no handshake is told so, key or not', async () => {
    const server = await start()
    for (const path of ['/line', right]) {
      expect((await open(server, path)).status).toBe(426)
      expect((await server.ask('POST', path)).status).toBe(405)
    }
  })

  test('[LINE-35] its address stands in no line of the log, not even at debug, nor in a metric', async () => {
    const server = await start()
    const [room, seat] = [newId(), newId()]
    await shake(server, `/line?apikey=${LINE_KEY}&room=${room}&seat=${seat}`)
    await shake(server, `/line?apikey=${LINE_KEY}&room=${room}&seat=wrong-seat`)
    await shake(server, `/line?apikey=wrong-key-of-a-line&room=${room}&seat=${seat}`)
    const written = JSON.stringify(server.logged) + (await server.ask('GET', '/metrics')).text
    for (const secret of [LINE_KEY, room, seat, 'wrong-seat', 'wrong-key-of-a-line', 'apikey='])
      expect(written).not.toContain(secret)
  })
})
