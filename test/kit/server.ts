/** A whole server in the test's process: real sockets on port 0, a clock that the test winds, its own data folder. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readConfig } from '../../src/config/read.ts'
import { type Running, start, type World } from '../../src/main.ts'
import { TestClock } from './clock.ts'
import { type LogLine, listLog } from './log.ts'
import { RawPeer, type RawPeerOptions } from './raw-peer.ts'

export const API_KEY = 'k'.repeat(40)
export const ADMIN_KEY = 'a'.repeat(40)
export const LINE_KEY = 'line-key_'.repeat(8)

/** Settings of every test server; a test's own win. Timers are the documents' defaults. */
const SETTINGS = {
  SERVER_ADDR: '127.0.0.1:0',
  API_KEY,
  ADMIN_KEY,
  APIKEY: LINE_KEY,
  RATE_LIMIT_PER_MIN: '0',
}

export interface TestServer extends Running {
  readonly clock: TestClock
  readonly dataDir: string
  /** Every line that was logged. */
  readonly logged: readonly LogLine[]
  /** Asks over HTTP with the API key. */
  ask(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>
  createSession(more?: object): Promise<Session>
  /** A connection that has said nothing yet. */
  connect(options?: RawPeerOptions): Promise<RawPeer>
  /** Starts another server on the same data folder and with the same clock; for after `close`. */
  again(settings?: Record<string, string>): Promise<TestServer>
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape.
  readonly body: any
}

export interface Session {
  readonly session_id: string
  readonly ride_id: string
  readonly expires_in: number
  readonly join_tokens: { driver: string; passenger: string }
  readonly websocket_url: string
}

export interface Seated {
  readonly peer: RawPeer
  readonly resumeToken: string
}

const open = new Set<TestServer>()

/** `settings` as in the environment. Close it, or let `closeServers` do it after each test. */
export async function startServer(
  settings: Record<string, string> = {},
  world: Partial<World> & { dataDir?: string; clock?: TestClock } = {},
): Promise<TestServer> {
  const dataDir = world.dataDir ?? mkdtempSync(join(tmpdir(), 'ringdown-'))
  const clock = world.clock ?? new TestClock()
  const logged: LogLine[] = []
  const { config } = readConfig({ ...SETTINGS, DATA_DIR: dataDir, ...settings }, [])
  const running = await start(config, { log: listLog(logged), ...world, clock })
  const server: TestServer = {
    ...running,
    clock,
    dataDir,
    logged,
    ask: (method, path, body, headers) => ask(running.url, method, path, body, headers),
    async createSession(more = {}) {
      const request = { ride_id: 'ride_456', driver_id: 'user_123', passenger_id: 'user_789', ...more }
      const { status, body, text } = await ask(running.url, 'POST', '/sessions', request)
      if (status !== 200) throw new Error(`POST /sessions answered ${status}: ${text}`)
      return body as Session
    },
    connect: (options) => RawPeer.open(running.url, options),
    async again(more = {}) {
      await server.close()
      return startServer({ ...settings, ...more }, { ...world, clock, dataDir })
    },
    async close() {
      open.delete(server)
      await running.close()
    },
  }
  open.add(server)
  return server
}

/** Closes what a test left open. For `afterEach`. */
export async function closeServers(): Promise<void> {
  for (const server of [...open]) {
    await server.close()
    rmSync(server.dataDir, { recursive: true, force: true })
  }
}

/** Lets a user in and takes the two answers. */
export async function joinAs(
  server: TestServer,
  session: Session,
  user: string,
  more: object = {},
): Promise<Seated> {
  const peer = await server.connect()
  return seat(peer, session, user, more)
}

export async function seat(
  peer: RawPeer,
  session: Session,
  user: string,
  more: object = {},
): Promise<Seated> {
  peer.send({ type: 'authenticate', session_id: session.session_id, user_id: user, ...more })
  const { resume_token } = await peer.nextOf('authenticated')
  await peer.nextOf('session_joined')
  return { peer, resumeToken: resume_token }
}

export interface RideUnderTest {
  readonly session: Session
  readonly driver: Seated
  readonly passenger: Seated
}

/** A ride whose two parties are in and have been told so. */
export async function activeRide(server: TestServer, more: object = {}): Promise<RideUnderTest> {
  const session = await server.createSession(more)
  const driver = await joinAs(server, session, 'user_123')
  const passenger = await joinAs(server, session, 'user_789')
  await driver.peer.nextOf('participant_joined')
  await passenger.peer.nextOf('participant_joined')
  return { session, driver, passenger }
}

export async function ask(
  url: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(url + path, {
    method,
    headers: {
      'x-api-key': API_KEY,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: isJson && text !== '' ? JSON.parse(text) : null,
  }
}
