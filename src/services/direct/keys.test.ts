import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import {
  Client,
  DirectWorld,
  drain,
  HOST,
  proven,
  registered,
  ring,
  settle,
  signed,
} from '../../../test/kit/direct-world.ts'
import { chained, type Link } from '../../protocol/directory.ts'

const MINUTE = 60_000

function digest(text: string): string {
  return new Bun.CryptoHasher('sha256').update(text).digest('base64url')
}

/** Asks, and takes the answer: what a PKD_ message says, or the code of an ERROR. */
async function ask(client: Client, type: string, payload: object) {
  client.say(type, payload)
  await settle()
  const answer = client.hear().at(-1)
  return answer?.type === 'ERROR' ? (answer.payload.code as string) : answer?.payload
}

const set = (client: Client, clientId: string, publicKey: string) =>
  ask(client, 'PKD_REGISTER', { clientId, publicKey })

const SWAPPED = 'key of the one in the middle'

describe('whose key it is', () => {
  test('[DIRECT-23] the owner sets it, everybody finds it, versions grow, and the same key again changes nothing', async () => {
    const world = new DirectWorld()
    const alice = await proven(world, 'alice')
    const bob = await registered(world, 'bob')
    const first = await set(alice, 'alice', 'one')
    expect(first).toMatchObject({
      clientId: 'alice',
      publicKey: 'one',
      version: 1,
      fingerprint: digest('one'),
    })
    world.clock.leap(1_000)
    expect(await set(alice, 'alice', 'one')).toEqual(first)
    const second = await set(alice, 'alice', 'two')
    expect(second).toMatchObject({ version: 2, changedAt: world.clock.now() })
    expect(await ask(bob, 'PKD_LOOKUP', { clientId: 'alice' })).toEqual(second)
    expect(await ask(alice, 'PKD_LOOKUP', { clientId: 'alice' })).toEqual(second)
  })

  test('[DIRECT-24] [T-D2] none of 1,000 attempts of others changes it', async () => {
    const world = new DirectWorld()
    const owner = await proven(world, 'bound')
    await set(owner, 'bound', 'its')
    owner.phone.end(true)
    const pinned = await registered(world, 'pinned')
    await set(pinned, 'pinned', 'its')
    pinned.phone.end(true)
    const tries: ((id: string) => Promise<Client>)[] = [
      // As somebody else.
      (id) => registered(world, `not-${id}`),
      (id) => proven(world, `${id}-`),
      // As itself, without the proof, or on another line of connections.
      (id) => registered(world, id),
      // By another identity.
      (id) => registered(world, id, 'key of mallory'),
      // As the one that was there, by a guess at its token.
      async (id) => {
        const client = Client.on(world)
        client.say('RESUME', { resumeToken: `resume/id-${id.length}/1`, received: 1 })
        if (!client.phone.open) throw new Error('not let in')
        return client
      },
    ]
    const mallory = await proven(world, 'mallory')
    for (const id of ['nobody', 'bound', 'pinned'])
      expect(await set(mallory, id, SWAPPED)).toBe('KEY_REFUSED')
    expect((await world.directory.find('nobody')).key).toBeNull()
    let asked = 0
    for (let attempt = 0; asked < 1_000; attempt++) {
      const id = attempt % 2 === 0 ? 'bound' : 'pinned'
      const client = await tries[attempt % tries.length]?.(id).catch(() => null)
      asked++
      if (client == null) continue
      expect(['KEY_REFUSED', 'NOT_REGISTERED']).toContain(await set(client, id, SWAPPED))
      client.phone.end(true)
    }
    for (const id of ['bound', 'pinned']) {
      const { key } = await world.directory.find(id)
      expect([key?.publicKey, key?.version]).toEqual(['its', 1])
    }
  })

  test('[DIRECT-24] [T-D2] pinned, it is changed by the line of connections that set it, and by no other', async () => {
    const world = new DirectWorld()
    const alice = await registered(world, 'alice')
    await set(alice, 'alice', 'one')
    alice.phone.end()
    const back = Client.on(world).resume(alice)
    expect(await set(back, 'alice', 'two')).toMatchObject({ version: 2 })
    back.phone.end(true)
    const anew = await registered(world, 'alice')
    expect(await set(anew, 'alice', 'three')).toBe('KEY_REFUSED')
    // As a client that says its key whenever it comes in: it is the one that is there.
    expect(await set(anew, 'alice', 'two')).toMatchObject({ version: 2, publicKey: 'two' })
    await world.restart('killed')
    expect(await set(await registered(world, 'alice'), 'alice', SWAPPED)).toBe('KEY_REFUSED')
  })

  test('[DIRECT-24] [T-D2] after an operator’s reset it is whose who sets it first, the same key too', async () => {
    const world = new DirectWorld()
    const alice = await registered(world, 'alice')
    await set(alice, 'alice', 'one')
    await world.directs.reset('alice')
    const again = await registered(world, 'alice')
    expect(await set(again, 'alice', 'one')).toMatchObject({ version: 2, publicKey: 'one' })
    again.phone.end(true)
    expect(await set(await registered(world, 'alice'), 'alice', SWAPPED)).toBe('KEY_REFUSED')
  })

  test('[T-D2] in the race of a rotation with swaps, in whatever order the directory answers, it stays its owner’s', async () => {
    const rounds = fc.asyncProperty(fc.scheduler(), fc.boolean(), async (scheduler, away) => {
      const world = new DirectWorld()
      const thief = await proven(world, 'alice')
      await set(thief, 'alice', 'its')
      if (away) thief.phone.end()
      const owner = Client.on(world)
      const proof = await owner.proof('alice', 'key of alice')
      const nonce = proof.signature.split(' ').at(-1) ?? ''
      const claim = { clientId: 'alice', newKey: 'new', nonce, host: HOST }
      const rotation = { newIdentityKey: 'new', signature: signed.rotation('key of alice', claim) }
      const again = Client.on(world)
      const old = await again.proof('alice', 'key of alice')
      const stranger = await registered(world, 'mallory')
      world.directory.gate = () => scheduler.schedule(Promise.resolve())
      owner.say('REGISTER', { clientId: 'alice', ...proof, rotation })
      again.say('REGISTER', { clientId: 'alice', ...old })
      stranger.say('PKD_REGISTER', { clientId: 'alice', publicKey: SWAPPED })
      Client.on(world).say('REGISTER', { clientId: 'alice' })
      await drain(scheduler)
      world.directory.gate = async () => {}
      expect(owner.heard()).toContain('REGISTERED')
      const back = away ? Client.on(world).resume(thief) : thief
      for (const client of [back, again, stranger]) {
        client.say('PKD_REGISTER', { clientId: 'alice', publicKey: SWAPPED })
      }
      await settle()
      expect((await world.directory.find('alice')).key?.publicKey).toBe('its')
    })
    await fc.assert(rounds, { numRuns: 300 })
  })
})

