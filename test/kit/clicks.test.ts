import { expect, test } from 'bun:test'
import { steepestTone, unsteadiest } from './clicks.ts'

const RATE = 48_000
const TONE = 1_000
const CROSS = 144

/** Half as loud as can be; from the middle on its phase is another, at once or faded over so many samples. */
function tone(phase = 0, fade = 0): Float32Array {
  const wave = (i: number, shift: number) => 0.5 * Math.sin((2 * Math.PI * TONE * 1.0005 * i) / RATE + shift)
  return Float32Array.from({ length: RATE / 2 }, (_, i) => {
    const after = Math.min(1, Math.max(0, (i - RATE / 4) / Math.max(fade, 1e-9)))
    const share = 0.5 - 0.5 * Math.cos(Math.PI * after)
    return wave(i, 0) * (1 - share) + wave(i, phase) * share
  })
}

test('nothing clicks in a tone, nor where it is faded into another', () => {
  for (const samples of [tone(), tone(Math.PI, CROSS), tone(1, CROSS)]) {
    expect(steepestTone(samples, RATE, TONE)).toBeLessThan(1)
    expect(unsteadiest(samples, RATE, TONE)).toBeLessThan(0.01)
  }
})

test('a jump clicks, and so does a sample that is missing', () => {
  expect(steepestTone(tone(Math.PI), RATE, TONE)).toBeGreaterThan(1)
  const samples = tone()
  const without = Float32Array.from([...samples.subarray(0, 5_000), ...samples.subarray(5_001)])
  expect(unsteadiest(without, RATE, TONE)).toBeGreaterThan(0.01)
})
