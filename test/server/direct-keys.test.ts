// The key directory on a whole server: whose key it is, whatever happens to connections and to the server.
import { afterEach, describe, expect, test } from 'bun:test'
import { chained, type Link } from '../../src/protocol/directory.ts'
import { asking, proven, TestIdentity } from '../kit/identity.ts'
import { closeServers, startServer, type TestServer } from '../kit/server.ts'
import { registered, SignalPeer } from '../kit/signal.ts'

afterEach(closeServers)

const SWAPPED = 'key of the one in the middle'

/** Asks, and takes the answer: its payload, or the code of an ERROR. */
async function ask(peer: SignalPeer, type: string, payload: object) {
  peer.say(type, payload)
  const message = await peer.next()
  return message.type === 'ERROR' ? message.payload.code : message.payload
}

function set(peer: SignalPeer, clientId: string, publicKey: string) {
  return ask(peer, 'PKD_REGISTER', { clientId, publicKey })
}

/** Asks to be registered without a proof. */
async function bare(server: TestServer, clientId: string): Promise<SignalPeer> {
  const peer = await SignalPeer.open(server)
  peer.say('REGISTER', { clientId })
  return peer
}

async function gone(peer: SignalPeer): Promise<void> {
  peer.raw.close(1000)
  await peer.raw.ended()
}

/** As the document has it: what anybody is told of the key of an id. */
async function keyOf(server: TestServer, clientId: string) {
  const reader = await registered(server, `reader-${crypto.randomUUID().slice(0, 8)}`)
  const found = await ask(reader, 'PKD_LOOKUP', { clientId })
  await gone(reader)
  return found
}

/** SHA-256, base64url, as a client reckons it. */
async function hashOf(text: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))
  return Buffer.from(digest).toString('base64url')
}

describe('one’s own key', () => {
  test('[DIRECT-23] is set and found as the document shows, byte for byte, and outlives the server', async () => {
    const server = await startServer()
    const alice = await registered(server, 'alice')
    const publicKey = '-----BEGIN PUBLIC KEY-----\n"é\\\u2028🎙 =cmd\r\n'
    alice.say('PKD_REGISTER', { clientId: 'alice', publicKey })
    const { type, payload } = await alice.next()
    expect(type).toBe('PKD_RESULT')
    expect(payload).toEqual({
      clientId: 'alice',
      publicKey,
      version: 1,
      changedAt: expect.any(Number),
      fingerprint: await hashOf(publicKey),
      hash: expect.any(String),
    })
    expect(await keyOf(server, 'alice')).toEqual(payload)
    expect(await keyOf(await server.again(), 'alice')).toEqual(payload)
  })

  test('[DIRECT-23] is one’s own: another’s, an odd id’s and an empty one are refused', async () => {
    const server = await startServer()
    const alice = await registered(server, 'alice')
    await registered(server, 'bob')
    expect(await set(alice, 'bob', SWAPPED)).toBe('KEY_REFUSED')
    expect(await set(alice, 'nobody', SWAPPED)).toBe('KEY_REFUSED')
    expect(await set(alice, 'Alice', SWAPPED)).toBe('KEY_REFUSED')
    expect(await set(alice, 'alice\n', SWAPPED)).toBe('INVALID_CLIENT_ID')
    expect(await set(alice, 'alice', '')).toBe('INVALID_MESSAGE')
    expect(await set(alice, 'alice', 'x'.repeat(8193))).toBe('INVALID_MESSAGE')
    for (const id of ['bob', 'nobody', 'alice']) expect(await keyOf(server, id)).toBe('KEY_NOT_FOUND')
  })
})

