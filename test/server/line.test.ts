import { afterEach, describe, expect, test } from 'bun:test'
import { PROBE_TIMEOUT } from '../../src/protocol/limits.ts'
import {
  audio,
  control,
  everyAudio,
  hello,
  LINE_KEY,
  LineCaller,
  lineServer,
  newRoom,
  talking,
} from '../kit/line-callers.ts'
import { PING, Refused, TEXT } from '../kit/raw-peer.ts'
import { closeServers, type TestServer } from '../kit/server.ts'
import { until } from '../kit/until.ts'

afterEach(closeServers)

const GRACE = 15_000

/** The rows of lines, newest first. */
async function rows(server: TestServer) {
  const { body } = await server.ask('GET', '/calls?service=line')
  return body.calls
}

async function number(server: TestServer, series: string): Promise<number> {
  const { text } = await server.ask('GET', '/metrics')
  const line = text.split('\n').find((each) => each.startsWith(`${series} `))
  if (line === undefined) throw new Error(`there is no series ${series}`)
  return Number(line.split(' ').pop())
}

describe('coming to a line', () => {
  test('[LINE-1] takes a room and a seat, of 16 bytes each, written in the one way there is', async () => {
    const server = await lineServer()
    const attempt = (room: string, seat: string) =>
      LineCaller.open(server.url, { room, seat }).catch((error: unknown) => error)
    const good = newRoom()
    for (const bad of [
      '',
      'x',
      good.slice(1),
      `${good}A`,
      `${good}==`,
      good.replace(/.$/, 'B'),
      `${good}\n`,
    ]) {
      for (const refused of [await attempt(bad, good), await attempt(good, bad)]) {
        expect(refused).toBeInstanceOf(Refused)
        expect(JSON.parse((refused as Refused).body).error.code).toBe('invalid_field')
        expect((refused as Refused).status).toBe(400)
      }
    }
    expect(await attempt(good, good)).toBeInstanceOf(LineCaller)
  })

  test('[LINE-1] two with the same room meet, and the key has no part in that', async () => {
    const keys = [LINE_KEY, 'Other-key'.repeat(8)]
    const server = await lineServer({ APIKEY: keys.join(',') })
    const room = newRoom()
    const first = await LineCaller.open(server.url, { room, key: keys[0] as string })
    const second = await LineCaller.open(server.url, { room, key: keys[1] as string })
    expect([await first.notice(), await second.notice()]).toEqual(['joined', 'joined'])
  })

  test('[LINE-2] a third is told that the line is busy, and the two do not notice', async () => {
    const server = await lineServer()
    const [first, second] = await talking(server)
    const third = await LineCaller.open(server.url, { room: first.room })
    third.send(hello(), audio())
    expect(await third.peer.closed()).toEqual({ code: 4409, reason: 'busy' })
    const frame = audio()
    first.send(frame)
    expect(await second.heard()).toEqual(frame)
    expect([await first.rest(), await second.rest(), third.peer.takeFrames()]).toEqual([[], [], []])
  })

  test('[LINE-2] however many come at once, two sit', async () => {
    const server = await lineServer()
    const room = newRoom()
    const all = await Promise.all(Array.from({ length: 12 }, () => LineCaller.open(server.url, { room })))
    const busy = () => all.filter((each) => each.peer.isClosed)
    await until(() => busy().length === 10, 'ten to be sent away')
    for (const each of busy()) expect(await each.peer.closed()).toEqual({ code: 4409, reason: 'busy' })
    const [first, second] = all.filter((each) => !each.peer.isClosed) as [LineCaller, LineCaller]
    expect([await first.notice(), await second.notice()]).toEqual(['joined', 'joined'])
  })

  test('[LINE-3] the same seat on a newer connection takes the place of the older', async () => {
    const server = await lineServer()
    const [first, second] = await talking(server)
    const again = await LineCaller.open(server.url, first)
    expect(await first.peer.closed()).toEqual({ code: 4408, reason: 'replaced' })
    expect(await again.notice()).toBe('joined')
    const frame = audio()
    second.send(frame)
    expect(await again.heard()).toEqual(frame)
    again.send(frame)
    expect(await second.heard()).toEqual(frame)
    expect(await second.rest()).toEqual([])
  })
})

