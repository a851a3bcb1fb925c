import { Database } from 'bun:sqlite'
import { afterEach, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { audio, control, LineCaller, lineServer, talking } from '../kit/line-callers.ts'
import { BINARY, RawPeer, TEXT } from '../kit/raw-peer.ts'
import {
  activeRide,
  closeServers,
  joinAs,
  type RideUnderTest,
  startServer,
  type TestServer,
} from '../kit/server.ts'

afterEach(closeServers)

const OFFER = '{"type":"offer","sdp":"v=0"}'

/** How a call may go from where both are in. What is left to time is over within five minutes. */
const endings: Record<string, (server: TestServer, ride: RideUnderTest) => unknown> = {
  'the driver hangs up': (_, { driver }) => driver.peer.send({ type: 'end_call' }),
  'the passenger hangs up': (_, { passenger }) => passenger.peer.send({ type: 'end_call' }),
  'both hang up': (_, { driver, passenger }) => {
    for (const { peer } of [driver, passenger]) peer.send({ type: 'end_call' })
  },
  'one says goodbye': (_, { driver }) => driver.peer.close(1000),
  'both say goodbye': (_, { driver, passenger }) => {
    for (const { peer } of [driver, passenger]) peer.close(1000)
  },
  'one is lost': (_, { passenger }) => passenger.peer.drop(),
  'both are lost': (_, { driver, passenger }) => {
    for (const { peer } of [driver, passenger]) peer.drop()
  },
  'the limit is reached': () => {},
  'the backend ends it': (server, { session }) => server.ask('DELETE', `/sessions/${session.session_id}`),
  'the backend ends it while one is away': (server, { session, driver }) => {
    driver.peer.drop()
    return server.ask('DELETE', `/sessions/${session.session_id}`)
  },
  'the limit is set lower': (server, { session }) =>
    server.ask('PATCH', `/sessions/${session.session_id}`, { max_duration: 1 }),
  'one is taken over and nobody comes back': async (server, { session, driver }) => {
    const { peer } = await joinAs(server, session, 'user_123', { join_token: session.join_tokens.driver })
    await driver.peer.closed()
    peer.drop()
  },
  'one resumes and hangs up': async (server, { driver }) => {
    driver.peer.drop()
    const back = await server.connect()
    back.send({ type: 'resume', resume_token: driver.resumeToken, received: 3 })
    await back.nextOf('resumed')
    back.send({ type: 'end_call' })
  },
  'one breaks the protocol': (_, { driver }) => driver.peer.frame(BINARY, 'x'),
  'one breaks the framing': (_, { driver }) => driver.peer.frame(3, 'x'),
  'one floods': (_, { driver }) => {
    for (let i = 0; i < 300; i++) driver.peer.send(OFFER)
  },
  'somebody asks for the place of one who is there': async (server, { session }) => {
    const peer = await server.connect()
    peer.send({ type: 'authenticate', session_id: session.session_id, user_id: 'user_123' })
  },
}

/** How two may go from a line. Whoever is left over then is lost. */
const partings: Record<string, (server: TestServer, first: LineCaller, second: LineCaller) => unknown> = {
  'both say goodbye': (_, first, second) => {
    for (const { peer } of [first, second]) peer.close(1001)
  },
  'one says goodbye': (_, first) => first.peer.close(1000),
  'both are lost': () => {},
  'one comes in anew': (server, first) => LineCaller.open(server.url, first),
  'one is lost and comes back': async (server, first, second) => {
    first.peer.drop()
    await second.notice()
    return LineCaller.open(server.url, first)
  },
  'one is loaded again': async (server, first, second) => {
    first.peer.close(1001)
    await second.notice()
    return LineCaller.open(server.url, { room: first.room })
  },
  'a third is sent away': async (server, first) => {
    const third = await LineCaller.open(server.url, { room: first.room })
    await third.peer.closed()
  },
  'one says what there is not': (_, first) => {
    for (let i = 0; i < 8; i++) first.send(Buffer.from('x'))
  },
  'one says text': (_, first) => first.peer.frame(TEXT, 'x'),
  'one floods': (_, first) => {
    for (let i = 0; i < 401; i++) first.send(control())
  },
}

async function series(server: TestServer, name: string): Promise<number[]> {
  const { text } = await server.ask('GET', '/metrics')
  return [...text.matchAll(new RegExp(`^${name}(?:{.*})? (\\d+)$`, 'gm'))].map((match) => Number(match[1]))
}

function rowsIn(server: TestServer, table: string): number {
  const database = new Database(join(server.dataDir, 'ringdown.db'), { readonly: true })
  try {
    return database.query<{ n: number }, []>(`SELECT count(*) AS n FROM ${table}`).get()?.n ?? -1
  } finally {
    database.close()
  }
}

describe('when all calls are over', () => {
  test('nothing is left of two hundred of them: no alarm, no connection, no snapshot, no error', async () => {
    const server = await startServer({ RATE_LIMIT_PER_MIN: '100', SESSION_DURATION: '2m' })
    const alarms = server.clock.alarms
    const names = Object.keys(endings)
    const rides: RideUnderTest[] = []
    for (let i = 0; i < 200; i++) {
      const ride = await activeRide(server)
      ride.driver.peer.send(OFFER)
      rides.push(ride)
      // The clock stands still, so that no attempt comes back but by being given back.
      await endings[names[i % names.length] as string]?.(server, ride)
      if (i % 10 === 0) await server.createSession()
      if (i % 10 === 5) {
        const waiting = await joinAs(server, await server.createSession(), 'user_123')
        waiting.peer.send(OFFER)
      }
    }
    await server.clock.wind(300_000)
    for (const { driver, passenger } of rides) {
      for (const { peer } of [driver, passenger]) if (!peer.socket.destroyed) await peer.closed()
    }
    expect(await series(server, 'ringdown_sockets')).toEqual([0])
    expect(await series(server, 'ringdown_calls')).toEqual([0, 0, 0, 0, 0, 0])
    expect(server.clock.alarms).toBe(alarms)
    const { body } = await server.ask('GET', '/calls?limit=1000')
    expect(body.calls).toHaveLength(240)
    for (const call of body.calls) expect([call.session_id, call.status]).toEqual([call.session_id, 'ended'])
    expect(rowsIn(server, 'snapshots')).toBe(0)
    expect(server.logged.filter(({ level }) => level === 'error')).toEqual([])
  })

  test('nothing is left of a hundred lines: no alarm, no connection, no snapshot, no error', async () => {
    const server = await lineServer()
    const alarms = server.clock.alarms
    const names = Object.keys(partings)
    for (let i = 0; i < 100; i++) {
      const [first, second] = await talking(server)
      first.send(audio())
      await second.heard()
      const more = await partings[names[i % names.length] as string]?.(server, first, second)
      for (const { peer } of [first, second, ...(more instanceof LineCaller ? [more] : [])]) peer.drop()
    }
    await server.clock.wind(300_000)
    expect(await series(server, 'ringdown_sockets')).toEqual([0])
    expect(await series(server, 'ringdown_calls')).toEqual([0, 0, 0, 0, 0, 0])
    expect(server.clock.alarms).toBe(alarms)
    const { body } = await server.ask('GET', '/calls?service=line&limit=1000')
    expect(body.calls.length).toBeGreaterThanOrEqual(100)
    for (const call of body.calls) expect([call.session_id, call.status]).toEqual([call.session_id, 'ended'])
    expect(rowsIn(server, 'snapshots')).toBe(0)
    expect(server.logged.filter(({ level }) => level === 'error')).toEqual([])
  })

  test('nothing is left of their phones’ attempts either', async () => {
    const server = await startServer({ RATE_LIMIT_PER_MIN: '2' })
    for (let i = 0; i < 20; i++) {
      const { driver } = await activeRide(server)
      driver.peer.send({ type: 'end_call' })
      await driver.peer.closed()
    }
    await server.connect()
    await server.connect()
    await expect(server.connect()).rejects.toThrow('429')
  })
})

describe('a server that is closed', () => {
  test('may be closed again, listens no more, and has let go of everything', async () => {
    const server = await startServer()
    const alarms = server.clock.alarms
    const rides = [await activeRide(server), await activeRide(server)]
    await joinAs(server, await server.createSession(), 'user_123')
    await server.connect()
    await Promise.all([server.close(), server.close()])
    await server.close()
    for (const { driver, passenger } of rides) {
      for (const { peer } of [driver, passenger]) expect((await peer.closed()).code).toBe(4103)
    }
    expect(server.clock.alarms).toBeLessThanOrEqual(alarms)
    await expect(RawPeer.open(server.url)).rejects.toThrow()
  })

  test('may be started and closed many times on one folder, and calls are neither lost nor doubled', async () => {
    let server = await startServer({ SESSION_DURATION: '1h', RECONNECT_GRACE: '1h' })
    await activeRide(server)
    await server.createSession()
    for (let i = 0; i < 5; i++) server = await server.again()
    expect(await series(server, 'ringdown_calls')).toEqual([1, 1, 0, 0, 0, 0])
    expect((await server.ask('GET', '/calls')).body.calls).toHaveLength(2)
    await server.clock.wind(7_300_000)
    expect(await series(server, 'ringdown_calls')).toEqual([0, 0, 0, 0, 0, 0])
    expect(rowsIn(server, 'snapshots')).toBe(0)
  })
})
