import { expect, test } from 'bun:test'
import { nameOf, Party, type Person, pathOf, worldIdentity } from '../../../test/kit/direct-clients.ts'
import { DirectWorld, type WorldOptions } from '../../../test/kit/direct-world.ts'
import { MicrophoneError } from '../microphone.ts'
import { type DirectCall, LOST_PATIENCE, NO_MEDIA_AFTER } from './call.ts'
import { keysInMemory } from './keys.ts'

async function two(options: WorldOptions = {}) {
  const party = new Party(new DirectWorld(options))
  const alice = await party.joins('alice')
  const bob = await party.joins('bob')
  return { party, alice, bob }
}

/** Alice rings Bob. */
async function ringing(options?: WorldOptions) {
  const all = await two(options)
  const out = all.alice.client.call('bob')
  await all.party.settle()
  return { ...all, out, in_: all.bob.ringing }
}

/** Both hear each other. */
async function talking(options?: WorldOptions) {
  const all = await ringing(options)
  await all.in_.accept()
  await all.party.settle()
  for (const { connection } of [all.alice, all.bob]) connection.become('connected')
  return all
}

const name = (call: DirectCall) => nameOf(call.state)
const reasonsInLog = (party: Party) =>
  party.world.log.flatMap((record) => (record.is === 'ended' ? [record.reason] : []))

function expectReleased(...people: Person[]) {
  for (const { client, tracks, connections } of people) {
    expect(client.calls).toEqual([])
    expect(tracks.every(({ stopped }) => stopped)).toBe(true)
    expect(connections.every(({ closed }) => closed)).toBe(true)
  }
}

test('a call rings, is answered, and is heard at both ends', async () => {
  const { party, alice, bob } = await two()
  const out = alice.client.call('bob')
  const outPath = pathOf(out)
  await party.settle()
  expect(outPath).toEqual(['preparing key', 'preparing server', 'ringing'])
  expect(out.state).toMatchObject({ waking: false, until: out.now + 60_000 })
  const in_ = bob.ringing
  const inPath = pathOf(in_)
  expect(in_).toMatchObject({ peerId: 'alice', direction: 'in' })
  expect(name(in_)).toBe('incoming')
  expect(in_.callerKey).toMatchObject({ proven: true, version: 1 })
  expect(bob.tracks).toEqual([])
  await in_.accept()
  await party.settle()
  for (const { connection } of [alice, bob]) connection.become('connected')
  expect(outPath.slice(3)).toEqual(['joining', 'connected'])
  expect(inPath).toEqual(['preparing microphone', 'preparing key', 'joining', 'connected'])
  expect(out.id).toBe(in_.id)
  for (const call of [out, in_]) {
    expect(call.security).toMatchObject({ isChecking: false, isSigned: true, warning: null })
  }
  out.hangUp()
  await party.settle()
  expect([name(out), name(in_)]).toEqual(['ended ended by self', 'ended ended by other'])
  expect(reasonsInLog(party)).toEqual(['ended'])
  expectReleased(alice, bob)
})

test('candidates wait for the call to have a name, reach who rings, and wait for who answers', async () => {
  const { party, alice, bob } = await two()
  party.world.holdTurn()
  const out = alice.client.call('bob')
  await party.settle()
  alice.connection.gather('early')
  await party.world.releaseTurn()
  await party.settle()
  alice.connection.gather('ringing')
  await party.settle()
  await bob.ringing.accept()
  bob.connection.gather('of bob')
  await party.settle()
  expect(bob.connection.added.map(({ candidate }) => candidate)).toEqual(['early', 'ringing'])
  expect(alice.connection.added.map(({ candidate }) => candidate)).toEqual(['of bob'])
  expect([...alice.troubles, ...bob.troubles]).toEqual([])
  out.hangUp()
})

test('more candidates than the server keeps while it rings are sent once it is answered', async () => {
  const { party, alice, bob, in_ } = await ringing()
  for (let i = 0; i < 60; i++) alice.connection.gather(`c${i}`)
  await party.settle()
  await in_.accept()
  await party.settle()
  expect(bob.connection.added.length).toBe(60)
  expect(alice.troubles).toEqual([])
})

