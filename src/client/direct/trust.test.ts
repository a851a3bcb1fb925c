// Whom a call is with: keys that change, servers that lie, calls that somebody puts themselves between.
import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { nameOf, Party, type Person, pathOf, worldIdentity } from '../../../test/kit/direct-clients.ts'
import { DirectWorld, MemoryDirectory } from '../../../test/kit/direct-world.ts'
import type { DirectoryKey } from '../../core/ports.ts'
import { fail } from '../../protocol/codes.ts'
import { chained } from '../../protocol/directory.ts'
import { proofIn, withProof } from '../../protocol/media-proof.ts'
import type { DirectCall } from './call.ts'
import { type KeyMemory, keysInMemory } from './keys.ts'

const name = (call: DirectCall) => nameOf(call.state)
const digest = (text: string) => new Bun.CryptoHasher('sha256').update(text).digest('base64url')

/** Nothing that carries sound was made. */
function expectNoSound(...people: Person[]) {
  for (const { connections } of people) {
    for (const { remoteDescription } of connections) expect(remoteDescription).toBeNull()
  }
}

/** Alice and Bob, who have talked before; each with a memory that outlives them. */
async function acquainted() {
  const party = new Party(new DirectWorld())
  const keys = { alice: keysInMemory(), bob: keysInMemory() }
  const alice = await party.joins('alice', { keys: keys.alice })
  const bob = await party.joins('bob', { keys: keys.bob })
  const out = alice.client.call('bob')
  await party.settle()
  await bob.ringing.accept()
  await party.settle()
  expect([out.security.isSigned, bob.ringing.security.isSigned]).toEqual([true, true])
  out.hangUp()
  await party.settle()
  return { party, keys, alice, bob }
}

async function rotates(party: Party, person: Person) {
  const next = await worldIdentity()
  person.client.rotate(next)
  await party.settle()
  expect(person.client.publicKey).toBe(next.publicKey)
  return next
}

test('an id is handed over to another key, which everybody who looked is told of', async () => {
  const { party, alice, bob } = await acquainted()
  const before = bob.client.publicKey
  const next = await rotates(party, bob)
  expect(alice.warned).toMatchObject([
    { clientId: 'bob', status: 'changed', before, publicKey: next.publicKey, version: 2 },
  ])
  expect(bob.warned).toEqual([])
})

test('a call to a key that changed is held before anything rings, until it is trusted', async () => {
  const { party, alice, bob } = await acquainted()
  await rotates(party, bob)
  const out = alice.client.call('bob')
  await party.settle()
  expect(name(out)).toBe('held changed')
  expect(out.security).toMatchObject({ warning: 'changed', key: { status: 'changed' } })
  expect(bob.rung.length).toBe(1)
  expectNoSound(...[{ connections: alice.connections.slice(1) } as Person])
  await Promise.all([out.trust(), party.settle()])
  await party.settle()
  expect(name(out)).toBe('ringing')
  await bob.ringing.accept()
  await party.settle()
  expect(out.security).toMatchObject({ warning: null, isSigned: true })
  // From now on it is the one that is known.
  out.hangUp()
  await party.settle()
  const again = alice.client.call('bob')
  await party.settle()
  expect(name(again)).toBe('ringing')
})

test('a call from a key that changed rings with a warning, and is held when it is accepted', async () => {
  const { party, alice, bob } = await acquainted()
  await rotates(party, alice)
  const made = bob.connections.length
  alice.client.call('bob')
  await party.settle()
  const in_ = bob.ringing
  expect([name(in_), in_.security.warning]).toEqual(['incoming', 'changed'])
  const path = pathOf(in_)
  void in_.accept()
  await party.settle()
  expect(path.at(-1)).toBe('held changed')
  expect(bob.connections.length).toBe(made)
  await Promise.all([in_.trust(), party.settle()])
  await party.settle()
  expect(name(in_)).toBe('joining')
})

test('a comparison made in a call is shown there, and kept', async () => {
  const { party, alice, bob } = await acquainted()
  const out = alice.client.call('bob')
  await party.settle()
  await bob.ringing.accept()
  await party.settle()
  await out.compared(true)
  expect(out.security.key?.compared).toBe(true)
  expect(await alice.client.keys.known('bob')).toMatchObject({ compared: true })
  await out.compared(false)
  expect(out.security.key?.compared).toBe(false)
})

