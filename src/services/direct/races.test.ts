// Two things happen at nearly the same time: both orders of each pair, and the instant at which a deadline passes.
import { describe, expect, test } from 'bun:test'
import {
  answered,
  Client,
  DirectWorld,
  proven,
  registered,
  ring,
  ringing,
  settle,
} from '../../../test/kit/direct-world.ts'

/** What the log has of a call, as words. */
function logOf(world: DirectWorld, callId: string): string {
  const records = world.log.filter(({ id }) => id === callId)
  return records.map((record) => (record.is === 'ended' ? record.reason : record.is)).join(' ')
}

/** A call that rings, on a clock that is between two ticks: alarms ring up to 50 ms after their instant. */
async function ringingLate(devices = 1) {
  const world = new DirectWorld()
  world.clock.leap(10)
  const caller = await proven(world, 'alice')
  const callees: Client[] = []
  for (let i = 0; i < devices; i++) callees.push(await proven(world, 'bob'))
  const callId = await ring(caller, 'bob', callees)
  return { world, caller, callees: callees as [Client, Client], callId }
}

/** In two steps: a leap that is longer than the wheel rings everything that is due, tick or no tick. */
function pass(world: DirectWorld, span: number): void {
  world.clock.leap(span - 1_000)
  world.clock.leap(1_000)
}

/** A call that rings two devices. */
async function ringingTwo() {
  const call = await ringingLate(2)
  const [one, two] = call.callees
  return { ...call, one, two }
}

async function nothingLeft(world: DirectWorld): Promise<void> {
  world.clock.leap(200_000)
  await settle()
  expect(world.directs.count()).toEqual({ waiting: 0, active: 0 })
  expect([world.clock.alarms, world.snapshots.size]).toEqual([0, 0])
}

describe('accept and cancel', () => {
  test('[DIRECT-13] accepted and then hung up has been a call', async () => {
    const { world, caller, callee, callId } = await ringing()
    expect(callee.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })).toBeNull()
    expect(caller.say('CALL_END', { callId })).toBeNull()
    expect(caller.heard()).toEqual(['CALL_ACCEPTED', 'CALL_ENDED ended'])
    expect(callee.heard()).toEqual(['CALL_ENDED ended'])
    expect(logOf(world, callId)).toBe('created initiated active ended')
    await nothingLeft(world)
  })

  test('[DIRECT-13] cancelled and then accepted has never been one', async () => {
    const { world, caller, callee, callId } = await ringing()
    expect(caller.say('CALL_END', { callId })).toBeNull()
    expect(callee.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })).toBe('call_not_found')
    expect(caller.heard()).toEqual(['CALL_ENDED cancelled'])
    expect(callee.heard()).toEqual(['CALL_ENDED cancelled', 'CALL_NOT_FOUND'])
    expect(logOf(world, callId)).toBe('created initiated cancelled')
    await nothingLeft(world)
  })
})

describe('two devices accept', () => {
  test.each([0, 1] as const)('[DIRECT-11] the first wins, also when it is number %d', async (first) => {
    const { world, caller, callees, callId } = await ringingLate(2)
    const [winner, loser] = first === 0 ? callees : [callees[1], callees[0]]
    expect(winner.say('CALL_ACCEPT', { callId, sdpAnswer: 'winner' })).toBeNull()
    expect(loser.say('CALL_ACCEPT', { callId, sdpAnswer: 'loser' })).toBe('call_not_ringing')
    expect(caller.hear()).toEqual([{ type: 'CALL_ACCEPTED', payload: { callId, sdpAnswer: 'winner' } }])
    expect(loser.heard()).toEqual(['CALL_ENDED answered_elsewhere', 'CALL_NOT_RINGING'])
    expect(winner.heard()).toEqual([])
    caller.say('CALL_END', { callId })
    expect(winner.heard()).toEqual(['CALL_ENDED ended'])
    expect(loser.heard()).toEqual([])
    await nothingLeft(world)
  })
})

