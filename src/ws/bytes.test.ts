import { describe, expect, test } from 'bun:test'
import { TestClock } from '../../test/kit/clock.ts'
import { silentLog } from '../../test/kit/log.ts'
import { uncounted } from '../../test/kit/metrics.ts'
import type { BytesEndpoint, Handled } from '../core/door.ts'
import type { Metrics } from '../core/ports.ts'
import { BytesConnection, KEEPS_UP, MAX_WAITING } from './bytes.ts'
import type { Socket } from './connection.ts'
import type { Allowance } from './rate.ts'

/** A socket that is not there; with `unread`, all that is sent waits. */
class FakeSocket {
  binaryType = 'nodebuffer'
  sent = 0
  unread = 0
  asked = 0
  code: number | null = null

  sendBinary(bytes: Uint8Array): number {
    this.sent++
    if (this.unread === 0) return bytes.length
    this.unread += bytes.length
    return -1
  }

  getBufferedAmount(): number {
    this.asked++
    return this.unread
  }

  close(code: number): void {
    this.code = code
  }
}

function connect(handled: Handled = 'relayed', opens: () => void = () => {}) {
  const clock = new TestClock()
  const relayed: number[] = []
  const endpoint: BytesEndpoint = {
    kind: 'line',
    speaks: 'bytes',
    access: 'line',
    path: '/line',
    maxBytes: 8_040,
    heartbeat: { interval: 5_000, timeout: 15_000 },
    rates: { messagesPerSecond: 300, bytesPerMinute: 60_000_000, bytesAtOnce: 100_000 },
    check: () => {},
    open: () => {
      opens()
      return { frame: () => handled, closed: () => {} }
    },
  }
  const metrics: Metrics = { ...uncounted, relayed: (_: unknown, bytes = 0) => void relayed.push(bytes) }
  const world = {
    rates: { messagesPerSecond: 1, bytesPerMinute: 1 },
    clock,
    log: silentLog,
    metrics,
    allowances: new WeakMap<object, Allowance>(),
    gone: () => {},
  }
  const arrival = { id: 'one', address: '192.0.2.1', query: new URLSearchParams(), giveBack: () => {} }
  const connection = new BytesConnection(endpoint, arrival, world)
  const socket = new FakeSocket()
  connection.opened(socket as unknown as Socket)
  return { clock, connection, socket, relayed }
}

const turn = () => new Promise<void>((resolve) => queueMicrotask(resolve))

describe('what waits for a reader', () => {
  test('[LINE-10] is not asked for while nothing does', () => {
    const { connection, socket } = connect()
    for (let i = 0; i < 100; i++) expect(connection.offer(new Uint8Array(1_374))).toBe(true)
    expect([socket.sent, socket.asked]).toEqual([100, 0])
  })

  test('[LINE-10] may be 32 KB before sound is left out, and sound is sent again as soon as it is less', () => {
    const { connection, socket } = connect()
    socket.unread = KEEPS_UP
    expect(connection.offer(new Uint8Array(1))).toBe(true)
    expect(connection.offer(new Uint8Array(1))).toBe(false)
    expect(connection.send(new Uint8Array(1))).toBe(true)
    expect(connection.offer(new Uint8Array(1))).toBe(false)
    socket.unread = KEEPS_UP - 1
    expect(connection.offer(new Uint8Array(1))).toBe(true)
    socket.unread = 0
    expect(connection.offer(new Uint8Array(1))).toBe(true)
    expect(socket.sent).toBe(4)
  })

  test('[LINE-10] may be 128 KB of what must arrive, and the connection is closed with 4101 over it', async () => {
    const { connection, socket } = connect()
    socket.unread = 1
    expect(connection.send(new Uint8Array(MAX_WAITING - 1))).toBe(true)
    expect(connection.send(new Uint8Array(1))).toBe(false)
    expect([connection.send(new Uint8Array(1)), connection.offer(new Uint8Array(1))]).toEqual([false, false])
    await turn()
    expect([socket.code, socket.sent]).toEqual([4101, 2])
  })
})

describe('what comes in', () => {
  test('[LINE-9] is bounded by the endpoint, whatever the operator lets messages have', async () => {
    const { clock, connection, socket } = connect()
    for (let i = 0; i < 20; i++) connection.received(new Uint8Array(5_000))
    expect(connection.open).toBe(true)
    clock.leap(5)
    connection.received(new Uint8Array(5_000))
    connection.received(new Uint8Array(5_000))
    await turn()
    expect(socket.code).toBe(4129)
  })

  test('[LINE-14] is counted with its bytes when it was forwarded, and not otherwise', () => {
    const { connection, relayed } = connect()
    connection.received(new Uint8Array(104))
    expect(relayed).toEqual([104])
    const other = connect('dropped')
    other.connection.received(new Uint8Array(104))
    expect(other.relayed).toEqual([])
  })

  test('is given as it came, in the cheapest form there is', () => {
    expect(connect().socket.binaryType).toBe('uint8array')
  })
})

test('our own mistake closes with 1011', async () => {
  const { connection, socket } = connect('relayed', () => {
    throw new TypeError('secret detail')
  })
  connection.received(new Uint8Array(1))
  await turn()
  expect(socket.code).toBe(1011)
})
