import { expect, test } from 'bun:test'
import { HandClock } from '../../client/fakes.ts'
import { readNotice, writeNotice } from '../../protocol/line.ts'
import { Link } from './link.ts'
import { BUSY, REPLACED } from './relay.ts'
import type { BinarySocketEvents, ServerState } from './world.ts'

class Network {
  readonly clock = new HandClock()
  readonly sockets: {
    on: BinarySocketEvents
    at: number
    sent: Uint8Array[]
    closed: number | null
  }[] = []
  server: ServerState = 'there'
  asked = 0
  expects = true
  opened = 0
  heard = 0
  chance = 1
  readonly link: Link

  constructor() {
    this.link = new Link({
      world: {
        timers: this.clock,
        origin: 1_000_000,
        random: () => this.chance,
        openSocket: (_, on) => {
          const socket = { on, at: this.clock.now(), sent: [] as Uint8Array[], closed: null as number | null }
          this.sockets.push(socket)
          return {
            send: (bytes) => void socket.sent.push(bytes),
            close: (code) => {
              socket.closed ??= code
            },
          }
        },
        askServer: async () => {
          this.asked++
          return this.server
        },
      },
      url: 'wss://example.test/line',
      on: { opened: () => this.opened++, bytes: () => this.heard++, changed: () => {} },
      expects: () => this.expects,
    })
  }

  get last() {
    const last = this.sockets.at(-1)
    if (last === undefined) throw new Error('no socket')
    return last
  }

  /** How long after now the next socket is made. */
  async wait(): Promise<number> {
    const { length } = this.sockets
    const from = this.clock.now()
    while (this.sockets.length === length) {
      if (this.clock.now() - from > 60_000) throw new Error('never')
      this.clock.wind(10)
      await Promise.resolve()
    }
    return this.clock.now() - from
  }
}

test('it waits 250 ms, then twice as long each time up to 4 s, and less by chance', async () => {
  const network = new Network()
  const waits: number[] = []
  for (let i = 0; i < 7; i++) {
    network.last.on.closed(1006)
    waits.push(await network.wait())
  }
  expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 4_000, 4_000])
  network.chance = 0
  network.last.on.closed(1006)
  expect(await network.wait()).toBe(2_000)
})

test('after a good socket the first wait is short again; a server that takes and closes gets no haste', async () => {
  const network = new Network()
  const waits: number[] = []
  for (let i = 0; i < 4; i++) {
    network.last.on.opened()
    network.clock.wind(100)
    network.last.on.closed(1006)
    waits.push(await network.wait())
  }
  expect(waits).toEqual([250, 500, 1_000, 2_000])
  network.last.on.opened()
  network.clock.wind(1_500)
  network.last.on.closed(1006)
  expect(await network.wait()).toBe(250)
})

test('says when it tries again, on the clock of the page', () => {
  const network = new Network()
  network.last.on.opened()
  network.clock.wind(1_000)
  network.last.on.closed(1006)
  expect(network.link.state).toEqual({ at: 'reconnecting', trouble: 'lost', retryAt: 1_001_250 })
})

test('a nudge ends the wait', () => {
  const network = new Network()
  network.last.on.closed(1006)
  network.link.nudge()
  expect(network.sockets).toHaveLength(2)
  network.link.nudge()
  expect(network.sockets).toHaveLength(2)
})

test('after a nudge an open socket has to show a sign, soon', () => {
  const network = new Network()
  network.last.on.opened()
  network.clock.wind(1_000)
  network.link.nudge()
  expect(network.last.sent.map((bytes) => readNotice(bytes)?.notice)).toEqual(['here', 'here'])
  network.clock.wind(1_000)
  network.last.on.bytes(writeNotice('here'))
  network.clock.wind(2_000)
  expect(network.link.isOpen).toBe(true)
  network.link.nudge()
  network.clock.wind(2_000)
  expect(network.link.state).toMatchObject({ at: 'reconnecting', trouble: 'lost' })
  expect(network.sockets[0]?.closed).toBe(4_000)
})