describe('[T-D2] nobody replaces a key', () => {
  test('[DIRECT-24] that a bound identity set: not by another id, a second socket, after a drop, after a restart', async () => {
    let server = await startServer()
    const [identity, mine] = [await TestIdentity.make(), await TestIdentity.make()]
    const alice = await proven(server, 'alice', identity)
    await set(alice, 'alice', 'its')
    let tries = 0
    for (const when of ['while she is there', 'after a drop', 'after a restart']) {
      if (when === 'after a drop') {
        alice.raw.drop()
        await alice.raw.ended()
      }
      if (when === 'after a restart') server = await server.again()
      const mallory = await proven(server, 'mallory', mine)
      expect(await set(mallory, 'alice', SWAPPED)).toBe('KEY_REFUSED')
      for (const attempt of [
        () => bare(server, 'alice'),
        () => asking(server, 'alice', mine),
        () => asking(server, 'alice', mine, mine),
      ]) {
        const peer = await attempt()
        expect(await peer.error()).toMatch(/^IDENTITY_/)
        expect(await set(peer, 'alice', SWAPPED)).toBe('NOT_REGISTERED')
        tries += 2
      }
      await gone(mallory)
    }
    expect(tries).toBe(18)
    expect(await keyOf(server, 'alice')).toMatchObject({ publicKey: 'its', version: 1 })
    expect(await set(await proven(server, 'alice', identity), 'alice', 'next')).toMatchObject({ version: 2 })
  })

  test('[DIRECT-24] that was set without an identity: only the connection that set it, and its resumes', async () => {
    let server = await startServer()
    const alice = await registered(server, 'alice')
    await set(alice, 'alice', 'its')
    alice.raw.drop()
    await alice.raw.ended()
    const back = await SignalPeer.open(server)
    back.say('RESUME', { resumeToken: alice.resumeToken, received: 2 })
    await back.hear('RESUMED')
    expect(await set(back, 'alice', 'next')).toMatchObject({ version: 2 })
    await gone(back)
    for (const when of ['anew', 'after a restart']) {
      if (when === 'after a restart') server = await server.again()
      const anew = await registered(server, 'alice')
      expect(await set(anew, 'alice', SWAPPED)).toBe('KEY_REFUSED')
      // Nor may it bind the id first.
      const identity = await TestIdentity.make()
      await gone(anew)
      expect(await (await asking(server, 'alice', identity)).error()).toBe('KEY_REFUSED')
    }
    expect(await keyOf(server, 'alice')).toMatchObject({ publicKey: 'next', version: 2 })
  })

  test('[DIRECT-6] while the id is handed over: 40 rounds with the old key’s devices trying at the same moment', async () => {
    const server = await startServer()
    let swapped = 0
    for (let round = 0; round < 40; round++) {
      const id = `alice-${round}`
      const [old, next] = [await TestIdentity.make(), await TestIdentity.make()]
      const thief = await proven(server, id, old)
      await set(thief, id, 'its')
      const [owner, again] = await Promise.all([asking(server, id, old, next), asking(server, id, old)])
      const taken = owner.hear('REGISTERED').then(() => {
        for (const peer of [thief, again]) peer.say('PKD_REGISTER', { clientId: id, publicKey: SWAPPED })
      })
      await taken
      await thief.raw.closed()
      // It is in, as the old key's, and out again; or it was not let in.
      const done = [again.raw.closed(), again.raw.settle()].map((each) => each.catch(() => {}))
      await Promise.race(done)
      const { publicKey } = await keyOf(server, id)
      if (publicKey !== 'its') swapped++
      expect(await set(owner, id, 'next')).toMatchObject({ publicKey: 'next' })
      await server.clock.wind(1_000)
    }
    expect(swapped).toBe(0)
  })
})

