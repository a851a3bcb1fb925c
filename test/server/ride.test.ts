import { afterEach, describe, expect, test } from 'bun:test'
import { activeRide, closeServers, joinAs, seat, startServer } from '../kit/server.ts'

afterEach(closeServers)

const OFFER = '{"type":"offer","sdp":"v=0\\r\\no=- 1 1 IN IP4 0.0.0.0\\r\\n"}'
const ANSWER = '{"type":"answer",  "sdp":"v=0\\r\\nanswer"}'
const CANDIDATE =
  '{"candidate":{"sdpMLineIndex":0,"sdpMid":"0","candidate":"candidate:1 1 UDP 1 192.0.2.1 9 typ host"},"type":"ice_candidate"}'

describe('saying who one is', () => {
  test('[RIDE-1] authenticate answers authenticated, then session_joined', async () => {
    const server = await startServer()
    const session = await server.createSession()
    const peer = await server.connect()
    peer.send({ type: 'authenticate', session_id: session.session_id, user_id: 'user_123' })
    expect(await peer.next()).toEqual({
      type: 'authenticated',
      user_id: 'user_123',
      resume_token: expect.any(String),
    })
    expect(await peer.nextText()).toBe(
      `{"type":"session_joined","session_id":"${session.session_id}","ride_id":"ride_456"}`,
    )
    expect(await peer.settle()).toEqual([])
  })

  test('[RIDE-2] an unknown, a foreign and an ended session answer with the same bytes and close 4401', async () => {
    const server = await startServer()
    const live = await server.createSession()
    const over = await server.createSession()
    await server.ask('DELETE', `/sessions/${over.session_id}`)
    for (const claim of [
      { session_id: '00000000-0000-4000-8000-000000000000', user_id: 'user_123' },
      { session_id: live.session_id, user_id: 'somebody' },
      { session_id: live.session_id.toUpperCase(), user_id: 'user_123' },
      { session_id: `{${live.session_id}}`, user_id: 'user_123' },
      { session_id: over.session_id, user_id: 'user_123' },
    ]) {
      const peer = await server.connect()
      peer.send({ type: 'authenticate', ...claim })
      expect(await peer.nextText()).toBe('{"type":"unauthorized","reason":"session_not_found"}')
      expect(await peer.closed()).toEqual({ code: 4401, reason: 'session_not_found' })
    }
  })

  test('[RIDE-3] nothing but authenticate or resume may come first, and authenticate only once', async () => {
    const server = await startServer()
    const session = await server.createSession()
    const peer = await server.connect()
    for (const early of [OFFER, CANDIDATE, '{"type":"heartbeat"}', '{"type":"end_call"}']) {
      peer.send(early)
      expect(await peer.next()).toMatchObject({ type: 'error', code: 'not_authenticated' })
    }
    await seat(peer, session, 'user_123')
    peer.send({ type: 'authenticate', session_id: session.session_id, user_id: 'user_123' })
    expect(await peer.next()).toMatchObject({ type: 'error', code: 'already_authenticated' })
    expect(peer.isClosed).toBe(false)
  })

  test('[RIDE-4] of all pairs of token and user, the two right ones pass', async () => {
    const server = await startServer({ REQUIRE_JOIN_TOKEN: 'true' })
    const session = await server.createSession()
    const other = await server.createSession()
    const { driver, passenger } = session.join_tokens
    const verdict = async (user: string, join_token?: string) => {
      const peer = await server.connect()
      const claim = { type: 'authenticate', session_id: session.session_id, user_id: user }
      peer.send(join_token === undefined ? claim : { ...claim, join_token })
      const { type, reason } = await peer.next()
      return type === 'authenticated' ? type : reason
    }
    expect(await verdict('user_123', driver)).toBe('authenticated')
    expect(await verdict('user_789', passenger)).toBe('authenticated')
    expect(await verdict('user_123', passenger)).toBe('join_token_invalid')
    expect(await verdict('user_789', driver)).toBe('join_token_invalid')
    expect(await verdict('user_123', other.join_tokens.driver)).toBe('join_token_invalid')
    expect(await verdict('user_123', `${driver}x`)).toBe('join_token_invalid')
    expect(await verdict('user_123')).toBe('join_token_required')
  })

  test('[RIDE-5] a bare authenticate cannot push out whoever is there and alive', async () => {
    const server = await startServer()
    const { session, driver, passenger } = await activeRide(server)
    for (let attempt = 0; attempt < 20; attempt++) {
      const pusher = await server.connect()
      pusher.send({ type: 'authenticate', session_id: session.session_id, user_id: 'user_123' })
      expect(await pusher.next()).toMatchObject({ type: 'error', code: 'already_connected' })
      expect((await pusher.closed()).code).toBe(4423)
    }
    passenger.peer.send(OFFER)
    expect(await driver.peer.nextText()).toBe(OFFER)
    expect(await passenger.peer.settle()).toEqual([])
  })

  test('[RIDE-5] a bare authenticate takes over a socket that does not answer a ping within 2 s', async () => {
    const server = await startServer()
    const session = await server.createSession()
    const dead = await server.connect({ pong: false })
    await seat(dead, session, 'user_123')
    const { peer: passenger } = await joinAs(server, session, 'user_789')
    await passenger.nextOf('participant_joined')
    const back = await server.connect()
    back.send({ type: 'authenticate', session_id: session.session_id, user_id: 'user_123' })
    await dead.nextPing()
    expect(back.waiting).toEqual([])
    await server.clock.wind(2_100)
    expect(await back.next()).toMatchObject({ type: 'authenticated' })
    expect(await dead.closed()).toEqual({ code: 4409, reason: 'taken_over' })
    expect(await passenger.next()).toEqual({ type: 'participant_joined', role: 'driver' })
  })

  test('[RIDE-5] a join token takes the place over at once', async () => {
    const server = await startServer()
    const { session, driver } = await activeRide(server)
    const { peer } = await joinAs(server, session, 'user_123', { join_token: session.join_tokens.driver })
    expect(await driver.peer.closed()).toEqual({ code: 4409, reason: 'taken_over' })
    expect(await peer.next()).toEqual({ type: 'participant_joined', role: 'passenger' })
  })
})