describe('two people on a line', () => {
  test('[LINE-4] hear one another byte for byte and in order, whatever is in the frames', async () => {
    const server = await lineServer()
    const [first, second] = await talking(server)
    const said = [hello(), control(), ...everyAudio(), hello(), control()]
    first.send(...said)
    for (const frame of said) expect(await second.heard()).toEqual(frame)
    second.send(...said)
    for (const frame of said) expect(await first.heard()).toEqual(frame)
    expect(await first.rest()).toEqual([])
  })

  test('[LINE-4] a frame in pieces is one frame', async () => {
    const server = await lineServer()
    const [first, second] = await talking(server)
    const frame = audio()
    first.peer.frame(2, frame.subarray(0, 700), { fin: false })
    first.peer.frame(PING, 'between')
    first.peer.frame(0, frame.subarray(700))
    expect(await second.heard()).toEqual(frame)
  })

  test('[LINE-4] nothing is kept for somebody who is not there', async () => {
    const server = await lineServer()
    const first = await LineCaller.open(server.url)
    first.send(hello(), control(), audio())
    await first.peer.settle()
    const second = await LineCaller.open(server.url, { room: first.room })
    expect([await first.notice(), await second.notice()]).toEqual(['joined', 'joined'])
    expect(await second.rest()).toEqual([])
    expect(await number(server, 'ringdown_dropped_frames_total{cause="alone"}')).toBe(3)
  })

  test('[LINE-6] are told when the other is away, back, and gone', async () => {
    const server = await lineServer()
    const [first, second] = await talking(server)
    second.peer.drop()
    expect(await first.notice()).toBe('away')
    const again = await LineCaller.open(server.url, second)
    expect([await first.notice(), await again.notice()]).toEqual(['joined', 'joined'])
    again.peer.close(1000)
    expect(await first.notice()).toBe('left')
    expect(await first.rest()).toEqual([])
  })

  test('[LINE-6] one who comes back while the other is away is told so', async () => {
    const server = await lineServer()
    const [first, second] = await talking(server)
    first.peer.drop()
    expect(await second.notice()).toBe('away')
    second.peer.drop()
    await until(
      () => server.logged.filter(({ message }) => message === 'connection closed').length === 2,
      'both',
    )
    const again = await LineCaller.open(server.url, second)
    expect(await again.notice()).toBe('away')
    const both = await LineCaller.open(server.url, first)
    expect([await again.notice(), await both.notice()]).toEqual(['joined', 'joined'])
  })

  test('[LINE-17] one who asks whether the relay is there is told, with a seat and without company', async () => {
    const server = await lineServer()
    const caller = await LineCaller.open(server.url)
    caller.send(Buffer.from('7e00000000000000', 'hex'))
    expect(await caller.notice()).toBe('here')
  })
})

