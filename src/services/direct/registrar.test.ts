import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import {
  answered,
  Client,
  DirectWorld,
  drain,
  HOST,
  proven,
  registered,
  ring,
  ringing,
  settle,
  signed,
} from '../../../test/kit/direct-world.ts'
import { listLog } from '../../../test/kit/log.ts'
import { callId as idOf } from '../../core/ids.ts'

/** Hands an id over from one key to the next; or just proves it, when there is no next. What it was answered. */
async function rotate(
  world: DirectWorld,
  clientId: string,
  key: string,
  newKey: string | null,
): Promise<string[]> {
  const client = Client.on(world)
  const proof = await client.proof(clientId, key)
  const nonce = proof.signature.split(' ').at(-1) ?? ''
  const rotation = newKey !== null && {
    newIdentityKey: newKey,
    signature: signed.rotation(key, { clientId, newKey, nonce, host: HOST }),
  }
  client.say('REGISTER', { clientId, ...proof, ...(rotation && { rotation }) })
  await settle()
  return client.heard()
}

async function tryRegister(world: DirectWorld, payload: object): Promise<string[]> {
  const client = Client.on(world)
  client.say('REGISTER', payload)
  await settle()
  return client.heard()
}

describe('an id that is bound', () => {
  test('[T-D1] [DIRECT-5] is registered by nobody who does not prove it, in 10,000 tries', async () => {
    const world = new DirectWorld()
    await (await proven(world, 'alice')).phone.end(true)
    const mine = 'key of mallory'
    const claim = (client: Client, key: string, more: object = {}) => {
      client.say('HELLO')
      const nonce = client.hear().find(({ type }) => type === 'WELCOME')?.payload.nonce
      return { key, clientId: 'alice', nonce, host: HOST, ...more }
    }
    const sign = (by: string, of: { clientId: string; nonce: string; host: string }) =>
      signed.identity(by, of)
    let spare = ''
    const variants: ((client: Client) => object)[] = [
      () => ({}),
      () => ({ token: 'token of alice' }),
      () => ({ signature: 'x' }),
      () => ({ identityKey: 'key of alice' }),
      () => ({ identityKey: 'key of alice', signature: 'x' }),
      (client) => ({ identityKey: mine, signature: sign(mine, claim(client, mine)) }),
      (client) => ({ identityKey: 'key of alice', signature: sign(mine, claim(client, mine)) }),
      (client) => ({
        identityKey: mine,
        signature: sign(mine, claim(client, mine, { host: 'evil.example' })),
      }),
      // Her own proof, for another id, another server, an older nonce, and once more.
      (client) => {
        const signature = sign('key of alice', claim(client, mine, { clientId: 'alice2' }))
        return { identityKey: 'key of alice', signature }
      },
      (client) => {
        const signature = sign('key of alice', claim(client, mine, { host: 'evil.example' }))
        return { identityKey: 'key of alice', signature }
      },
      (client) => {
        const signature = sign('key of alice', claim(client, mine))
        client.say('HELLO')
        return { identityKey: 'key of alice', signature }
      },
      (client) => {
        spare ||= sign('key of alice', claim(Client.on(world), mine))
        client.say('HELLO')
        return { identityKey: 'key of alice', signature: spare }
      },
      (client) => {
        const of = claim(client, mine)
        const handing = { newIdentityKey: mine, signature: signed.rotation(mine, { ...of, newKey: mine }) }
        return { identityKey: mine, signature: sign(mine, of), rotation: handing }
      },
    ]
    const answers = new Set<string>()
    let client = Client.on(world)
    for (let attempt = 0; attempt < 10_000; attempt++) {
      if (!client.phone.open) client = Client.on(world)
      const variant = variants[attempt % variants.length]?.(client) ?? {}
      client.say('REGISTER', { clientId: 'alice', ...variant })
      await settle()
      for (const word of client.heard()) answers.add(word)
    }
    expect([...answers].sort()).toEqual(['IDENTITY_INVALID', 'IDENTITY_REQUIRED', 'WELCOME'])
    await proven(world, 'alice')
  }, 20_000)

  test('[DIRECT-30] [T-D5] who keeps guessing on one connection is cut off', async () => {
    const world = new DirectWorld()
    await proven(world, 'alice')
    const guesser = Client.on(world)
    for (let i = 0; i < 8; i++) {
      expect(guesser.phone.open).toBe(true)
      guesser.say('REGISTER', { clientId: 'alice' })
      await settle()
    }
    expect(guesser.heard()).toEqual(Array(8).fill('IDENTITY_REQUIRED'))
    expect(guesser.phone.code).toBe(4400)
  })

  test('[DIRECT-4] a nonce is good once, for 30 s, whatever came of it', async () => {
    const world = new DirectWorld()
    const client = Client.on(world)
    const proof = await client.proof('alice', 'key of alice')
    client.say('REGISTER', { clientId: 'alice' })
    await settle()
    expect(client.heard()).toEqual(['REGISTERED'])
    client.say('REGISTER', { clientId: 'alice', ...proof })
    await settle()
    expect(client.heard()).toEqual(['IDENTITY_INVALID'])
    const late = Client.on(world)
    const stale = await late.proof('bob', 'key of bob')
    world.clock.leap(30_001)
    late.say('REGISTER', { clientId: 'bob', ...stale })
    await settle()
    expect(late.heard()).toEqual(['IDENTITY_INVALID'])
    const inTime = await late.proof('bob', 'key of bob')
    world.clock.leap(30_000)
    late.say('REGISTER', { clientId: 'bob', ...inTime })
    await settle()
    expect(late.heard()).toEqual(['REGISTERED'])
  })
})