describe('the call', () => {
  test('[RIDE-6] both are told of the other when the second is in, and the log says when', async () => {
    const server = await startServer()
    const session = await server.createSession()
    const driver = await joinAs(server, session, 'user_123')
    expect(await driver.peer.settle()).toEqual([])
    server.clock.leap(1_500)
    const passenger = await joinAs(server, session, 'user_789')
    expect(await driver.peer.nextText()).toBe('{"type":"participant_joined","role":"passenger"}')
    expect(await passenger.peer.nextText()).toBe('{"type":"participant_joined","role":"driver"}')
    const { body } = await server.ask('GET', `/sessions/${session.session_id}`)
    expect(body).toMatchObject({
      status: 'active',
      participants: { driver: 'present', passenger: 'present' },
    })
    expect(Date.parse(body.connected_at) - Date.parse(body.created_at)).toBe(1_500)
  })

  test('[RIDE-7] offer, answer and candidates arrive as they were sent, byte for byte and in order', async () => {
    const server = await startServer()
    const { driver, passenger } = await activeRide(server)
    driver.peer.send(OFFER)
    passenger.peer.send(ANSWER)
    for (let i = 0; i < 40; i++) driver.peer.send(CANDIDATE.replace('192.0.2.1', `192.0.2.${i}`))
    expect(await passenger.peer.nextText()).toBe(OFFER)
    expect(await driver.peer.nextText()).toBe(ANSWER)
    for (let i = 0; i < 40; i++) {
      expect(await passenger.peer.nextText()).toBe(CANDIDATE.replace('192.0.2.1', `192.0.2.${i}`))
    }
  })

  test('[RIDE-8] frames for a party that is not there yet wait and come in order; the 65th is an error', async () => {
    const server = await startServer()
    const session = await server.createSession()
    const { peer: driver } = await joinAs(server, session, 'user_123')
    const frames = Array.from({ length: 64 }, (_, i) => `{"type":"offer","sdp":"${i}"}`)
    for (const frame of frames) driver.send(frame)
    expect(await driver.settle()).toEqual([])
    driver.send('{"type":"offer","sdp":"one too many"}')
    expect(await driver.next()).toMatchObject({ type: 'error', code: 'buffer_full' })
    const { peer: passenger } = await joinAs(server, session, 'user_789')
    expect(await passenger.next()).toEqual({ type: 'participant_joined', role: 'driver' })
    for (const frame of frames) expect(await passenger.nextText()).toBe(frame)
    expect(await passenger.settle()).toEqual([])
  })

  test('[RIDE-9] heartbeat answers pong', async () => {
    const server = await startServer()
    const { driver } = await activeRide(server)
    driver.peer.send({ type: 'heartbeat' })
    expect(await driver.peer.nextText()).toBe('{"type":"pong"}')
  })

  test('[RIDE-10] [RIDE-13] end_call ends it for both, and the log knows who began and why it ended', async () => {
    const server = await startServer()
    const { session, driver, passenger } = await activeRide(server)
    passenger.peer.send(OFFER)
    await driver.peer.nextOf('offer')
    driver.peer.send(OFFER)
    driver.peer.send({ type: 'end_call' })
    for (const { peer } of [driver, passenger]) {
      expect(await peer.nextOf('call_ended')).toEqual({ type: 'call_ended', reason: 'user_terminated' })
      expect(await peer.closed()).toEqual({ code: 1000, reason: 'user_terminated' })
    }
    const { body } = await server.ask('GET', `/calls?ride_id=ride_456`)
    expect(body.calls).toMatchObject([
      {
        session_id: session.session_id,
        status: 'ended',
        end_reason: 'user_terminated',
        initiated_by: 'user_789',
      },
    ])
    expect(body.calls[0]).toMatchObject({
      driver_id: 'user_123',
      passenger_id: 'user_789',
      ended_by: 'driver',
    })
  })

  test('[RIDE-11] at its limit the call ends for both, having been warned 15 s ahead', async () => {
    const server = await startServer()
    const { session, driver, passenger } = await activeRide(server)
    await server.clock.wind(44_900)
    expect(await driver.peer.settle()).toEqual([])
    await server.clock.wind(200)
    for (const { peer } of [driver, passenger]) {
      expect(await peer.next()).toEqual({ type: 'call_warning', remaining_ms: 15_000 })
    }
    await server.clock.wind(15_000)
    for (const { peer } of [driver, passenger]) {
      expect(await peer.nextText()).toBe('{"type":"call_timeout","reason":"max_duration_reached"}')
      expect((await peer.closed()).code).toBe(1000)
    }
    const { body } = await server.ask('GET', `/sessions/${session.session_id}`)
    expect(body).toMatchObject({ status: 'ended', end_reason: 'max_duration_reached' })
    expect(Date.parse(body.ended_at) - Date.parse(body.connected_at)).toBe(60_000)
  })

  test('[RIDE-12] when only one came, it is told at the end of the join window', async () => {
    const server = await startServer({ JOIN_WINDOW: '40s' })
    const session = await server.createSession()
    expect(session.expires_in).toBe(40)
    const { peer } = await joinAs(server, session, 'user_123')
    await server.clock.wind(40_100)
    expect(await peer.nextText()).toBe('{"type":"call_timeout","reason":"join_timeout"}')
    expect((await peer.closed()).code).toBe(1000)
    const { body } = await server.ask('GET', `/sessions/${session.session_id}`)
    expect(body).toMatchObject({ status: 'ended', end_reason: 'join_timeout', connected_at: null })
  })
})

