import { afterEach, describe, expect, test } from 'bun:test'
import { connect } from 'node:net'
import {
  ADMIN_KEY,
  API_KEY,
  activeRide,
  closeServers,
  joinAs,
  startServer,
  type TestServer,
} from '../kit/server.ts'

afterEach(closeServers)

const RIDE = { ride_id: 'ride_456', driver_id: 'user_123', passenger_id: 'user_789' }
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

describe('creating sessions', () => {
  test('[HTTP-1] [HTTP-5] the three ids make a session', async () => {
    const server = await startServer()
    const { status, body } = await server.ask('POST', '/sessions', RIDE)
    expect(status).toBe(200)
    expect(body).toEqual({
      session_id: expect.stringMatching(UUID),
      ride_id: 'ride_456',
      expires_in: 60,
      join_tokens: { driver: expect.any(String), passenger: expect.any(String) },
      websocket_url: `${server.url.replace('http', 'ws')}/ws`,
    })
  })

  test('[HTTP-5] behind a proxy or with SITEURL the socket address is the public one', async () => {
    const proxied = await startServer()
    const headers = { host: 'calls.example.com', 'x-forwarded-proto': 'https' }
    expect((await proxied.ask('POST', '/sessions', RIDE, headers)).body.websocket_url).toBe(
      'wss://calls.example.com/ws',
    )
    const named = await startServer({ SITEURL: 'https://voice.example.com' })
    expect((await named.ask('POST', '/sessions', RIDE)).body.websocket_url).toBe('wss://voice.example.com/ws')
  })

  test('[HTTP-2] every wrong key gets the same bytes, and one who keeps guessing is not heard', async () => {
    const server = await startServer()
    const wrong = [
      '',
      'k'.repeat(31),
      `${API_KEY}x`,
      API_KEY.toUpperCase(),
      `${API_KEY}, ${API_KEY}`,
      'x'.repeat(8_000),
    ]
    const answers = new Set<string>()
    for (const key of wrong) {
      const { status, text } = await server.ask('POST', '/sessions', RIDE, { 'x-api-key': key })
      expect(status).toBe(401)
      answers.add(text)
    }
    expect((await server.ask('POST', `/sessions?key=${API_KEY}`, RIDE, { 'x-api-key': '' })).status).toBe(401)
    expect(answers.size).toBe(1)
    for (let i = 0; i < 10; i++) await server.ask('GET', '/calls', undefined, { 'x-api-key': `guess ${i}` })
    const cut = await server.ask('GET', '/calls', undefined, { 'x-api-key': 'guess' })
    expect(cut.status).toBe(429)
    expect(Number(cut.headers.get('retry-after'))).toBeGreaterThan(0)
    expect((await server.ask('POST', '/sessions', RIDE)).status).toBe(200)
  })

  test('[HTTP-2] any of several keys is right', async () => {
    const server = await startServer({ API_KEY: `${'a'.repeat(32)},${'b'.repeat(32)}` })
    for (const letter of ['a', 'b']) {
      expect((await server.ask('POST', '/sessions', RIDE, { 'x-api-key': letter.repeat(32) })).status).toBe(
        200,
      )
    }
    expect((await server.ask('POST', '/sessions', RIDE, { 'x-api-key': 'c'.repeat(32) })).status).toBe(401)
  })

  const bodies: [string, string | Uint8Array<ArrayBuffer>, Record<string, string>, number, string][] = [
    ['no type', JSON.stringify(RIDE), { 'content-type': '' }, 415, 'unsupported_media_type'],
    [
      'a form',
      'ride_id=1',
      { 'content-type': 'application/x-www-form-urlencoded' },
      415,
      'unsupported_media_type',
    ],
    ['UTF-16', '{}', { 'content-type': 'application/json; charset=utf-16' }, 415, 'unsupported_media_type'],
    ['gzip', '{}', { 'content-encoding': 'gzip' }, 415, 'unsupported_media_type'],
    ['a byte order mark', '\ufeff{}', {}, 400, 'invalid_message'],
    ['nothing', '', {}, 400, 'invalid_message'],
    ['half a body', '{"ride_id":', {}, 400, 'invalid_message'],
    ['an array', '[]', {}, 400, 'invalid_message'],
    ['a key twice', '{"ride_id":"a","ride_id":"b"}', {}, 400, 'invalid_message'],
    ['bytes that are not UTF-8', new Uint8Array([0x7b, 0xff, 0x7d]), {}, 400, 'bad_request'],
    ['2 MB', `{"ride_id":"${'x'.repeat(2_000_000)}"}`, {}, 413, 'body_too_large'],
  ]
  test.each(bodies)('[HTTP-3] a body that is %s', async (_, body, headers, status, code) => {
    const server = await startServer()
    const response = await fetch(`${server.url}/sessions`, {
      method: 'POST',
      headers: { 'x-api-key': API_KEY, 'content-type': 'application/json', ...headers },
      body,
    })
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({ error: { code } })
  })

  test('[HTTP-3] a body in chunks of unknown length is bounded too', async () => {
    const server = await startServer()
    const answer = await exchange(
      server,
      `POST /sessions HTTP/1.1\r\nHost: x\r\nX-API-Key: ${API_KEY}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n` +
        `8000\r\n${'x'.repeat(0x8000)}\r\n0\r\n\r\n`,
    )
    expect(answer).toStartWith('HTTP/1.1 413')
  })

  const fields: [string, object, string][] = [
    ['no driver', { ride_id: 'r', passenger_id: 'p' }, 'driver_id'],
    ['a number for an id', { ...RIDE, ride_id: 5 }, 'ride_id'],
    ['null for an id', { ...RIDE, ride_id: null }, 'ride_id'],
    ['a blank id', { ...RIDE, passenger_id: '  ' }, 'passenger_id'],
    ['a line break in an id', { ...RIDE, ride_id: 'a\r\nb' }, 'ride_id'],
    ['an escape sequence in an id', { ...RIDE, ride_id: '\u001b[31m' }, 'ride_id'],
    ['half a character in an id', { ...RIDE, ride_id: '\ud800' }, 'ride_id'],
    ['an id of 256 characters', { ...RIDE, ride_id: 'x'.repeat(256) }, 'ride_id'],
    ['the same person twice', { ...RIDE, passenger_id: 'user_123' }, 'passenger_id'],
    ['a duration in words', { ...RIDE, max_duration: '60' }, 'max_duration'],
    ['no duration', { ...RIDE, max_duration: 0 }, 'max_duration'],
    ['more than the operator allows', { ...RIDE, max_duration: 14_401 }, 'max_duration'],
    ['half a second', { ...RIDE, join_window: 0.5 }, 'join_window'],
    ['metadata that is a list', { ...RIDE, metadata: [] }, 'metadata'],
    ['metadata of more than 4 KB', { ...RIDE, metadata: { note: 'é'.repeat(2_100) } }, 'metadata'],
  ]
  test.each(fields)('[HTTP-3] [HTTP-4] %s is refused by the name of the field', async (_, body, field) => {
    const server = await startServer()
    const answer = await server.ask('POST', '/sessions', body)
    expect(answer.status).toBe(400)
    expect(answer.body.error).toMatchObject({ code: 'invalid_field', field })
    expect(answer.body.error.message).toContain(field)
  })

  test('[HTTP-4] ids of 255 characters of any script come back as they were', async () => {
    const server = await startServer()
    const ids = ['😀'.repeat(255), 'قيادة', `'; DROP TABLE call_logs; --`, '=cmd|calc', '\u202eabc', 'a"b,c']
    for (const ride_id of ids) {
      const session = await server.createSession({ ride_id })
      expect((await server.ask('GET', `/sessions/${session.session_id}`)).body.ride_id).toBe(ride_id)
      const found = await server.ask('GET', `/calls?ride_id=${encodeURIComponent(ride_id)}`)
      expect(found.body.calls).toMatchObject([{ session_id: session.session_id, ride_id }])
    }
  })

  test('[HTTP-6] duration, join window and metadata may be the backend’s', async () => {
    const server = await startServer()
    const metadata = { city: 'Damascus', nested: { a: [1, 2] } }
    const session = await server.createSession({ max_duration: 600, join_window: 300, metadata })
    expect(session.expires_in).toBe(300)
    await server.clock.wind(200_000)
    await joinAs(server, session, 'user_123')
    const { peer } = await joinAs(server, session, 'user_789')
    await server.clock.wind(599_000)
    expect(peer.isClosed).toBe(false)
    await server.clock.wind(1_100)
    expect(await peer.nextOf('call_timeout')).toEqual({
      type: 'call_timeout',
      reason: 'max_duration_reached',
    })
    expect((await server.ask('GET', `/sessions/${session.session_id}`)).body.metadata).toEqual(metadata)
  })

  test('[HTTP-7] under one Idempotency-Key there is one session, however often and whenever it is asked for', async () => {
    const server = await startServer()
    const headers = { 'idempotency-key': 'ride_456/1' }
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => server.ask('POST', '/sessions', RIDE, headers)),
    )
    const after = await server.again()
    answers.push(await after.ask('POST', '/sessions', { ...RIDE }, headers))
    const reordered = `{"passenger_id":"user_789", "driver_id":"user_123","ride_id":"ride_456"}`
    answers.push(await after.ask('POST', '/sessions', reordered, headers))
    expect(new Set(answers.map(({ body }) => body.session_id)).size).toBe(1)
    expect((await after.ask('GET', '/calls')).body.calls.length).toBe(1)
    const other = await after.ask('POST', '/sessions', { ...RIDE, ride_id: 'other' }, headers)
    expect(other).toMatchObject({ status: 409, body: { error: { code: 'idempotency_mismatch' } } })
    await after.clock.wind(25 * 3600_000)
    expect((await after.ask('POST', '/sessions', RIDE, headers)).body.session_id).not.toBe(
      answers[0]?.body.session_id,
    )
  })

  test('[HTTP-7] backends with different keys do not meet in an Idempotency-Key', async () => {
    const server = await startServer({ API_KEY: `${'a'.repeat(32)},${'b'.repeat(32)}` })
    const create = (letter: string) =>
      server.ask('POST', '/sessions', RIDE, { 'x-api-key': letter.repeat(32), 'idempotency-key': '1' })
    expect((await create('a')).body.session_id).not.toBe((await create('b')).body.session_id)
  })
})