test('what other clients write as candidates is understood', async () => {
  const { party, alice, bob, in_, out } = await talking()
  const { ufrag } = bob.connection
  const frames = [
    JSON.stringify({ candidate: 'as text', usernameFragment: ufrag }),
    '',
    null,
    { candidate: '' },
    '{not json',
  ]
  for (const candidate of frames) {
    out.take({ type: 'ICE_CANDIDATE', payload: { callId: in_.id ?? '', candidate } })
  }
  await party.settle()
  expect(alice.connection.added.map(({ candidate }) => candidate)).toEqual(['as text'])
})

test.each([
  ['reject', 'ended rejected', 'ended rejected by self', 'rejected'],
  ['cancel', 'ended cancelled by self', 'ended cancelled by other', 'cancelled'],
  ['wait', 'ended no_answer', 'ended no_answer', 'no_answer'],
  ['leave', 'ended rejected', 'ended rejected by self', 'rejected'],
])('a call that rings ends at both: %s', async (how, atAlice, atBob, logged) => {
  const { party, alice, bob, out, in_ } = await ringing()
  if (how === 'reject') in_.reject()
  if (how === 'cancel') out.hangUp()
  if (how === 'leave') in_.hangUp()
  if (how === 'wait') await party.wind(61_000)
  await party.settle()
  expect([name(out), name(in_)]).toEqual([atAlice, atBob])
  expect(reasonsInLog(party)).toEqual([logged as never])
  expectReleased(alice, bob)
})

test('a call may ring for as long as the caller says', async () => {
  const { party, alice } = await two()
  const out = alice.client.call('bob', { ringTimeout: 5 })
  await party.settle()
  expect(out.state).toMatchObject({ at: 'ringing', until: out.now + 5_000 })
  await party.wind(6_000)
  expect(name(out)).toBe('ended no_answer')
})

test('who is not there, busy, or has no such name is told in its own word', async () => {
  const { party, alice, bob } = await talking()
  const carol = await party.joins('carol')
  const calls = ['nobody', 'bob', 'not an id', 'carol'].map((id) => [id, carol.client.call(id)] as const)
  await party.settle()
  expect(calls.map(([, call]) => name(call))).toEqual([
    'ended target_offline',
    'ended busy',
    'ended invalid_client_id',
    'ended invalid_message',
  ])
  expectReleased(carol)
  expect([alice.client.calls.length, bob.client.calls.length]).toEqual([1, 1])
})

test('who calls too often is told to wait', async () => {
  const { party, alice } = await two()
  const last: DirectCall[] = []
  for (let i = 0; i < 7; i++) {
    last.push(alice.client.call('nobody'))
    await party.settle()
  }
  expect(last.map(name).slice(-2)).toEqual(['ended target_offline', 'ended rate_limited'])
})

test('of several devices the first answers, and the others are told', async () => {
  const party = new Party(new DirectWorld())
  const identity = await worldIdentity()
  const alice = await party.joins('alice')
  const [phone, laptop] = [await party.joins('bob', { identity }), await party.joins('bob', { identity })]
  const out = alice.client.call('bob')
  await party.settle()
  await laptop.ringing.accept()
  await party.settle()
  expect(name(phone.ringing)).toBe('ended answered_elsewhere')
  expect([name(out), name(laptop.ringing)]).toEqual(['joining', 'joining'])
  expectReleased(phone)
})

test('when two ring each other, one call comes of it, and both hear', async () => {
  const { party, alice, bob } = await two()
  const [fromAlice, fromBob] = [alice.client.call('bob'), bob.client.call('alice')]
  await party.settle()
  expect([name(fromAlice), name(fromBob)]).toEqual(['joining', 'joining'])
  expect(fromAlice.id).toBe(fromBob.id)
  expect([alice.rung, bob.rung]).toEqual([[], []])
  for (const { connection } of [alice, bob]) connection.become('connected')
  expect([name(fromAlice), name(fromBob)]).toEqual(['connected', 'connected'])
  expect(reasonsInLog(party)).toEqual([])
  fromBob.hangUp()
  await party.settle()
  expect(name(fromAlice)).toBe('ended ended by other')
  expectReleased(alice, bob)
})

test('calling somebody who rings us is answering them', async () => {
  const { party, alice, bob, out } = await ringing()
  const call = bob.client.call('alice')
  expect(call).toBe(bob.ringing)
  await party.settle()
  expect(name(out)).toBe('joining')
  expect(alice.rung).toEqual([])
})