describe('a seat', () => {
  test('[LINE-7] of a lost connection is kept for the grace: a third is told that the line is busy', async () => {
    const server = await lineServer()
    const [first, second] = await talking(server)
    second.peer.drop()
    expect(await first.notice()).toBe('away')
    await server.clock.wind(GRACE - 100)
    const third = await LineCaller.open(server.url, { room: first.room })
    expect(await third.peer.closed()).toEqual({ code: 4409, reason: 'busy' })
    const again = await LineCaller.open(server.url, second)
    expect([await first.notice(), await again.notice()]).toEqual(['joined', 'joined'])
  })

  test('[LINE-7] is free when the grace is over, and who remains is told', async () => {
    const server = await lineServer()
    const [first, second] = await talking(server)
    second.peer.drop()
    expect(await first.notice()).toBe('away')
    await server.clock.wind(GRACE + 50)
    expect(await first.notice()).toBe('left')
    const third = await LineCaller.open(server.url, { room: first.room })
    expect([await first.notice(), await third.notice()]).toEqual(['joined', 'joined'])
    const late = await LineCaller.open(server.url, second)
    expect(await late.peer.closed()).toEqual({ code: 4409, reason: 'busy' })
  })

  test('[LINE-7] of one who waits alone is kept as well', async () => {
    const server = await lineServer()
    const first = await LineCaller.open(server.url)
    first.peer.drop()
    await until(() => server.logged.some(({ message }) => message === 'connection closed'), 'the end')
    const second = await LineCaller.open(server.url, { room: first.room })
    const third = await LineCaller.open(server.url, { room: first.room })
    expect(await third.peer.closed()).toMatchObject({ reason: 'busy' })
    const again = await LineCaller.open(server.url, first)
    expect([await again.notice(), await second.notice()]).toEqual(['joined', 'joined'])
  })

  test('[LINE-7] is free at once after a goodbye, as a page says it that is left or loaded again', async () => {
    const server = await lineServer()
    for (const goodbye of [1000, 1001, null]) {
      const [first, second] = await talking(server)
      second.peer.close(goodbye)
      expect(await first.notice()).toBe('left')
      const reloaded = await LineCaller.open(server.url, { room: first.room })
      expect([await first.notice(), await reloaded.notice()]).toEqual(['joined', 'joined'])
    }
  })

  test('[LINE-8] of a connection that is half open keeps nobody out for longer than it takes to ask', async () => {
    const server = await lineServer()
    const first = await LineCaller.open(server.url)
    const second = await LineCaller.open(server.url, { room: first.room, pong: false })
    expect([await first.notice(), await second.notice()]).toEqual(['joined', 'joined'])
    const reloaded = await LineCaller.open(server.url, { room: first.room })
    // What it says while it waits goes nowhere.
    reloaded.send(hello())
    await reloaded.peer.settle()
    await server.clock.wind(PROBE_TIMEOUT + 50)
    expect(await second.peer.closed()).toEqual({ code: 4102, reason: 'heartbeat_timeout' })
    expect([await first.notice(), await first.notice(), await reloaded.notice()]).toEqual([
      'left',
      'joined',
      'joined',
    ])
    const frame = hello()
    reloaded.send(frame)
    expect(await first.heard()).toEqual(frame)
  })

  test('[LINE-8] is for who waits as soon as it is free: a goodbye may come after the page that is loaded again', async () => {
    const server = await lineServer()
    const first = await LineCaller.open(server.url)
    const second = await LineCaller.open(server.url, { room: first.room, pong: false })
    expect([await first.notice(), await second.notice()]).toEqual(['joined', 'joined'])
    const reloaded = await LineCaller.open(server.url, { room: first.room })
    await reloaded.peer.settle()
    expect(reloaded.peer.isClosed).toBe(false)
    second.peer.close(1001)
    expect([await first.notice(), await first.notice(), await reloaded.notice()]).toEqual([
      'left',
      'joined',
      'joined',
    ])
    expect((await rows(server)).map((row: { end_reason: string | null }) => row.end_reason)).toEqual([
      null,
      'left',
    ])
  })

  test('[LINE-8] is not for one who gave up waiting', async () => {
    const server = await lineServer()
    const first = await LineCaller.open(server.url)
    const second = await LineCaller.open(server.url, { room: first.room, pong: false })
    expect([await first.notice(), await second.notice()]).toEqual(['joined', 'joined'])
    const impatient = await LineCaller.open(server.url, { room: first.room })
    impatient.peer.close(1000)
    await impatient.peer.closed()
    await server.clock.wind(PROBE_TIMEOUT + 50)
    const frame = audio()
    second.send(frame)
    expect(await first.heard()).toEqual(frame)
    expect(second.peer.isClosed).toBe(false)
  })
})

test('[LINE-11] who is silent is asked every 5 s, and dead after 15: the other is told, and sound is a sign of life', async () => {
  const server = await lineServer()
  const first = await LineCaller.open(server.url)
  const second = await LineCaller.open(server.url, { room: first.room, pong: false })
  expect([await first.notice(), await second.notice()]).toEqual(['joined', 'joined'])
  await server.clock.wind(14_000)
  await second.peer.nextPing()
  second.send(audio())
  await first.heard()
  await server.clock.wind(14_500)
  expect(await first.rest()).toEqual([])
  await server.clock.wind(1_000)
  expect(await second.peer.closed()).toEqual({ code: 4102, reason: 'heartbeat_timeout' })
  expect(await first.notice()).toBe('away')
})

