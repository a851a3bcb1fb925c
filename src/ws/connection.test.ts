import { describe, expect, test } from 'bun:test'
import { TestClock } from '../../test/kit/clock.ts'
import { silentLog } from '../../test/kit/log.ts'
import { uncounted } from '../../test/kit/metrics.ts'
import type { Rates, Session, TextEndpoint } from '../core/door.ts'
import type { Peer } from '../core/ports.ts'
import { fail } from '../protocol/codes.ts'
import { type Connection, MAX_UNREAD, type Socket } from './connection.ts'
import { WsDoor } from './door.ts'
import type { Allowance } from './rate.ts'
import { TextConnection } from './text.ts'

const RATES: Rates = { messagesPerSecond: 5, bytesPerMinute: 1_000 }

/** A door whose service does what the test says, and sockets that are not there. */
function house(does: (peer: Peer, text: string) => void = () => {}) {
  const clock = new TestClock()
  const logged: string[] = []
  const allowances = new WeakMap<object, Allowance>()
  const told: string[] = []
  const endpoint: TextEndpoint<string> = {
    kind: 'ride',
    speaks: 'text',
    access: 'anybody',
    path: '/ws',
    codec: { read: (text) => text, failure: ({ code, message }) => `${code}: ${message}` },
    maxBytes: 4096,
    firstWordWithin: 10_000,
    tooLate: 'authenticate_timeout',
    heartbeat: { interval: 20_000, timeout: 30_000 },
    open: (peer): Session<string> => ({
      message: (text) => {
        does(peer, text)
        return true
      },
      closed: (goodbye) => void told.push(goodbye ? 'goodbye' : 'lost'),
      pinged: () => void told.push('pinged'),
      ponged: () => void told.push('ponged'),
    }),
  }
  const metrics = uncounted
  const log = { ...silentLog, error: (_: object, message: string) => void logged.push(message) }
  log.child = () => log
  let given = 0

  function connect() {
    const arrival = {
      id: 'one',
      address: '192.0.2.1',
      query: new URLSearchParams(),
      giveBack: () => void given++,
    }
    const world = { rates: RATES, clock, log, metrics, allowances, gone: () => {} }
    const connection = new TextConnection(endpoint as TextEndpoint<unknown>, arrival, world)
    const socket = new FakeSocket(connection)
    connection.opened(socket as unknown as Socket)
    return { connection, socket }
  }
  const door = () =>
    new WsDoor({ endpoints: [endpoint as TextEndpoint<unknown>], rates: RATES, clock, log, metrics })
  return { clock, logged, told, connect, door, given: () => given }
}

class FakeSocket {
  readonly #connection: Connection
  readonly sent: string[] = []
  readonly pings: string[] = []
  unread = 0
  code: number | null = null

  constructor(connection: Connection) {
    this.#connection = connection
  }

  send(text: string): number {
    this.sent.push(text)
    if (this.unread === 0) return text.length
    this.unread += text.length
    return -1
  }

  getBufferedAmount(): number {
    return this.unread
  }

  ping(payload: string): number {
    this.pings.push(payload)
    return 1
  }

  /** As the runtime does: the handler runs within the call. */
  close(code: number): void {
    if (this.code !== null) return
    this.code = code
    this.#connection.closed(code)
  }
}

const bytes = (text = '') => new TextEncoder().encode(text)
const turn = () => new Promise<void>((resolve) => queueMicrotask(resolve))

describe('a connection that is gone', () => {
  test('leaves no alarm, whatever the service does with it on its way out', async () => {
    const { clock, connect } = house((peer) => {
      peer.close(1000, 'over')
      peer.admit({}, {})
      peer.send('more')
    })
    const { connection, socket } = connect()
    connection.received('end')
    expect(clock.alarms).toBe(0)
    await turn()
    expect([socket.code, socket.sent, clock.alarms]).toEqual([1000, [], 0])
  })

  test('answers who asked for a sign of life, and leaves no alarm of that', async () => {
    const { clock, connect } = house()
    const { connection } = connect()
    const verdicts: boolean[] = []
    for (let i = 0; i < 3; i++) connection.probe((alive) => verdicts.push(alive))
    connection.closed(1006)
    expect([verdicts, clock.alarms]).toEqual([[false, false, false], 0])
    await turn()
  })

  test('is closed once, and after the change in which that was decided', async () => {
    const { told, connect } = house((peer) => {
      for (let i = 0; i < 3; i++) peer.close(4409, 'taken_over')
      told.push('decided')
    })
    connect().connection.received('x')
    expect(told).toEqual(['decided'])
    await turn()
    expect(told).toEqual(['decided', 'lost'])
  })

  test('[RIDE-14] has said goodbye only when it closed with 1000 or without a code, and nobody had closed it before', async () => {
    const { told, connect } = house()
    connect().connection.closed(1000)
    connect().connection.closed(1001)
    connect().connection.closed(1005)
    connect().connection.closed(1006)
    const { connection } = connect()
    connection.close(4102, 'heartbeat_timeout')
    connection.closed(1000)
    expect(told).toEqual(['goodbye', 'lost', 'goodbye', 'lost', 'lost'])
  })
})

