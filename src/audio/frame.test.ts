import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { BUCKETS, bucketSize, DURATIONS, RATES, RAW_BUCKET, soundOf } from '../protocol/line.ts'
import { frameSize, type Head, open, readHeader, SealCounter, seal, writeHeader } from './frame.ts'
import type { Direction } from './keys.ts'

const { subtle } = crypto
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const counters = fc.oneof(fc.nat(1_000), fc.maxSafeNat())

const heads: fc.Arbitrary<Head> = fc.oneof(
  fc.record({ type: fc.constant('control' as const), number: u32, clock: u32 }),
  fc
    .record({
      type: fc.constant('audio' as const),
      gap: fc.boolean(),
      number: u32,
      clock: u32,
      rate: fc.nat(RATES.length - 1),
      duration: fc.nat(DURATIONS.length - 1),
      bucket: fc.nat(BUCKETS.length - 1),
      packed: fc.boolean(),
    })
    .map((head) => (head.packed ? head : { ...head, bucket: RAW_BUCKET })),
)

async function direction(seed = 1): Promise<Direction> {
  const key = await subtle.importKey('raw', new Uint8Array(32).fill(seed), 'AES-GCM', false, [
    'encrypt',
    'decrypt',
  ])
  return { key, salt: new Uint8Array(12).fill(seed), kid: seed }
}

test('[LINE-63] frames have the sizes of the design', () => {
  const audio = { type: 'audio', gap: false, number: 0, clock: 0 } as const
  expect(frameSize({ ...audio, rate: 0, duration: 2, bucket: 1, packed: true })).toBe(1_374)
  expect(frameSize({ ...audio, rate: 3, duration: 3, bucket: RAW_BUCKET, packed: false })).toBe(1_000)
  expect(frameSize({ type: 'control', number: 0, clock: 0 })).toBe(104)
  expect(BUCKETS.map((_, bucket) => bucketSize({ rate: 0, duration: 2, bucket }))).toEqual([
    1_000, 1_334, 2_000, 4_000,
  ])
})

test('the relay takes every frame that may be written for what it is', () => {
  fc.assert(
    fc.property(heads, u32, counters, (head, kid, counter) => {
      const frame = new Uint8Array(frameSize(head))
      frame.set(writeHeader({ head, kid, counter }))
      expect(soundOf(frame)).toBe(head.type === 'audio' ? (DURATIONS[head.duration] ?? 0) : 0)
    }),
  )
})

test('a header is read back as it was written', () => {
  fc.assert(
    fc.property(heads, u32, counters, (head, kid, counter) => {
      const frame = new Uint8Array(frameSize(head))
      frame.set(writeHeader({ head, kid, counter }))
      expect(readHeader(frame)).toEqual({ head, kid, counter })
      expect(readHeader(frame.subarray(1))).toBeString()
    }),
  )
})

test('whatever the bytes, a header is read or refused, and what is read is written so again', () => {
  const first = fc.constantFrom(0x02, 0x03, 0x00, 0x7e)
  const flags = fc.constantFrom(0x40, 0x53, 0x50, 0x5b, 0x43, 0x60, 0x80)
  const format = fc.constantFrom(0x00, 0x02, 0x33, 0x44, 0x50, 0x04)
  const size = fc.constantFrom(104, 1_374, 1_000, 4_040, 39, 40)
  const likely = fc
    .tuple(
      first,
      flags,
      format,
      fc.constantFrom(0, 0, 0, 1),
      size,
      fc.uint8Array({ minLength: 20, maxLength: 20 }),
    )
    .map(([a, b, c, d, length, rest]) => {
      const bytes = new Uint8Array(length)
      bytes.set([a, b, c, d, ...rest])
      bytes[8] = 0
      bytes[9] = (bytes[9] ?? 0) & 0x3f
      return bytes
    })
  let readable = 0
  fc.assert(
    fc.property(fc.oneof(likely, fc.uint8Array({ maxLength: 2_000 })), (bytes) => {
      const read = readHeader(bytes)
      if (typeof read === 'string') return expect(['size', 'header']).toContain(read)
      readable++
      expect(writeHeader(read)).toEqual(new Uint8Array(bytes.subarray(0, 24)))
      expect(frameSize(read.head)).toBe(bytes.length)
    }),
    { numRuns: 5_000 },
  )
  expect(readable).toBeGreaterThan(0)
})

test('a header in the middle of a larger buffer is read in its place', () => {
  const head: Head = { type: 'control', number: 1, clock: 2 }
  const bytes = new Uint8Array(300).fill(0xff)
  const frame = bytes.subarray(100, 204)
  frame.set(writeHeader({ head, kid: 3, counter: 4 }))
  expect(readHeader(frame)).toEqual({ head, kid: 3, counter: 4 })
})

test('[LINE-63] what is sealed opens, and no more once any bit of header, sound or tag is another', async () => {
  const key = await direction()
  const head: Head = { type: 'control', number: 7, clock: 9 }
  const plain = crypto.getRandomValues(new Uint8Array(64))
  const frame = await seal(subtle, key, new SealCounter(41), head, plain)
  expect(readHeader(frame)).toEqual({ head, kid: 1, counter: 41 })
  expect(await open(subtle, key, { counter: 41 }, frame)).toEqual(plain)
  for (let bit = 0; bit < frame.length * 8; bit++) {
    const changed = new Uint8Array(frame)
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    const read = readHeader(changed)
    if (typeof read === 'string') continue
    expect(await open(subtle, key, read, changed)).toBeNull()
  }
  expect(await open(subtle, await direction(2), { counter: 41 }, frame)).toBeNull()
})

test('[LINE-66] sound of another size than its bucket is not sealed: a size would tell of it', async () => {
  const key = await direction()
  const head: Head = { type: 'control', number: 0, clock: 0 }
  expect(seal(subtle, key, new SealCounter(), head, new Uint8Array(63))).rejects.toThrow(RangeError)
})

test('[LINE-63] the counter ends before it repeats', () => {
  const counter = new SealCounter(Number.MAX_SAFE_INTEGER)
  expect(counter.take()).toBe(Number.MAX_SAFE_INTEGER)
  expect(() => counter.take()).toThrow(RangeError)
})