describe('accept and the end of the ring time', () => {
  test('[DIRECT-14] accepted a moment before it is a call', async () => {
    const { world, caller, callees, callId } = await ringingLate()
    pass(world, 59_999)
    expect(callees[0].say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })).toBeNull()
    world.clock.leap(1_000)
    expect(caller.heard()).toEqual(['CALL_ACCEPTED'])
    caller.say('CALL_END', { callId })
    await nothingLeft(world)
  })

  test.each([
    ['at that instant, before the alarm has rung', 60_000],
    ['a moment after, before the alarm has rung', 60_030],
    ['when the alarm has rung', 60_050],
  ])('[DIRECT-14] accepted %s it is over, and everybody is told so', async (_, span) => {
    const { world, caller, one, two, callId } = await ringingTwo()
    pass(world, span)
    expect(one.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })).toBe('call_not_found')
    expect(caller.heard()).toEqual(['CALL_ENDED no_answer'])
    expect(one.heard()).toEqual(['CALL_ENDED no_answer', 'CALL_NOT_FOUND'])
    expect(two.heard()).toEqual(['CALL_ENDED no_answer'])
    expect(logOf(world, callId)).toBe('created initiated no_answer')
    await nothingLeft(world)
  })

  test.each([
    ['CALL_REJECT', 'callee'],
    ['CALL_END', 'callee'],
    ['CALL_END', 'caller'],
  ] as const)('[DIRECT-14] so is one of which %s of the %s comes at that instant', async (type, who) => {
    const { world, caller, callees, callId } = await ringingLate()
    pass(world, 60_000)
    const from = who === 'caller' ? caller : callees[0]
    expect(from.say(type, { callId })).toBe('call_not_found')
    expect(caller.heard()[0]).toBe('CALL_ENDED no_answer')
    expect(callees[0].heard()[0]).toBe('CALL_ENDED no_answer')
    await nothingLeft(world)
  })
})

describe('glare', () => {
  test.each([
    ['alice', 'bob'],
    ['bob', 'alice'],
  ])('[DIRECT-16] the first to ring is %s, and %s is told which call to accept', async (first, second) => {
    const world = new DirectWorld()
    const clients = { alice: await proven(world, 'alice'), bob: await proven(world, 'bob') }
    const [one, two] = [clients[first as 'alice'], clients[second as 'alice']]
    one.say('CALL_INITIATE', { targetId: second, sdpOffer: 'mine' })
    expect(two.say('CALL_INITIATE', { targetId: first, sdpOffer: 'mine too' })).toBe('glare')
    await settle()
    const [glare, incoming] = two.hear()
    expect(glare.payload).toMatchObject({ code: 'GLARE', callId: incoming.payload.callId })
    const { callId } = incoming.payload
    expect(two.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })).toBeNull()
    expect(one.heard()).toEqual(['CALL_RINGING', 'CALL_ACCEPTED'])
    one.say('CALL_END', { callId })
    await nothingLeft(world)
  })
})