describe('losing each other', () => {
  test.each([
    ['driver', 'user_123'],
    ['passenger', 'user_789'],
  ] as const)(
    '[RIDE-14] the %s closes with 1000: the other is told that it left and why the call ended',
    async (role) => {
      const server = await startServer()
      const ride = await activeRide(server)
      const [leaver, other] =
        role === 'driver' ? [ride.driver, ride.passenger] : [ride.passenger, ride.driver]
      leaver.peer.close(1000)
      expect(await other.peer.nextText()).toBe(`{"type":"participant_left","role":"${role}"}`)
      expect(await other.peer.nextText()).toBe(`{"type":"call_ended","reason":"disconnect_${role}"}`)
      expect((await other.peer.closed()).code).toBe(1000)
    },
  )

  test('[RIDE-14] closing without a code, as a page does, is leaving too', async () => {
    const server = await startServer()
    const { driver, passenger } = await activeRide(server)
    driver.peer.close(null)
    expect(await passenger.peer.next()).toEqual({ type: 'participant_left', role: 'driver' })
    expect(await passenger.peer.next()).toEqual({ type: 'call_ended', reason: 'disconnect_driver' })
  })

  test('[RIDE-14] leaving before the other came leaves the session open', async () => {
    const server = await startServer()
    const session = await server.createSession()
    const { peer: first } = await joinAs(server, session, 'user_123')
    first.close(1000)
    await first.ended()
    const { peer: driver } = await joinAs(server, session, 'user_123')
    const { peer: passenger } = await joinAs(server, session, 'user_789')
    expect(await driver.next()).toEqual({ type: 'participant_joined', role: 'passenger' })
    expect(await passenger.next()).toEqual({ type: 'participant_joined', role: 'driver' })
  })

  test('[RIDE-15] a lost connection starts the grace, and its end the end of the call', async () => {
    const server = await startServer()
    const { driver, passenger } = await activeRide(server)
    driver.peer.drop()
    expect(await passenger.peer.next()).toEqual({
      type: 'participant_reconnecting',
      role: 'driver',
      grace_ms: 15_000,
    })
    await server.clock.wind(14_900)
    expect(await passenger.peer.settle()).toEqual([])
    await server.clock.wind(200)
    expect(await passenger.peer.next()).toEqual({ type: 'participant_left', role: 'driver' })
    expect(await passenger.peer.next()).toEqual({ type: 'call_ended', reason: 'disconnect_driver' })
  })

  test('[RIDE-15] with no grace a lost connection ends the call at once', async () => {
    const server = await startServer({ RECONNECT_GRACE: '0s' })
    const { driver, passenger } = await activeRide(server)
    passenger.peer.drop()
    expect(await driver.peer.next()).toEqual({ type: 'participant_left', role: 'passenger' })
    expect(await driver.peer.next()).toEqual({ type: 'call_ended', reason: 'disconnect_passenger' })
  })

  test('[RIDE-16] resume gives what was missed, in order and once', async () => {
    const server = await startServer()
    const { driver, passenger } = await activeRide(server)
    passenger.peer.send(OFFER)
    await driver.peer.nextOf('offer')
    // authenticated, session_joined, participant_joined and the offer were received; two candidates get lost.
    passenger.peer.send(CANDIDATE)
    await passenger.peer.settle()
    driver.peer.drop()
    await passenger.peer.nextOf('participant_reconnecting')
    passenger.peer.send(ANSWER)
    await passenger.peer.settle()
    const back = await server.connect()
    back.send({ type: 'resume', resume_token: driver.resumeToken, received: 4 })
    expect(await back.next()).toEqual({ type: 'resumed', replayed: 2, resume_token: expect.any(String) })
    expect(await back.nextText()).toBe(CANDIDATE)
    expect(await back.nextText()).toBe(ANSWER)
    expect(await passenger.peer.next()).toEqual({ type: 'participant_resumed', role: 'driver' })
    expect(await back.settle()).toEqual([])
    back.send(OFFER)
    expect(await passenger.peer.nextText()).toBe(OFFER)
  })

  test('[RIDE-16] an error is not counted', async () => {
    const server = await startServer()
    const { driver } = await activeRide(server)
    driver.peer.send('{"type":"offer"}')
    expect(await driver.peer.next()).toMatchObject({ type: 'error', code: 'invalid_field' })
    driver.peer.drop()
    const back = await server.connect()
    back.send({ type: 'resume', resume_token: driver.resumeToken, received: 3 })
    expect(await back.next()).toMatchObject({ type: 'resumed', replayed: 0 })
  })

  test('[RIDE-16] resume takes over a connection that is still there', async () => {
    const server = await startServer()
    const { driver, passenger } = await activeRide(server)
    const back = await server.connect()
    back.send({ type: 'resume', resume_token: driver.resumeToken, received: 3 })
    expect(await back.next()).toMatchObject({ type: 'resumed', replayed: 0 })
    expect(await driver.peer.closed()).toEqual({ code: 4409, reason: 'taken_over' })
    expect(await passenger.peer.settle()).toEqual([])
    passenger.peer.send(CANDIDATE)
    expect(await back.nextText()).toBe(CANDIDATE)
  })

  test('[RIDE-17] a token is good until the connection it took up is heard, for its leg of its live call', async () => {
    const server = await startServer()
    const { session, driver, passenger } = await activeRide(server)
    const attempt = async (resume_token: string, received = 3) => {
      const peer = await server.connect()
      peer.send({ type: 'resume', resume_token, received })
      const answer = await peer.next()
      if (answer.type === 'resumed') return { peer, token: answer.resume_token as string }
      expect(answer).toEqual({ type: 'unauthorized', reason: 'resume_failed' })
      expect((await peer.closed()).code).toBe(4401)
      return null
    }
    expect(await attempt('x'.repeat(80))).toBeNull()
    expect(await attempt(driver.resumeToken, 4)).toBeNull()
    // As if the answer had been lost on its way.
    expect(await attempt(driver.resumeToken)).not.toBeNull()
    const second = await attempt(driver.resumeToken)
    second?.peer.send({ type: 'heartbeat' })
    expect(await second?.peer.next()).toEqual({ type: 'pong' })
    expect(await attempt(driver.resumeToken, 4)).toBeNull()
    await server.ask('DELETE', `/sessions/${session.session_id}`)
    expect(await attempt(second?.token ?? '')).toBeNull()
    expect(await attempt(passenger.resumeToken)).toBeNull()
  })

  test('[RIDE-18] more missed than is kept is said to be a gap, and what is kept comes', async () => {
    const server = await startServer({ MESSAGES_PER_SECOND: '1000' })
    const { driver, passenger } = await activeRide(server)
    for (let i = 0; i < 80; i++) passenger.peer.send(`{"type":"offer","sdp":"${i}"}`)
    await passenger.peer.settle()
    driver.peer.drop()
    await passenger.peer.nextOf('participant_reconnecting')
    const back = await server.connect()
    back.send({ type: 'resume', resume_token: driver.resumeToken, received: 3 })
    expect(await back.next()).toEqual({
      type: 'resumed',
      replayed: 64,
      resume_token: expect.any(String),
      gap: true,
    })
    expect(await back.next()).toEqual({ type: 'offer', sdp: '16' })
  })

  test('[RIDE-19] a client that starts over in an active call is told of the other, and the other of it', async () => {
    const server = await startServer()
    const { session, driver, passenger } = await activeRide(server)
    driver.peer.drop()
    await passenger.peer.nextOf('participant_reconnecting')
    const { peer } = await joinAs(server, session, 'user_123')
    expect(await peer.next()).toEqual({ type: 'participant_joined', role: 'passenger' })
    expect(await passenger.peer.next()).toEqual({ type: 'participant_resumed', role: 'driver' })
    expect(await passenger.peer.next()).toEqual({ type: 'participant_joined', role: 'driver' })
  })

  test('[RIDE-20] a call outlives the server: both resume, and its limit is where it was', async () => {
    const server = await startServer()
    const { session, driver, passenger } = await activeRide(server)
    await server.clock.wind(20_000)
    const after = await server.again()
    expect(await driver.peer.closed()).toEqual({ code: 4103, reason: 'draining' })
    const back = await Promise.all(
      [driver, passenger].map(async ({ resumeToken }) => {
        const peer = await after.connect()
        peer.send({ type: 'resume', resume_token: resumeToken, received: 3 })
        expect(await peer.nextOf('resumed')).toMatchObject({ gap: true })
        return peer
      }),
    )
    const [first, second] = back as [(typeof back)[0], (typeof back)[0]]
    await first.settle()
    first.send(OFFER)
    expect(await second.nextOf('offer')).toEqual(JSON.parse(OFFER))
    await after.clock.wind(40_100)
    expect(await second.nextOf('call_timeout')).toEqual({
      type: 'call_timeout',
      reason: 'max_duration_reached',
    })
    const { body } = await after.ask('GET', `/calls`)
    expect(body.calls).toMatchObject([{ session_id: session.session_id, end_reason: 'max_duration_reached' }])
  })

  test('[RIDE-20] [LOG-3] a call that nobody takes up after a restart ends, and the log says so', async () => {
    const server = await startServer()
    const { session } = await activeRide(server)
    const after = await server.again()
    await after.clock.wind(15_100)
    const { body } = await after.ask('GET', `/sessions/${session.session_id}`)
    expect(body).toMatchObject({ status: 'ended', end_reason: 'server_restart' })
  })
})

