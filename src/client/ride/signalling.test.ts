import { expect, test } from 'bun:test'
import { DEAD } from '../connection.ts'
import { FakeNetwork, HandClock } from '../fakes.ts'
import { type Resumption, type RideSignal, RideSignalling, type Seat } from './signalling.ts'

const PATIENCE = { first: 10_000, lost: 30_000 }

function signalling(seat: Seat = { sessionId: 's', userId: 'u' }, resume?: Resumption) {
  const clock = new HandClock()
  const network = new FakeNetwork()
  const told: RideSignal[] = []
  const it = new RideSignalling({
    url: 'ws://here/ws',
    seat,
    resume,
    timers: clock,
    openSocket: network.open,
    random: () => 0.5,
    patience: PATIENCE,
    tell: (signal) => told.push(signal),
  })
  it.start()
  return { clock, network, told, it, kinds: () => told.splice(0).map(({ is }) => is) }
}

/** In, with `authenticated` as the only frame counted. */
function admitted(seat?: Seat) {
  const all = signalling(seat)
  all.network.last.open().heard()
  all.network.last.say({ type: 'authenticated', user_id: 'u', resume_token: 'r1' })
  all.told.splice(0)
  return all
}

test('the first word is authenticate, with the join token where there is one', () => {
  const plain = signalling()
  expect(plain.network.last.open().heard()).toEqual([{ type: 'authenticate', session_id: 's', user_id: 'u' }])
  const token = signalling({ sessionId: 's', userId: 'u', joinToken: 'j' })
  expect(token.network.last.open().heard()).toEqual([
    { type: 'authenticate', session_id: 's', user_id: 'u', join_token: 'j' },
  ])
})

test('nothing goes out before the server let us in', () => {
  const { it, network, told } = signalling()
  network.last.open().heard()
  expect(it.send({ type: 'end_call' })).toBe(false)
  network.last.say({ type: 'authenticated', user_id: 'u', resume_token: 'r1' })
  expect(told).toEqual([{ is: 'in', again: false, iceServers: [] }])
  expect(it.send({ type: 'end_call' })).toBe(true)
  expect(network.last.heard()).toEqual([{ type: 'end_call' }])
})

test('resume counts every text since authenticated, pongs and unreadable ones too, over all connections', () => {
  const { network, clock } = admitted()
  network.last.say({ type: 'session_joined', session_id: 's', ride_id: 'r' })
  network.last.say({ type: 'error', code: 'invalid_field', message: 'is not counted' })
  network.last.say({ type: 'pong' })
  network.last.say({ type: 'some_new_message' })
  network.last.end(1006)
  clock.wind(1_000)
  expect(network.last.open().heard()).toEqual([{ type: 'resume', resume_token: 'r1', received: 4 }])
  network.last.say({ type: 'resumed', replayed: 1, resume_token: 'r2' })
  network.last.say({ type: 'participant_joined', role: 'driver' })
  network.last.end(4102)
  clock.wind(1_000)
  expect(network.last.open().heard()).toEqual([{ type: 'resume', resume_token: 'r2', received: 5 }])
})

test('a loss is told once, however many tries the way back takes', () => {
  const { network, clock, told } = admitted()
  network.last.end(1006)
  expect(told).toEqual([{ is: 'lost', until: PATIENCE.lost }])
  for (let i = 0; i < 4; i++) {
    clock.wind(6_000)
    network.last.end(1006)
  }
  expect(told.length).toBe(1)
  clock.wind(5_000)
  network.last.open().say({ type: 'resumed', replayed: 0, resume_token: 'r2', gap: true })
  expect(told.slice(1)).toEqual([{ is: 'back', gap: true }])
})

test('a silent connection is given up and resumed', () => {
  const { network, clock } = admitted()
  clock.wind(DEAD + 1_000)
  expect(network.sockets.length).toBe(2)
  expect(network.last.open().heard()[0]).toMatchObject({ type: 'resume' })
})

test('a refused resume is followed by one fresh authenticate', () => {
  const { network, clock, told } = admitted()
  network.last.end(1006)
  clock.wind(1_000)
  network.last.open().heard()
  network.last.say({ type: 'unauthorized', reason: 'resume_failed' })
  expect(network.last.open().heard()).toEqual([{ type: 'authenticate', session_id: 's', user_id: 'u' }])
  network.last.say({ type: 'authenticated', user_id: 'u', resume_token: 'q1' })
  expect(told.at(-1)).toEqual({ is: 'in', again: true, iceServers: [] })
  network.last.end(1006)
  clock.wind(1_000)
  expect(network.last.open().heard()).toEqual([{ type: 'resume', resume_token: 'q1', received: 1 }])
})