describe('managing sessions', () => {
  test('[HTTP-8] a session is shown in every state', async () => {
    const server = await startServer()
    const session = await server.createSession()
    const show = async () => (await server.ask('GET', `/sessions/${session.session_id}`)).body
    expect(await show()).toMatchObject({
      status: 'created',
      participants: { driver: 'absent', passenger: 'absent' },
    })
    const { peer: driver } = await joinAs(server, session, 'user_123')
    await joinAs(server, session, 'user_789')
    expect(await show()).toMatchObject({
      status: 'active',
      participants: { driver: 'present', passenger: 'present' },
    })
    driver.drop()
    await server.clock.wind(100)
    await driver.ended()
    expect(await show()).toMatchObject({
      status: 'active',
      participants: { driver: 'away', passenger: 'present' },
    })
    await server.clock.wind(15_100)
    expect(await show()).toMatchObject({ status: 'ended', end_reason: 'disconnect_driver', expires_at: null })
    expect((await server.ask('GET', '/sessions/nothing')).status).toBe(404)
  })

  test('[HTTP-8] DELETE ends it for both, and does nothing the second time', async () => {
    const server = await startServer()
    const { session, driver, passenger } = await activeRide(server)
    const path = `/sessions/${session.session_id}`
    expect((await server.ask('DELETE', path)).body).toMatchObject({
      status: 'ended',
      end_reason: 'cancelled_by_backend',
    })
    for (const { peer } of [driver, passenger]) {
      expect(await peer.next()).toEqual({ type: 'call_ended', reason: 'cancelled_by_backend' })
      expect((await peer.closed()).code).toBe(1000)
    }
    expect(await server.ask('DELETE', path)).toMatchObject({
      status: 200,
      body: { end_reason: 'cancelled_by_backend' },
    })
    expect((await server.ask('DELETE', '/sessions/nothing')).status).toBe(404)
  })

  test('[HTTP-8] PATCH moves the limit of a live session', async () => {
    const server = await startServer()
    const { session, driver } = await activeRide(server)
    const path = `/sessions/${session.session_id}`
    expect((await server.ask('PATCH', path, { max_duration: 120 })).status).toBe(200)
    await server.clock.wind(100_000)
    expect(driver.peer.isClosed).toBe(false)
    expect((await server.ask('PATCH', path, { max_duration: 'long' })).body.error.field).toBe('max_duration')
    expect((await server.ask('PATCH', path, { max_duration: 1 })).body).toMatchObject({ status: 'ended' })
    expect(await driver.peer.nextOf('call_timeout')).toMatchObject({ reason: 'max_duration_reached' })
    expect(await server.ask('PATCH', path, { max_duration: 60 })).toMatchObject({ status: 409 })
    expect((await server.ask('PATCH', '/sessions/nothing', { max_duration: 60 })).status).toBe(404)
  })
})