describe('a server that goes down', () => {
  test('[LINE-12] says so, lets no line begin, and closes with 4103; what lives goes on until then', async () => {
    const server = await lineServer()
    const [first, second] = await talking(server)
    server.drain()
    expect([await first.notice(), await second.notice()]).toEqual(['draining', 'draining'])
    const late = await LineCaller.open(server.url).catch((error: unknown) => error)
    expect(late).toMatchObject({ status: 503 })
    const again = await LineCaller.open(server.url, first)
    expect(await again.notice()).toBe('joined')
    await server.close()
    for (const each of [again, second]) {
      expect(await each.peer.closed()).toEqual({ code: 4103, reason: 'draining' })
    }
  })

  test('[LINE-12] finds the two in their seats when it is back, and the call goes on', async () => {
    const server = await lineServer()
    const [first, second] = await talking(server)
    const [before] = await rows(server)
    const next = await server.again()
    const back = await LineCaller.open(next.url, first)
    const third = await LineCaller.open(next.url, { room: first.room })
    expect(await third.peer.closed()).toMatchObject({ reason: 'busy' })
    const other = await LineCaller.open(next.url, second)
    expect(await back.notice()).toBe('away')
    expect([await back.notice(), await other.notice()]).toEqual(['joined', 'joined'])
    other.peer.close(1000)
    expect(await back.notice()).toBe('left')
    expect(await rows(next)).toEqual([
      {
        ...before,
        status: 'ended',
        end_reason: 'left',
        ended_at: expect.any(String),
        ended_by: expect.any(String),
      },
    ])
  })

  test('[LINE-12] and that neither comes back to ends the call with the true reason', async () => {
    const server = await lineServer()
    await talking(server)
    const next = await server.again()
    expect((await rows(next))[0].status).toBe('active')
    await next.clock.wind(GRACE + 50)
    expect((await rows(next))[0]).toMatchObject({ status: 'ended', end_reason: 'server_restart' })
    expect(await number(next, 'ringdown_calls{service="line",state="active"}')).toBe(0)
  })
})