describe('handing an id over', () => {
  test('[DIRECT-6] the old key is nobody from then on, and whoever came in by it is out', async () => {
    const world = new DirectWorld()
    const thieves: Client[] = []
    // All the devices there may be, each of them alive.
    for (let i = 0; i < 5; i++) thieves.push(await proven(world, 'alice'))
    thieves[0]?.say('PKD_REGISTER', { clientId: 'alice', publicKey: 'hers' })
    const away = thieves[1] as Client
    away.phone.end()
    expect(await rotate(world, 'alice', 'key of alice', 'new')).toEqual(['REGISTERED'])
    for (const thief of thieves) {
      if (thief !== away) expect([thief.phone.open, thief.phone.code]).toEqual([false, 4409])
      expect(Client.on(world).resume(thief).heard()).toEqual(['RESUME_FAILED'])
      expect(thief.say('PKD_REGISTER', { clientId: 'alice', publicKey: 'swapped' })).toBeNull()
    }
    await expect(proven(world, 'alice')).rejects.toThrow('IDENTITY_INVALID')
    expect((await world.directory.find('alice')).key?.publicKey).toBe('hers')
    const owner = await registered(world, 'alice', 'new')
    owner.say('PKD_REGISTER', { clientId: 'alice', publicKey: 'next' })
    await settle()
    expect(owner.heard()).toEqual(['PKD_RESULT'])
  })

  test('[DIRECT-6] it needs the signature of the old key over the new one', async () => {
    const world = new DirectWorld()
    await (await proven(world, 'alice')).phone.end(true)
    const attempt = async (signatureOf: (nonce: string) => string) => {
      const client = Client.on(world)
      const proof = await client.proof('alice', 'key of alice')
      const nonce = proof.signature.split(' ').at(-1) ?? ''
      const rotation = { newIdentityKey: 'new', signature: signatureOf(nonce) }
      client.say('REGISTER', { clientId: 'alice', ...proof, rotation })
      await settle()
      return client.heard()
    }
    const claim = (nonce: string) => ({ clientId: 'alice', newKey: 'new', nonce, host: HOST })
    for (const wrong of [
      (nonce: string) => signed.rotation('new', claim(nonce)),
      (nonce: string) => signed.rotation('key of alice', { ...claim(nonce), newKey: 'other' }),
      (nonce: string) => signed.rotation('key of alice', { ...claim(nonce), clientId: 'bob' }),
      () => signed.rotation('key of alice', claim('nonce-0')),
      (nonce: string) => signed.identity('key of alice', claim(nonce)),
    ]) {
      expect(await attempt(wrong)).toEqual(['IDENTITY_INVALID'])
    }
    expect((await world.directory.find('alice')).identity?.publicKey).toBe('key of alice')
  })

  test('[DIRECT-6] of two who hand it over at once one does, and the other is not registered', async () => {
    const rounds = fc.asyncProperty(fc.scheduler(), async (scheduler) => {
      const world = new DirectWorld()
      await (await proven(world, 'alice')).phone.end(true)
      world.directory.gate = () => scheduler.schedule(Promise.resolve())
      const rivals = ['one', 'two', null].map((newKey) => rotate(world, 'alice', 'key of alice', newKey))
      await drain(scheduler)
      await Promise.all(rivals)
      world.directory.gate = async () => {}
      const owner = (await world.directory.find('alice')).identity?.publicKey as string
      expect(['one', 'two']).toContain(owner)
      await rotate(world, 'alice', owner, 'last')
      expect((await world.directory.find('alice')).identity?.publicKey).toBe('last')
    })
    await fc.assert(rounds, { numRuns: 200 })
  })
})