describe('a connection that is closing', () => {
  test('shows no life and confirms nothing, whatever still comes from the other end', () => {
    const { told, connect } = house()
    const { connection, socket } = connect()
    const verdicts: boolean[] = []
    connection.probe((alive) => verdicts.push(alive))
    connection.close(4409, 'taken_over')
    connection.ponged(bytes(socket.pings[0]))
    connection.received('x')
    connection.pinged()
    connection.probe((alive) => verdicts.push(alive))
    expect([told, verdicts, socket.pings.length]).toEqual([['pinged'], [], 1])
    connection.closed(1006)
    expect([told, verdicts]).toEqual([
      ['pinged', 'lost'],
      [false, false],
    ])
  })
})

describe('what a client may send', () => {
  test('[WS-10] is the same on every connection it is admitted on', () => {
    const client = {}
    const { connect } = house((peer) => peer.admit({}, client))
    let taken = 0
    for (let i = 0; i < 10; i++) {
      const { connection, socket } = connect()
      // The first word is said before anybody knows who it is.
      for (let message = 0; message < 6; message++) connection.received('x'.repeat(50))
      taken += 6 - socket.sent.filter((text) => text.startsWith('rate_limited')).length
      connection.closed(1006)
    }
    expect(taken).toBe(10 + 1_000 / 50)
  })

  test('[WS-10] is counted in bytes, not in characters', () => {
    const { connect } = house()
    const { connection, socket } = connect()
    connection.received('語'.repeat(333))
    connection.received('ab')
    expect(socket.sent).toEqual([expect.stringContaining('rate_limited')])
  })

  test('[WS-2] and its attempts are given back, but not to one who keeps coming in', () => {
    const client = {}
    const { clock, connect, given } = house((peer) => peer.admit({}, client))
    for (let i = 0; i < 50; i++) connect().connection.received('x')
    expect(given()).toBe(20)
    clock.leap(30_000)
    for (let i = 0; i < 50; i++) connect().connection.received('x')
    expect(given()).toBe(30)
  })

  test('[WS-2] and a connection gives its attempt back once', () => {
    const { connect, given } = house((peer) => peer.admit({}))
    const { connection } = connect()
    for (let i = 0; i < 4; i++) connection.received('x')
    expect(given()).toBe(1)
  })
})

describe('a pong', () => {
  test('counts when it answers the ping that was marked, and not when it is made up', () => {
    const { told, connect } = house()
    const { connection, socket } = connect()
    connection.probe(() => {})
    connection.probe(() => {})
    for (const payload of ['', '0', 'x', socket.pings[1]]) connection.ponged(bytes(payload))
    expect(told).toEqual(['pinged'])
    connection.ponged(bytes(socket.pings[0]))
    connection.ponged(bytes(socket.pings[0]))
    expect(told).toEqual(['pinged', 'ponged'])
  })
})

describe('a server that slept', () => {
  test('[WS-6] asks whether a connection is alive before it takes it for dead', async () => {
    const { clock, connect } = house((peer) => peer.admit({}, {}))
    const alive = connect()
    const dead = connect()
    for (const { connection } of [alive, dead]) connection.received('x')
    clock.leap(60_000)
    expect([alive.connection.open, alive.socket.pings.length]).toEqual([true, 1])
    alive.connection.ponged(bytes(alive.socket.pings[0]))
    await clock.wind(1_100)
    expect([alive.connection.open, dead.connection.open]).toEqual([true, false])
    await clock.wind(25_000)
    expect(alive.connection.open).toBe(true)
    await turn()
    expect(dead.socket.code).toBe(4102)
  })
})

test('our own mistake is a line in the log and says nothing to the client', async () => {
  const { logged, connect } = house(() => {
    throw new TypeError('secret detail')
  })
  const { connection, socket } = connect()
  connection.received('x')
  await turn()
  expect(socket.sent).toEqual(['internal: The server made a mistake; it is in its log.'])
  expect([socket.code, logged]).toEqual([1011, ['a message could not be handled']])
})

test('[WS-8] a mistake of the client is an answer and no line in the log', () => {
  const { logged, connect } = house(() => {
    throw fail('invalid_field', 'sdp is missing')
  })
  const { connection, socket } = connect()
  connection.received('x')
  expect([socket.sent, logged]).toEqual([['invalid_field: sdp is missing'], []])
})

test('[WS-8] that the other party is away is not the mistake of the sender, however often it is told so', () => {
  const { connect } = house((_, text) => {
    throw fail(text === 'full' ? 'buffer_full' : 'invalid_field')
  })
  const { connection, socket } = connect()
  for (let i = 0; i < 9; i++) connection.received('full')
  expect([connection.open, socket.sent.length]).toEqual([true, 9])
  for (let i = 0; i < 8; i++) connection.received('x')
  expect(connection.open).toBe(false)
})

describe('a client that does not read', () => {
  test('[WS-11] may leave 256 KB, and is closed with 4101 over it', async () => {
    const { connect } = house()
    const { connection, socket } = connect()
    socket.unread = 1
    const half = 'x'.repeat(MAX_UNREAD / 2)
    expect(connection.send(half)).toBe(true)
    expect(connection.send(half)).toBe(false)
    expect(connection.send('more')).toBe(false)
    await turn()
    expect([socket.code, socket.sent.length]).toEqual([4101, 2])
  })

  test('[WS-11] is closed by us and never by the runtime, however large a message may be', () => {
    const handlers = house().door().handlers()
    expect(handlers.backpressureLimit).toBeGreaterThan(MAX_UNREAD + 2 * 4096)
    const { maxPayloadLength = 0, backpressureLimit = 0 } = handlers
    expect(backpressureLimit - MAX_UNREAD).toBeGreaterThanOrEqual(maxPayloadLength)
  })
})