describe('what is written down', () => {
  test('[LINE-13] a call is one row once both are in it, without the room, users or addresses', async () => {
    const server = await lineServer()
    const alone = await LineCaller.open(server.url)
    await alone.peer.settle()
    expect(await rows(server)).toEqual([])
    await server.clock.wind(5_000)
    const second = await LineCaller.open(server.url, { room: alone.room })
    expect(await second.notice()).toBe('joined')
    const [row] = await rows(server)
    expect(row).toMatchObject({
      service: 'line',
      status: 'active',
      session_id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f-]{27}$/),
      ride_id: expect.stringMatching(/^[A-Za-z0-9_-]{16}$/),
      driver_id: null,
      passenger_id: null,
      initiated_by: null,
      metadata: null,
      end_reason: null,
    })
    expect(Date.parse(row.connected_at) - Date.parse(row.created_at)).toBeGreaterThanOrEqual(5_000)
    const text = JSON.stringify(row)
    for (const secret of [alone.room, alone.seat, second.seat, '127.0.0.1', LINE_KEY]) {
      expect(text).not.toInclude(secret)
    }
  })

  test('[LINE-13] it ends with what ended it; the next call of who remains is another row of the same line', async () => {
    const server = await lineServer()
    const [first, second] = await talking(server)
    second.peer.close(1001)
    expect(await first.notice()).toBe('left')
    const reloaded = await LineCaller.open(server.url, { room: first.room })
    expect([await first.notice(), await reloaded.notice()]).toEqual(['joined', 'joined'])
    first.peer.drop()
    expect(await reloaded.notice()).toBe('away')
    await server.clock.wind(GRACE + 50)
    expect(await reloaded.notice()).toBe('left')
    reloaded.peer.close(1000)
    await reloaded.peer.closed()
    const found = await rows(server)
    expect(found.map((row: { end_reason: string }) => row.end_reason)).toEqual(['disconnect', 'left'])
    expect(new Set(found.map((row: { ride_id: string }) => row.ride_id)).size).toBe(1)
    expect(new Set(found.map((row: { session_id: string }) => row.session_id)).size).toBe(2)
    await until(
      async () => (await number(server, 'ringdown_calls{service="line",state="waiting"}')) === 0,
      'none',
    )
  })

  test('[LINE-14] lines, frames, bytes and drops are counted', async () => {
    const server = await lineServer()
    const [first, second] = await talking(server)
    const waiting = await LineCaller.open(server.url)
    await waiting.peer.settle()
    const said = [hello(), control(), audio()]
    first.send(...said)
    for (const _ of said) await second.heard()
    const size = said.reduce((sum, frame) => sum + frame.length, 0)
    expect(await number(server, 'ringdown_calls{service="line",state="active"}')).toBe(1)
    expect(await number(server, 'ringdown_calls{service="line",state="waiting"}')).toBe(1)
    expect(await number(server, 'ringdown_relayed_frames_total{service="line"}')).toBe(3)
    expect(await number(server, 'ringdown_relayed_bytes_total')).toBe(size)
    expect(await number(server, 'ringdown_calls_connected_total{service="line"}')).toBe(1)
    second.peer.close(1000)
    expect(await first.notice()).toBe('left')
    expect(await number(server, 'ringdown_calls_ended_total{service="line",reason="left"}')).toBe(1)
    const { text } = await server.ask('GET', '/metrics')
    for (const secret of [first.room, first.seat, LINE_KEY]) expect(text).not.toInclude(secret)
  })

  test('[LINE-15] every caller who was let in is a line in the log, and no line has the room, the seat, the key or sound', async () => {
    const server = await lineServer()
    const [first, second] = await talking(server)
    const third = await LineCaller.open(server.url, { room: first.room })
    await third.peer.closed()
    const frame = audio()
    first.send(frame, Buffer.from('nonsense'))
    await second.heard()
    first.peer.frame(TEXT, 'text')
    await first.peer.closed()
    expect(await second.notice()).toBe('away')
    const received = server.logged.filter(({ message }) => message === 'connection received')
    expect(received.map(({ level, context }) => [level, typeof context.connection])).toEqual([
      ['info', 'string'],
      ['info', 'string'],
    ])
    const log = JSON.stringify(server.logged)
    const secrets = [first.room, first.seat, second.seat, third.seat, LINE_KEY, 'apikey', 'seat=']
    for (const secret of [...secrets, frame.toString('base64'), frame.toString('hex')]) {
      expect(log).not.toInclude(secret)
    }
  })

  test('[LINE-16] many lines share one key, and none hears another', async () => {
    const server = await lineServer()
    const lines = await Promise.all(Array.from({ length: 20 }, () => talking(server)))
    const said = lines.map(() => audio())
    lines.forEach(([first], i) => {
      first.send(said[i] as Buffer)
    })
    for (const [i, [, second]] of lines.entries()) expect(await second.heard()).toEqual(said[i] as Buffer)
    for (const [first, second] of lines) expect([await first.rest(), await second.rest()]).toEqual([[], []])
    expect(new Set((await rows(server)).map((row: { ride_id: string }) => row.ride_id)).size).toBe(20)
  })

  test('[LINE-16] [T-L6] of one key so many lines are open and no more, whoever asks; those that are open are not touched', async () => {
    const other = 'Other-key'.repeat(8)
    const server = await lineServer({ APIKEY: `${LINE_KEY},${other}`, LINES_PER_KEY: '2' })
    const [[one], both] = [await talking(server), await talking(server)]
    const more = await LineCaller.open(server.url).catch((error: unknown) => error)
    expect(more).toBeInstanceOf(Refused)
    expect([(more as Refused).status, JSON.parse((more as Refused).body).error.code]).toEqual([
      503,
      'too_many_lines',
    ])
    // Of another key there is room, and an open line takes back who lost its connection.
    await LineCaller.open(server.url, { key: other })
    await LineCaller.open(server.url, { room: one.room, seat: one.seat })
    for (const { peer } of both) peer.close(1000)
    const isTaken = () =>
      LineCaller.open(server.url).then(
        () => true,
        () => false,
      )
    await until(isTaken, 'a line to be free')
  })
})
