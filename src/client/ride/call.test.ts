import { expect, test } from 'bun:test'
import { FakeNetwork, FakePeerConnection, FakeTrack, fakeStream, HandClock, settle } from '../fakes.ts'
import { MicrophoneError } from '../microphone.ts'
import { NO_MEDIA_AFTER, RideCall, type RideCallOptions } from './call.ts'
import { FRESH_WITHIN } from './ice.ts'
import type { RideCallState } from './state.ts'

function rideCall(options: Partial<RideCallOptions> = {}) {
  const clock = new HandClock()
  const network = new FakeNetwork()
  const track = new FakeTrack()
  const connections: FakePeerConnection[] = []
  const states: RideCallState[] = []
  const call = new RideCall({
    url: 'ws://here/ws',
    seat: { sessionId: 's', userId: 'u' },
    microphone: async () => fakeStream(track),
    openSocket: network.open,
    timers: clock,
    random: () => 0.5,
    RTCPeerConnection: class extends FakePeerConnection {
      constructor(configuration: RTCConfiguration) {
        super()
        this.configuration = configuration
        connections.push(this)
      }
    } as never,
    ...options,
  })
  call.on('state', (state) => states.push(state))
  const all = { call, clock, network, track, connections, states }
  return { ...all, path: () => states.splice(0).map(nameOf) }
}

function nameOf(state: RideCallState): string {
  if (state.at === 'connecting') return `connecting ${state.to}`
  if (state.at === 'reconnecting') return `reconnecting ${state.who}`
  return state.at === 'ended' ? `ended ${state.reason}` : state.at
}

async function waiting(options?: Partial<RideCallOptions>, ice: object = {}) {
  const all = rideCall(options)
  await all.call.start()
  all.network.last
    .open()
    .say({ type: 'authenticated', user_id: 'u', resume_token: 'r1', ...ice })
    .say({ type: 'session_joined', session_id: 's', ride_id: 'r' })
    .heard()
  return all
}

/** In a call as the driver, whose passenger came and is heard. */
async function connected(options?: Partial<RideCallOptions>, ice?: object) {
  const all = await waiting(options, ice)
  all.network.last.say({ type: 'participant_joined', role: 'passenger' })
  await settle()
  all.network.last.say({ type: 'answer', sdp: 'v=0\r\no=- far 1 IN IP4 0.0.0.0\r\n' })
  await settle()
  all.connections[0]?.become('connected')
  all.network.last.heard()
  all.path()
  return all
}

/** Nothing of the call is left running. */
function expectReleased({ clock, track, connections }: Awaited<ReturnType<typeof waiting>>) {
  expect(clock.pending).toBe(0)
  expect(track.stopped).toBe(true)
  for (const connection of connections) expect(connection.closed).toBe(true)
}

test('a call goes from the microphone over the server and the other party to its sound', async () => {
  const { network, connections, path } = await waiting()
  expect(path()).toEqual(['connecting microphone', 'connecting server', 'waiting'])
  network.last.say({ type: 'participant_joined', role: 'passenger' })
  await settle()
  expect(path()).toEqual(['joining'])
  connections[0]?.become('connected')
  expect(path()).toEqual(['connected'])
})

test('the driver offers when the passenger is there, the passenger waits for the offer', async () => {
  const driver = await waiting()
  driver.network.last.say({ type: 'participant_joined', role: 'passenger' })
  await settle()
  expect(driver.network.last.heard()).toMatchObject([{ type: 'offer' }])
  expect(driver.call.role).toBe('driver')
  const passenger = await waiting()
  passenger.network.last.say({ type: 'participant_joined', role: 'driver' })
  await settle()
  expect(passenger.network.last.heard()).toEqual([])
  expect(passenger.call.role).toBe('passenger')
})

test('hanging up says so before the goodbye, and everything stops', async () => {
  const all = await connected()
  all.clock.wind(3_000)
  all.call.hangUp()
  all.call.hangUp()
  expect(all.network.last.heard()).toEqual([{ type: 'end_call' }])
  expect(all.network.last.closedWith?.code).toBe(1000)
  expect(all.states).toEqual([{ at: 'ended', reason: 'user_terminated', by: 'self', lasted: 3_000 }])
  expectReleased(all)
})

test.each([
  [{ type: 'call_ended', reason: 'user_terminated' }, 'user_terminated', 'other'],
  [{ type: 'call_ended', reason: 'disconnect_passenger' }, 'disconnect_passenger', null],
  [{ type: 'call_timeout', reason: 'max_duration_reached' }, 'max_duration_reached', null],
])('the server ends the call with %j', async (message, reason, by) => {
  const all = await connected()
  all.network.last.say(message)
  expect(all.states).toMatchObject([{ at: 'ended', reason, by }])
  expectReleased(all)
})

