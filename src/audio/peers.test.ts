import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { type Head, readHeader } from './frame.ts'
import { readHello, writeHello } from './hello.ts'
import { helloKeyOf, newPage, type Page, pairOf, roomOf } from './keys.ts'
import { type Leaf, newLeaf } from './leaf.ts'
import { Peers, type Refusal } from './peers.ts'
import { CheckWords } from './words.ts'

const { subtle } = crypto
const fill = (bytes: Uint8Array<ArrayBuffer>) => crypto.getRandomValues(bytes)
const control: Head = { type: 'control', number: 0, clock: 0 }
const plain = new Uint8Array(64)

class End {
  readonly leaf: Leaf
  readonly page: Page
  readonly peers: Peers

  private constructor(leaf: Leaf, page: Page, window: number) {
    this.leaf = leaf
    this.page = page
    this.peers = new Peers({ subtle, leaf, page, window })
  }

  static async load(leaf: Leaf, window = 0): Promise<End> {
    return new End(leaf, await newPage(subtle, fill, 0), window)
  }

  async hello(): Promise<Uint8Array> {
    return await writeHello(subtle, await helloKeyOf(subtle, this.leaf), this.page, true)
  }

  /** What became of a hello: added, known, or why it was refused. */
  async hear(hello: Uint8Array): Promise<boolean | string> {
    const read = await readHello(subtle, await helloKeyOf(subtle, this.leaf), hello, this.page.sid)
    return typeof read === 'string' ? read : await this.peers.add(read)
  }

  /** A control frame under the newest key. */
  async frame(head = control): Promise<Uint8Array<ArrayBuffer>> {
    const pair = this.peers.candidates.at(-1)
    if (pair === undefined) throw new Error('no hello was heard')
    return await this.peers.seal(pair, head, plain)
  }

  async open(frame: Uint8Array<ArrayBuffer>, now = 0): Promise<Refusal | 'opened' | 'new peer'> {
    const opened = await this.peers.open(frame, now)
    return typeof opened === 'string' ? opened : opened.isNewPeer ? 'new peer' : 'opened'
  }
}

async function ends(): Promise<[End, End, Leaf]> {
  const leaf = newLeaf(fill)
  const [a, b] = [await End.load(leaf), await End.load(leaf)]
  await a.hear(await b.hello())
  await b.hear(await a.hello())
  return [a, b, leaf]
}

test('[LINE-62] both ends derive the room, and keys that open what the other seals; each way its own', async () => {
  const [a, b, leaf] = await ends()
  expect(await roomOf(subtle, leaf)).toMatch(/^[\w-]{22}$/)
  expect(await b.open(await a.frame())).toBe('new peer')
  expect(await a.open(await b.frame())).toBe('new peer')
  expect(await a.open(await b.frame())).toBe('opened')
  const [one, other] = [a.peers.current, b.peers.current]
  expect(one?.out.kid).toBe(other?.in.kid as number)
  expect(one?.out.salt).toEqual(other?.in.salt as Uint8Array<ArrayBuffer>)
  expect(one?.out.salt).not.toEqual(one?.in.salt as Uint8Array<ArrayBuffer>)
  expect(one?.transcript).toEqual(other?.transcript as Uint8Array<ArrayBuffer>)
})

test('[LINE-62] no key can be exported', async () => {
  const [a, , leaf] = await ends()
  const [pair] = a.peers.candidates
  for (const key of [a.page.privateKey, pair?.in.key, pair?.out.key, await helloKeyOf(subtle, leaf)])
    expect(key?.extractable).toBe(false)
})

test('[LINE-61] [T-L3] a hello of another leaf, a changed one, a cut one and the own one are refused', async () => {
  const [a, b, leaf] = await ends()
  const stranger = await End.load(newLeaf(fill))
  expect(await a.hear(await stranger.hello())).toBe('forged')
  expect(await a.hear(await a.hello())).toBe('reflected')
  const hello = await b.hello()
  expect(await a.hear(hello.subarray(1))).toBe('malformed')
  expect(await a.hear(hello)).toBe(false)
  for (let at = 0; at < hello.length; at++) {
    const changed = new Uint8Array(hello)
    changed[at] = (changed[at] ?? 0) ^ 1
    expect(await a.hear(changed)).toBeOneOf(['malformed', 'forged'])
  }
  // With the leaf, but no point of the curve.
  const odd = { ...b.page, sid: new Uint8Array(16), publicKey: new Uint8Array(65).fill(4) }
  expect(await a.hear(await writeHello(subtle, await helloKeyOf(subtle, leaf), odd, false))).toBe(false)
})