describe('TURN', () => {
  const COTURN = {
    TURN_PROVIDER: 'coturn',
    TURN_URLS: 'stun:turn.example.com:3478,turn:turn.example.com:3478',
    TURN_SECRET: 'shared-with-coturn',
  }

  test('[RIDE-21] authenticated tells of the servers, with credentials that are the leg’s own and last for the call', async () => {
    const server = await startServer(COTURN)
    const session = await server.createSession({ max_duration: 3600, join_window: 600 })
    const users = new Set<string>()
    for (const [user, side] of [
      ['user_123', 0],
      ['user_789', 1],
    ] as const) {
      const peer = await server.connect()
      peer.send({ type: 'authenticate', session_id: session.session_id, user_id: user })
      const { ice_servers } = await peer.nextOf('authenticated')
      const turn = ice_servers.find((each: { username?: string }) => each.username !== undefined)
      const [expires = '', ...rest] = turn.username.split(':')
      expect(rest).toEqual([`${session.session_id}.${side}`])
      expect(Number(expires) - Date.now() / 1000).toBeGreaterThan(3600 + 600 - 5)
      expect(turn.credential).toBe(
        new Bun.CryptoHasher('sha1', COTURN.TURN_SECRET).update(turn.username).digest('base64'),
      )
      users.add(turn.username)
    }
    expect(users.size).toBe(2)
  })

  test('[RIDE-21] ice_servers asks for fresh ones, and a server without TURN has none', async () => {
    const server = await startServer(COTURN)
    const { driver } = await activeRide(server)
    driver.peer.send({ type: 'ice_servers' })
    expect(await driver.peer.nextOf('ice_servers')).toMatchObject({
      ice_servers: expect.arrayContaining([expect.objectContaining({ credential: expect.any(String) })]),
      expires_at: expect.any(Number),
    })
    const plain = await startServer()
    const ride = await activeRide(plain)
    ride.driver.peer.send({ type: 'ice_servers' })
    expect(await ride.driver.peer.next()).toEqual({ type: 'ice_servers', ice_servers: [], expires_at: null })
  })

  test('[RIDE-2] [RIDE-5] with TURN too, a stranger is refused and a living holder stays', async () => {
    const server = await startServer(COTURN)
    const { session, driver } = await activeRide(server)
    const stranger = await server.connect()
    stranger.send({ type: 'authenticate', session_id: session.session_id, user_id: 'somebody' })
    expect(await stranger.next()).toEqual({ type: 'unauthorized', reason: 'session_not_found' })
    const pusher = await server.connect()
    pusher.send({ type: 'authenticate', session_id: session.session_id, user_id: 'user_123' })
    expect(await pusher.next()).toMatchObject({ type: 'error', code: 'already_connected' })
    expect(driver.peer.isClosed).toBe(false)
  })
})
