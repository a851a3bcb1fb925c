// One person with several devices, over real sockets.
import { afterEach, describe, expect, test } from 'bun:test'
import { asking, proven, TestIdentity } from '../kit/identity.ts'
import { closeServers, startServer, type TestServer } from '../kit/server.ts'
import { registered, SignalPeer } from '../kit/signal.ts'

afterEach(closeServers)

async function devicesOf(server: TestServer, count: number, name = 'bob') {
  const identity = await TestIdentity.make()
  const devices: SignalPeer[] = []
  for (let i = 0; i < count; i++) devices.push(await proven(server, name, identity))
  return { identity, devices }
}

/** Every device of `bob`, or of somebody else, is rung. */
async function ringingAll(server: TestServer, count: number, name = 'bob') {
  const { identity, devices } = await devicesOf(server, count, name)
  const caller = await registered(server, `rings-${name}`)
  caller.say('CALL_INITIATE', { targetId: name, sdpOffer: 'offer' })
  const { callId } = await caller.hear('CALL_RINGING')
  for (const device of devices) {
    expect(await device.next()).toMatchObject({
      type: 'INCOMING_CALL',
      payload: { callId, sdpOffer: 'offer' },
    })
  }
  return { caller, identity, devices, callId }
}

describe('up to five devices', () => {
  test('[DIRECT-8] [DIRECT-11] ring, the first to accept is in the call, and the others are told', async () => {
    const server = await startServer()
    for (let winner = 0; winner < 5; winner++) {
      const { caller, devices, callId } = await ringingAll(server, 5, `bob-${winner}`)
      const early = `{"type":"ICE_CANDIDATE","payload":{"callId":"${callId}","candidate":"early"}}`
      caller.raw.send(early)
      for (const device of devices) expect(await device.raw.nextText()).toBe(early)
      devices[winner]?.say('CALL_ACCEPT', { callId, sdpAnswer: `by ${winner}` })
      expect(await caller.next()).toEqual({
        type: 'CALL_ACCEPTED',
        payload: { callId, sdpAnswer: `by ${winner}` },
      })
      for (const [i, device] of devices.entries()) {
        if (i === winner) continue
        expect(await device.next()).toEqual({
          type: 'CALL_ENDED',
          payload: { callId, reason: 'answered_elsewhere' },
        })
        for (const [type, more] of [
          ['CALL_ACCEPT', { sdpAnswer: 'late' }],
          ['CALL_REJECT', {}],
        ] as const) {
          device.say(type, { callId, ...more })
          expect(await device.error()).toBe('CALL_NOT_RINGING')
        }
        device.say('ICE_CANDIDATE', { callId, candidate: 'mine' })
        expect(await device.error()).toBe('CALL_NOT_FOUND')
      }
      caller.say('ICE_CANDIDATE', { callId, candidate: 'x' })
      expect(await devices[winner]?.next()).toMatchObject({ type: 'ICE_CANDIDATE' })
      caller.say('CALL_END', { callId })
      expect(await devices[winner]?.next()).toMatchObject({ payload: { reason: 'ended' } })
      expect(await caller.next()).toMatchObject({ payload: { reason: 'ended' } })
      for (const peer of [caller, ...devices]) {
        expect(await peer.raw.settle()).toEqual([])
      }
    }
  })

  test('[DIRECT-11] of all that accept at once exactly one is in the call', async () => {
    const server = await startServer()
    for (let round = 0; round < 10; round++) {
      const { caller, devices, callId } = await ringingAll(server, 5, `bob-${round}`)
      for (const [i, device] of devices.entries()) device.say('CALL_ACCEPT', { callId, sdpAnswer: `by ${i}` })
      const { sdpAnswer } = await caller.hear('CALL_ACCEPTED')
      let winners = 0
      for (const [i, device] of devices.entries()) {
        const told = (await device.raw.settle()).map((text) => JSON.parse(text).payload)
        if (told.length === 0) {
          winners++
          expect(sdpAnswer).toBe(`by ${i}`)
        } else
          expect(told.map(({ reason, code }) => reason ?? code)).toEqual([
            'answered_elsewhere',
            'CALL_NOT_RINGING',
          ])
      }
      expect(winners).toBe(1)
    }
  })

  test('[DIRECT-12] one rejects, and all stop ringing', async () => {
    const server = await startServer()
    const { caller, devices, callId } = await ringingAll(server, 3)
    devices[1]?.say('CALL_REJECT', { callId })
    expect(await caller.next()).toEqual({ type: 'CALL_REJECTED', payload: { callId, reason: 'rejected' } })
    for (const device of devices) {
      expect(await device.next()).toEqual({ type: 'CALL_ENDED', payload: { callId, reason: 'rejected' } })
    }
  })

  test('[DIRECT-10] one that comes while it rings, rings; one that goes is not missed', async () => {
    const server = await startServer()
    const { caller, identity, devices, callId } = await ringingAll(server, 2)
    const late = await proven(server, 'bob', identity)
    expect(await late.next()).toMatchObject({ type: 'INCOMING_CALL', payload: { callId } })
    devices[0]?.raw.close(1000)
    devices[1]?.raw.drop()
    await devices[1]?.raw.ended()
    late.say('CALL_ACCEPT', { callId, sdpAnswer: 'late' })
    expect(await caller.hear('CALL_ACCEPTED')).toMatchObject({ sdpAnswer: 'late' })
  })

  test('[DIRECT-15] while one of them is in a call all of them are busy', async () => {
    const server = await startServer()
    const { caller, devices, callId } = await ringingAll(server, 2)
    devices[0]?.say('CALL_ACCEPT', { callId, sdpAnswer: 'x' })
    await caller.hear('CALL_ACCEPTED')
    const carol = await registered(server, 'carol')
    carol.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'x' })
    expect(await carol.hear('CALL_REJECTED')).toMatchObject({ reason: 'busy' })
  })

  test('[DIRECT-9] each has a resume of its own', async () => {
    const server = await startServer()
    const { devices, callId } = await ringingAll(server, 2)
    for (const device of devices) device.raw.drop()
    for (const device of devices) {
      const back = await SignalPeer.open(server)
      back.say('RESUME', { resumeToken: device.resumeToken, received: 1 })
      expect(await back.next()).toMatchObject({ type: 'RESUMED', payload: { replayed: 1 } })
      expect(await back.next()).toMatchObject({ type: 'INCOMING_CALL', payload: { callId } })
    }
  })
})