test('[T-D1] whatever the order in which the directory answers, an id that is bound is registered with proof only', async () => {
  const rounds = fc.asyncProperty(fc.scheduler(), fc.nat(3), async (scheduler, dead) => {
    const world = new DirectWorld()
    // Somebody was there before, and is gone, or away, or dead.
    if (dead > 0) {
      const before = Client.on(world, dead !== 2)
      await before.register('alice')
      if (dead === 1) before.phone.end()
      if (dead === 3) before.phone.end(true)
    }
    const impostors = [Client.on(world), Client.on(world)]
    const owner = Client.on(world)
    const proof = await owner.proof('alice', 'key of alice')
    world.directory.gate = () => scheduler.schedule(Promise.resolve())
    owner.say('REGISTER', { clientId: 'alice', ...proof })
    for (const impostor of impostors) impostor.say('REGISTER', { clientId: 'alice' })
    const heard = new Map<Client, string[]>()
    const read = () => {
      for (const each of [owner, ...impostors]) heard.set(each, [...(heard.get(each) ?? []), ...each.heard()])
    }
    await drain(scheduler, read)
    // Who was there before and does not answer.
    world.clock.leap(2_000)
    await drain(scheduler, read)
    read()
    const isIn = (client: Client) => heard.get(client)?.includes('REGISTERED') === true
    const admitted = impostors.filter(isIn)
    expect(admitted.length + (isIn(owner) ? 1 : 0)).toBe(1)
    // One who was first, before the id was bound, stays; but the key is not its to set.
    world.directory.gate = async () => {}
    const { identity } = await world.directory.find('alice')
    for (const impostor of admitted) {
      impostor.say('PKD_REGISTER', { clientId: 'alice', publicKey: 'swapped' })
      await settle()
      expect(impostor.heard()).toEqual([identity === null ? 'PKD_RESULT' : 'KEY_REFUSED'])
    }
  })
  await fc.assert(rounds, { numRuns: 300 })
})

test.each([undefined, 'key of alice'])(
  '[T-D1] an id that is bound, or handed over, while somebody registers it is not registered: proof %s',
  async (key) => {
    const world = new DirectWorld()
    if (key !== undefined) await (await registered(world, 'alice', key)).phone.end(true)
    const client = Client.on(world)
    const proof = key === undefined ? {} : await client.proof('alice', key)
    world.holdTurn()
    client.say('REGISTER', { clientId: 'alice', ...proof })
    await settle()
    // By another server on the same database.
    await world.directory.bind('alice', key ?? null, { publicKey: 'new', boundAt: 1 })
    await world.releaseTurn()
    expect(client.heard()).toEqual([key === undefined ? 'IDENTITY_REQUIRED' : 'IDENTITY_INVALID'])
  },
)

test('[T-D1] [DIRECT-5] who is there without proof, when an id becomes bound, makes room for its owner', async () => {
  const world = new DirectWorld()
  const impostor = await registered(world, 'alice')
  await expect(registered(world, 'alice', 'key of alice')).rejects.toThrow()
  impostor.hear()
  // By another server on the same database.
  await world.directory.bind('alice', null, { publicKey: 'key of alice', boundAt: 1 })
  await proven(world, 'alice')
  expect([impostor.phone.open, impostor.phone.code]).toEqual([false, 4409])
  expect(Client.on(world).resume(impostor).heard()).toEqual(['RESUME_FAILED'])
})