test('a lost socket is reconnecting while the sound goes on', async () => {
  const { network, clock, connections, path } = await connected()
  network.last.end(1006)
  expect(path()).toEqual(['reconnecting self'])
  expect(connections[0]?.closed).toBe(false)
  clock.wind(1_000)
  network.last.open().say({ type: 'resumed', replayed: 0, resume_token: 'r2' })
  expect(path()).toEqual(['connected'])
  expect(network.last.heard().slice(1)).toEqual([])
})

test('the other party away is reconnecting until its grace is over or it is back', async () => {
  const { network, states } = await connected()
  network.last.say({ type: 'participant_reconnecting', role: 'passenger', grace_ms: 15_000 })
  expect(states.splice(0)).toMatchObject([{ at: 'reconnecting', who: 'other', until: 15_000 }])
  network.last.say({ type: 'participant_resumed', role: 'passenger' })
  expect(states).toMatchObject([{ at: 'connected' }])
})

test('a gap makes ICE start again', async () => {
  const { network, clock } = await connected()
  network.last.end(1006)
  clock.wind(1_000)
  network.last.open().say({ type: 'resumed', replayed: 0, resume_token: 'r2', gap: true })
  await settle()
  expect(network.last.heard()).toMatchObject([{ type: 'resume' }, { type: 'offer' }])
})

test('a party that comes in as a new client gets a new connection', async () => {
  const { network, connections, path } = await connected()
  network.last
    .say({ type: 'participant_reconnecting', role: 'passenger', grace_ms: 15_000 })
    .say({ type: 'participant_resumed', role: 'passenger' })
    .say({ type: 'participant_joined', role: 'passenger' })
  await settle()
  expect(connections.map(({ closed }) => closed)).toEqual([true, false])
  expect(path().at(-1)).toBe('reconnecting media')
})

test('a page that was loaded again takes up the call and offers anew', async () => {
  const before = await connected()
  const resume = before.call.resumption
  expect(resume).toEqual({ token: 'r1', received: 4, role: 'driver', met: true, iceServers: [] })
  const after = rideCall({ resume: resume ?? undefined })
  await after.call.start()
  after.network.last.open().say({ type: 'resumed', replayed: 0, resume_token: 'r2' })
  await settle()
  expect(after.network.last.heard()).toMatchObject([{ type: 'resume', received: 4 }, { type: 'offer' }])
  expect(after.path().at(-1)).toBe('joining')
})

test('both there without a sound for long ends the call', async () => {
  const all = await waiting()
  all.network.last.say({ type: 'participant_joined', role: 'passenger' })
  for (let gone = 0; gone < NO_MEDIA_AFTER; gone += 1_000) {
    all.clock.wind(1_000)
    all.network.last.say({ type: 'pong' })
  }
  expect(all.path().at(-1)).toBe('ended no_media')
  expect(all.network.last.heard().at(-1)).toEqual({ type: 'end_call' })
  expectReleased(all)
})

test('muting switches the microphone off, also before it is open', async () => {
  const { call, track } = rideCall()
  const told: boolean[] = []
  call.on('muted', (muted) => told.push(muted))
  call.mute(true)
  call.mute(true)
  await call.start()
  expect(track.enabled).toBe(false)
  call.mute(false)
  expect(track.enabled).toBe(true)
  expect(told).toEqual([true, false])
})

test('a microphone that cannot be had ends the call before it begins', async () => {
  const all = rideCall({
    microphone: () => Promise.reject(new MicrophoneError('microphone_missing')),
  })
  await all.call.start()
  expect(all.path()).toEqual(['connecting microphone', 'ended microphone_missing'])
  expect(all.network.sockets.length).toBe(0)
})

test('a microphone that comes after the call was closed is stopped', async () => {
  const { call, track, network } = rideCall()
  const started = call.start()
  call.close()
  await started
  expect(track.stopped).toBe(true)
  expect(network.sockets.length).toBe(0)
})

