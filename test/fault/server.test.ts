// A whole server as a process of its own, killed, stopped, frozen and starved while phones talk through it: F1 to F4,
// F19, F23, and what it holds and prints meanwhile.
import { afterEach, describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { PAYLOAD_BYTES } from '../../src/services/direct/directs.ts'
import { ChildServer, closeChildren } from '../kit/child-server.ts'
import { random } from '../kit/random.ts'
import { frame, type RawPeer, TEXT } from '../kit/raw-peer.ts'
import { IN_REAL_TIME } from '../kit/real-time.ts'
import { ADMIN_KEY, API_KEY, type Session } from '../kit/server.ts'
import { until } from '../kit/until.ts'

afterEach(closeChildren)

/** Instants at which it is killed while sessions are created; test/soak/ has more of them. */
const KILLS = Number(process.env.KILLS ?? 12)

const OFFER = '{"type":"offer","sdp":"v=0"}'

/** A phone that keeps count as the protocol has it, so that it can come back. */
class Phone {
  peer: RawPeer
  readonly user: string
  #token = ''
  #received = 0

  private constructor(peer: RawPeer, user: string) {
    this.peer = peer
    this.user = user
  }

  static async in(server: ChildServer, session: Session, user: string): Promise<Phone> {
    const phone = new Phone(await server.connect(), user)
    phone.peer.send({ type: 'authenticate', session_id: session.session_id, user_id: user })
    phone.#token = (await phone.peer.next()).resume_token
    await phone.peer.nextOf('session_joined')
    phone.#received = 2
    return phone
  }

  /** Everything that has come is read; returns how many offers were among it. */
  read(): number {
    const { waiting } = this.peer
    let offers = 0
    for (const text of waiting) {
      if (!text.startsWith('{"type":"error"')) this.#received++
      if (text === OFFER) offers++
    }
    ;(waiting as string[]).length = 0
    return offers
  }

  /** Comes back on a new connection. False when it is not let in. */
  async resume(server: ChildServer): Promise<boolean> {
    this.read()
    this.peer.drop()
    this.peer = await server.connect()
    this.peer.send({ type: 'resume', resume_token: this.#token, received: this.#received })
    const answer = await this.peer.next()
    if (answer.type !== 'resumed') return false
    this.#token = answer.resume_token
    return true
  }
}

interface Call {
  readonly session: Session
  readonly phones: readonly [Phone, Phone]
}

async function call(server: ChildServer): Promise<Call> {
  const session = await server.createSession()
  const driver = await Phone.in(server, session, 'user_123')
  const passenger = await Phone.in(server, session, 'user_789')
  await until(() => driver.peer.waiting.length > 0 && passenger.peer.waiting.length > 0, 'both to be in')
  return { session, phones: [driver, passenger] }
}

async function calls(server: ChildServer, count: number): Promise<Call[]> {
  const all: Call[] = []
  while (all.length < count)
    all.push(
      ...(await Promise.all(Array.from({ length: Math.min(20, count - all.length) }, () => call(server)))),
    )
  return all
}

/** Everybody talks, until the returned function is called. */
function talk(all: readonly Call[]): () => void {
  const timer = setInterval(() => {
    for (const { phones } of all) for (const { peer } of phones) if (!peer.isClosed) peer.send(OFFER)
  }, 50)
  return () => clearInterval(timer)
}

async function statuses(server: ChildServer): Promise<Map<string, string>> {
  const { body } = await server.ask('GET', '/calls?limit=1000')
  return new Map(
    body.calls.map((row: { session_id: string; status: string; end_reason: string | null }) => [
      row.session_id,
      row.end_reason ?? row.status,
    ]),
  )
}

describe('killed in the middle of calls', () => {
  test('[F1] [RIDE-20] [LOG-3] both parties of every call resume, and every call ends with its true reason', {
    ...IN_REAL_TIME,
    timeout: 40_000,
  }, async () => {
    const server = await ChildServer.start({ settings: { RECONNECT_GRACE: '3s', SESSION_DURATION: '10m' } })
    const all = await calls(server, 60)
    const silence = talk(all)
    await Bun.sleep(500)
    await server.kill()
    silence()
    await server.start()
    expect(server.startedIn).toBeLessThan(2_000)
    const [stay, half, gone] = [all.slice(0, 40), all.slice(40, 50), all.slice(50)]
    const back = await Promise.all([
      ...stay.flatMap(({ phones }) => phones.map((phone) => phone.resume(server))),
      ...half.map(({ phones }) => phones[0].resume(server)),
    ])
    expect(back.filter(Boolean).length).toBeGreaterThanOrEqual(back.length * 0.99)
    for (const { phones } of stay) {
      phones[0].peer.send(OFFER)
      await until(() => phones[1].read() > 0, 'the offer')
    }
    for (const { phones } of stay.slice(0, 20)) phones[0].peer.send({ type: 'end_call' })
    const reasons = async (some: readonly Call[]) => {
      const by = await statuses(server)
      return new Set(some.map(({ session }) => by.get(session.session_id)))
    }
    await until(async () => !(await reasons([...half, ...gone])).has('active'), 'the grace to be over', 8_000)
    expect(await reasons(stay.slice(0, 20))).toEqual(new Set(['user_terminated']))
    expect(await reasons(stay.slice(20))).toEqual(new Set(['active']))
    expect(await reasons(half)).toEqual(new Set(['disconnect_passenger']))
    expect(await reasons(gone)).toEqual(new Set(['server_restart']))
  })

  test('[F2] [LOG-2] [HTTP-7] at any instant: no answer without a row, and no second row for a repeated request', async () => {
    const server = await ChildServer.start()
    const chance = random()
    const answered = new Map<string, string>()
    const asked: string[] = []
    const create = async (key: string) =>
      (await server.createSession({ ride_id: key }, { 'idempotency-key': key })).session_id
    for (let kill = 0; kill < KILLS; kill++) {
      let going = true
      const line = async (name: number) => {
        for (let n = 0; going; n++) {
          const key = `${kill}/${name}/${n}`
          asked.push(key)
          const id = await create(key).catch(() => null)
          if (id === null) return
          answered.set(key, id)
        }
      }
      const lines = [line(0), line(1), line(2), line(3)]
      await Bun.sleep(20 + chance.below(150))
      await server.kill()
      going = false
      await Promise.all(lines)
      await server.start()
    }
    expect(answered.size).toBeGreaterThan(100)
    expect(asked.length).toBeGreaterThan(answered.size)
    const again = new Map<string, string>()
    for (const key of asked) again.set(key, await create(key))
    for (const [key, id] of answered) expect([key, again.get(key)]).toEqual([key, id])
    const rows = new Map<string, number>()
    let cursor: string | null = ''
    while (cursor !== null) {
      const { body } = await server.ask('GET', `/calls?limit=1000${cursor === '' ? '' : `&cursor=${cursor}`}`)
      for (const { ride_id } of body.calls) rows.set(ride_id, (rows.get(ride_id) ?? 0) + 1)
      cursor = body.next_cursor
    }
    expect([...rows.values()].every((count) => count === 1)).toBe(true)
    expect(rows.size).toBe(new Set(asked).size)
  }, 3_600_000)
})

describe('told to stop', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    '[F3] [WS-14] [HTTP-12] by %s under load: phones are told, code 0, and every session that was promised is there',
    { ...IN_REAL_TIME, timeout: 30_000 },
    async (signal) => {
      const server = await ChildServer.start({ settings: { SESSION_DURATION: '10m' } })
      const all = await calls(server, 20)
      const silence = talk(all)
      const promised: string[] = []
      const line = async () => {
        for (;;) {
          const session = await server.createSession().catch(() => null)
          if (session === null) return
          promised.push(session.session_id)
        }
      }
      const lines = [line(), line(), line(), line()]
      await until(() => promised.length > 100, 'some load')
      const toldAt = performance.now()
      server.signal(signal)
      expect(await server.ended()).toBe(0)
      expect(performance.now() - toldAt).toBeLessThan(3_000)
      silence()
      await Promise.all(lines)
      for (const { phones } of all) {
        for (const { peer } of phones) expect(await peer.closed()).toEqual({ code: 4103, reason: 'draining' })
      }
      await server.start()
      for (const id of promised) expect((await server.ask('GET', `/sessions/${id}`)).status).toBe(200)
      const back = await Promise.all(all.flatMap(({ phones }) => phones.map((phone) => phone.resume(server))))
      expect(back.every(Boolean)).toBe(true)
      expect(server.printed).not.toContain('"level":"error"')
    },
  )

  test('[F3] a second time at once, it goes as well, and nothing that was promised is lost', async () => {
    const server = await ChildServer.start()
    const all = await calls(server, 5)
    const { session_id } = await server.createSession()
    server.signal('SIGTERM')
    server.signal('SIGTERM')
    expect<(number | string)[]>([0, 1]).toContain(await server.ended())
    await server.start()
    expect((await server.ask('GET', `/sessions/${session_id}`)).body.status).toBe('created')
    for (const { phones } of all) expect(await phones[0].resume(server)).toBe(true)
  }, 20_000)
})

test('[F4] [WS-6] frozen for longer than the heartbeat, it takes nobody for dead who is alive', {
  ...IN_REAL_TIME,
  timeout: 20_000,
}, async () => {
  const settings = { HEARTBEAT_INTERVAL: '400ms', HEARTBEAT_TIMEOUT: '1s', SESSION_DURATION: '10m' }
  const server = await ChildServer.start({ settings })
  const all = await calls(server, 20)
  await Bun.sleep(500)
  server.signal('SIGSTOP')
  await Bun.sleep(4_000)
  server.signal('SIGCONT')
  await Bun.sleep(2_000)
  const closed = all.flatMap(({ phones }) => phones.filter(({ peer }) => peer.isClosed))
  expect(closed).toHaveLength(0)
  expect((await statuses(server)).values().every((status) => status === 'active')).toBe(true)
})

describe('out of file descriptors', () => {
  test('[F23] it keeps who is there, and takes in others again when it can', {
    ...IN_REAL_TIME,
    timeout: 20_000,
  }, async () => {
    const server = await ChildServer.start({ descriptors: 100 })
    const [{ phones }] = (await calls(server, 1)) as [Call]
    const crowd: Socket[] = []
    for (let i = 0; i < 200; i++) {
      const socket = connect(server.port, '127.0.0.1')
      socket.on('error', () => {})
      // The kernel wakes the server for a connection only when something is sent on it.
      socket.write('GET / HTTP/1.1\r\n')
      crowd.push(socket)
    }
    await until(() => readdirSync(`/proc/${server.pid}/fd`).length === 100, 'it to be out of them')
    const turnedAway = await Promise.race([
      server.connect().catch(() => null),
      Bun.sleep(1_000).then(() => null),
    ])
    expect(turnedAway === null).toBe(true)
    for (let i = 0; i < 20; i++) {
      phones[0].peer.send(OFFER)
      await until(() => phones[1].read() > 0, 'the offer')
    }
    for (const socket of crowd) socket.destroy()
    const startedAt = performance.now()
    await call(server)
    expect(performance.now() - startedAt).toBeLessThan(1_500)
  })
})

test('[T-O6] a thousand sockets at every bound at once cost what the bounds say', async () => {
  const server = await ChildServer.start({ settings: { JOIN_WINDOW: '10m', MAX_MESSAGE_BYTES: '4096' } })
  const before = server.memory
  // The runtime has one limit for all sockets: somewhat over the largest message of any service.
  const piece = frame(0, Buffer.alloc(100, 'x'), { fin: false })
  const unfinished = Buffer.concat(Array.from({ length: PAYLOAD_BYTES / 100 }, () => piece))
  const waiting = `{"type":"offer","sdp":"${'x'.repeat(980)}"}`
  const phones: Phone[] = []
  for (let i = 0; i < 50; i++) {
    phones.push(
      ...(await Promise.all(
        Array.from({ length: 20 }, async () => Phone.in(server, await server.createSession(), 'user_123')),
      )),
    )
  }
  for (const { peer } of phones) {
    // 64 frames and 64 K characters for a passenger that never comes, and a message that never ends.
    for (let i = 0; i < 64; i++) peer.send(waiting)
    peer.frame(TEXT, 'x', { fin: false })
    peer.socket.write(unfinished)
  }
  for (const { peer } of phones) expect(await peer.settle()).toEqual([])
  const caps = (1_000 * (64 * 1_024 + PAYLOAD_BYTES)) / 1e6
  expect(server.memory).toBeLessThan(128 + caps)
  expect(server.memory).toBeGreaterThan(before)
}, 40_000)

test('[T-O1] no key and no token is ever printed or shown, whatever is done with it', async () => {
  const server = await ChildServer.start({ settings: { LOG_LEVEL: 'debug', REQUIRE_JOIN_TOKEN: 'true' } })
  const session = await server.createSession()
  const { driver, passenger } = session.join_tokens
  const shown: string[] = []
  const tokens = [driver, passenger]
  const secrets = () => [API_KEY, ADMIN_KEY, ...tokens, ...madeSecrets(server)]

  for (const [user, join_token] of [
    ['user_123', driver],
    ['user_789', passenger],
    ['user_123', passenger],
    ['somebody', driver],
  ]) {
    const peer = await server.connect()
    peer.send({ type: 'authenticate', session_id: session.session_id, user_id: user, join_token })
    const answer = await peer.next()
    if (answer.resume_token === undefined) shown.push(JSON.stringify(answer))
    else tokens.push(answer.resume_token)
  }
  for (const resume_token of [tokens[2], `${tokens[2]}x`, tokens[2], driver, API_KEY]) {
    const peer = await server.connect()
    peer.send({ type: 'resume', resume_token, received: 2 })
    const answer = await peer.next()
    if (answer.resume_token === undefined) shown.push(JSON.stringify(answer))
    else tokens.push(answer.resume_token)
  }
  for (const text of [
    `{"type":"${driver}"}`,
    `{"${driver}":"${API_KEY}"`,
    `{"type":"authenticate","session_id":"${session.session_id}","user_id":5,"join_token":"${driver}"}`,
    `{"type":"resume","resume_token":"${driver}","received":"${API_KEY}"}`,
    `{"type":"authenticate","join_token":"${driver}","join_token":"${passenger}"}`,
  ]) {
    const peer = await server.connect()
    peer.send(text)
    shown.push(await peer.nextText())
    peer.frame(2, driver)
    peer.close(4000, driver)
  }
  const asks: [string, string, unknown?, Record<string, string>?][] = [
    ['GET', `/calls?key=${API_KEY}`],
    ['GET', `/calls?ride_id=${driver}&x=${ADMIN_KEY}`],
    ['GET', `/${API_KEY}`],
    ['GET', `/sessions/${driver}`],
    ['GET', '/metrics', undefined, { authorization: `Bearer ${API_KEY}`, 'x-forwarded-for': '192.0.2.1' }],
    ['GET', '/calls', undefined, { 'x-api-key': ADMIN_KEY }],
    ['GET', '/calls', undefined, { 'x-api-key': `${API_KEY}x` }],
    ['POST', '/sessions', `{"ride_id":"${API_KEY}`],
    ['POST', '/sessions', { ride_id: driver }],
    ['POST', '/sessions', { ride_id: 1 }, { 'idempotency-key': `${API_KEY} ${driver}` }],
    ['DELETE', `/sessions/${API_KEY}`],
    ['PATCH', `/sessions/${session.session_id}`, { max_duration: API_KEY }],
    ['GET', '/calls'],
    ['GET', '/calls?format=csv'],
    ['GET', '/metrics'],
    ['GET', '/ready'],
  ]
  for (const [method, path, body, headers] of asks) {
    const { text, headers: answered } = await server.ask(method, path, body, headers)
    shown.push(text, JSON.stringify([...answered]))
  }
  server.signal('SIGTERM')
  await server.ended()
  await server.start()
  await server.kill()
  expect(server.printed).toContain('"level":"debug"')
  const all = [server.printed, ...shown].join('\n')
  for (const secret of secrets()) {
    expect(secret.length).toBeGreaterThan(20)
    expect(all.split(secret).length - 1, `${secret.slice(0, 4)}… was shown`).toBe(0)
  }
}, 20_000)

/** What the server made for itself. */
function madeSecrets(server: ChildServer): string[] {
  const kept = readFileSync(join(server.dataDir, 'keys.json'), 'utf8')
  return [...kept.matchAll(/"([A-Za-z0-9_-]{32,})"/g)].map((match) => match[1] as string)
}