test('a held call can be hung up, and then nobody was rung', async () => {
  const { party, alice, bob } = await acquainted()
  await rotates(party, bob)
  const out = alice.client.call('bob')
  await party.settle()
  out.hangUp()
  await party.settle()
  expect(name(out)).toBe('ended cancelled by self')
  expect([bob.rung.length, alice.tracks.at(-1)?.stopped]).toEqual([1, true])
})

test('a key that changes during a call is said and harms it not', async () => {
  const party = new Party(new DirectWorld())
  const identity = await worldIdentity()
  const alice = await party.joins('alice')
  const bob = await party.joins('bob', { identity })
  const out = alice.client.call('bob')
  await party.settle()
  await bob.ringing.accept()
  await party.settle()
  for (const { connection } of [alice, bob]) connection.become('connected')
  // Another device of Bob's puts another key into the directory.
  await party.joins('bob', { identity, publicKey: 'another key' })
  expect(out.security.warning).toBe('changed')
  expect(name(out)).toBe('connected')
  // Even when the way between the two has to be made anew.
  alice.connection.become('failed')
  await party.settle()
  expect(bob.connection.remoteDescription?.sdp).toContain(alice.connection.ufrag)
  expect(alice.connection.remoteDescription?.sdp).toContain(bob.connection.ufrag)
})

test('a client without an identity is called without a signature and without a warning', async () => {
  const party = new Party(new DirectWorld())
  const alice = await party.joins('alice')
  const bob = await party.joins('bob', { identity: undefined })
  const out = alice.client.call('bob')
  await party.settle()
  await bob.ringing.accept()
  await party.settle()
  expect(name(out)).toBe('joining')
  expect(out.security).toEqual({ isChecking: false, key: null, isSigned: false, warning: null })
  expect(bob.ringing.security).toMatchObject({ isSigned: true, key: { clientId: 'alice' } })
})

test('a directory that does not answer stops nobody; what is remembered still counts', async () => {
  const { party, alice, bob } = await acquainted()
  party.world.directory.gate = () => Promise.reject(fail('storage_unavailable'))
  const out = alice.client.call('bob')
  await party.settle()
  expect(name(out)).toBe('ringing')
  await bob.ringing.accept()
  await party.settle()
  expect(out.security).toMatchObject({ key: null, isSigned: true, warning: null })
})

/** What a server in the middle does to an SDP on its way to one of the two. */
type Meddling = (sdp: string) => string

/** A server that changes what it relays to this person. */
function meddles(person: Person, meddle: Meddling) {
  person.rewrite = (text) => {
    const message = JSON.parse(text)
    for (const field of ['sdpOffer', 'sdpAnswer', 'sdp']) {
      if (message.payload?.[field] !== undefined) message.payload[field] = meddle(message.payload[field])
    }
    return JSON.stringify(message)
  }
}

const ownCertificate: Meddling = (sdp) => sdp.replace(/^a=fingerprint:.*$/m, 'a=fingerprint:sha-256 EVIL\r')
const withoutProof: Meddling = (sdp) => sdp.replace(/^a=x-ringdown-proof.*\r\n/m, '')
const otherProof: Meddling = (sdp) => {
  const proof = proofIn(sdp)
  return proof === null ? sdp : withProof(withoutProof(sdp), { ...proof, seen: '-' })
}
const both: Meddling = (sdp) => withoutProof(ownCertificate(sdp))

test.each([
  ['its own certificate', ownCertificate, 'forged'],
  ['its own certificate and no proof', both, 'unsigned'],
  ['no proof', withoutProof, 'unsigned'],
  ['another story in the proof', otherProof, 'forged'],
])('a server that puts %s into a call is found out before any sound', async (_, meddle, warning) => {
  for (const victim of ['alice', 'bob'] as const) {
    const { party, alice, bob } = await acquainted()
    const people = { alice, bob }
    meddles(people[victim], meddle)
    const before = { alice: alice.connections.length, bob: bob.connections.length }
    const out = alice.client.call('bob')
    await party.settle()
    void bob.ringing.accept()
    await party.settle()
    const call = victim === 'alice' ? out : bob.ringing
    expect(name(call)).toBe(`held ${warning}`)
    for (const { remoteDescription } of people[victim].connections.slice(before[victim])) {
      expect(remoteDescription).toBeNull()
    }
  }
})

test('candidates that a server adds change nothing about whom the sound is with', async () => {
  const { party, alice, bob } = await acquainted()
  meddles(bob, (sdp) => `${sdp}a=candidate:9 1 udp 1 6.6.6.6 9 typ host\r\n`)
  const out = alice.client.call('bob')
  await party.settle()
  await bob.ringing.accept()
  await party.settle()
  expect([name(out), bob.ringing.security.warning]).toEqual(['joining', null])
})

