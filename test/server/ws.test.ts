import { afterEach, describe, expect, test } from 'bun:test'
import { BINARY, CLOSE, PING, type RawPeer, Refused, TEXT } from '../kit/raw-peer.ts'
import { activeRide, closeServers, seat, startServer, type TestServer } from '../kit/server.ts'

afterEach(closeServers)

const OFFER = '{"type":"offer","sdp":"v=0"}'

async function refusal(opening: Promise<RawPeer>): Promise<Refused> {
  const answer = await opening.catch((error: unknown) => error)
  if (!(answer instanceof Refused)) throw new Error('the handshake was not refused')
  return answer
}

function codeOf(refused: Refused): string {
  return JSON.parse(refused.body).error.code
}

describe('connecting', () => {
  test('[WS-1] a handshake that is wrong gets a JSON answer and no socket', async () => {
    const server = await startServer()
    const attempt = (headers: Record<string, string>) => refusal(server.connect({ headers }))
    expect((await attempt({ 'Sec-WebSocket-Version': '8' })).status).toBe(426)
    expect((await attempt({ 'Sec-WebSocket-Key': 'abc' })).status).toBe(400)
    expect((await attempt({ 'Sec-WebSocket-Key': '' })).status).toBe(400)
    expect((await attempt({ Upgrade: 'h2c' })).status).toBe(426)
    expect((await server.ask('GET', '/ws')).status).toBe(426)
    expect(await server.ask('POST', '/ws')).toMatchObject({
      status: 405,
      body: { error: { code: 'method_not_allowed' } },
    })
  })

  test('[WS-1] compression and unknown extensions are not taken', async () => {
    const server = await startServer()
    const offers = 'permessage-deflate; client_max_window_bits, constructor, __proto__'
    const peer = await server.connect({ headers: { 'Sec-WebSocket-Extensions': offers } })
    peer.frame(TEXT, '{"type":"heartbeat"}', { rsv: 4 })
    expect((await peer.closed()).code).toBe(1002)
  })

  test('[WS-2] attempts of one address are counted, and one that authenticates is given back', async () => {
    const server = await startServer({ RATE_LIMIT_PER_MIN: '3' })
    const session = await server.createSession()
    for (let call = 0; call < 12; call++) {
      const peer = await server.connect()
      await seat(peer, session, 'user_123', { join_token: session.join_tokens.driver })
    }
    for (let stranger = 0; stranger < 3; stranger++) await server.connect()
    const refused = await refusal(server.connect())
    expect(refused.status).toBe(429)
    expect(codeOf(refused)).toBe('rate_limited')
    await server.connect({ from: '127.0.0.2' })
    await server.clock.wind(20_000)
    await server.connect()
    expect((await refusal(server.connect())).status).toBe(429)
  })

  test('[WS-3] the address is the right-most hop that is no proxy of ours, and only from a proxy', async () => {
    const server = await startServer({ RATE_LIMIT_PER_MIN: '1', TRUSTED_PROXIES: '127.0.0.1,10.0.0.0/8' })
    const via = (forwarded: string, from = '127.0.0.1') =>
      server.connect({ headers: { 'X-Forwarded-For': forwarded }, from })
    await via('192.0.2.1')
    expect((await refusal(via('203.0.113.9, 192.0.2.1'))).status).toBe(429)
    expect((await refusal(via('192.0.2.1, 10.1.2.3'))).status).toBe(429)
    await via('192.0.2.2')
    await via('2001:db8:1:2::1')
    expect((await refusal(via('2001:db8:1:2:ffff::9'))).status).toBe(429)
    await via('2001:db8:1:3::1')
    // One who is no proxy may write what it likes.
    await via('198.51.100.1', '127.0.0.2')
    expect((await refusal(via('198.51.100.2', '127.0.0.2'))).status).toBe(429)
  })

  test('[WS-4] no origin, the own site and a listed one pass; every other is refused before the upgrade', async () => {
    const server = await startServer({ ALLOWED_ORIGINS: 'https://app.example.com' })
    const from = (origin: string) => server.connect({ headers: { Origin: origin } })
    await server.connect()
    await from(server.url)
    await from('https://app.example.com')
    const hostile = [
      `http://127.0.0.1:1`,
      server.url.replace('http:', 'https:'),
      'null',
      'https://app.example.com.evil',
      'https://evilapp.example.com',
      'https://APP.example.com',
      'https://app.example.com/path',
      'https://app.example.com, https://evil.example',
      'http://app.example.com',
      'https://evil.example',
    ]
    for (const origin of hostile) {
      const refused = await refusal(from(origin))
      expect([origin, refused.status, codeOf(refused)]).toEqual([origin, 403, 'origin_not_allowed'])
    }
  })

  test('[WS-5] who says nothing is told so after 10 s and closed', async () => {
    const server = await startServer()
    const peer = await server.connect()
    await server.clock.wind(10_100)
    expect(await peer.next()).toEqual({ type: 'unauthorized', reason: 'authenticate_timeout' })
    expect((await peer.closed()).code).toBe(4401)
  })
})