describe('a sixth device', () => {
  test('[DIRECT-8] is refused while the five are alive', async () => {
    const server = await startServer()
    const { identity, devices } = await devicesOf(server, 5)
    const sixth = await asking(server, 'bob', identity)
    expect(await sixth.error()).toBe('CLIENT_ID_TAKEN')
    devices[3]?.raw.close(1000)
    await devices[3]?.raw.ended()
    await proven(server, 'bob', identity)
  })

  test('[DIRECT-8] takes the place of one that is away at once, and of a dead one when it does not answer', async () => {
    const server = await startServer()
    const { identity, devices } = await devicesOf(server, 4)
    const dead = await proven(server, 'bob', identity, { pong: false })
    devices[1]?.raw.drop()
    await devices[1]?.raw.ended()
    await server.clock.wind(50)
    await proven(server, 'bob', identity)
    const seventh = await asking(server, 'bob', identity)
    for (let i = 0; i < 3; i++) {
      for (const device of devices) if (!device.raw.isClosed) await device.raw.settle()
      await server.clock.wind(1_000)
    }
    await seventh.hear('REGISTERED')
    expect((await dead.raw.closed()).code).toBe(4102)
  })

  test('[DIRECT-3] a second one is refused to who proves nothing, and to who proves it when the first does not', async () => {
    const server = await startServer()
    await registered(server, 'bob')
    const second = await SignalPeer.open(server)
    second.say('REGISTER', { clientId: 'bob' })
    expect(await second.error()).toBe('CLIENT_ID_TAKEN')
    const identity = await TestIdentity.make()
    expect(await (await asking(server, 'bob', identity)).error()).toBe('CLIENT_ID_TAKEN')
    // And then it is not bound either.
    expect(await server.ask('DELETE', '/identities/bob')).toMatchObject({ status: 404 })
  })
})
