import { expect, test } from 'bun:test'
import fc from 'fast-check'
import type { KeyChange } from '../../protocol/direct.ts'
import { chained } from '../../protocol/directory.ts'
import { digest } from './bytes.ts'
import { KeyBook, type KeyDirectory, keysInMemory, type ShownKey } from './keys.ts'

/** A directory that can be made to lie. */
class Story implements KeyDirectory {
  changes: KeyChange[] = []

  async set(publicKey: string, changedAt = this.changes.length * 10): Promise<this> {
    const before = this.changes.at(-1)
    const link = { version: this.changes.length + 1, publicKey, changedAt, previous: before?.hash ?? '' }
    this.changes.push({ ...link, hash: await digest(chained('bob', link)) })
    return this
  }

  /** The same story so far, that goes on by itself. */
  branch(length = this.changes.length): Story {
    const other = new Story()
    other.changes = this.changes.slice(0, length)
    return other
  }

  async shown(): Promise<ShownKey | null> {
    const last = this.changes.at(-1)
    if (last === undefined) return null
    const { publicKey, version, changedAt, hash } = last
    return { clientId: 'bob', publicKey, version, changedAt, hash, fingerprint: await digest(publicKey) }
  }

  async lookup(): Promise<ShownKey | null> {
    return this.shown()
  }

  async history(_: string, after: number): Promise<KeyChange[]> {
    return this.changes.filter(({ version }) => version > after)
  }
}

/** A client's book, whose server can be exchanged for one that tells another story. */
function book(story: KeyDirectory) {
  const server = { story }
  const memory = keysInMemory()
  const it = new KeyBook(
    { lookup: (id) => server.story.lookup(id), history: (id, after) => server.story.history(id, after) },
    memory,
  )
  return { it, server, memory }
}

async function storyOf(...keys: string[]): Promise<Story> {
  const story = new Story()
  for (const key of keys) await story.set(key)
  return story
}

test('a key is new, then the same, and changed when it is another one, until it is trusted', async () => {
  const story = await storyOf('k1')
  const { it } = book(story)
  expect(await it.check('bob')).toMatchObject({ status: 'new', publicKey: 'k1', version: 1, before: null })
  expect(await it.check('bob')).toMatchObject({ status: 'same' })
  await story.set('k2')
  for (let i = 0; i < 2; i++) {
    expect(await it.check('bob')).toMatchObject({
      status: 'changed',
      publicKey: 'k2',
      before: 'k1',
      version: 2,
    })
  }
  expect(await it.trust('bob')).toMatchObject({ status: 'same', publicKey: 'k2' })
  expect(await it.check('bob')).toMatchObject({ status: 'same', before: null })
})

test('who has no key and never had one is no trouble', async () => {
  expect(await book(new Story()).it.check('bob')).toBeNull()
})

test('a comparison holds for the key it was made with', async () => {
  const story = await storyOf('k1')
  const { it } = book(story)
  await it.check('bob')
  expect(await it.compared('bob', 'k2')).toBe(false)
  expect(await it.compared('bob', 'k1')).toBe(true)
  expect(await it.check('bob')).toMatchObject({ compared: true })
  await story.set('k2')
  expect(await it.check('bob')).toMatchObject({ status: 'changed', compared: false })
  await it.trust('bob')
  expect(await it.check('bob')).toMatchObject({ status: 'same', compared: false })
})

test('a history that has grown by many changes is followed, and only the new ones are asked for', async () => {
  const story = await storyOf('k1')
  const { it, server } = book(story)
  await it.check('bob')
  for (let i = 2; i < 40; i++) await story.set(`k${i}`)
  const afters: number[] = []
  const { history } = Story.prototype
  server.story = {
    lookup: () => story.lookup(),
    history: (id, after) => {
      afters.push(after)
      return history.call(story, id, after)
    },
  }
  expect(await it.check('bob')).toMatchObject({ status: 'changed', publicKey: 'k39' })
  expect(afters).toEqual([1])
})

test('a change that comes between the two questions is followed as well', async () => {
  const story = await storyOf('k1', 'k2')
  const { it, server } = book(story)
  server.story = { lookup: () => story.branch(1).lookup(), history: (id, after) => story.history(id, after) }
  expect(await it.check('bob')).toMatchObject({ status: 'new', publicKey: 'k2', version: 2 })
})

test('a key that is swapped without a change is a lie', async () => {
  const { it, server } = book(await storyOf('k1'))
  await it.check('bob')
  server.story = await storyOf('evil')
  expect(await it.check('bob')).toMatchObject({ status: 'lying', trouble: 'rewritten', before: 'k1' })
})

test('a key that is put back to an older one is a lie', async () => {
  const story = await storyOf('k1', 'k2')
  const { it, server } = book(story)
  await it.check('bob')
  server.story = story.branch(1)
  expect(await it.check('bob')).toMatchObject({ status: 'lying', trouble: 'rolled_back' })
})

test('a key that is not shown any more is a lie', async () => {
  const { it, server } = book(await storyOf('k1'))
  await it.check('bob')
  server.story = new Story()
  expect(await it.check('bob')).toMatchObject({ status: 'lying', trouble: 'withheld', before: null })
})