test('a call that comes while the microphone is still asked for is taken as the answer', async () => {
  const party = new Party(new DirectWorld())
  const alice = await party.joins('alice')
  let allow = (_: MediaStream) => {}
  const microphone = () =>
    new Promise<MediaStream>((resolve) => {
      allow = resolve
    })
  const bob = await party.joins('bob', { microphone })
  const fromBob = bob.client.call('alice')
  const fromAlice = alice.client.call('bob')
  await party.settle()
  expect([bob.rung.length, name(fromAlice)]).toEqual([0, 'ringing'])
  const { fakeStream } = await import('../fakes.ts')
  allow(fakeStream())
  await party.settle()
  expect([name(fromAlice), name(fromBob)]).toEqual(['joining', 'joining'])
})

test('a call that came while ours was placed still rings when ours fails', async () => {
  const party = new Party(new DirectWorld())
  const alice = await party.joins('alice')
  const microphone = () => Bun.sleep(5).then(() => Promise.reject(new MicrophoneError('microphone_missing')))
  const bob = await party.joins('bob', { microphone })
  const fromBob = bob.client.call('alice')
  alice.client.call('bob')
  await party.settle()
  await Bun.sleep(5)
  await party.settle()
  expect(name(fromBob)).toBe('ended microphone_missing by self')
  expect(bob.rung.map(name)).toEqual(['incoming'])
})

test('a lost way to the server is shown, come back from, and hurts nothing', async () => {
  const { party, alice, out, in_ } = await talking()
  alice.cut()
  await party.settle()
  expect(out.state).toMatchObject({ at: 'reconnecting', who: 'self', until: out.now + LOST_PATIENCE })
  expect(in_.state).toMatchObject({ at: 'reconnecting', who: 'other' })
  alice.connection.gather('while away')
  await party.wind(1_000)
  expect([name(out), name(in_)]).toEqual(['connected', 'connected'])
  expect(party.people[1]?.connection.added.map(({ candidate }) => candidate)).toEqual(['while away'])
})

test('what is decided while the way is lost arrives with it', async () => {
  const { party, alice, out, in_ } = await ringing()
  alice.cut()
  await in_.accept()
  await party.wind(1_000)
  expect([name(out), name(in_)]).toEqual(['joining', 'joining'])
})

test('an answer that finds no connection goes out with the next one', async () => {
  const { party, bob, out, in_ } = await ringing()
  bob.cut()
  await in_.accept()
  await party.wind(1_000)
  expect([name(out), name(in_)]).toEqual(['joining', 'joining'])
})

test('who stays away too long loses the call, and the other is told', async () => {
  const { party, alice, bob, out, in_ } = await talking()
  alice.isOffline = true
  alice.cut()
  await party.wind(15_100)
  expect(name(in_)).toBe('ended disconnect_caller')
  alice.isOffline = false
  await party.wind(1_000)
  expect(name(out)).toBe('ended over_meanwhile')
  expect(alice.client.state.at).toBe('registered')
  expectReleased(alice, bob)
})

test('a way to the server that does not come back ends the call here', async () => {
  const { party, alice, out } = await talking()
  alice.isOffline = true
  alice.cut()
  await party.wind(LOST_PATIENCE + 1_000)
  expect(name(out)).toBe('ended connection_lost')
  expect(alice.client.state.at).toBe('reconnecting')
})

test('a call that is being placed when the connection goes is over, there too', async () => {
  const party = new Party(new DirectWorld())
  const alice = await party.joins('alice')
  const bob = await party.joins('bob')
  party.world.holdTurn()
  const out = alice.client.call('bob')
  await party.settle()
  alice.cut()
  await party.settle()
  expect(name(out)).toBe('ended connection_lost')
  await party.wind(1_000)
  await party.world.releaseTurn()
  await party.settle()
  expect(reasonsInLog(party)).toEqual(['cancelled'])
  expect(bob.rung.map(name)).toEqual(['ended cancelled by other'])
})

test('a call that is taken back before the server gave it a name does not ring on', async () => {
  const party = new Party(new DirectWorld())
  const alice = await party.joins('alice')
  await party.joins('bob')
  party.world.holdTurn()
  const out = alice.client.call('bob')
  await party.settle()
  out.hangUp()
  await party.world.releaseTurn()
  await party.settle()
  expect(reasonsInLog(party)).toEqual(['cancelled'])
})