test('[LINE-64] [T-L3] replayed, reflected and changed frames are refused and counted, and the call goes on', async () => {
  const [a, b] = await ends()
  const frame = await a.frame()
  expect(await b.open(frame)).toBe('new peer')
  expect(await b.open(frame)).toBe('replayed')
  expect(await a.open(frame)).toBe('reflected')
  const next = await a.frame()
  const changed = new Uint8Array(next)
  changed[30] = (changed[30] ?? 0) ^ 1
  expect(await b.open(changed)).toBe('forged')
  // A counter that nobody sealed moves nothing.
  const jump = new Uint8Array(next)
  jump[10] = 0xff
  expect(await b.open(jump)).toBe('forged')
  expect(await b.open(next)).toBe('opened')
  expect(b.peers.refused).toEqual({ replayed: 1, forged: 2 })
})

test('frames that are opened at the same time are had in their order', async () => {
  const [a, b] = await ends()
  const frames = await Promise.all(Array.from({ length: 50 }, () => a.frame()))
  const results = await Promise.all(frames.map((frame) => b.open(frame)))
  expect(results).toEqual(['new peer', ...Array<'opened'>(49).fill('opened')])
})

test('[LINE-64] whatever the bytes, a frame is refused', async () => {
  const [a, b] = await ends()
  const good = await a.frame()
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.nat(104), async (bytes, at) => {
      const mixed = new Uint8Array(good)
      mixed.set(bytes.subarray(0, Math.max(0, mixed.length - at)), at)
      if (mixed.every((byte, i) => byte === good[i])) return
      expect(await b.open(mixed)).toBeOneOf(['size', 'header', 'unknown', 'forged', 'reflected'])
      expect(await b.open(new Uint8Array(bytes))).toBeOneOf(['size', 'header', 'unknown'])
    }),
  )
  expect(await b.open(good)).toBe('new peer')
})

test('[LINE-61] a hello that is a replay adds a key and changes nothing else; the newest page takes over when it is heard', async () => {
  const [a, b, leaf] = await ends()
  const old = await a.hello()
  await b.open(await a.frame())
  const late = await a.frame()
  const tooLate = await a.frame()
  const reloaded = await End.load(leaf)
  await reloaded.hear(await b.hello())
  expect(await b.hear(await reloaded.hello())).toBe(true)
  expect(b.peers.current?.peer).toEqual(a.page.sid)
  expect(b.peers.candidates).toHaveLength(2)
  expect(await b.open(await reloaded.frame(), 1_000)).toBe('new peer')
  expect(b.peers.current?.peer).toEqual(reloaded.page.sid)
  // What was under way of the earlier page still comes, for two seconds, and does not bring it back.
  expect(await b.open(late, 3_000)).toBe('opened')
  expect(await b.open(tooLate, 3_001)).toBe('retired')
  expect(b.peers.current?.peer).toEqual(reloaded.page.sid)
  // Its old hello makes its key known again. What was had under it stays had.
  expect(await b.hear(old)).toBe(true)
  expect(await b.open(late, 4_000)).toBe('replayed')
  expect(b.peers.current?.peer).toEqual(reloaded.page.sid)
})

test('[LINE-61] hellos of many pages never push out the peer that is talked to, nor are more than three keys tried', async () => {
  const [a, b, leaf] = await ends()
  await b.open(await a.frame())
  for (let i = 0; i < 10; i++) {
    expect(await b.hear(await (await End.load(leaf)).hello())).toBe(true)
    expect(b.peers.candidates.length).toBeLessThanOrEqual(3)
  }
  expect(await b.open(await a.frame())).toBe('opened')
})