describe('staying alive', () => {
  test('[WS-6] every connection is pinged each interval, and one that answers lives', async () => {
    const server = await startServer({ SESSION_DURATION: '10m' })
    const { driver, passenger } = await activeRide(server)
    await server.clock.wind(120_000)
    for (const { peer } of [driver, passenger]) {
      for (let beat = 0; beat < 6; beat++) await peer.nextPing()
      expect(peer.isClosed).toBe(false)
    }
  })

  test('[WS-6] a connection that is not heard for HEARTBEAT_TIMEOUT is dead, and the other party is told', async () => {
    const server = await startServer({ SESSION_DURATION: '10m' })
    const session = await server.createSession()
    const silent = await server.connect({ pong: false })
    await seat(silent, session, 'user_123')
    const talking = await server.connect({ pong: false })
    await seat(talking, session, 'user_789')
    await talking.nextOf('participant_joined')
    for (let second = 0; second < 29; second++) {
      await server.clock.wind(1_000)
      talking.send({ type: 'heartbeat' })
      await talking.nextOf('pong')
    }
    expect(silent.isClosed).toBe(false)
    await server.clock.wind(1_100)
    expect(await silent.closed()).toEqual({ code: 4102, reason: 'heartbeat_timeout' })
    expect(await talking.nextOf('participant_reconnecting')).toMatchObject({ role: 'driver' })
    expect(talking.isClosed).toBe(false)
  })

  test('[WS-6] a half-open socket is let go of', async () => {
    const server = await startServer({ SESSION_DURATION: '10m' })
    const session = await server.createSession()
    const gone = await server.connect({ pong: false })
    await seat(gone, session, 'user_123')
    gone.socket.pause()
    await server.clock.wind(31_000)
    const { text } = await server.ask('GET', '/metrics')
    expect(text).toMatch(/^ringdown_sockets 0$/m)
  })
})

