import { expect, test } from 'bun:test'
import { identityProofs } from '../../auth/identity.ts'
import { longestWait, PATIENT } from '../backoff.ts'
import { FakeNetwork, HandClock, settle } from '../fakes.ts'
import { type Identity, identityOf, makeKeyPair } from './identity.ts'
import { type DirectSignal, DirectSignalling, type DirectSignallingOptions } from './signalling.ts'

const NO_ICE = { iceServers: [], iceExpiresAt: null }

function signalling(options: Partial<DirectSignallingOptions> = {}) {
  const clock = new HandClock()
  const network = new FakeNetwork()
  const told: DirectSignal[] = []
  const it = new DirectSignalling({
    url: 'ws://here:80/signal',
    clientId: 'alice',
    timers: clock,
    openSocket: network.open,
    random: () => 0.5,
    isBusy: () => false,
    tell: (signal) => told.push(signal),
    ...options,
  })
  it.start()
  return { clock, network, told, it, kinds: () => told.splice(0).map(({ is }) => is) }
}

const down = (type: string, payload: object = {}) => ({ type, payload })
const error = (code: string, more: object = {}) => down('ERROR', { code, message: '', ...more })
const registered = (resumeToken = 'r1') => down('REGISTERED', { clientId: 'alice', resumeToken, ...NO_ICE })

async function admitted(options?: Partial<DirectSignallingOptions>) {
  const all = signalling(options)
  all.network.last.open()
  await settle()
  all.network.last.heard()
  all.network.last.say(registered())
  all.told.splice(0)
  return all
}

test('an open id is registered with the first word', async () => {
  const { network, it, told } = signalling()
  network.last.open()
  await settle()
  expect(network.last.heard()).toEqual([{ type: 'REGISTER', payload: { clientId: 'alice' } }])
  expect(it.send({ type: 'PING', payload: {} })).toBe(false)
  const iceServers = [{ urls: ['turn:t'] }]
  network.last.say(down('REGISTERED', { clientId: 'alice', resumeToken: 'r', iceServers, iceExpiresAt: 5 }))
  expect(told).toEqual([{ is: 'in', again: false, ice: { iceServers, expiresAt: 5 } }])
  expect(it.send({ type: 'PING', payload: {} })).toBe(true)
})

test('a token of the app goes along', async () => {
  const { network } = signalling({ token: async () => 'jwt' })
  network.last.open()
  await settle()
  expect(network.last.heard()).toEqual([{ type: 'REGISTER', payload: { clientId: 'alice', token: 'jwt' } }])
})

test('an identity asks for a nonce and signs it so that the server believes it', async () => {
  const identity = await identityOf(await makeKeyPair())
  const { network } = signalling({ identity })
  network.last.open()
  expect(network.last.heard()).toEqual([{ type: 'HELLO', payload: {} }])
  network.last.say(down('WELCOME', { nonce: 'n1', features: [], limits: {} }))
  await settle()
  const [{ payload }] = network.last.heard() as [{ payload: Record<string, string> }]
  expect(payload).toMatchObject({ clientId: 'alice', identityKey: identity.publicKey })
  const claim = { clientId: 'alice', nonce: 'n1', host: 'here' }
  expect(identityProofs(null).provesIdentity(payload.identityKey ?? '', payload.signature ?? '', claim)).toBe(
    true,
  )
})

/** Says hello and answers the nonce; returns what it registers with. */
async function proves(network: FakeNetwork, nonce: string) {
  network.last.open().heard()
  network.last.say(down('WELCOME', { nonce, features: [], limits: {} }))
  await settle()
  // biome-ignore lint/suspicious/noExplicitAny: looked into by the test.
  return network.last.heard()[0] as any
}

async function rotating() {
  const [old, next] = [await identityOf(await makeKeyPair()), await identityOf(await makeKeyPair())]
  const all = signalling({ identity: old })
  await proves(all.network, 'n1')
  all.network.last.say(registered())
  const before = all.network.last
  expect(all.it.rotate(next)).toBe(true)
  expect(before.closedWith?.code).toBe(1000)
  const said = await proves(all.network, 'n2')
  return { ...all, old, next, said }
}

test('a rotation is signed by the old key, and the next one is used from then on', async () => {
  const { network, it, old, next, said, clock } = await rotating()
  const { identityKey, rotation } = said.payload
  expect([identityKey, rotation.newIdentityKey]).toEqual([old.publicKey, next.publicKey])
  const claim = { clientId: 'alice', nonce: 'n2', host: 'here', newKey: next.publicKey }
  expect(identityProofs(null).provesRotation(old.publicKey, rotation.signature, claim)).toBe(true)
  network.last.say(registered('r2'))
  expect(it.identity).toBe(next)
  network.last.end(1006)
  clock.wind(2_000)
  network.last.open().say(error('RESUME_FAILED'))
  expect((await proves(network, 'n3')).payload).toMatchObject({ identityKey: next.publicKey })
})

test('a rotation whose answer was lost is not lost', async () => {
  const { network, it, clock, next, kinds } = await rotating()
  network.last.end(1006)
  clock.wind(2_000)
  expect((await proves(network, 'n3')).payload.rotation).toBeDefined()
  network.last.say(error('IDENTITY_INVALID'))
  clock.wind(0)
  const { payload } = await proves(network, 'n4')
  expect(payload).toMatchObject({ identityKey: next.publicKey })
  expect(payload.rotation).toBeUndefined()
  network.last.say(registered('r2'))
  expect(it.identity).toBe(next)
  expect(kinds().at(-1)).toBe('in')
})