describe('accept and a lost connection', () => {
  test('[DIRECT-20] a caller lost before it is accepted hears of it when it is back, before what follows', async () => {
    const { world, caller, callee, callId } = await ringing()
    caller.phone.end()
    expect(callee.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })).toBeNull()
    expect(callee.say('ICE_CANDIDATE', { callId, candidate: 'one' })).toBeNull()
    expect(callee.say('CALL_NEGOTIATE', { callId, sdp: 'two' })).toBeNull()
    const back = Client.on(world).resume(caller)
    expect(back.heard()).toEqual(['RESUMED', 'CALL_ACCEPTED', 'ICE_CANDIDATE', 'CALL_NEGOTIATE'])
    back.say('CALL_END', { callId })
    expect(callee.heard()).toEqual(['CALL_ENDED ended'])
    expect(logOf(world, callId)).toBe('created initiated active ended')
    await nothingLeft(world)
  })

  test('[DIRECT-20] a caller lost after it was accepted finds it when it is back, once', async () => {
    const { world, caller, callee, callId } = await ringing()
    callee.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })
    caller.phone.end()
    expect(callee.heard()).toEqual(['PEER_RECONNECTING'])
    const back = Client.on(world).resume(caller)
    expect(back.heard()).toEqual(['RESUMED', 'CALL_ACCEPTED'])
    expect(callee.heard()).toEqual(['PEER_RESUMED'])
    back.say('CALL_END', { callId })
    await nothingLeft(world)
  })

  test('[DIRECT-20] a caller that never comes back has cancelled, also when it was accepted meanwhile', async () => {
    for (const accepted of [true, false]) {
      const { world, caller, callee, callId } = await ringing()
      caller.phone.end()
      if (accepted) callee.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })
      world.clock.leap(15_000)
      expect(callee.heard()).toEqual(['CALL_ENDED cancelled'])
      await nothingLeft(world)
    }
  })

  test('[DIRECT-20] a callee lost before it accepts rings again when it is back, and accepts', async () => {
    const { world, caller, callee, callId } = await ringing()
    callee.received-- // It has not got INCOMING_CALL.
    callee.phone.end()
    caller.say('ICE_CANDIDATE', { callId, candidate: 'early' })
    const back = Client.on(world).resume(callee)
    expect(back.heard()).toEqual(['RESUMED', 'INCOMING_CALL', 'ICE_CANDIDATE'])
    expect(back.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })).toBeNull()
    expect(caller.heard()).toEqual(['CALL_ACCEPTED'])
    caller.say('CALL_END', { callId })
    await nothingLeft(world)
  })

  test('[DIRECT-20] a callee lost right after it accepted is in the call', async () => {
    const { world, caller, callee, callId } = await ringing()
    callee.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })
    callee.phone.end()
    expect(caller.heard()).toEqual(['CALL_ACCEPTED', 'PEER_RECONNECTING'])
    world.clock.leap(15_000)
    expect(caller.heard()).toEqual(['CALL_ENDED disconnect_callee'])
    expect(logOf(world, callId)).toBe('created initiated active disconnect_callee')
    await nothingLeft(world)
  })

  test('[DIRECT-20] both are lost around the answer, and whoever is back last makes it a call', async () => {
    for (const first of ['caller', 'callee'] as const) {
      const { world, caller, callee, callId } = await ringing()
      caller.phone.end()
      callee.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })
      callee.phone.end()
      const order = first === 'caller' ? [caller, callee] : [callee, caller]
      const [one, two] = order.map((each) => Client.on(world).resume(each)) as [Client, Client]
      const back = first === 'caller' ? { caller: one, callee: two } : { caller: two, callee: one }
      expect(back.caller.heard()).toEqual(['RESUMED', 'CALL_ACCEPTED'])
      expect(back.callee.heard()).toEqual(['RESUMED'])
      expect(world.directs.count()).toEqual({ waiting: 0, active: 1 })
      back.callee.say('CALL_END', { callId })
      expect(back.caller.heard()).toEqual(['CALL_ENDED ended'])
      await nothingLeft(world)
    }
  })
})

describe('one device rejects and another accepts', () => {
  test('[DIRECT-11] [DIRECT-12] rejected first: nobody can accept any more', async () => {
    const { world, caller, one, two, callId } = await ringingTwo()
    expect(one.say('CALL_REJECT', { callId })).toBeNull()
    expect(two.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })).toBe('call_not_found')
    expect(caller.heard()).toEqual(['CALL_REJECTED rejected'])
    expect(one.heard()).toEqual(['CALL_ENDED rejected'])
    expect(two.heard()).toEqual(['CALL_ENDED rejected', 'CALL_NOT_FOUND'])
    expect(logOf(world, callId)).toBe('created initiated rejected')
    await nothingLeft(world)
  })

  test('[DIRECT-11] [DIRECT-12] accepted first: a late reject changes nothing', async () => {
    const { world, caller, one, two, callId } = await ringingTwo()
    expect(two.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })).toBeNull()
    expect(one.say('CALL_REJECT', { callId })).toBe('call_not_ringing')
    expect(caller.heard()).toEqual(['CALL_ACCEPTED'])
    expect(two.heard()).toEqual([])
    expect(world.directs.count()).toEqual({ waiting: 0, active: 1 })
    caller.say('CALL_END', { callId })
    await nothingLeft(world)
  })
})

