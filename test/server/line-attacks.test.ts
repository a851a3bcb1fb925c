// The relay among people who mean ill, or whose network does: sizes, rates, floods, readers that stop reading.
import { afterEach, describe, expect, test } from 'bun:test'
import { LINE_BYTES, OVERHEAD, readNotice } from '../../src/protocol/line.ts'
import { WORDS_AT_ONCE } from '../../src/services/line/pace.ts'
import { audio, control, everyAudio, hello, LineCaller, lineServer, talking } from '../kit/line-callers.ts'
import { TEXT } from '../kit/raw-peer.ts'
import { closeServers, type TestServer } from '../kit/server.ts'
import { until } from '../kit/until.ts'

afterEach(closeServers)

const RAW = { bucket: 3, duration: 3 }

async function dropped(server: TestServer, cause: string): Promise<number> {
  const { text } = await server.ask('GET', '/metrics')
  return Number(new RegExp(`^ringdown_dropped_frames_total{cause="${cause}"} (\\d+)$`, 'm').exec(text)?.[1])
}

/** `count` frames of one sort, spread over a second of the server's clock in ten bursts. */
async function second(server: TestServer, caller: LineCaller, count: number, make: () => Buffer) {
  for (let burst = 0; burst < 10; burst++) {
    for (let i = 0; i < count / 10; i++) caller.send(make())
    await caller.peer.settle()
    await server.clock.wind(100)
  }
}

describe('frames that there are not', () => {
  test('[LINE-5] are dropped and counted, and the call goes on', async () => {
    const server = await lineServer()
    const frame = audio()
    const wrong = [
      Buffer.alloc(0),
      Buffer.from([2]),
      Buffer.from([0x7e]),
      frame.subarray(1),
      frame.subarray(0, -1),
      Buffer.concat([frame, Buffer.from([0])]),
      Buffer.concat([hello(), Buffer.from([0])]),
      control().subarray(1),
      Buffer.alloc(OVERHEAD + 64),
      Buffer.alloc(LINE_BYTES, 1),
      // The size is one of those there are, but not that of this format.
      Buffer.concat([frame.subarray(0, 2), Buffer.from([0x33]), frame.subarray(3)]),
      Buffer.concat([frame.subarray(0, 2), Buffer.from([0x04]), frame.subarray(3)]),
      Buffer.concat([frame.subarray(0, 2), Buffer.from([0xf2]), frame.subarray(3)]),
      Buffer.concat([frame.subarray(0, 1), Buffer.from([0x47]), frame.subarray(2)]),
      // What only the relay says.
      Buffer.from('7e01000000000000', 'hex'),
      Buffer.from('7e03000000000009', 'hex'),
    ]
    const [first, other] = await talking(server)
    for (const bytes of wrong) {
      first.send(bytes)
      await first.peer.settle()
      // Fewer than eight in 10 s.
      await server.clock.wind(2_000)
    }
    first.send(frame)
    expect(await other.heard()).toEqual(frame)
    expect(await first.rest()).toEqual([])
    expect(await dropped(server, 'wrong')).toBe(wrong.length)
  })

  test('[LINE-5] eight of them within 10 s close the connection with 4400', async () => {
    const server = await lineServer()
    const [first, other] = await talking(server)
    for (let i = 0; i < 7; i++) first.send(Buffer.from([2]))
    await first.peer.settle()
    expect(first.peer.isClosed).toBe(false)
    first.send(Buffer.from([2]))
    expect(await first.peer.closed()).toEqual({ code: 4400, reason: 'too_many_errors' })
    expect(await other.notice()).toBe('away')
  })

  test('[LINE-5] a frame larger than the largest closes with 1009, and the largest does not', async () => {
    const server = await lineServer()
    const [first, other] = await talking(server)
    const largest = everyAudio().reduce((one, more) => (more.length > one.length ? more : one))
    expect(largest.length).toBe(LINE_BYTES)
    first.send(largest)
    expect(await other.heard()).toEqual(largest)
    first.send(Buffer.concat([largest, Buffer.from([0])]))
    expect(await first.peer.closed()).toEqual({ code: 1009, reason: 'message_too_large' })
    const far = await LineCaller.open(server.url)
    far.send(Buffer.alloc(1024 * 1024))
    expect((await far.peer.closed()).code).toBeOneOf([1009, 1006])
  })

  test('[LINE-5] text closes with 1003', async () => {
    const server = await lineServer()
    const [first, other] = await talking(server)
    for (let i = 0; i < 50; i++) first.peer.frame(TEXT, '{"type":"authenticate"}')
    expect(await first.peer.closed()).toEqual({ code: 1003, reason: 'text_not_allowed' })
    expect((await other.rest()).map(readNotice)).toEqual([{ notice: 'away', missed: 0 }])
  })
})