describe('what others see of it', () => {
  test('[DIRECT-25] [T-D3] a history that a client verifies to the hash it was told, with pages', async () => {
    const server = await startServer()
    const alice = await proven(server, 'alice', await TestIdentity.make())
    const bob = await registered(server, 'bob')
    let head = ''
    for (let i = 0; i < 25; i++) {
      if (i === 20) await server.clock.wind(5 * 60_000)
      head = (await set(alice, 'alice', `key ${i}`)).hash
    }
    const first = await ask(bob, 'PKD_HISTORY', { clientId: 'alice' })
    const second = await ask(bob, 'PKD_HISTORY', { clientId: 'alice', after: first.changes.at(-1).version })
    expect([first.changes.length, first.more, second.changes.length, second.more]).toEqual([
      20,
      true,
      5,
      false,
    ])
    let previous = ''
    for (const change of [...first.changes, ...second.changes] as (Link & { hash: string })[]) {
      expect([change.previous, change.hash]).toEqual([previous, await hashOf(chained('alice', change))])
      previous = change.hash
    }
    expect(previous).toBe(head)
    expect((await keyOf(server, 'alice')).hash).toBe(head)
  })

  test('[DIRECT-26] a change reaches those who looked it up, and nobody else', async () => {
    const server = await startServer()
    const alice = await proven(server, 'alice', await TestIdentity.make())
    const [bob, carol, dave] = [
      await registered(server, 'bob'),
      await registered(server, 'carol'),
      await registered(server, 'dave'),
    ]
    expect(await ask(bob, 'PKD_LOOKUP', { clientId: 'alice' })).toBe('KEY_NOT_FOUND')
    await ask(carol, 'PKD_LOOKUP', { clientId: 'bob' })
    const result = await set(alice, 'alice', 'one')
    expect(await bob.next()).toEqual({ type: 'PKD_CHANGED', payload: result })
    await gone(bob)
    await set(alice, 'alice', 'two')
    for (const peer of [alice, carol, dave]) expect(await peer.raw.settle()).toEqual([])
  })

  test('[DIRECT-10] at the ring: fingerprint, version, age, and whether the caller proved to own it', async () => {
    const server = await startServer()
    const identity = await TestIdentity.make()
    const alice = await proven(server, 'alice', identity)
    const { changedAt } = await set(alice, 'alice', 'one')
    const pinned = await registered(server, 'pinned')
    await set(pinned, 'pinned', 'two')
    const bob = await registered(server, 'bob')
    for (const [caller, key, isProven] of [
      [alice, 'one', true],
      [pinned, 'two', false],
    ] as const) {
      caller.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'x' })
      const { callerKey } = await bob.hear('INCOMING_CALL')
      expect(callerKey).toEqual({
        fingerprint: await hashOf(key),
        version: 1,
        changedAt: expect.any(Number),
        proven: isProven,
      })
    }
    expect(changedAt).toBeLessThanOrEqual(server.clock.now())
  })
})

describe('who asks much', () => {
  test('[DIRECT-27] [T-D5] gets at most 100 answers in 15 min, and the same bytes for whatever has no key', async () => {
    const server = await startServer({ MESSAGES_PER_SECOND: '1000', BYTES_PER_MINUTE: '10000000' })
    await registered(server, 'online')
    await proven(server, 'bound', await TestIdentity.make())
    const mallory = await registered(server, 'mallory')
    const answers = new Map<string, number>()
    for (let i = 0; i < 900; i++) {
      const clientId = i === 0 ? 'online' : i === 1 ? 'bound' : `id-${i}`
      mallory.say('PKD_LOOKUP', { clientId })
      const text = await mallory.raw.nextText()
      const { code } = JSON.parse(text).payload
      const kind = code === 'RATE_LIMITED' ? code : text
      answers.set(kind, (answers.get(kind) ?? 0) + 1)
      if (i % 10 === 9) await server.clock.wind(10_000)
    }
    const limited = answers.get('RATE_LIMITED') ?? 0
    answers.delete('RATE_LIMITED')
    const [[text = '', count = 0] = []] = answers
    expect([answers.size, JSON.parse(text).payload.code]).toEqual([1, 'KEY_NOT_FOUND'])
    expect(count).toBeLessThanOrEqual(100)
    expect(count).toBeGreaterThan(90)
    expect(limited).toBe(900 - count)
  })
})