test('the meters and the context they read with go with the call, and so does the ear for a network', async () => {
  const { FakeSound, made } = fakeSound()
  const listening = new Set<unknown>()
  const { addEventListener, removeEventListener } = globalThis
  globalThis.addEventListener = (_: string, listener: unknown) => void listening.add(listener)
  globalThis.removeEventListener = (_: string, listener: unknown) => void listening.delete(listener)
  try {
    const { call, network, connections, track } = await waiting({ AudioContext: FakeSound as never })
    network.last.say({ type: 'participant_joined', role: 'passenger' })
    await settle()
    connections[0]?.ontrack?.({ streams: [fakeStream()] })
    await settle()
    expect([made.length, made[0]?.sources.size, listening.size]).toEqual([1, 2, 1])
    call.close()
    call.close()
    expect([made.length, made[0]?.sources.size, made[0]?.closed, listening.size]).toEqual([1, 0, 1, 0])
    expect(track.stopped).toBe(true)
  } finally {
    Object.assign(globalThis, { addEventListener, removeEventListener })
  }
})

/** An AudioContext that counts what reads from it. */
function fakeSound() {
  const made: { sources: Set<object>; closed: number }[] = []
  class FakeSound {
    readonly sources = new Set<object>()
    closed = 0

    constructor() {
      made.push(this)
    }

    createMediaStreamSource() {
      const source = { connect() {}, disconnect: () => void this.sources.delete(source) }
      this.sources.add(source)
      return source
    }

    createAnalyser() {
      return { fftSize: 0 }
    }

    async resume() {}

    async close() {
      this.closed++
    }
  }
  return { FakeSound, made }
}

test('the limit is told as an instant of the clock', async () => {
  const { call, network, clock } = await connected()
  const limits: number[] = []
  call.on('limit', (limit) => limits.push(limit))
  clock.wind(5_000)
  network.last.say({ type: 'call_warning', remaining_ms: 15_000 })
  expect(limits).toEqual([20_000])
})

test('closing leaves without ending the call for the other, tells nothing and stops everything, twice', async () => {
  const all = await connected()
  all.call.close()
  all.call.close()
  expect(all.network.last.heard()).toEqual([])
  expect(all.network.last.closedWith?.code).toBe(1000)
  expect(all.states).toEqual([])
  expectReleased(all)
})

const OLD = { urls: ['turn:relay'], username: '1', credential: 'old' }
const FRESH = { ...OLD, credential: 'fresh' }

test('[RIDE-21] the servers that the server tells of are used after those of the caller, and kept for the next page', async () => {
  const own = { urls: 'stun:own' }
  const { call, connections } = await connected(
    { iceServers: [own], iceTransportPolicy: 'relay' },
    { ice_servers: [OLD] },
  )
  expect(connections[0]?.configuration).toEqual({ iceServers: [own, OLD], iceTransportPolicy: 'relay' })
  const resume = call.resumption ?? undefined
  expect(resume?.iceServers).toEqual([OLD])
  const after = rideCall({ resume })
  await after.call.start()
  after.network.last.open().say({ type: 'resumed', replayed: 0, resume_token: 'r2' })
  expect(after.connections[0]?.configuration).toEqual({ iceServers: [OLD] })
})

test('[RIDE-21] before a new way is looked for, fresh credentials are asked for and used', async () => {
  const { call, network, connections } = await connected({}, { ice_servers: [OLD] })
  const received = call.resumption?.received ?? 0
  connections[0]?.become('failed')
  await settle()
  expect(network.last.heard()).toEqual([{ type: 'ice_servers' }])
  network.last.say({ type: 'ice_servers', ice_servers: [FRESH], expires_at: 1 })
  expect(connections[0]?.configuration).toEqual({ iceServers: [FRESH] })
  await settle()
  expect(network.last.heard()).toMatchObject([{ type: 'offer' }])
  expect(call.resumption?.received).toBe(received + 1)
})

test('fresh credentials that do not come in time, or cannot be asked for, hold nothing up', async () => {
  const all = await connected({}, { ice_servers: [OLD] })
  const { network, clock, connections, call } = all
  connections[0]?.become('failed')
  clock.wind(FRESH_WITHIN)
  await settle()
  expect(network.last.heard()).toMatchObject([{ type: 'ice_servers' }, { type: 'offer' }])
  network.last.say({ type: 'answer', sdp: 'v=0\r\no=- far 1 IN IP4 0.0.0.0\r\n' })
  await settle()
  connections[0]?.become('failed')
  call.close()
  await settle()
  expectReleased(all)
  const away = await connected({}, { ice_servers: [OLD] })
  away.network.last.end(1006)
  const before = away.connections[0]?.ufrag
  away.connections[0]?.become('failed')
  await settle()
  expect(away.connections[0]?.ufrag).not.toBe(before)
})

test('a server that told of no credentials is asked for none', async () => {
  const { network, connections } = await connected({}, { ice_servers: [{ urls: ['stun:here'] }] })
  connections[0]?.become('failed')
  await settle()
  expect(network.last.heard()).toMatchObject([{ type: 'offer' }])
})