describe('the call log', () => {
  test('[HTTP-9] is filtered and comes page by page', async () => {
    const server = await startServer()
    const sessions = []
    for (let i = 0; i < 5; i++) {
      sessions.push(await server.createSession({ ride_id: `ride_${i}`, driver_id: `driver_${i % 2}` }))
      server.clock.leap(1_000)
    }
    await server.ask('DELETE', `/sessions/${sessions[2]?.session_id}`)
    const rides = async (query: string) =>
      (await server.ask('GET', `/calls?${query}`)).body.calls.map((call: { ride_id: string }) => call.ride_id)
    expect(await rides('')).toEqual(['ride_4', 'ride_3', 'ride_2', 'ride_1', 'ride_0'])
    expect(await rides('user_id=driver_1')).toEqual(['ride_3', 'ride_1'])
    expect(await rides('status=ended')).toEqual(['ride_2'])
    expect(await rides('end_reason=cancelled_by_backend')).toEqual(['ride_2'])
    expect(await rides('service=direct')).toEqual([])
    expect(await rides('from=2026-01-01T00:00:01Z&to=2026-01-01T00:00:03Z')).toEqual(['ride_2', 'ride_1'])
    const first = await server.ask('GET', '/calls?limit=2')
    expect(first.body.calls.length).toBe(2)
    expect(await rides(`limit=2&cursor=${first.body.next_cursor}`)).toEqual(['ride_2', 'ride_1'])
  })

  test.each([
    'limit=-1',
    'limit=1000000000',
    'limit=ten',
    'cursor=%27%20OR%201',
    'from=yesterday',
    'from=2026-02-01&to=2026-01-01',
    'status=done',
    'end_reason=1;DROP',
    'unknown=1',
    'ride_id=a&ride_id=b',
  ])('[HTTP-9] %s is refused by name', async (query) => {
    const server = await startServer()
    const answer = await server.ask('GET', `/calls?${query}`)
    expect(answer.status).toBe(400)
    expect(answer.body.error.field).toBe(query.includes('&to') ? 'from' : query.split('=')[0])
  })

  test('[HTTP-9] comes as CSV whole, with no cell that runs', async () => {
    const server = await startServer()
    const hostile = ['=1+1', '+1', '-1', '@SUM', 'a,"b"']
    for (const ride_id of hostile) await server.createSession({ ride_id })
    const { text, headers } = await server.ask('GET', '/calls?format=csv&limit=2')
    expect(headers.get('content-type')).toBe('text/csv; charset=utf-8')
    const lines = text.trimEnd().split('\r\n')
    expect(lines[0]).toStartWith(
      'id,session_id,ride_id,driver_id,passenger_id,status,initiated_by,end_reason',
    )
    expect(lines.slice(1).map((line) => line.split(',')[2])).toEqual([`"a`, `'@SUM`, `'-1`, `'+1`, `'=1+1`])
  })
})