describe('binding an id', () => {
  test('[DIRECT-5] on the connection that set its key, which is the identity’s from then on', async () => {
    const world = new DirectWorld()
    const alice = await registered(world, 'alice')
    alice.say('PKD_REGISTER', { clientId: 'alice', publicKey: 'hers' })
    await settle()
    alice.hear()
    const stranger = Client.on(world)
    alice.phone.end()
    stranger.say('REGISTER', { clientId: 'alice', ...(await stranger.proof('alice', 'mine')) })
    await settle()
    expect(stranger.heard()).toEqual(['KEY_REFUSED'])
    const back = Client.on(world).resume(alice)
    back.hear()
    back.say('REGISTER', { clientId: 'alice', ...(await back.proof('alice', 'key of alice')) })
    await settle()
    expect(back.heard()).toEqual(['REGISTERED'])
    back.phone.end(true)
    const later = await proven(world, 'alice')
    later.say('PKD_REGISTER', { clientId: 'alice', publicKey: 'next' })
    await settle()
    expect(later.heard()).toEqual(['PKD_RESULT'])
  })

  test('[DIRECT-7] needs a token in jwt mode and nothing in open mode, where nothing is bound', async () => {
    const jwt = new DirectWorld({ identity: 'jwt' })
    expect(await tryRegister(jwt, { clientId: 'alice' })).toEqual(['IDENTITY_REQUIRED'])
    expect(await tryRegister(jwt, { clientId: 'alice', identityKey: 'k', signature: 's' })).toEqual([
      'IDENTITY_REQUIRED',
    ])
    expect(await tryRegister(jwt, { clientId: 'alice', token: 'token of bob' })).toEqual(['IDENTITY_INVALID'])
    expect(await tryRegister(jwt, { clientId: 'alice', token: 'token of alice' })).toEqual(['REGISTERED'])
    const open = new DirectWorld({ identity: 'open' })
    expect(await tryRegister(open, { clientId: 'alice', identityKey: 'k', signature: 's' })).toEqual([
      'REGISTERED',
    ])
    expect((await open.directory.find('alice')).identity).toBeNull()
  })

  test('[DIRECT-6] an operator takes it away, and whoever is there, away or kept aside is out', async () => {
    const world = new DirectWorld()
    const away = await proven(world, 'alice')
    away.say('PKD_REGISTER', { clientId: 'alice', publicKey: 'hers' })
    await settle()
    away.hear()
    away.phone.end()
    const thieves: Client[] = []
    for (let i = 0; i < 5; i++) thieves.push(await proven(world, 'alice'))
    expect(await world.directs.reset('nobody')).toBe(false)
    expect(await world.directs.reset('alice')).toBe(true)
    for (const thief of thieves) expect([thief.phone.open, thief.phone.code]).toEqual([false, 4409])
    for (const thief of [away, ...thieves]) {
      expect(Client.on(world).resume(thief).heard()).toEqual(['RESUME_FAILED'])
    }
    const owner = await registered(world, 'alice', 'another key')
    owner.say('PKD_REGISTER', { clientId: 'alice', publicKey: 'next' })
    await settle()
    expect(owner.heard()).toEqual(['PKD_RESULT'])
    await expect(proven(world, 'alice')).rejects.toThrow('IDENTITY_INVALID')
  })
})