test('when the session is gone as well, that is the end', () => {
  const { network, clock, told } = admitted()
  network.last.end(1006)
  clock.wind(1_000)
  network.last.open().say({ type: 'unauthorized', reason: 'resume_failed' })
  network.last.open().say({ type: 'unauthorized', reason: 'session_not_found' })
  expect(told.at(-1)).toEqual({ is: 'over', reason: 'over_meanwhile' })
  network.last.end(4401)
  clock.wind(60_000)
  expect(told.filter(({ is }) => is === 'over').length).toBe(1)
  expect(clock.pending).toBe(0)
})

test('a session that is not there is told from one that ended meanwhile', () => {
  const { network, told } = signalling()
  network.last.open().say({ type: 'unauthorized', reason: 'session_not_found' })
  expect(told).toEqual([{ is: 'over', reason: 'session_not_found' }])
})

test.each([
  [1000, 'closed'],
  [4409, 'taken_over'],
  [4423, 'already_connected'],
  [4400, 'too_many_errors'],
  [1009, 'message_too_large'],
] as const)('close %d is final', (code, reason) => {
  const { network, clock, told } = admitted()
  network.last.end(code)
  clock.wind(60_000)
  expect(told).toEqual([{ is: 'over', reason }])
  expect(network.sockets.length).toBe(1)
})

test('a server that asks for a pause gets one', () => {
  const { network, clock } = admitted()
  network.last.end(4129)
  clock.wind(1_500)
  expect(network.sockets.length).toBe(1)
  clock.wind(200)
  expect(network.sockets.length).toBe(2)
})

test('who never gets in gives up as unreachable', () => {
  const { network, clock, told } = signalling()
  network.last.end(1006)
  clock.wind(PATIENCE.first)
  expect(told).toEqual([{ is: 'over', reason: 'unreachable' }])
  expect(network.sockets.length).toBeGreaterThan(2)
  expect(clock.pending).toBe(0)
})

test('who does not come back in time gives up as lost', () => {
  const { network, clock, told } = admitted()
  network.last.end(1006)
  clock.wind(PATIENCE.lost)
  expect(told.at(-1)).toEqual({ is: 'over', reason: 'connection_lost' })
  expect(clock.pending).toBe(0)
})

test('news of a network ends the wait', () => {
  const { network, it } = admitted()
  network.last.end(1006)
  expect(network.sockets.length).toBe(1)
  it.tryNow()
  it.tryNow()
  expect(network.sockets.length).toBe(2)
})

test('another page takes up where this one was', () => {
  const first = admitted()
  first.network.last.say({ type: 'session_joined', session_id: 's', ride_id: 'r' })
  const kept = first.it.resumption
  expect(kept).toEqual({ token: 'r1', received: 2 })
  const second = signalling({ sessionId: 's', userId: 'u' }, kept ?? undefined)
  expect(second.network.last.open().heard()).toEqual([{ type: 'resume', resume_token: 'r1', received: 2 }])
  second.network.last.say({ type: 'resumed', replayed: 0, resume_token: 'r2' })
  expect(second.told).toEqual([{ is: 'back', gap: false }])
})

test('a server that gives no resume token is authenticated with anew', () => {
  const { network, clock } = signalling()
  network.last.open().heard()
  network.last.say({ type: 'authenticated', user_id: 'u' })
  network.last.end(1006)
  clock.wind(1_000)
  expect(network.last.open().heard()[0]).toMatchObject({ type: 'authenticate' })
})

test('closing says goodbye, stops everything and tells nothing, twice', () => {
  const open = admitted()
  open.it.close()
  open.it.close()
  expect(open.network.last.closedWith?.code).toBe(1000)
  const between = admitted()
  between.network.last.end(1006)
  between.told.splice(0)
  between.it.close()
  for (const { it, told, clock, network } of [open, between]) {
    clock.wind(60_000)
    expect(told).toEqual([])
    expect(clock.pending).toBe(0)
    expect(network.sockets.length).toBe(1)
    expect(it.resumption).toBeNull()
  }
})