describe('health', () => {
  test('[HTTP-10] /health answers anybody, as the document shows', async () => {
    const server = await startServer()
    const { status, text } = await server.ask('GET', '/health', undefined, { 'x-api-key': '' })
    expect([status, text]).toEqual([200, '{"status":"ok"}'])
    expect((await server.ask('HEAD', '/health')).status).toBe(200)
  })

  test('[HTTP-10] [HTTP-12] while it goes down it is not ready and takes no sessions', async () => {
    const server = await startServer()
    expect(await server.ask('GET', '/ready')).toMatchObject({
      status: 200,
      body: { ready: true, degraded: false },
    })
    const { driver } = await activeRide(server)
    server.drain()
    expect(await server.ask('GET', '/ready')).toMatchObject({ status: 503, body: { ready: false } })
    expect(await server.ask('POST', '/sessions', RIDE)).toMatchObject({
      status: 503,
      body: { error: { code: 'draining' } },
    })
    expect(driver.peer.isClosed).toBe(false)
  })

  test('[HTTP-10] /metrics is for this machine or the admin key, and counts what happens', async () => {
    const server = await startServer()
    const { driver } = await activeRide(server)
    driver.peer.send({ type: 'end_call' })
    await driver.peer.closed()
    const local = await server.ask('GET', '/metrics')
    expect(local.text).toContain('ringdown_calls_ended_total{service="ride",reason="user_terminated"} 1')
    const afar = { 'x-forwarded-for': '192.0.2.1' }
    expect((await server.ask('GET', '/metrics', undefined, afar)).status).toBe(401)
    const key = { ...afar, authorization: `Bearer ${ADMIN_KEY}` }
    expect((await server.ask('GET', '/metrics', undefined, key)).status).toBe(200)
    expect(
      (await server.ask('GET', '/metrics', undefined, { ...afar, authorization: `Bearer ${API_KEY}` }))
        .status,
    ).toBe(401)
    expect(local.text).not.toContain('user_123')
  })
})

