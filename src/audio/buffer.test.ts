import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { type LineSimResult, lineSim } from '../../test/kit/line-sim.ts'
import { BufferControl, MOBILE_BUFFER } from './buffer.ts'

function exactShare({ played }: LineSimResult, from: number): number {
  const late = played.filter(({ at }) => at >= from)
  return late.filter(({ ratio }) => ratio === 1).length / late.length
}

test('before there is enough it is silent, then plays as it came, and makes up what is missing', () => {
  const control = new BufferControl()
  expect(control.step(0, 5, 2.5)).toEqual({ play: 'silence', ratio: 1, cut: 0 })
  expect(control.step(3, 10, 2.5)).toEqual({ play: 'sound', ratio: 1, cut: 0 })
  expect(control.step(6, 1, 2.5)).toEqual({ play: 'concealment', ratio: 1, cut: 0 })
  expect(control.underruns).toBe(1)
  // Too late by 2.5 with 7.5 at hand: the margin grows to both. What was made up stands for no lost sound.
  expect(control.arrived(0)).toBe(0)
  expect(control.margin).toBe(10)
})

test('a lost frame is made up once, in all, and asks for no margin', () => {
  const control = new BufferControl()
  control.step(0, 10, 2.5)
  expect(control.arrived(10)).toBe(10)
  control.step(3, 1, 2.5)
  control.step(6, 1, 2.5)
  expect(control.arrived(10)).toBe(5)
  expect(control.margin).toBe(8)
})

test('sound that comes too late asks for more margin, up to the ceiling', () => {
  const control = new BufferControl()
  control.step(0, 10, 2.5)
  for (let i = 1; i < 50; i++) {
    for (let j = 0; j < 4; j++) control.step(i * 10 + j, 0, 2.5)
    control.arrived(0)
    control.step(i * 10 + 5, control.margin + 2.5, 2.5)
  }
  expect(control.margin).toBe(80)
})

test('a buffer that never had its margin runs dry: that says nothing against the margin', () => {
  const control = new BufferControl()
  control.step(0, 10, 2.5)
  control.step(1, 3, 2.5)
  control.step(2, 1, 2.5)
  control.arrived(0)
  expect(control.margin).toBe(8)
})

test('frames that come whole are waited for until one can be used up and the margin is left', () => {
  const control = new BufferControl()
  control.arrived(0, 20)
  expect(control.step(0, 20, 2.5).play).toBe('silence')
  control.arrived(0, 20)
  expect(control.step(20, 40, 2.5).play).toBe('sound')
})

test('after a second of nothing it waits as in the beginning, and what is made up ends', () => {
  const control = new BufferControl()
  control.step(0, 10, 10)
  for (let now = 10; now <= 1_010; now += 10) control.step(now, 0, 10)
  expect(control.concealed).toBe(1_000)
  expect(control.step(1_020, 0, 10).play).toBe('silence')
  control.arrived(0, 10)
  expect(control.step(1_030, 10, 2.5).play).toBe('silence')
  expect(control.step(1_040, 20, 2.5).play).toBe('sound')
})

test('equal clocks: bit for bit most of the time, no drift is learned, and the delay finds its floor', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1e6 }), fc.constantFrom(0, 2, 5, 20), (seed, jitter) => {
      const run = lineSim({ seed, seconds: 120, jitter })
      expect(Math.abs(run.control.driftPpm)).toBeLessThan(30)
      expect(exactShare(run, 10_000)).toBeGreaterThan(jitter <= 2 ? 0.5 : 0.2)
      expect(run.control.underruns).toBeLessThanOrEqual(8)
      expect(run.cuts).toBeLessThanOrEqual(1)
      // 10 ms of link, 10 of frame, the jitter, the margin and its dead band.
      expect(run.delays(100_000).p99).toBeLessThan(20 + jitter + 25)
    }),
    { numRuns: 10 },
  )
})

test('clocks that differ by up to 500 ppm: the drift is learned, the delay flat, nothing cut', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: -490, max: 490 }), (seed, driftPpm) => {
      const run = lineSim({ seed, seconds: 180, driftPpm, jitter: 5 })
      expect(Math.abs(run.control.driftPpm - driftPpm)).toBeLessThan(40)
      expect(run.cuts).toBe(0)
      const [early, late] = [run.delays(90_000, 100_000), run.delays(170_000, 180_000)]
      expect(Math.abs(early.p50 - late.p50)).toBeLessThan(12)
      expect(run.delays(30_000).most).toBeLessThan(60)
    }),
    { numRuns: 6 },
  )
})

/** The drift that is known after each of these levels; they are 4 s apart. */
function drifts(levels: readonly number[]): number[] {
  const control = new BufferControl()
  control.step(0, 10, 2.5)
  control.arrived(0, 10, 0)
  let taken = 0
  return levels.map((level, i) => {
    const before = control.step((i + 1) * 4_000, 10, 2.5)
    taken += (before.ratio - 1) * 2.5
    control.arrived(0, 10, level - taken)
    return control.driftPpm
  })
}

