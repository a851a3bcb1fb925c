/** The server behind a real nginx: with the file we ship, and with the block that the reference document shows. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { control, everyAudio, hello, LineCaller, talking } from '../kit/line-callers.ts'
import { startLiveServer } from '../kit/live-server.ts'
import { describeWith, testWith } from '../kit/need.ts'
import { type Nginx, SHIPPED, startNginx } from '../kit/nginx.ts'
import { RawPeer, type RawPeerOptions, Refused } from '../kit/raw-peer.ts'
import {
  ADMIN_KEY,
  API_KEY,
  LINE_KEY,
  type Seated,
  type Session,
  seat,
  type TestServer,
} from '../kit/server.ts'
import { until } from '../kit/until.ts'

const FILES = {
  'the shipped file': readFileSync(SHIPPED, 'utf8'),
  "the document's block": readFileSync(join(import.meta.dir, 'document.conf'), 'utf8'),
}
const shipped = FILES['the shipped file']

interface Behind {
  readonly server: TestServer
  readonly nginx: Nginx
  close(): Promise<void>
}

/** A server behind nginx. Only one address is a proxy, so that the other loopback addresses can be clients. */
async function behind(
  program: string,
  conf: string,
  settings: Record<string, string> = {},
  more: { tls?: boolean } = {},
): Promise<Behind> {
  const server = await startLiveServer({ TRUSTED_PROXIES: '127.0.0.1', ...settings })
  const nginx = await startNginx(program, { upstream: server.port, conf, ...more })
  return {
    server,
    nginx,
    async close() {
      await nginx.close()
      await server.close()
    },
  }
}

function connectTo(nginx: Nginx, options: RawPeerOptions = {}): Promise<RawPeer> {
  return RawPeer.open(nginx.url, options)
}