describe('routes', () => {
  test.each([
    ['GET', '/nothing', 404],
    ['GET', '/sessions/a/b', 404],
    ['GET', '/../etc/passwd', 404],
    ['GET', '/%2e%2e/%2e%2e/etc/passwd', 404],
    ['GET', '/call.html%00', 404],
    ['GET', '/sessions', 405],
    ['PUT', '/sessions/1', 405],
    ['DELETE', '/health', 405],
    ['OPTIONS', '/calls', 405],
    ['POST', '/ws', 405],
  ])('[HTTP-11] %s %s answers %i as JSON', async (method, path, status) => {
    const server = await startServer()
    const answer = await exchange(
      server,
      `${method} ${path} HTTP/1.1\r\nHost: x\r\nX-API-Key: ${API_KEY}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
    )
    expect(answer).toStartWith(`HTTP/1.1 ${status}`)
    expect(answer).toMatch(/content-type: application\/json/i)
    if (status === 405) expect(answer).toMatch(/\r\nallow: [A-Z, ]+\r\n/i)
  })
})

/** Sends bytes as they are and returns what comes until the server closes, or the head of the first answer. */
function exchange(server: TestServer, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, '127.0.0.1', () => socket.write(bytes))
    let got = ''
    socket.on('data', (data) => {
      got += data
      if (got.includes('\r\n\r\n')) socket.end()
    })
    socket.on('close', () => resolve(got))
    socket.on('error', reject)
    setTimeout(() => reject(new Error('no answer')), 5_000).unref()
  })
}