describe('bounds', () => {
  test('[WS-7] a message of exactly the limit passes, one byte more does not', async () => {
    const server = await startServer()
    const { driver, passenger } = await activeRide(server)
    const frame = (bytes: number, fill = 'x') => {
      const empty = '{"type":"offer","sdp":""}'
      return `{"type":"offer","sdp":"${fill.repeat((bytes - empty.length) / Buffer.byteLength(fill))}"}`
    }
    driver.peer.send(frame(4096))
    expect(await passenger.peer.nextText()).toBe(frame(4096))
    const multibyte = frame(4097, 'é')
    expect(Buffer.byteLength(multibyte)).toBe(4097)
    driver.peer.send(multibyte)
    expect(await driver.peer.next()).toEqual({
      type: 'error',
      code: 'message_too_large',
      message: expect.stringContaining('4096'),
    })
    expect((await driver.peer.closed()).code).toBe(1009)
  })

  test('[WS-7] a message far over the limit, whole or in fragments, is closed with 1009', async () => {
    const server = await startServer()
    for (const fragmented of [false, true]) {
      const peer = await server.connect()
      if (fragmented) {
        peer.frame(TEXT, 'x'.repeat(5000), { fin: false })
        peer.frame(0, 'x'.repeat(5000))
      } else {
        peer.send('x'.repeat(20_000))
      }
      expect((await peer.closed()).code).toBe(1009)
    }
  })

  test('[WS-7] a binary message is refused with 1003', async () => {
    const server = await startServer()
    const { driver, passenger } = await activeRide(server)
    driver.peer.frame(BINARY, OFFER)
    expect(await driver.peer.next()).toMatchObject({ type: 'error', code: 'binary_not_allowed' })
    expect((await driver.peer.closed()).code).toBe(1003)
    expect(await passenger.peer.next()).toMatchObject({ type: 'participant_reconnecting' })
  })

  test('[WS-8] what is wrong is answered by name, has no effect, and the connection lives', async () => {
    const server = await startServer()
    const { driver, passenger } = await activeRide(server)
    const wrong: [string, string, string?][] = [
      ['{', 'invalid_message'],
      ['[]', 'invalid_message'],
      ['{"type":"offer","sdp":"a","sdp":"b"}', 'invalid_message'],
      [`{"type":"offer","sdp":"a","x":${'['.repeat(40)}${']'.repeat(40)}}`, 'invalid_message'],
      ['{"type":"Offer","sdp":"a"}', 'unknown_type'],
      ['{"type":"__proto__"}', 'unknown_type'],
      ['{"type":"offer"}', 'invalid_field', 'sdp'],
      [
        '{"type":"ice_candidate","candidate":{"candidate":"c","sdpMLineIndex":"0"}}',
        'invalid_field',
        'sdpMLineIndex',
      ],
    ]
    for (const [text, code, names] of wrong) {
      driver.peer.send(text)
      const answer = await driver.peer.next()
      expect([text, answer.code]).toEqual([text, code])
      if (names !== undefined) expect(answer.message).toContain(names)
      await server.clock.wind(1_500)
    }
    expect(await passenger.peer.settle()).toEqual([])
    driver.peer.send('{"type":"offer","sdp":"v=0","something":{"new":true}}')
    expect(await passenger.peer.nextText()).toBe('{"type":"offer","sdp":"v=0","something":{"new":true}}')
  })

  test('[WS-9] eight wrong messages within 10 s close the connection, eight in a longer time do not', async () => {
    const server = await startServer({ SESSION_DURATION: '10m' })
    const { driver } = await activeRide(server)
    for (let i = 0; i < 8; i++) {
      driver.peer.send('{')
      await driver.peer.nextOf('error')
      await server.clock.wind(2_000)
    }
    expect(driver.peer.isClosed).toBe(false)
    await server.clock.wind(10_000)
    for (let i = 0; i < 8; i++) driver.peer.send('{')
    expect(await driver.peer.closed()).toEqual({ code: 4400, reason: 'too_many_errors' })
  })

  test('[WS-10] over its rate a connection is told so, then closed; the other party is untouched', async () => {
    const server = await startServer()
    const { driver, passenger } = await activeRide(server)
    for (let i = 0; i < 190; i++) driver.peer.send(OFFER)
    expect(await driver.peer.settle()).toEqual([])
    for (let i = 0; i < 190; i++) await passenger.peer.nextOf('offer')
    for (let i = 0; i < 20; i++) driver.peer.send(OFFER)
    expect(await driver.peer.next()).toMatchObject({ type: 'error', code: 'rate_limited' })
    expect(await driver.peer.closed()).toEqual({ code: 4129, reason: 'flooding' })
    expect(await passenger.peer.nextOf('participant_reconnecting')).toMatchObject({ role: 'driver' })
    expect(passenger.peer.isClosed).toBe(false)
  })

  test('[WS-10] a flood of pings is a flood', async () => {
    const server = await startServer()
    const peer = await server.connect()
    for (let i = 0; i < 1_000; i++) peer.frame(PING, '')
    expect(await peer.closed()).toEqual({ code: 4129, reason: 'flooding' })
  })

  test('[WS-11] a connection that does not read is closed, and may resume', async () => {
    const server = await startServer({
      MAX_MESSAGE_BYTES: '1000000',
      BYTES_PER_MINUTE: '1000000000',
      MESSAGES_PER_SECOND: '1000',
    })
    const { driver, passenger } = await activeRide(server)
    driver.peer.socket.pause()
    const big = `{"type":"offer","sdp":"${'x'.repeat(500_000)}"}`
    const noticed = passenger.peer.nextOf('participant_reconnecting')
    for (let i = 0; i < 40; i++) passenger.peer.send(big)
    expect(await noticed).toMatchObject({ role: 'driver' })
    const back = await server.connect()
    back.send({ type: 'resume', resume_token: driver.resumeToken, received: 3 })
    expect(await back.nextOf('resumed')).toMatchObject({ gap: true })
    driver.peer.drop()
  })
})

