import { expect, test } from 'bun:test'
import { bucketBytes, RAW_BUCKET } from '../protocol/line.ts'
import { Unpacker } from './pack.ts'
import { BUCKET_HOLD, BucketPacker, FIRST_BUCKET } from './pack-bucket.ts'

const SAMPLES = 2_000
const silence = new Int16Array(SAMPLES)
/** Noise of so many bits: it packs to about as many sixteenths of raw. */
const noise = (bits: number) => Int16Array.from({ length: SAMPLES }, () => (Math.random() - 0.5) * 2 ** bits)
const out = () => new Uint8Array(2 * SAMPLES)

test('buckets are parts of raw, rounded up', () => {
  expect([0, 1, 2, 3].map((bucket) => bucketBytes(SAMPLES, bucket))).toEqual([1_000, 1_334, 2_000, 4_000])
  expect(bucketBytes(1, 0)).toBe(1)
})

test('[LINE-66] silence, whispers and speech go out in the same bucket', () => {
  const packer = new BucketPacker({ raw: false })
  for (const [now, pcm] of [silence, noise(2), noise(4), silence].entries()) {
    expect(packer.put(pcm, out(), now * 100_000)).toBe(FIRST_BUCKET)
  }
})

test('[LINE-66] a frame too large moves the call up, and it comes down a size at a time when none was for 10 s', () => {
  const packer = new BucketPacker({ raw: false })
  expect(packer.put(noise(15), out(), 0)).toBe(RAW_BUCKET)
  expect(packer.put(silence, out(), BUCKET_HOLD - 1)).toBe(RAW_BUCKET)
  expect(packer.put(noise(14), out(), BUCKET_HOLD - 1)).toBe(RAW_BUCKET)
  expect(packer.put(silence, out(), 2 * BUCKET_HOLD - 2)).toBe(RAW_BUCKET)
  expect(packer.put(silence, out(), 2 * BUCKET_HOLD - 1)).toBe(RAW_BUCKET - 1)
  expect(packer.put(noise(6), out(), 2 * BUCKET_HOLD)).toBe(RAW_BUCKET - 1)
  expect(packer.put(silence, out(), 3 * BUCKET_HOLD - 1)).toBe(RAW_BUCKET - 1)
  expect(packer.put(silence, out(), 3 * BUCKET_HOLD)).toBe(FIRST_BUCKET)
  expect(packer.put(silence, out(), 9 * BUCKET_HOLD)).toBe(FIRST_BUCKET)
})

test('what is in a bucket is the frame, packed and padded, or raw', () => {
  const packer = new BucketPacker({ raw: false })
  const unpacker = new Unpacker()
  for (const bits of [1, 4, 6, 15, 3]) {
    const pcm = noise(bits)
    const bytes = out().fill(0xaa)
    const bucket = packer.put(pcm, bytes, 0)
    const back = new Int16Array(SAMPLES)
    if (bucket === RAW_BUCKET) expect(new Int16Array(bytes.buffer)).toEqual(pcm)
    else {
      expect(unpacker.unpack(bytes.subarray(0, bucketBytes(SAMPLES, bucket)), back)).toBe(true)
      expect(back).toEqual(pcm)
    }
  }
})

test('a raw call is raw from the first frame to the last', () => {
  const packer = new BucketPacker({ raw: true })
  for (const now of [0, 1, 100_000]) expect(packer.put(silence, out(), now)).toBe(RAW_BUCKET)
})