describe('devices', () => {
  test('[DIRECT-8] five of one identity ring; a sixth is refused while they live, and takes the place of a dead one', async () => {
    const world = new DirectWorld()
    const caller = await proven(world, 'bob')
    const devices: Client[] = []
    for (let i = 0; i < 4; i++) devices.push(await proven(world, 'alice'))
    const dead = await registered(world, 'alice', 'key of alice')
    const living = () => devices.forEach((device) => void device.hear())
    const sixth = Client.on(world)
    sixth.say('REGISTER', { clientId: 'alice', ...(await sixth.proof('alice', 'key of alice')) })
    for (let i = 0; i < 8; i++) {
      await settle()
      living()
      dead.hear()
    }
    expect(sixth.heard()).toEqual(['CLIENT_ID_TAKEN'])
    sixth.say('REGISTER', { clientId: 'alice', ...(await sixth.proof('alice', 'key of alice')) })
    for (let i = 0; i < 8; i++) {
      await settle()
      living()
    }
    world.clock.leap(2_000)
    await settle()
    expect(sixth.heard()).toEqual(['REGISTERED'])
    expect(dead.phone.code).toBe(4102)
    await ring(caller, 'alice', [])
    for (const device of [...devices, sixth]) expect(device.heard()).toEqual(['INCOMING_CALL'])
  })

  test('[DIRECT-3] a dead one makes room, and its call can still be taken up', async () => {
    const world = new DirectWorld()
    const alice = await Client.on(world, false).register('alice')
    const bob = await registered(world, 'bob')
    const callId = await ring(alice, 'bob', [bob])
    bob.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })
    alice.hear()
    const second = Client.on(world)
    second.say('REGISTER', { clientId: 'alice' })
    await settle()
    world.clock.leap(2_000)
    await settle()
    expect(second.heard()).toEqual(['REGISTERED'])
    expect(alice.phone.code).toBe(4102)
    const back = Client.on(world).resume(alice)
    expect(back.heard()).toEqual(['RESUMED'])
    expect(bob.heard()).toEqual(['PEER_RECONNECTING', 'PEER_RESUMED'])
    // The id is the second one's now; when that leaves, the first has it again.
    const carol = await registered(world, 'carol')
    back.say('CALL_END', { callId })
    back.hear()
    await ring(carol, 'alice', [])
    expect([second.heard(), back.heard()]).toEqual([['INCOMING_CALL'], []])
    second.phone.end(true)
    await settle()
    expect(back.heard()).toEqual(['INCOMING_CALL'])
  })

  test('[DIRECT-9] one that is gone for good leaves nothing behind', async () => {
    const world = new DirectWorld()
    for (const how of [true, false]) {
      const alice = await proven(world, 'alice')
      alice.say('PKD_LOOKUP', { clientId: 'bob' })
      await settle()
      alice.phone.end(how)
      world.clock.leap(15_000)
      const bob = await proven(world, 'bob')
      expect(bob.say('CALL_INITIATE', { targetId: 'alice', sdpOffer: 'x' })).toBe('target_offline')
      bob.phone.end(true)
    }
    expect(world.clock.alarms).toBe(0)
  })
})

