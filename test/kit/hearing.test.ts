import { expect, test } from 'bun:test'
import {
  delays,
  levels,
  longestSilence,
  loudness,
  onsets,
  quantile,
  silentFrom,
  toneShare,
  toneSnr,
  tones,
} from './hearing.ts'
import { chirp, pings } from './ping.ts'
import { random } from './random.ts'

const RATE = 48_000

function tone(frequency: number, noise: number, length = RATE / 2): Float32Array {
  const chance = random(7)
  const white = () => (chance.below(2 ** 20) / 2 ** 20 - 0.5) * Math.sqrt(12) * noise
  return Float32Array.from(
    { length },
    (_, i) => 0.5 * Math.sin((2 * Math.PI * frequency * i) / RATE + 1) + white(),
  )
}

test.each([20, 40, 60, 85])('a tone %d dB above white noise is found to be so', (wanted) => {
  const noise = (0.5 / Math.SQRT2) * 10 ** (-wanted / 20)
  expect(toneSnr(tone(1_000, noise), RATE, 1_000)).toBeCloseTo(wanted, 0)
})

test('a tone is found where a clock that is 500 ppm off puts it', () => {
  expect(toneSnr(tone(1_000.5, 0), RATE, 1_000)).toBeGreaterThan(100)
})

test('another tone is none of this one', () => {
  expect(toneShare(tone(1_700, 0), RATE, 1_000)).toBeLessThan(1e-6)
  expect(toneShare(tone(1_000, 0), RATE, 1_000)).toBeCloseTo(1, 3)
  expect(toneShare(new Float32Array(1_000), RATE, 1_000)).toBe(0)
})

test('a jump in the phase is heard as noise', () => {
  const samples = tone(1_000, 0)
  expect(
    toneSnr(Float32Array.from([...samples.slice(0, 9_000), ...samples.slice(9_010)]), RATE, 1_000),
  ).toBeLessThan(20)
})

test('pings are found to the sample, in noise and at any gain', () => {
  const chance = random(3)
  const samples = new Float32Array(4 * RATE)
  samples.set(pings(RATE, 1_000, 3), 12_345)
  const heard = samples.map((sample) => 0.3 * sample + (chance.below(2_000) - 1_000) / 1e6)
  const found = onsets(heard, RATE)
  expect(found.map(({ index }) => index)).toEqual([12_345, 60_345, 108_345])
  for (const { correlation } of found) expect(correlation).toBeGreaterThan(0.99)
})

test('what is cut out of a chirp lowers its correlation', () => {
  const samples = new Float32Array(RATE)
  samples.set(chirp(RATE), 10_000)
  samples.fill(0, 12_000, 13_000)
  expect(onsets(samples, RATE)[0]?.correlation).toBeLessThan(0.95)
})

test('the tone of each ping is cut out whole', () => {
  const samples = new Float32Array(2.6 * RATE)
  samples.set(pings(RATE, 1_700, 2), 0.3 * RATE)
  const found = tones(samples, RATE)
  expect(found.length).toBe(2)
  for (const each of found) expect(toneSnr(each, RATE, 1_700)).toBeGreaterThan(100)
})

test('a ping belongs to the last one said before it was heard', () => {
  expect(delays([1_000, 2_000, 3_000], [900, 1_030, 2_300, 3_031])).toEqual([30, 300, 31])
})

test('silence, levels and quantiles', () => {
  const samples = new Float32Array(RATE)
  samples.fill(0.5, 4_800, 9_600)
  samples.fill(0.5, 12_000, 24_000)
  expect(longestSilence(samples, RATE)).toBe(500)
  expect(silentFrom(samples)).toBe(24_000)
  expect(loudness(new Float32Array(10))).toBe(Number.NEGATIVE_INFINITY)
  expect(levels(samples, RATE, 100).map(Math.round).slice(0, 3)).toEqual([Number.NEGATIVE_INFINITY, -6, -9])
  expect([quantile([3, 1, 2], 0.5), quantile([1, 2, 3, 4], 0.99), quantile([], 0.5)]).toEqual([
    2,
    4,
    Number.NaN,
  ])
})