describe('the history', () => {
  test('[DIRECT-25] [T-D3] is a chain from the first change to the one that is shown', async () => {
    const world = new DirectWorld()
    const alice = await proven(world, 'alice')
    const bob = await registered(world, 'bob')
    let head = ''
    for (let i = 1; i <= 45; i++) {
      if (i % 20 === 0) world.clock.leap(15 * MINUTE)
      head = (await set(alice, 'alice', `key ${i}`)).hash
    }
    const changes: (Link & { hash: string })[] = []
    for (let more = true; more; ) {
      const after = changes.length
      const page = await ask(bob, 'PKD_HISTORY', { clientId: 'alice', ...(after === 0 ? {} : { after }) })
      changes.push(...page.changes)
      more = page.more
    }
    expect(changes.map(({ version }) => version)).toEqual(Array.from({ length: 45 }, (_, i) => i + 1))
    let previous = ''
    for (const change of changes) {
      expect(change.previous).toBe(previous)
      expect(change.hash).toBe(digest(chained('alice', change)))
      expect(Object.keys(change).sort()).toEqual(['changedAt', 'hash', 'previous', 'publicKey', 'version'])
      previous = change.hash
    }
    expect(previous).toBe(head)
    // One letter of the past makes another head.
    const forged = { ...(changes[0] as Link), publicKey: 'key l' }
    expect(digest(chained('alice', forged))).not.toBe(changes[1]?.previous)
    expect(await ask(bob, 'PKD_HISTORY', { clientId: 'nobody' })).toBe('KEY_NOT_FOUND')
    expect(await ask(bob, 'PKD_HISTORY', { clientId: 'alice', after: 45 })).toMatchObject({ changes: [] })
  })

  test('[DIRECT-25] of two devices that change it at once both are in it, one after the other', async () => {
    const rounds = fc.asyncProperty(fc.scheduler(), async (scheduler) => {
      const world = new DirectWorld()
      const devices = [await proven(world, 'alice'), await proven(world, 'alice')]
      const watcher = await registered(world, 'bob')
      await ask(watcher, 'PKD_LOOKUP', { clientId: 'alice' })
      world.directory.gate = () => scheduler.schedule(Promise.resolve())
      devices.forEach((device, i) => {
        device.say('PKD_REGISTER', { clientId: 'alice', publicKey: `of device ${i}` })
      })
      await drain(scheduler)
      world.directory.gate = async () => {}
      const [one, two] = await world.directory.history('alice', 0, 9)
      expect([one?.version, two?.version, two?.previous]).toEqual([1, 2, one?.hash])
      // What is told last is what is there.
      expect(watcher.hear().at(-1)?.payload).toMatchObject({ version: 2, publicKey: two?.publicKey })
      const callee = await registered(world, 'carol')
      await ring(devices[0] as Client, 'carol', [])
      expect(callee.hear()[0].payload.callerKey).toMatchObject({ version: 2 })
    })
    await fc.assert(rounds, { numRuns: 200 })
  })
})