test('levels that rise evenly are a clock; levels that rise as they like, or too fast, are none', () => {
  const learned = (levels: readonly number[]) => drifts(levels).at(-1)
  expect(learned([0, 1.2, 2.4, 3.6, 4.8, 6])).toBeCloseTo(300, 0)
  expect(learned([0, 4, 2.5, 5.5, 4.8, 8])).toBe(0)
  expect(learned([0, 4, 8, 12, 16, 20])).toBe(0)
  expect(learned([0, 1.2, 2.4, 43.6, 44.8, 46, 47.2])).toBeWithin(299, 301)
  expect(learned([0, 1.2, 2.4, 20, 21.2, 22.4, 5, 6.2, 7.4, 30, 31.2, 12, 13.2])).toBeWithin(299, 301)
})

test('what creeps for a while and then stops is no clock, and a clock that is known stays known', () => {
  for (const [ppm, from] of [
    [0, 12],
    [0, 40],
    [100, 80],
    [-250, 60],
  ] as const) {
    // Within 20 s the way gets shorter by 8 ms, as where a machine has less and less to do.
    const level = (s: number) => (ppm * s) / 1_000 + 8 * Math.min(1, Math.max(0, (s - from) / 20))
    const known = drifts(Array.from({ length: 45 }, (_, i) => level(i * 4) + 0.3 * Math.sin(i * 7)))
    for (const [i, drift] of known.entries())
      if (ppm === 0 || i > 13) expect(Math.abs(drift - ppm)).toBeLessThan(12)
  }
})

test('the rate is never bent by more than 0.25 %, nor faster than 300 ppm in a second', () => {
  const { played } = lineSim({ seconds: 60, driftPpm: 500, jitter: 60, stalls: [[20_000, 120]] })
  for (const [i, { at, ratio }] of played.entries()) {
    expect(Math.abs(ratio - 1)).toBeLessThanOrEqual(2.5e-3)
    const before = played[i - 1]
    // Time spent dry counts too: the speaker went on.
    if (before !== undefined && at - before.at < 5)
      expect(Math.abs(ratio - before.ratio)).toBeLessThanOrEqual((3.1e-4 * (at - before.at)) / 1_000)
  }
})

test('a stall of 300 ms: the delay is back within half a second, and what it cost is what stalled', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 20_000, max: 20_050 }), (seed, at) => {
      const run = lineSim({ seed, seconds: 40, jitter: 3, stalls: [[at, 300]] })
      const before = run.delays(19_000, 20_000).p50
      expect(run.delays(at + 800, at + 2_000).most).toBeLessThan(before + 20)
      expect(run.concealed).toBeLessThan(320)
      expect(run.offeredMobileAt).toBeNull()
      expect(Math.abs(run.control.driftPpm)).toBeLessThan(150)
    }),
    { numRuns: 25 },
  )
})

test('stalls that come again and again do not wind the margin or the drift up', () => {
  const stalls = Array.from({ length: 12 }, (_, i) => [10_000 + i * 5_000, 300] as const)
  const run = lineSim({ seconds: 100, jitter: 3, stalls })
  expect(run.delays(75_000, 100_000).p50).toBeLessThan(100)
  expect(Math.abs(run.control.driftPpm)).toBeLessThan(60)
})

test('what a bad half minute added to the delay is gone a minute and a half later, and is not cut away at once', () => {
  const stalls = Array.from({ length: 30 }, (_, i) => [10_000 + i * 1_000, 70] as const)
  const run = lineSim({ seconds: 150, jitter: 3, stalls })
  const before = run.delays(8_000, 10_000).p50
  expect(run.delays(41_000, 50_000).p50).toBeGreaterThan(before + 30)
  expect(run.delays(130_000, 150_000).p50).toBeLessThan(before + 10)
})

test('lost frames hold the timeline: the delay is what it was, and no margin is asked for', () => {
  const run = lineSim({ seconds: 60, lost: (number) => number % 50 === 0 })
  expect(run.delays(5_000).most).toBeLessThan(45)
  expect(run.control.margin).toBeLessThanOrEqual(12)
})

test('the narrow profile keeps its own margin', () => {
  const run = lineSim({ seconds: 90, frame: 20, bytes: 1_000, buffer: MOBILE_BUFFER, capacity: 450_000 })
  expect(run.control.margin).toBeGreaterThanOrEqual(20)
  expect(run.policy.dropped).toBe(0)
})

test('whatever comes, steps are in range', () => {
  const events = fc.array(
    fc.oneof(
      fc.record({ fill: fc.double({ min: 0, max: 2_000, noNaN: true }), after: fc.nat(50) }),
      fc.record({ missing: fc.nat(5_000) }),
    ),
    { maxLength: 300 },
  )
  fc.assert(
    fc.property(events, (all) => {
      const control = new BufferControl()
      let now = 0
      for (const event of all) {
        if ('missing' in event) {
          expect(control.arrived(event.missing)).toBeWithin(0, event.missing + 1)
          continue
        }
        now += event.after
        const { ratio, cut } = control.step(now, event.fill, 128 / 48)
        expect(Math.abs(ratio - 1)).toBeLessThanOrEqual(2.5e-3)
        expect(cut).toBeWithin(0, event.fill + 1e-9)
        expect(control.margin).toBeWithin(3, 80.1)
      }
    }),
  )
})

test('the same run twice is the same', () => {
  const run = () =>
    lineSim({ seed: 9, seconds: 20, jitter: 30, driftPpm: 200, stalls: [[8_000, 300]] }).played
  expect(run()).toEqual(run())
})
