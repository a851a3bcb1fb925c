// docs/line-vectors.json is what the source makes, and the source does what it says.
import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { lineVectors, VECTORS } from '../../scripts/line-vectors.ts'
import { Unpacker } from '../../src/audio/pack.ts'

const text = readFileSync(VECTORS, 'utf8')
const vectors = JSON.parse(text)
const unpacker = new Unpacker()

test('docs/line-vectors.json is what the source makes: bun scripts/line-vectors.ts', async () => {
  expect(text).toBe(await lineVectors())
})

for (const { name, samples, packed } of vectors.packing.frames) {
  test(`packed: ${name}`, () => {
    const pcm = new Int16Array(samples.length)
    // In a bucket larger than it.
    const bytes = new Uint8Array(packed.length / 2 + 9)
    bytes.set(Buffer.from(packed, 'hex'))
    expect(unpacker.unpack(bytes, pcm)).toBe(true)
    expect([...pcm]).toEqual(samples)
  })
}

for (const { name, samples, packed } of vectors.packing.refused) {
  test(`refused: ${name}`, () => {
    expect(unpacker.unpack(Buffer.from(packed, 'hex'), new Int16Array(samples))).toBe(false)
  })
}

test('equal rates give the same samples, later', () => {
  const { input, output, delay } = vectors.resampling.streams.find(
    (each: { from: number; to: number; pace: number }) => each.from === each.to && each.pace === 1,
  )
  expect(output.slice(delay)).toEqual(input.slice(0, -delay))
})