describe('who is told', () => {
  test('[DIRECT-26] of a change: those who looked it up, once, also one that is away; and nobody else', async () => {
    const world = new DirectWorld()
    const alice = await proven(world, 'alice')
    const other = await proven(world, 'alice')
    const [bob, away, gone, carol] = (await Promise.all(
      ['bob', 'away', 'gone', 'carol'].map((id) => registered(world, id)),
    )) as [Client, Client, Client, Client]
    for (const client of [bob, bob, away, gone, other, alice])
      await ask(client, 'PKD_LOOKUP', { clientId: 'alice' })
    await ask(carol, 'PKD_LOOKUP', { clientId: 'bob' })
    away.phone.end()
    gone.phone.end(true)
    const result = await set(alice, 'alice', 'one')
    expect(bob.hear()).toEqual([{ type: 'PKD_CHANGED', payload: result }])
    expect(other.heard()).toEqual(['PKD_CHANGED'])
    expect([alice.heard(), carol.heard()]).toEqual([[], []])
    expect(Client.on(world).resume(away).heard()).toEqual(['RESUMED', 'PKD_CHANGED'])
  })

  test('[DIRECT-26] one that looks up more than 256 ids is told of the last 256', async () => {
    const world = new DirectWorld()
    const watcher = await registered(world, 'watcher')
    const ids = Array.from({ length: 257 }, (_, i) => `id-${i}`)
    for (const id of ids) {
      world.clock.leap(15_000)
      await ask(watcher, 'PKD_LOOKUP', { clientId: id })
    }
    for (const id of [ids[0], ids[1], ids[256]] as string[]) await set(await registered(world, id), id, 'k')
    expect(watcher.hear().map(({ payload }) => payload.clientId)).toEqual(['id-1', 'id-256'])
  })

  test('[DIRECT-10] [T-D2] at the ring: the fingerprint, its age, and whether the caller proved to own it', async () => {
    const world = new DirectWorld()
    const bob = await registered(world, 'bob')
    const keyOf = async (caller: Client, callee = bob) => {
      await ring(caller, 'bob', [])
      const { callId, callerKey } = callee.hear()[0].payload
      caller.say('CALL_END', { callId })
      for (const each of [caller, callee]) each.hear()
      return callerKey
    }
    const pinned = await registered(world, 'pinned')
    expect(await keyOf(pinned)).toBeUndefined()
    const { changedAt } = await set(pinned, 'pinned', 'its')
    expect(await keyOf(pinned)).toEqual({ fingerprint: digest('its'), version: 1, changedAt, proven: false })
    // Whoever is registered under the id of a key that somebody else set is shown with it, and not as proven.
    pinned.phone.end(true)
    expect(await keyOf(await registered(world, 'pinned'))).toMatchObject({ proven: false })
    const alice = await proven(world, 'alice')
    await set(alice, 'alice', 'hers')
    expect(await keyOf(alice)).toMatchObject({ fingerprint: digest('hers'), proven: true })
    const second = await proven(world, 'alice')
    await set(second, 'alice', 'next')
    expect(await keyOf(alice)).toMatchObject({ fingerprint: digest('next'), version: 2, proven: true })
  })
})