describe('a restart', () => {
  test('[DIRECT-21] who took its call up again is registered as before: it is rung, and its key is known', async () => {
    const { world, caller, callee, callId } = await answered()
    caller.say('PKD_REGISTER', { clientId: 'alice', publicKey: 'hers' })
    await settle()
    caller.hear()
    await world.restart('killed')
    const alice = Client.on(world).resume(caller)
    const bob = Client.on(world).resume(callee)
    expect(bob.heard()).toEqual(['RESUMED', 'PEER_RECONNECTING', 'PEER_RESUMED'])
    alice.say('CALL_END', { callId })
    expect(bob.heard()).toEqual(['CALL_ENDED ended'])
    alice.hear()
    const carol = await proven(world, 'carol')
    await ring(carol, 'alice', [])
    expect(alice.heard()).toEqual(['INCOMING_CALL'])
    alice.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'x' })
    await settle()
    expect(bob.hear().at(-1).payload.callerKey).toMatchObject({ version: 1, proven: true })
  })

  test('[DIRECT-6] [DIRECT-21] brings back no proof that an operator has taken away', async () => {
    const { world, caller } = await answered()
    // While the server is down.
    await world.directory.reset('alice')
    await world.restart('killed')
    const alice = Client.on(world).resume(caller)
    alice.hear()
    await world.directory.bind('alice', null, { publicKey: 'another', boundAt: 1 })
    alice.say('PKD_REGISTER', { clientId: 'alice', publicKey: 'swapped' })
    await settle()
    expect(alice.heard()).toEqual(['KEY_REFUSED'])
  })

  test('[LOG-3] a snapshot that makes no sense is left out, and the others are taken up', async () => {
    const { world, caller } = await answered()
    const lines = listLog()
    const [[id, text]] = [...world.snapshots] as [[ReturnType<typeof idOf>, string]]
    const { call, detail } = JSON.parse(text)
    const broken = [null, {}, { devices: [] }, { ...detail, devices: [detail.devices[0], { id: 7 }] }]
    broken.forEach((each, i) => {
      const other = idOf(`broken-${i}`)
      world.snapshots.set(other, JSON.stringify({ call: { ...call, id: other }, detail: each }))
    })
    await world.restart('killed', { log: lines })
    expect(world.directs.liveIds()).toEqual([id])
    expect(lines.lines.filter(({ level }) => level === 'error').length).toBe(broken.length)
    expect(Client.on(world).resume(caller).heard()[0]).toBe('RESUMED')
  })

  test('[WS-14] a server that goes down lets nobody in, and lets go of every alarm', async () => {
    const { world, caller } = await answered()
    const { caller: ringer } = await ringing()
    ringer.world.directs.close()
    expect(ringer.world.clock.alarms).toBe(0)
    world.directs.drain()
    expect(await tryRegister(world, { clientId: 'carol' })).toEqual(['DRAINING'])
    expect(caller.say('CALL_INITIATE', { targetId: 'carol', sdpOffer: 'x' })).toBe('draining')
    world.directs.close()
    world.directs.close()
    expect(caller.phone.code).toBe(4103)
    expect(Client.on(world).resume(caller).heard()).toEqual(['DRAINING'])
    expect([world.clock.alarms, world.snapshots.size]).toEqual([0, 1])
  })
})

test('[DIRECT-30] [T-D8] one client gets TURN credentials twelve times a minute, on however many connections', async () => {
  const world = new DirectWorld()
  const devices = [await proven(world, 'alice'), await proven(world, 'alice')]
  const answers: string[] = []
  for (let i = 0; i < 20; i++) {
    const device = devices[i % 2] as Client
    device.say('TURN_REFRESH')
    await settle()
    answers.push(...device.heard())
  }
  expect(answers.filter((answer) => answer === 'ICE_SERVERS').length).toBe(12)
  expect(answers.filter((answer) => answer === 'RATE_LIMITED').length).toBe(8)
  world.clock.leap(5_000)
  devices[0]?.say('TURN_REFRESH')
  await settle()
  expect(devices[0]?.heard()).toEqual(['ICE_SERVERS'])
})

describe('a directory that does not answer', () => {
  test('holds up no more than sixteen questions of one connection, and none of others', async () => {
    const world = new DirectWorld()
    const alice = await registered(world, 'alice')
    const bob = await registered(world, 'bob')
    let release = () => {}
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    world.directory.gate = () => gate
    const said = Array.from({ length: 40 }, (_, i) => {
      if (i % 2 === 0) return alice.say('PKD_LOOKUP', { clientId: 'bob' })
      return alice.say('REGISTER', { clientId: 'alice', identityKey: 'k', signature: 's' })
    })
    expect(said.filter((code) => code === null).length).toBe(16)
    expect(new Set(said)).toEqual(new Set([null, 'rate_limited']))
    await ring(bob, 'alice', [])
    expect(alice.heard()).toContain('INCOMING_CALL')
    release()
    await settle()
    expect(alice.heard().filter((word) => word === 'KEY_NOT_FOUND').length).toBe(8)
  })

  test('is our mistake: the answer says no more, and the log has it', async () => {
    const lines = listLog()
    const world = new DirectWorld({ log: lines })
    const alice = await registered(world, 'alice')
    world.directory.gate = () => Promise.reject(new Error('the disk is on fire'))
    alice.say('PKD_LOOKUP', { clientId: 'bob' })
    await settle()
    const [error] = alice.hear()
    expect(error.payload.code).toBe('INTERNAL_ERROR')
    expect(JSON.stringify(error)).not.toContain('fire')
    expect(
      lines.lines.some(({ level, context }) => level === 'error' && JSON.stringify(context).includes('fire')),
    ).toBe(true)
  })
})