describe('too much', () => {
  test('[LINE-9] of sound: what is over a tenth more than real time is dropped and counted, and nothing else is', async () => {
    const server = await lineServer()
    const [first, other] = await talking(server)
    const [near, far] = await talking(server)
    let sound = 0
    for (let seconds = 0; seconds < 10; seconds++) {
      // Twice the rate: 200 frames of 10 ms.
      await second(server, first, 200, () => audio())
      first.send(control())
      const frame = audio()
      near.send(frame)
      expect(await far.heard()).toEqual(frame)
      const frames = await other.rest()
      expect(frames.filter((bytes) => bytes[0] === 3)).toHaveLength(1)
      sound += frames.filter((bytes) => bytes[0] === 2).length
    }
    // A second at once, then 1.1 s each second.
    expect(sound).toBeWithin(1_150, 1_221)
    expect(await dropped(server, 'rate')).toBe(2_000 - sound)
    expect(first.peer.isClosed).toBe(false)
  })

  test('[LINE-9] no format gets more sound through than another', async () => {
    const server = await lineServer()
    for (const [duration, milliseconds] of [2.5, 5, 10, 20].entries()) {
      const [first, other] = await talking(server)
      const frames = Array.from({ length: 800 }, () => audio({ rate: 4, duration, bucket: 0 }))
      first.send(...frames)
      await first.peer.settle()
      expect(await other.rest()).toHaveLength(1_000 / milliseconds)
    }
  })

  test('[LINE-9] a pace that a page keeps is never cut, and a stall may be made up for', async () => {
    const server = await lineServer()
    const [first, other] = await talking(server)
    for (let seconds = 0; seconds < 5; seconds++) {
      await second(server, first, 100, () => audio())
      await server.clock.wind(500)
      for (let i = 0; i < 50; i++) first.send(audio())
      expect(await first.rest()).toEqual([])
      expect(await other.rest()).toHaveLength(150)
    }
    expect(await dropped(server, 'rate')).toBe(0)
  })

  test('[LINE-9] of hellos and control frames closes with 4129', async () => {
    const server = await lineServer()
    for (const make of [hello, control]) {
      const [first, other] = await talking(server)
      for (let i = 0; i < WORDS_AT_ONCE; i++) first.send(make())
      await first.peer.settle()
      expect(await other.rest()).toHaveLength(WORDS_AT_ONCE)
      first.send(make())
      expect(await first.peer.closed()).toEqual({ code: 4129, reason: 'flooding' })
      // Coming back is no new allowance.
      const again = await LineCaller.open(server.url, first)
      expect(await again.notice()).toBe('joined')
      again.send(make())
      expect(await again.peer.closed()).toEqual({ code: 4129, reason: 'flooding' })
    }
  })

  test('[LINE-9] of anything closes with 4129: frames, pings and questions', async () => {
    const server = await lineServer()
    const flood = async (send: (caller: LineCaller) => void) => {
      const [first] = await talking(server)
      for (let i = 0; i < 1_400; i++) send(first)
      expect(await first.peer.closed()).toEqual({ code: 4129, reason: 'flooding' })
    }
    await flood((caller) => caller.send(audio({ rate: 4, duration: 0, bucket: 0 })))
    await flood((caller) => caller.peer.ping())
    await flood((caller) => caller.send(Buffer.from('7e00000000000000', 'hex')))
    const [first] = await talking(server)
    // 5.6 MB at once, where 4 are let through.
    for (let i = 0; i < 700; i++) first.send(audio(RAW))
    expect(await first.peer.closed()).toEqual({ code: 4129, reason: 'flooding' })
  })

  test('[LINE-2] callers who find both seats taken are not kept waiting in numbers', async () => {
    const server = await lineServer()
    const first = await LineCaller.open(server.url, { pong: false })
    const other = await LineCaller.open(server.url, { room: first.room, pong: false })
    await other.notice()
    const crowd = await Promise.all(
      Array.from({ length: 20 }, () => LineCaller.open(server.url, { room: first.room })),
    )
    const sentAway = () => crowd.filter((each) => each.peer.isClosed).length
    await until(() => sentAway() === 16, 'all but four to be sent away')
    first.send(audio())
    other.send(audio())
    await until(() => sentAway() === 20, 'the others to be sent away')
  })
})