/** A directory that shows some people another history of one id. */
class Forked extends MemoryDirectory {
  readonly #id: string
  #lie: DirectoryKey[] = []
  isLying = false

  constructor(id: string) {
    super()
    this.#id = id
  }

  /** The history as it is up to a version, and then on with these keys. */
  async tell(after: number, keys: readonly string[]): Promise<void> {
    this.#lie = (await super.history(this.#id, 0, 1_000)).slice(0, after)
    for (const publicKey of keys) {
      const before = this.#lie.at(-1)
      const link = {
        version: this.#lie.length + 1,
        publicKey,
        changedAt: before?.changedAt ?? 0,
        previous: before?.hash ?? '',
      }
      this.#lie.push({ ...link, hash: digest(chained(this.#id, link)), owner: 'identity' })
    }
  }

  override async find(clientId: string) {
    const found = await super.find(clientId)
    if (!this.isLying || clientId !== this.#id) return found
    return { ...found, key: this.#lie.at(-1) ?? null }
  }

  override async history(clientId: string, after: number, limit: number) {
    if (!this.isLying || clientId !== this.#id) return super.history(clientId, after, limit)
    return this.#lie.slice(after, after + limit)
  }
}

/** Alice, to whom the server tells lies of Bob; `knows`: she has seen his key before. */
async function lied(rotations: number, after: number, keys: readonly string[], knows: boolean) {
  const world = new DirectWorld()
  const directory = new Forked('bob')
  Object.assign(world, { directory })
  await world.restart('closed')
  const party = new Party(world)
  const memory: KeyMemory = keysInMemory()
  const alice = await party.joins('alice', { keys: memory })
  const bob = await party.joins('bob')
  for (let i = 0; i < rotations; i++) await rotates(party, bob)
  if (knows) await Promise.all([alice.client.lookUp('bob'), party.settle()])
  await directory.tell(after, keys)
  return { party, directory, alice, bob }
}

test('a server that lies about a key is always found out before any sound', async () => {
  const property = fc.asyncProperty(
    fc.integer({ min: 0, max: 2 }),
    fc.nat(2),
    fc.array(fc.constantFrom('evil', 'worse'), { maxLength: 3 }),
    fc.boolean(),
    async (rotations, after, keys, knows) => {
      const { party, directory, alice, bob } = await lied(rotations, after, keys, knows)
      const truth = bob.client.publicKey
      directory.isLying = true
      const out = alice.client.call('bob')
      await party.settle()
      directory.isLying = false
      const { key, warning } = out.security
      const isTrue = key?.publicKey === truth && after > rotations && keys.length === 0
      // A new acquaintance with a wrong key: the safety numbers differ, which is for people to compare.
      const isForPeople = !knows && key?.publicKey !== truth
      // Nothing is shown to somebody who never saw anything.
      const isNothing = !knows && key === null
      if (isTrue) expect(warning).toBeNull()
      else if (!isForPeople && !isNothing)
        expect(warning ?? `nobody noticed ${name(out)}`).not.toStartWith('nobody')
      if (warning !== null) expectNoSound(alice)
      alice.client.close()
      bob.client.close()
    },
  )
  await fc.assert(property, { numRuns: 25 })
}, 20_000)

test('a server that tells two people two stories of the same key is found out by their call', async () => {
  const world = new DirectWorld()
  const directory = new Forked('bob')
  Object.assign(world, { directory })
  await world.restart('closed')
  const party = new Party(world)
  const alice = await party.joins('alice')
  const bob = await party.joins('bob')
  // The key is the right one; what came before it is not.
  await directory.tell(0, ['evil', bob.client.publicKey ?? ''])
  directory.isLying = true
  await Promise.all([alice.client.lookUp('bob'), party.settle()])
  directory.isLying = false
  const out = alice.client.call('bob')
  await party.settle()
  expect(out.security.warning ?? bob.rung.at(-1)?.security.warning).toBe('rolled_back')

  // The same, kept up: now only their call can show it.
  const other = await party.joins('carol')
  directory.isLying = true
  const fromCarol = other.client.call('bob')
  await party.settle()
  directory.isLying = false
  expect(name(fromCarol)).toBe('ringing')
  expect(bob.ringing.security.warning).toBe('forked')
  void bob.ringing.accept()
  await party.settle()
  expect(name(bob.ringing)).toBe('held forked')
  expect(bob.connections).toEqual([])
})