test('nothing heard for 6 s though it was asked for: the socket is dead', () => {
  const network = new Network()
  network.last.on.opened()
  network.clock.wind(5_500)
  expect(network.link.isOpen).toBe(true)
  expect(network.last.sent.length).toBeWithin(4, 6)
  network.clock.wind(1_000)
  expect(network.link.state).toMatchObject({ at: 'reconnecting', trouble: 'silent' })
})

test('one who is alone behind a relay that never says a word stays, and is not opened again and again', () => {
  const network = new Network()
  network.expects = false
  network.last.on.opened()
  network.clock.wind(600_000)
  expect(network.link.isOpen).toBe(true)
  expect(network.sockets).toHaveLength(1)
  network.link.nudge()
  expect(network.sockets).toHaveLength(2)
})

test('busy is asked once more, for the last page of a reload may still sit there; then it is over', async () => {
  const network = new Network()
  network.last.on.opened()
  network.last.on.closed(BUSY)
  expect(network.link.state.at).toBe('reconnecting')
  expect(await network.wait()).toBe(1_000)
  network.last.on.opened()
  network.last.on.closed(BUSY)
  expect(network.link.state).toEqual({ at: 'closed', why: 'busy' })
  network.clock.wind(60_000)
  expect(network.sockets).toHaveLength(2)
  expect(network.clock.pending).toBe(0)
})

test('a page that came in again elsewhere is not fought', () => {
  const network = new Network()
  network.last.on.opened()
  network.last.on.closed(REPLACED)
  expect(network.link.state).toEqual({ at: 'closed', why: 'replaced' })
})

test('two sockets that do not open: the server is asked why', async () => {
  for (const [server, trouble] of [
    ['offline', 'offline'],
    ['down', 'server_down'],
    ['there', 'server_down'],
  ] as const) {
    const network = new Network()
    network.server = server
    network.last.on.closed(1006)
    await network.wait()
    expect(network.asked).toBe(0)
    network.last.on.closed(1006)
    await Promise.resolve()
    await Promise.resolve()
    expect(network.link.state).toMatchObject({ at: 'reconnecting', trouble })
    await network.wait()
    network.last.on.opened()
    expect(network.link.state).toEqual({ at: 'open' })
  }
})

test('a key that is not taken ends it', async () => {
  const network = new Network()
  network.server = 'refused'
  network.last.on.closed(1006)
  await network.wait()
  network.last.on.closed(1006)
  await Promise.resolve()
  await Promise.resolve()
  expect(network.link.state).toEqual({ at: 'closed', why: 'refused' })
  expect(network.clock.pending).toBe(0)
})

test('a goodbye is one, and calls back when it was had; what late sockets say is nothing', () => {
  const network = new Network()
  const first = network.last
  first.on.opened()
  first.on.closed(1006)
  network.link.nudge()
  first.on.bytes(new Uint8Array(1))
  first.on.closed(1006)
  network.last.on.opened()
  let left = 0
  network.link.close(() => left++)
  expect(network.last.closed).toBe(1_000)
  expect([left, network.heard]).toEqual([0, 0])
  network.last.on.closed(1_000)
  expect(left).toBe(1)
  expect(network.link.send(new Uint8Array(1))).toBe(false)
  expect(network.clock.pending).toBe(0)
})

test('a thread that slept reads what came before it gives up', () => {
  const network = new Network()
  network.last.on.opened()
  network.clock.wind(1_000)
  network.last.on.bytes(new Uint8Array(1))
  // One alarm rings, ten seconds late.
  const late = network.clock.now.bind(network.clock)
  network.clock.now = () => late() + 10_000
  network.clock.wind(500)
  expect(network.link.isOpen).toBe(true)
  network.clock.wind(500)
  network.last.on.bytes(new Uint8Array(1))
  network.clock.wind(5_000)
  expect(network.link.isOpen).toBe(true)
})