describe('resume and the end of the grace', () => {
  test('[DIRECT-9] [DIRECT-20] back a moment before, it is in time', async () => {
    const world = new DirectWorld()
    world.clock.leap(10)
    const { caller, callee, callId } = await answeredIn(world)
    caller.phone.end()
    world.clock.leap(14_999)
    const back = Client.on(world).resume(caller)
    expect(back.heard()).toEqual(['RESUMED'])
    expect(callee.heard()).toEqual(['PEER_RECONNECTING', 'PEER_RESUMED'])
    back.say('CALL_END', { callId })
    await nothingLeft(world)
  })

  test.each([15_000, 15_030, 15_050])(
    '[DIRECT-9] [DIRECT-20] back %d ms after it was lost, it is too late, whether the alarm has rung or not',
    async (span) => {
      const world = new DirectWorld()
      world.clock.leap(10)
      const { caller, callee, callId } = await answeredIn(world)
      caller.phone.end()
      world.clock.leap(span)
      const late = Client.on(world).resume(caller)
      expect(late.heard()).toEqual(['RESUME_FAILED'])
      expect(callee.heard()).toEqual(['PEER_RECONNECTING', 'CALL_ENDED disconnect_caller'])
      expect(logOf(world, callId)).toBe('created initiated active disconnect_caller')
      await nothingLeft(world)
    },
  )

  test('[DIRECT-9] of two that resume with one token the first wins, once it has said something', async () => {
    const { world, caller, callee, callId } = await answered()
    caller.phone.end()
    const one = Client.on(world).resume(caller)
    expect(one.heard()).toEqual(['RESUMED'])
    one.say('PING')
    expect(one.heard()).toEqual(['PONG'])
    const two = Client.on(world).resume(caller)
    expect(two.heard()).toEqual(['RESUME_FAILED'])
    expect(callee.heard()).toEqual(['PEER_RECONNECTING', 'PEER_RESUMED'])
    one.say('CALL_END', { callId })
    await nothingLeft(world)
  })

  test('[DIRECT-9] an answer to RESUME that is lost costs nothing: the token is good again, as often as it takes', async () => {
    const { world, caller, callee, callId } = await answered()
    caller.phone.end()
    callee.say('ICE_CANDIDATE', { callId, candidate: 'x' })
    for (let lost = 0; lost < 3; lost++) Client.on(world).resume(caller).phone.end()
    const back = Client.on(world).resume(caller)
    expect(back.heard()).toEqual(['RESUMED', 'ICE_CANDIDATE'])
    const again = Client.on(world).resume(back)
    expect(again.heard()).toEqual(['RESUMED'])
    again.say('CALL_END', { callId })
    expect(callee.heard().at(-1)).toBe('CALL_ENDED ended')
    await nothingLeft(world)
  })

  test('[DIRECT-9] who resumes while the old connection is still open takes it over, and the peer hears nothing of it', async () => {
    const { world, caller, callee, callId } = await answered()
    const back = Client.on(world).resume(caller)
    expect(back.heard()).toEqual(['RESUMED'])
    expect(caller.phone.code).toBe(4409)
    caller.phone.end()
    expect(callee.heard()).toEqual([])
    back.say('ICE_CANDIDATE', { callId, candidate: 'x' })
    expect(callee.heard()).toEqual(['ICE_CANDIDATE'])
    back.say('CALL_END', { callId })
    await nothingLeft(world)
  })
})