test('a call outlives a restart of the server; one that rings does not', async () => {
  const talk = await talking()
  talk.alice.cut()
  talk.bob.cut()
  await talk.party.world.restart('killed')
  await talk.party.wind(2_000)
  expect([name(talk.out), name(talk.in_)]).toEqual(['connected', 'connected'])

  const ring = await ringing()
  ring.alice.cut()
  ring.bob.cut()
  await ring.party.world.restart('killed')
  await ring.party.wind(6_000)
  expect(name(ring.out)).toBe('ended over_meanwhile')
  expect(nameOf(ring.in_.state)).toStartWith('ended')
  expect([ring.alice.client.state.at, ring.bob.client.state.at]).toEqual(['registered', 'registered'])
})

test('when something that was said is lost, the way between the two is made anew', async () => {
  const { party, alice, bob, in_ } = await talking()
  const before = [alice.connection.ufrag, bob.connection.ufrag]
  alice.cut()
  bob.cut()
  await party.world.restart('killed')
  await party.wind(2_000)
  expect([alice.connection.ufrag, bob.connection.ufrag]).not.toEqual(before)
  expect(alice.connection.remoteDescription?.sdp).toContain(bob.connection.ufrag)
  expect(name(in_)).toBe('connected')
})

test('sound that fails is mended through the server', async () => {
  const { party, alice, bob, out } = await talking()
  const { ufrag } = alice.connection
  alice.connection.become('failed')
  expect(name(out)).toBe('reconnecting media')
  await party.settle()
  expect(alice.connection.ufrag).not.toBe(ufrag)
  expect(bob.connection.remoteDescription?.sdp).toContain(alice.connection.ufrag)
  alice.connection.become('connected')
  expect(name(out)).toBe('connected')
})

test('no sound after a while ends the call at both ends', async () => {
  const { party, out, in_ } = await ringing()
  await in_.accept()
  await party.settle()
  await party.wind(NO_MEDIA_AFTER + 500)
  expect([name(out), name(in_)]).toEqual(['ended no_media by self', 'ended no_media by self'])
})

test('a microphone that is refused ends the call here and lets the other devices ring', async () => {
  const party = new Party(new DirectWorld())
  const alice = await party.joins('alice')
  const microphone = () => Promise.reject(new MicrophoneError('microphone_refused'))
  const bob = await party.joins('bob', { microphone })
  const out = alice.client.call('bob')
  await party.settle()
  await bob.ringing.accept()
  await party.settle()
  expect([name(out), name(bob.ringing)]).toEqual(['ringing', 'ended microphone_refused by self'])
})

test('mute holds for the microphone there is and the one to come', async () => {
  const { bob, in_ } = await ringing()
  const told: boolean[] = []
  in_.on('muted', (muted) => told.push(muted))
  in_.mute(true)
  in_.mute(true)
  await in_.accept()
  expect(bob.tracks.map(({ enabled }) => enabled)).toEqual([false])
  in_.mute(false)
  expect(bob.tracks.map(({ enabled }) => enabled)).toEqual([true])
  expect(told).toEqual([true, false])
})

test('a browser without WebRTC says so', async () => {
  const party = new Party(new DirectWorld())
  const alice = await party.joins('alice', { RTCPeerConnection: null as never })
  const call = alice.client.call('bob')
  await party.settle()
  expect(nameOf(call.state)).toStartWith('ended')
})

test('closing ends calls, says goodbye, and leaves nothing running, twice', async () => {
  const { party, alice, bob, out, in_ } = await talking()
  alice.client.close()
  alice.client.close()
  await party.settle()
  expect(name(out)).toBe('ended ended by self')
  expect(name(in_)).toBe('ended ended by other')
  bob.client.close()
  await party.wind(40_000)
  expectReleased(alice, bob)
  expect(party.clock.pending).toBe(0)
  expect(alice.states.at(-1)).toBe('registered')
})

test('what is remembered of a key is carried from one client to the next', async () => {
  const party = new Party(new DirectWorld())
  const keys = keysInMemory()
  const first = await party.joins('alice', { keys })
  await party.joins('bob')
  const looks = async ({ client }: Person) => (await Promise.all([client.lookUp('bob'), party.settle()]))[0]
  expect(await looks(first)).toMatchObject({ status: 'new' })
  first.client.close()
  await party.settle()
  const identity = first.client.identity ?? undefined
  const second = await party.joins('alice', { keys, identity })
  expect(await looks(second)).toMatchObject({ status: 'same' })
})