test('[LINE-63] [T-L2] over 1,000 reconnects and reloads no counter comes twice under a key', async () => {
  const leaf = newLeaf(fill)
  const seen = new Set<string>()
  let frames = 0
  const chance = fc.sample(fc.nat(9), { numRuns: 1_000, seed: 7 })
  const a = await End.load(leaf)
  let b = await End.load(leaf)
  const past: Uint8Array[] = []
  for (const roll of chance) {
    // One in ten is a reload of b; else its socket was cut, and the relay replays hellos of the past for good measure.
    if (roll === 0) {
      past.push(await b.hello())
      b = await End.load(leaf)
    }
    for (const hello of past.slice(-roll)) await a.hear(hello)
    await a.hear(await b.hello())
    await b.hear(await a.hello())
    for (const end of [a, b])
      for (const pair of end.peers.candidates) {
        const frame = await end.peers.seal(pair, control, plain)
        const read = readHeader(frame)
        if (typeof read === 'string') throw new Error(read)
        // The key itself, not its 4-byte id: sid and salt stand for it.
        seen.add(`${pair.own} ${pair.out.salt} ${read.counter}`)
        frames++
        if (end === a && pair.peer.every((byte, i) => byte === b.page.sid[i]))
          expect(await b.open(frame)).toBeOneOf(['opened', 'new peer'])
      }
  }
  expect(seen.size).toBe(frames)
  expect(frames).toBeGreaterThan(3_000)
})

test('fifty failures in a row ask for a new hello', async () => {
  const [a, b] = await ends()
  const frame = await a.frame()
  const bad = new Uint8Array(frame)
  bad[40] = (bad[40] ?? 0) ^ 1
  for (let i = 1; i <= 50; i++) {
    expect(b.peers.shouldHello).toBe(false)
    await b.open(bad)
  }
  expect(b.peers.shouldHello).toBe(true)
  await b.open(frame)
  expect(b.peers.shouldHello).toBe(false)
})

async function talk(a: CheckWords, b: CheckWords): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await a.hear(b.commitment, b.nonce)
    await b.hear(a.commitment, a.nonce)
  }
}

async function wordsWith(a: End, b: Page): Promise<CheckWords> {
  const pair = await pairOf(subtle, a.leaf, a.page, b)
  if (pair === null) throw new Error('no pair')
  return await CheckWords.begin(subtle, pair, fill)
}

test('[LINE-67] both ends show the same four words, and other ones after the next reload', async () => {
  const [a, b, leaf] = await ends()
  const [one, other] = [await wordsWith(a, b.page), await wordsWith(b, a.page)]
  expect(one.nonce).toBeNull()
  await talk(one, other)
  expect(one.words).toHaveLength(4)
  expect(one.words).toEqual(other.words)
  const again = await End.load(leaf)
  const [two, three] = [await wordsWith(a, again.page), await wordsWith(again, a.page)]
  await talk(two, three)
  expect(two.words).toEqual(three.words)
  expect(two.words).not.toEqual(one.words)
})

test('[LINE-67] one who has the leaf and stands between is seen, even when everything is passed on', async () => {
  const [a, b, leaf] = await ends()
  const between = await End.load(leaf)
  const [one, other] = [await wordsWith(a, between.page), await wordsWith(b, between.page)]
  const [toA, toB] = [await wordsWith(between, a.page), await wordsWith(between, b.page)]
  await talk(one, toA)
  await talk(other, toB)
  expect(one.words).not.toEqual(other.words)
  // Passing on the commitments of the others does not help: they are of another pair.
  const [three, four] = [await wordsWith(a, between.page), await wordsWith(b, between.page)]
  await talk(three, four)
  expect([three.words, four.words]).toEqual([null, null])
  expect([three.isBroken, four.isBroken]).toEqual([true, true])
})

test('[LINE-67] a nonce is shown only after the commitment of the other end, which then cannot choose again', async () => {
  const [a, b] = await ends()
  const one = await wordsWith(a, b.page)
  const [first, second] = [await wordsWith(b, a.page), await wordsWith(b, a.page)]
  expect(one.nonce).toBeNull()
  await one.hear(first.commitment, null)
  expect(one.nonce).toHaveLength(16)
  await second.hear(one.commitment, one.nonce)
  await one.hear(second.commitment, second.nonce)
  expect(one.isBroken).toBe(true)
  expect(one.words).toBeNull()
})