async function createSession(nginx: Nginx, more: object = {}): Promise<Session> {
  const response = await fetch(`${nginx.url}/sessions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': API_KEY },
    body: JSON.stringify({
      ride_id: 'ride_456',
      driver_id: 'user_123',
      passenger_id: 'user_789',
      ...more,
    }),
  })
  expect(response.status).toBe(200)
  return (await response.json()) as Session
}

interface Call {
  readonly driver: Seated
  readonly passenger: Seated
}

/** A call through nginx whose two parties are in and have been told so. */
async function callThrough(nginx: Nginx, pong = true): Promise<Call> {
  const session = await createSession(nginx)
  const driver = await seat(await connectTo(nginx, { pong }), session, 'user_123')
  const passenger = await seat(await connectTo(nginx, { pong }), session, 'user_789')
  await driver.peer.nextOf('participant_joined')
  await passenger.peer.nextOf('participant_joined')
  return { driver, passenger }
}

/** Both ways, and nothing else has come in between. */
async function expectRelay({ driver, passenger }: Call): Promise<void> {
  const [offer, answer] = [
    { type: 'offer', sdp: `v=0 ${Math.random()}` },
    { type: 'answer', sdp: `v=0 ${Math.random()}` },
  ]
  driver.peer.send(offer)
  expect(await passenger.peer.next()).toEqual(offer)
  passenger.peer.send(answer)
  expect(await driver.peer.next()).toEqual(answer)
}

async function refusal(opening: Promise<RawPeer>): Promise<Refused> {
  const answer = await opening.catch((error: unknown) => error)
  if (!(answer instanceof Refused)) throw new Error(`the handshake was not refused: ${answer}`)
  return answer
}

describeWith('nginx', 'behind nginx', (program) => {
  let open: Behind[] = []
  async function start(
    ...more: [conf?: string, settings?: Record<string, string>, more?: { tls?: boolean }]
  ) {
    const [conf = shipped, ...rest] = more
    const it = await behind(program, conf, ...rest)
    open.push(it)
    return it
  }
  afterEach(async () => {
    const all = open
    open = []
    for (const each of all) await each.close()
  })

  // Real time passes for this call while the other tests run; the last of them looks at it.
  let idle: { since: number; calls: { behind: Behind; call: Call }[] }
  beforeAll(async () => {
    const calls = await Promise.all(
      Object.values(FILES).map(async (conf) => {
        const it = await behind(program, conf, { SESSION_DURATION: '10m' })
        return { behind: it, call: await callThrough(it.nginx) }
      }),
    )
    idle = { since: Date.now(), calls }
  })
  afterAll(async () => {
    for (const { behind } of idle.calls) await behind.close()
  })

  for (const [name, conf] of Object.entries(FILES)) {
    describe(`with ${name}`, () => {
      test('a session is made and both parties talk', async () => {
        const { nginx } = await start(conf)
        const session = await createSession(nginx)
        expect(session.websocket_url).toMatch(/^ws:\/\/127\.0\.0\.1(:\d+)?\/ws$/)
        await expectRelay(await callThrough(nginx))
      })

      test('the limit counts the address of the client, whatever the client claims to be', async () => {
        const { nginx } = await start(conf, { RATE_LIMIT_PER_MIN: '3' })
        const forged = { 'X-Forwarded-For': '203.0.113.9, 127.0.0.1', 'X-Real-IP': '203.0.113.9' }
        for (let i = 0; i < 3; i++) await connectTo(nginx, { from: '127.0.0.2' })
        expect((await refusal(connectTo(nginx, { from: '127.0.0.2' }))).status).toBe(429)
        expect((await refusal(connectTo(nginx, { from: '127.0.0.2', headers: forged }))).status).toBe(429)
        for (let i = 0; i < 3; i++) await connectTo(nginx, { from: '127.0.0.3', headers: forged })
        expect((await refusal(connectTo(nginx, { from: '127.0.0.3' }))).status).toBe(429)
      })

      test('nobody who comes through nginx reads the numbers without a key', async () => {
        const { server, nginx } = await start(conf)
        expect((await server.ask('GET', '/metrics')).status).toBe(200)
        for (const from of ['127.0.0.1', '127.0.0.2']) {
          const headers = { 'X-Forwarded-For': '127.0.0.1', 'X-Real-IP': '127.0.0.1' }
          expect((await refusal(connectTo(nginx, { path: '/metrics', from, headers }))).status).toBe(401)
        }
        const authorization = `Bearer ${ADMIN_KEY}`
        expect((await fetch(`${nginx.url}/metrics`, { headers: { authorization } })).status).toBe(200)
      })

      test('pings keep up a call that says nothing', async () => {
        const impatient = conf.replaceAll('120s', '2s')
        const { nginx } = await start(impatient, { HEARTBEAT_INTERVAL: '500ms', HEARTBEAT_TIMEOUT: '5s' })
        const call = await callThrough(nginx)
        await Bun.sleep(5_000)
        await expectRelay(call)
      })

      test('without pings nginx would cut it', async () => {
        const { nginx } = await start(conf.replaceAll('120s', '1s'), {
          HEARTBEAT_INTERVAL: '1h',
          HEARTBEAT_TIMEOUT: '2h',
        })
        const { driver } = await callThrough(nginx)
        expect((await driver.peer.closed()).code).toBe(1006)
      })

      test('a reload in mid-call breaks nothing', async () => {
        const { nginx } = await start(conf)
        const call = await callThrough(nginx)
        await nginx.reload()
        await expectRelay(call)
        await nginx.reload()
        await expectRelay(await callThrough(nginx))
        await expectRelay(call)
      })

      test('when nginx dies and comes back, both resume and miss nothing', async () => {
        const { nginx } = await start(conf)
        const { driver, passenger } = await callThrough(nginx)
        await nginx.kill()
        expect((await driver.peer.closed()).code).toBe(1006)
        expect((await passenger.peer.closed()).code).toBe(1006)
        await nginx.start()
        const back = async ({ resumeToken }: Seated): Promise<Seated> => {
          const peer = await connectTo(nginx)
          peer.send({ type: 'resume', resume_token: resumeToken, received: 3 })
          return { peer, resumeToken: (await peer.nextOf('resumed')).resume_token }
        }
        const again = { driver: await back(driver), passenger: await back(passenger) }
        const offer = { type: 'offer', sdp: 'v=0 after' }
        again.driver.peer.send(offer)
        expect(await again.passenger.peer.nextOf('offer')).toEqual(offer)
      })
    })
  }

  test('a page of our own site may connect, also on a port of its own', async () => {
    const { nginx } = await start()
    await connectTo(nginx, { headers: { Origin: nginx.url } })
    const other = await refusal(connectTo(nginx, { headers: { Origin: 'http://127.0.0.1' } }))
    expect(other.status).toBe(403)
    const session = await createSession(nginx)
    expect(session.websocket_url).toBe(`${nginx.url.replace('http', 'ws')}/ws`)
  })

  test('what follows the question mark is in no log, also when the server is down', async () => {
    const { server, nginx } = await start()
    const secret = 'leaked-4711'
    const ask = (path: string) =>
      fetch(`${nginx.url}${path}?apikey=${secret}`, { headers: { referer: `/?${secret}` } })
    expect((await ask('/nowhere')).status).toBe(404)
    await server.close()
    expect((await ask('/health')).status).toBe(502)
    await until(() => nginx.logs().includes('upstream 502'), 'nginx to write its log')
    expect(nginx.logs()).toContain('"GET /nowhere HTTP/1.1" 404')
    expect(nginx.logs()).toMatch(/"GET \/health HTTP\/1.1" 502 .* upstream 502/)
    expect(nginx.logs()).not.toContain(secret)
  })

  test('[LINE-35] a line carries its frames both ways, and no log of nginx has its key, room or seat', async () => {
    const { nginx } = await start()
    const page = await fetch(`${nginx.url}/line.html?apikey=${LINE_KEY}`)
    expect([200, 404]).toContain(page.status)
    expect((await fetch(`${nginx.url}/?apikey=guessed-key`)).status).toBe(401)
    const options = { key: LINE_KEY, headers: { Origin: nginx.url } }
    const [first, second] = await talking(nginx, options)
    for (const [from, to] of [
      [first, second],
      [second, first],
    ] as const) {
      const frames = [hello(), ...everyAudio(), control()]
      from.send(...frames)
      for (const sent of frames) expect((await to.heard()).equals(sent)).toBe(true)
    }
    const wrong = LineCaller.open(nginx.url, { key: 'guessed-key', room: first.room })
    expect((await refusal(wrong.then(({ peer }) => peer))).status).toBe(401)
    for (const { peer } of [first, second]) peer.close()
    for (const { peer } of [first, second]) await peer.ended()
    await until(() => nginx.logs().includes('"GET /line HTTP/1.1" 101'), 'nginx to write its log')
    for (const secret of [LINE_KEY, 'guessed-key', first.room, first.seat, second.seat, 'apikey'])
      expect(nginx.logs()).not.toContain(secret)
  })

  test('a body that no message of ours could need ends at nginx', async () => {
    const { nginx } = await start()
    const response = await fetch(`${nginx.url}/sessions`, { method: 'POST', body: 'x'.repeat(100_000) })
    expect(response.status).toBe(413)
    expect(response.headers.get('server')).toStartWith('nginx')
  })

  testWith(
    'openssl',
    'with its TLS lines it serves TLS, and a new certificate from the next handshake on',
    async (openssl) => {
      const folder = mkdtempSync(join(tmpdir(), 'ringdown-tls-'))
      const certificate = (name: string) => {
        const files = ['-keyout', `${folder}/privkey.pem`, '-out', `${folder}/fullchain.pem`]
        const made = Bun.spawnSync(
          [
            openssl,
            'req',
            '-x509',
            '-newkey',
            'ec',
            '-pkeyopt',
            'ec_paramgen_curve:P-256',
            '-nodes',
            '-subj',
            `/CN=${name}`,
            ...files,
          ],
          { stderr: 'pipe' },
        )
        expect(made.exitCode, made.stderr.toString()).toBe(0)
      }
      certificate('first.example')
      const conf = shipped
        .replaceAll('#tls ', '')
        .replaceAll('/etc/letsencrypt/live/calls.example.com', folder)
      const { server, nginx } = await start(conf, {}, { tls: true })

      const session = await server.createSession()
      const offer = { type: 'offer', sdp: 'v=0' }
      const caller = await secureSocket(nginx, session, 'user_123')
      const passenger = await seat(await connectTo(nginx), session, 'user_789')
      await passenger.peer.nextOf('participant_joined')
      expect(await nameOnCertificate(nginx)).toBe('first.example')

      certificate('second.example')
      await nginx.reload()
      expect(await nameOnCertificate(nginx)).toBe('second.example')
      caller.send(JSON.stringify(offer))
      expect(await passenger.peer.next()).toEqual(offer)
      caller.close()
      rmSync(folder, { recursive: true })
    },
  )

  test('a call that says nothing for more than 60 s stays up', async () => {
    await Bun.sleep(Math.max(0, 65_000 - (Date.now() - idle.since)))
    for (const { call } of idle.calls) await expectRelay(call)
  }, 90_000)
})

/** The compiler knows the constructor of browsers, which takes no headers. */
const Socket = WebSocket as unknown as new (url: string, options: Bun.WebSocketOptions) => WebSocket

/** A browser's socket over TLS, from a page of the site; resolves when it is in the call. */
async function secureSocket(nginx: Nginx, session: Session, user: string): Promise<WebSocket> {
  const socket = new Socket(`${nginx.tlsUrl.replace('https', 'wss')}/ws`, {
    headers: { Origin: nginx.tlsUrl },
    tls: { rejectUnauthorized: false },
  })
  await new Promise<void>((resolve, reject) => {
    socket.onerror = () => reject(new Error('no TLS connection'))
    socket.onclose = ({ code, reason }) => reject(new Error(`closed with ${code} ${reason}`))
    socket.onmessage = ({ data }) => {
      if (JSON.parse(data).type === 'session_joined') resolve()
    }
    socket.onopen = () =>
      socket.send(JSON.stringify({ type: 'authenticate', session_id: session.session_id, user_id: user }))
  })
  return socket
}

async function nameOnCertificate(nginx: Nginx): Promise<string> {
  const { hostname: host, port } = new URL(nginx.tlsUrl)
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), rejectUnauthorized: false }, () => {
      const { CN } = socket.getPeerCertificate().subject
      socket.destroy()
      resolve(String(CN))
    })
    socket.once('error', reject)
  })
}