test('resume counts every text since REGISTERED but errors, unreadable ones too, over all connections', async () => {
  const { network, clock, told } = await admitted()
  network.last.say(down('PKD_CHANGED', { clientId: 'x' }))
  network.last.say(error('CALL_NOT_FOUND'))
  network.last.say(down('PONG'))
  network.last.say({ odd: true })
  network.last.end(1006)
  clock.wind(500)
  network.last.open()
  expect(network.last.heard()).toEqual([{ type: 'RESUME', payload: { resumeToken: 'r1', received: 4 } }])
  network.last.say(down('RESUMED', { replayed: 1, resumeToken: 'r2' }))
  network.last.say(down('CALL_ENDED', { callId: 'c', reason: 'ended' }))
  network.last.end(1006)
  clock.wind(500)
  network.last.open()
  expect(network.last.heard()).toEqual([{ type: 'RESUME', payload: { resumeToken: 'r2', received: 5 } }])
  expect(told.map(({ is }) => is)).toEqual(['message', 'message', 'lost', 'back', 'message', 'lost'])
})

test('a resume that fails is a registration as a new device', async () => {
  const { network, clock, told } = await admitted()
  network.last.end(1006)
  clock.wind(500)
  network.last.open().say(error('RESUME_FAILED'))
  network.last.open()
  await settle()
  expect(network.last.heard()).toEqual([{ type: 'REGISTER', payload: { clientId: 'alice' } }])
  network.last.say(registered('r2'))
  expect(told.at(-1)).toMatchObject({ is: 'in', again: true })
})

test('tries go on for ever, between nothing and 30 s apart', () => {
  const { network, clock, told } = signalling({ random: () => 0.999 })
  for (let i = 0; i < 12; i++) {
    network.last.end(1006)
    const before = clock.now()
    const last = told.at(-1)
    if (last?.is !== 'lost') throw new Error('not told')
    expect(last.next - before).toBeCloseTo(longestWait(i, PATIENT) * 0.999)
    clock.wind(last.next - before)
    expect(network.sockets.length).toBe(i + 2)
  }
})

test('a network that is back is tried at once', () => {
  const { network, it } = signalling()
  network.last.end(1006)
  it.tryNow()
  it.tryNow()
  expect(network.sockets.length).toBe(2)
})

for (const code of [
  'CLIENT_ID_TAKEN',
  'IDENTITY_REQUIRED',
  'IDENTITY_INVALID',
  'INVALID_CLIENT_ID',
  'KEY_REFUSED',
]) {
  test(`${code} is final`, () => {
    const { network, clock, told } = signalling()
    network.last.open().say(error(code))
    expect(told).toEqual([{ is: 'over', reason: code } as DirectSignal])
    expect(clock.pending).toBe(0)
  })
}

test('a limit is waited for, and a server that goes down is come back to', () => {
  const { network, clock, told } = signalling()
  network.last.open().say(error('RATE_LIMITED', { retryAfterMs: 4_000 }))
  expect(told).toEqual([{ is: 'lost', next: 4_000 }])
  clock.wind(4_000)
  network.last.open().say(error('DRAINING'))
  expect(told.at(-1)?.is).toBe('lost')
})

test('a place that was taken over is not fought for', async () => {
  const { network, clock, kinds } = await admitted()
  network.last.end(4409)
  expect(kinds()).toEqual(['over'])
  expect(clock.pending).toBe(0)
})

test('a connection is watched closely only while a call is on', async () => {
  let busy = false
  const { network, clock } = await admitted({ isBusy: () => busy })
  clock.wind(19_000)
  expect(network.last.heard()).toEqual([])
  clock.wind(1_000)
  expect(network.last.heard()).toEqual([{ type: 'PING', payload: {} }])
  network.last.say(down('PONG'))
  busy = true
  clock.wind(4_000)
  expect(network.last.heard()).toEqual([{ type: 'PING', payload: {} }])
  clock.wind(7_000)
  expect(network.last.closedWith?.code).toBe(4000)
})

test('a vault that cannot sign now is asked again later', async () => {
  let locked = true
  const real = await identityOf(await makeKeyPair())
  const identity: Identity = {
    publicKey: real.publicKey,
    sign: async (text) => {
      if (locked) throw new Error('locked')
      return real.sign(text)
    },
  }
  const { network, clock, kinds } = signalling({ identity })
  expect(await proves(network, 'n1')).toBeUndefined()
  expect(kinds()).toEqual(['lost'])
  locked = false
  clock.wind(1_000)
  expect(await proves(network, 'n2')).toMatchObject({ type: 'REGISTER' })
})

test('closing says goodbye, stops everything and tells nothing, twice', async () => {
  const opening = signalling()
  const open = await admitted()
  const between = await admitted()
  between.network.last.end(1006)
  between.told.splice(0)
  for (const { it, told, clock, network } of [opening, open, between]) {
    it.close()
    it.close()
    clock.wind(60_000)
    expect(told).toEqual([])
    expect(clock.pending).toBe(0)
    expect(network.sockets.length).toBe(1)
  }
  expect(open.network.last.closedWith?.code).toBe(1000)
})