describe('registering and being rung', () => {
  test('[DIRECT-1] a device is rung when it has been told that it is registered, not before', async () => {
    const world = new DirectWorld()
    const caller = await proven(world, 'alice')
    const bob = Client.on(world)
    const proof = await bob.proof('bob', 'key of bob')
    world.holdTurn()
    bob.say('REGISTER', { clientId: 'bob', ...proof })
    await settle()
    expect(caller.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'x' })).toBe('target_offline')
    await world.releaseTurn()
    expect(bob.heard()).toEqual(['REGISTERED'])
    await ring(caller, 'bob', [])
    expect(bob.heard()).toEqual(['INCOMING_CALL'])
  })

  test('[DIRECT-10] a device that registers while its client is rung rings too, with what came before', async () => {
    const { world, caller, callee, callId } = await ringing()
    caller.say('ICE_CANDIDATE', { callId, candidate: 'early' })
    const late = await proven(world, 'bob')
    expect(late.phone.got.map((text) => JSON.parse(text).type).slice(-2)).toEqual([
      'INCOMING_CALL',
      'ICE_CANDIDATE',
    ])
    expect(late.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })).toBeNull()
    expect(callee.heard()).toEqual(['ICE_CANDIDATE', 'CALL_ENDED answered_elsewhere'])
    caller.say('CALL_END', { callId })
    await nothingLeft(world)
  })

  test('[DIRECT-10] a device is rung once, though it comes while the ring is on its way', async () => {
    const world = new DirectWorld()
    const caller = await proven(world, 'alice')
    await proven(world, 'bob')
    world.holdTurn()
    caller.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'x' })
    const bob = Client.on(world)
    bob.say('REGISTER', { clientId: 'bob', ...(await bob.proof('bob', 'key of bob')) })
    await settle()
    await world.releaseTurn()
    await settle()
    expect(bob.heard()).toEqual(['REGISTERED', 'INCOMING_CALL'])
    expect(caller.heard()).toEqual(['CALL_RINGING'])
  })

  test('[DIRECT-13] a call that is cancelled before it could ring rings nobody', async () => {
    const world = new DirectWorld()
    const caller = await proven(world, 'alice')
    const callee = await proven(world, 'bob')
    world.holdTurn()
    caller.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'x' })
    caller.phone.end(true)
    await world.releaseTurn()
    expect(callee.heard()).toEqual([])
    await nothingLeft(world)
  })

  test('[DIRECT-3] of two that register an id without proof at once one gets it', async () => {
    const world = new DirectWorld()
    const rivals = [Client.on(world), Client.on(world)] as const
    for (const rival of rivals) rival.say('REGISTER', { clientId: 'alice' })
    await settle()
    expect(rivals.map((rival) => rival.heard()).sort()).toEqual([['CLIENT_ID_TAKEN'], ['REGISTERED']])
  })

  test('[DIRECT-3] who is lost while it is asked for a sign of life is not dead: it may resume its call', async () => {
    const world = new DirectWorld()
    const alice = await registered(world, 'alice')
    const bob = await registered(world, 'bob')
    const callId = await ring(alice, 'bob', [bob])
    bob.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })
    const rival = Client.on(world)
    rival.say('REGISTER', { clientId: 'alice' })
    await settle()
    alice.hear()
    alice.phone.end()
    await settle()
    const back = Client.on(world).resume(alice)
    expect(back.heard()[0]).toBe('RESUMED')
    expect(bob.heard()).toEqual(['PEER_RECONNECTING', 'PEER_RESUMED'])
  })

  test('[DIRECT-3] who is lost and back while it is asked for a sign of life is alive', async () => {
    const world = new DirectWorld()
    const alice = await registered(world, 'alice')
    const rival = Client.on(world)
    rival.say('REGISTER', { clientId: 'alice' })
    await settle()
    // Both in one turn, so that the question is answered when it is back.
    alice.phone.end()
    const back = Client.on(world).resume(alice)
    await settle()
    expect(rival.heard()).toEqual(['CLIENT_ID_TAKEN'])
    expect(back.heard()).toEqual(['RESUMED'])
    expect(back.phone.open).toBe(true)
  })
})

describe('the end and a frame', () => {
  test('[DIRECT-17] [DIRECT-19] what is said before the end arrives before it', async () => {
    const { world, caller, callee, callId } = await answered()
    expect(callee.say('CALL_NEGOTIATE', { callId, sdp: 'new' })).toBeNull()
    expect(caller.say('CALL_END', { callId })).toBeNull()
    expect(caller.heard()).toEqual(['CALL_NEGOTIATE', 'CALL_ENDED ended'])
    await nothingLeft(world)
  })

  test('[DIRECT-17] [DIRECT-19] what is said after the end reaches nobody', async () => {
    const { world, caller, callee, callId } = await answered()
    expect(caller.say('CALL_END', { callId })).toBeNull()
    for (const [type, field] of [
      ['CALL_NEGOTIATE', 'sdp'],
      ['ICE_CANDIDATE', 'candidate'],
    ] as const) {
      expect(callee.say(type, { callId, [field]: 'new' })).toBe('call_not_found')
    }
    expect(callee.say('CALL_END', { callId })).toBe('call_not_found')
    expect(caller.heard()).toEqual(['CALL_ENDED ended'])
    await nothingLeft(world)
  })

  test('[DIRECT-13] both hang up at once, and it ended once', async () => {
    const { world, caller, callee, callId } = await answered()
    expect(caller.say('CALL_END', { callId })).toBeNull()
    expect(callee.say('CALL_END', { callId })).toBe('call_not_found')
    expect(caller.heard()).toEqual(['CALL_ENDED ended'])
    expect(callee.heard()).toEqual(['CALL_ENDED ended', 'CALL_NOT_FOUND'])
    expect(logOf(world, callId)).toBe('created initiated active ended')
  })
})

async function answeredIn(world: DirectWorld) {
  const caller = await proven(world, 'alice')
  const callee = await proven(world, 'bob')
  const callId = await ring(caller, 'bob', [callee])
  callee.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })
  caller.hear()
  return { caller, callee, callId }
}