test('[LINE-10] a reader that stops reading misses sound and no control frame, and nobody else feels it', async () => {
  const server = await lineServer()
  const [first, stopped] = await talking(server)
  const [near, far] = await talking(server)
  stopped.peer.socket.pause()
  let controls = 0
  // The kernel takes some MB before anything waits in the server.
  for (let tenths = 0; tenths < 600 && (await dropped(server, 'slow_reader')) < 100; tenths++) {
    const said = audio(RAW)
    for (let i = 0; i < 5; i++) {
      first.send(audio(RAW))
      stopped.send(said)
      near.send(said)
    }
    first.send(control())
    controls++
    for (let i = 0; i < 5; i++) {
      expect(await first.heard()).toEqual(said)
      expect(await far.heard()).toEqual(said)
    }
    await first.peer.settle()
    await server.clock.wind(100)
  }
  const missed = await dropped(server, 'slow_reader')
  expect(missed).toBeGreaterThanOrEqual(100)
  expect([stopped.peer.isClosed, first.peer.isClosed]).toEqual([false, false])

  stopped.peer.socket.resume()
  await stopped.peer.settle()
  const last = audio(RAW)
  first.send(last)
  const came = await stopped.rest()
  await until(
    () => came.push(...stopped.peer.takeFrames()) > 0 && (came.at(-1)?.equals(last) ?? false),
    'the last',
  )
  expect(came.filter((bytes) => bytes[0] === 3)).toHaveLength(controls)
  expect(readNotice(came.at(-2) as Buffer)).toEqual({ notice: 'missed', missed })
  const sent = controls * 5 + 1
  expect(came.filter((bytes) => bytes[0] === 2)).toHaveLength(sent - missed)
})

test('[LINE-10] one who never reads is closed with 4101 once even control frames do not fit, and keeps the seat', async () => {
  const server = await lineServer()
  const [first, stopped] = await talking(server)
  stopped.peer.socket.pause()
  const closed = () => server.logged.some(({ message }) => message === 'connection does not read')
  for (let tenths = 0; tenths < 3_000 && !closed(); tenths++) {
    first.send(audio(RAW), audio(RAW), audio(RAW), audio(RAW), audio(RAW))
    for (let i = 0; i < 4; i++) first.send(control())
    stopped.send(control())
    await first.peer.settle()
    await server.clock.wind(100)
  }
  expect(closed()).toBe(true)
  await until(
    () => first.peer.takeFrames().some((bytes) => readNotice(bytes)?.notice === 'away'),
    'the notice',
  )
  expect(first.peer.isClosed).toBe(false)
  const again = await LineCaller.open(server.url, stopped)
  expect(await again.notice()).toBe('joined')
})