test('a history that was rewritten and has grown is a lie', async () => {
  const { it, server } = book(await storyOf('k1'))
  await it.check('bob')
  server.story = await storyOf('evil', 'k1')
  expect(await it.check('bob')).toMatchObject({ status: 'lying', trouble: 'rewritten' })
})

test('a lie is remembered as none: the true story is believed after it, and trust makes a new start', async () => {
  const story = await storyOf('k1')
  const { it, server } = book(story)
  await it.check('bob')
  const evil = await storyOf('evil')
  server.story = evil
  await it.check('bob')
  server.story = story
  expect(await it.check('bob')).toMatchObject({ status: 'same' })
  server.story = evil
  expect(await it.trust('bob')).toMatchObject({ status: 'new', publicKey: 'evil' })
  expect(await it.check('bob')).toMatchObject({ status: 'same' })
})

test('two who are told two stories find out when they compare heads', async () => {
  const story = await storyOf('k1', 'k2')
  const fork = await story.branch(1).set('evil', 11)
  const alice = book(story).it
  const bob = book(fork).it
  const carol = book(story.branch()).it
  for (const each of [alice, bob, carol]) await each.check('bob')
  expect(await alice.agrees('bob', await carol.head('bob'))).toBe(true)
  expect(await alice.agrees('bob', await bob.head('bob'))).toBe(false)
  expect(await bob.agrees('bob', await alice.head('bob'))).toBe(false)
  expect(await alice.agrees('bob', 'nonsense')).toBe(false)
})

test('of two who look at different times, the one behind asks again before it complains', async () => {
  const story = await storyOf('k1')
  const early = book(story).it
  await early.check('bob')
  await story.set('k2')
  const late = book(story).it
  await late.check('bob')
  expect(await late.agrees('bob', await early.head('bob'))).toBe(true)
  expect(await early.agrees('bob', await late.head('bob'))).toBe(true)
  // A change that is kept from us.
  const kept = book(story.branch(1)).it
  await kept.check('bob')
  expect(await kept.agrees('bob', await late.head('bob'))).toBe(false)
})

const key = fc.string({ minLength: 1, maxLength: 12 })
const keys = fc.array(key, { minLength: 1, maxLength: 6 })

/** What a server may do to a story that somebody has seen. Returns false when it would change nothing. */
type Tamper = (story: Story, at: number, with_: string) => Promise<boolean>
const tampers: Record<string, Tamper> = {
  async 'swaps a key'(story, at, evil) {
    const change = story.changes[at] as KeyChange
    if (change.publicKey === evil) return false
    story.changes[at] = { ...change, publicKey: evil }
    return true
  },
  async 'swaps a key and mends the chain'(story, at, evil) {
    const old = story.changes
    if (old[at]?.publicKey === evil) return false
    story.changes = old.slice(0, at)
    for (const [i, change] of old.slice(at).entries()) {
      await story.set(i === 0 ? evil : change.publicKey, change.changedAt)
    }
    return true
  },
  async 'leaves a change out'(story, at) {
    story.changes.splice(at, 1)
    return true
  },
  async 'moves a change in time'(story, at) {
    const change = story.changes[at] as KeyChange
    story.changes[at] = { ...change, changedAt: change.changedAt + 1 }
    return true
  },
  async 'puts another hash'(story, at, evil) {
    const change = story.changes[at] as KeyChange
    story.changes[at] = { ...change, hash: await digest(evil) }
    return true
  },
}

for (const [name, tamper] of Object.entries(tampers)) {
  test(`a server that ${name} that was seen, and goes on with any story, is always found out`, async () => {
    const property = fc.asyncProperty(keys, keys, fc.nat(), key, async (seen, later, where, evil) => {
      const story = await storyOf(...seen)
      const { it, server } = book(story)
      await it.check('bob')
      const lie = story.branch()
      if (!(await tamper(lie, where % seen.length, evil))) return
      server.story = lie
      // A change before the last one shows once the history is asked for from the start.
      const fresh = book(lie).it
      for (const next of later) await lie.set(next, 1_000)
      const [mine, theirs] = [await it.check('bob'), await fresh.check('bob')]
      const noticed =
        mine?.status === 'lying' ||
        theirs?.status === 'lying' ||
        !(await it.agrees('bob', await fresh.head('bob')))
      expect(noticed).toBe(true)
    })
    await fc.assert(property, { numRuns: 60 })
  })
}

test('a server that shows somebody who never looked before another story is found out by comparing heads', async () => {
  const property = fc.asyncProperty(keys, fc.nat(), key, async (seen, where, evil) => {
    const story = await storyOf(...seen)
    const fork = story.branch()
    if (!(await tampers['swaps a key and mends the chain']?.(fork, where % seen.length, evil))) return
    const [owner, victim] = [book(story).it, book(fork).it]
    expect(await owner.check('bob')).toMatchObject({ status: 'new' })
    expect(await victim.check('bob')).toMatchObject({ status: 'new' })
    expect(await owner.agrees('bob', await victim.head('bob'))).toBe(false)
    expect(await victim.agrees('bob', await owner.head('bob'))).toBe(false)
  })
  await fc.assert(property, { numRuns: 100 })
})