describe('who asks too much', () => {
  test('[DIRECT-27] [T-D5] of 10,000 ids gets at most 100 answers in 15 min, on however many connections', async () => {
    const world = new DirectWorld()
    const sockets = [await proven(world, 'mallory'), await proven(world, 'mallory')] as const
    let answers = 0
    const waits: number[] = []
    for (let i = 0; i < 10_000; i++) {
      const client = sockets[i % 2] as Client
      client.say(i % 3 === 0 ? 'PKD_HISTORY' : 'PKD_LOOKUP', { clientId: `id-${i}` })
      if (i % 10 === 9) {
        await settle()
        for (const { payload } of sockets.flatMap((each) => each.hear())) {
          if (payload.code === 'RATE_LIMITED') waits.push(payload.retryAfterMs)
          else answers++
        }
      }
      if (i % 2 === 0) world.clock.leap((15 * MINUTE) / 5_000)
    }
    expect(answers).toBeGreaterThan(90)
    expect(answers).toBeLessThanOrEqual(101)
    expect(waits.every((wait) => wait > 0 && wait < 15 * MINUTE)).toBe(true)
  })

  test('[DIRECT-23] [T-D5] is answered byte for byte the same for ids that are there, that are not, and that cannot be', async () => {
    const world = new DirectWorld()
    const asker = await registered(world, 'asker')
    await registered(world, 'online')
    await proven(world, 'bound')
    await (await registered(world, 'gone')).phone.end(true)
    const answers = new Set<string>()
    for (const clientId of ['online', 'bound', 'gone', 'never', '__proto__', 'x'.repeat(64)]) {
      asker.say('PKD_LOOKUP', { clientId })
      await settle()
      for (const text of asker.phone.receive()) answers.add(text)
    }
    expect(answers.size).toBe(1)
    expect([...answers][0]).toContain('KEY_NOT_FOUND')
  })

  test('[DIRECT-30] changes a key too often is held up, and its watchers with nothing', async () => {
    const world = new DirectWorld()
    const alice = await proven(world, 'alice')
    const bob = await registered(world, 'bob')
    await ask(bob, 'PKD_LOOKUP', { clientId: 'alice' })
    const answers: (string | undefined)[] = []
    for (let i = 0; i < 30; i++) answers.push(await set(alice, 'alice', `key ${i}`))
    expect(answers.filter((answer) => answer === 'RATE_LIMITED').length).toBe(10)
    expect(bob.heard().length).toBe(20)
    expect(await set(alice, 'alice', 'key 19')).toMatchObject({ version: 20 })
    world.clock.leap(MINUTE)
    expect(await set(alice, 'alice', 'later')).toMatchObject({ version: 21 })
  })
})