describe('framing', () => {
  const faults: [string, (peer: RawPeer) => void, number][] = [
    ['an unmasked frame', (peer) => peer.frame(TEXT, 'x', { mask: false }), 1002],
    ['a reserved bit', (peer) => peer.frame(TEXT, 'x', { rsv: 1 }), 1002],
    ['a reserved opcode', (peer) => peer.frame(3, 'x'), 1002],
    ['a reserved control opcode', (peer) => peer.frame(11, ''), 1002],
    ['a continuation of nothing', (peer) => peer.frame(0, 'x'), 1002],
    ['a ping of 126 bytes', (peer) => peer.frame(PING, 'x'.repeat(126)), 1002],
    ['a fragmented ping', (peer) => peer.frame(PING, 'x', { fin: false }), 1002],
    ['text that is not UTF-8', (peer) => peer.frame(TEXT, Buffer.from([0xff, 0xfe])), 1007],
    ['a close of one byte', (peer) => peer.frame(CLOSE, Buffer.from([3])), 1002],
    ['close code 1005', (peer) => peer.close(1005), 1002],
    ['close code 999', (peer) => peer.close(999), 1002],
  ]
  test.each(faults)('[WS-13] %s closes that connection, and nobody else notices', async (_, fault, code) => {
    const server = await startServer()
    const { driver, passenger } = await activeRide(server)
    const hostile = await server.connect()
    fault(hostile)
    const closed = await hostile.closed()
    expect(closed.code).toBe(code)
    driver.peer.send(OFFER)
    expect(await passenger.peer.nextText()).toBe(OFFER)
  })

  test('[WS-13] a new message inside another is a fault', async () => {
    const server = await startServer()
    const peer = await server.connect()
    peer.frame(TEXT, 'a', { fin: false })
    peer.frame(TEXT, 'b')
    expect((await peer.closed()).code).toBe(1002)
  })

  test('a message in one-byte writes, in fragments with pings between, or many in one write is the same message', async () => {
    const server = await startServer()
    const { driver, passenger } = await activeRide(server)
    const bytes = Buffer.from(OFFER)
    for (let i = 0; i < bytes.length; i++) {
      const last = i === bytes.length - 1
      driver.peer.frame(i === 0 ? TEXT : 0, bytes.subarray(i, i + 1), { fin: last })
      if (i % 5 === 0 && !last) driver.peer.ping()
    }
    expect(await passenger.peer.nextText()).toBe(OFFER)
    driver.peer.socket.cork()
    for (let i = 0; i < 50; i++) driver.peer.send(OFFER)
    driver.peer.socket.uncork()
    for (let i = 0; i < 50; i++) expect(await passenger.peer.nextText()).toBe(OFFER)
  })
})

test('[WS-14] a server that goes down closes its connections with 4103', async () => {
  const server: TestServer = await startServer()
  const { driver } = await activeRide(server)
  await server.close()
  expect(await driver.peer.closed()).toEqual({ code: 4103, reason: 'draining' })
})
