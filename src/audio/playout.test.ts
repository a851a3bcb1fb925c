import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { playoutRig, type RigOptions, steepest, voice } from '../../test/kit/playout-rig.ts'
import { random } from '../../test/kit/random.ts'
import { Bend } from './bend.ts'
import { Playout } from './playout.ts'
import { Ring } from './ring.ts'

const RATE = 48_000

/** A number of its own for each of 2^16 samples in a row. */
const counting = (_: number, sample: number) => (sample % 65_536) / 32_768 - 1
/** A sample says when it was captured; linear, so that bends and cross-fades keep it true. */
const stamp = (seconds: number) => seconds / 1_000
const tone = (hertz: number) => (seconds: number) => 0.5 * Math.sin(2 * Math.PI * hertz * seconds)
const NOISE = 48_000
const hiss = Float32Array.from({ length: NOISE }, () => 0)
const chance = random(7)
for (let i = 0; i < NOISE; i++) hiss[i] = (chance.below(65_536) / 32_768 - 1) * 0.5
const noise = (_: number, sample: number) => hiss[sample % NOISE] as number

/** Ms from the microphone to when a sample was rendered, from a stamp that was heard. */
function delays({ out, at }: ReturnType<typeof playoutRig>, from: number, to: number): number[] {
  const all: number[] = []
  for (let i = 0; i < out.length; i += 128) {
    if (at(i) >= from && at(i) < to) all.push(at(i) - (out[i] as number) * 1e6)
  }
  return all.sort((a, b) => a - b)
}

const median = (sorted: number[]) => sorted[sorted.length >> 1] as number

/** The amplitude of a tone, and what is beside it, by the sine that fits best. In dB. */
function snr(samples: Float32Array, frequency: number): number {
  let [ss, cc, sc, ys, yc] = [0, 0, 0, 0, 0]
  samples.forEach((y, i) => {
    const s = Math.sin(2 * Math.PI * frequency * i)
    const c = Math.cos(2 * Math.PI * frequency * i)
    ss += s * s
    cc += c * c
    sc += s * c
    ys += y * s
    yc += y * c
  })
  const a = (ys * cc - yc * sc) / (ss * cc - sc * sc)
  const b = (yc * ss - ys * sc) / (ss * cc - sc * sc)
  const rest = samples.reduce((sum, y, i) => {
    const phase = 2 * Math.PI * frequency * i
    return sum + (y - a * Math.sin(phase) - b * Math.cos(phase)) ** 2
  }, 0)
  return 10 * Math.log10((a * a + b * b) / 2 / (rest / samples.length))
}

/** A ring with this much of a signal, and room before it. */
function ringOf(signal: (seconds: number) => number, seconds: number): Ring {
  const ring = new Ring(RATE * (seconds + 1), 64)
  const from = ring.grow(RATE * seconds)
  for (let i = from; i < ring.end; i++) ring.held[i] = signal((i - from) / RATE)
  return ring
}

describe('at rest', () => {
  for (const burst of [128, 480, 512]) {
    test(`samples arrive bit for bit and in order, taken in bursts of ${burst}`, () => {
      const { out, trace } = playoutRig({ seconds: 90, signal: counting, burst })
      let [exact, wrong, quiet] = [0, 0, 0]
      for (let i = burst; i < out.length; i++) {
        // After a bend the fraction of a sample is worked off first.
        const [before, after] = [trace[Math.floor(i / burst)], trace[Math.floor(i / burst) + 1]]
        quiet = before?.ratio === 1 && after?.ratio === 1 ? quiet + 1 : 0
        if (quiet < RATE / 2 || out[i] === 0) continue
        exact++
        if (out[i] !== counting(0, Math.round(((out[i - 1] as number) + 1) * 32_768) + 1)) wrong++
      }
      expect(wrong).toBe(0)
      expect(exact).toBeGreaterThan(60 * RATE)
    })
  }

  test('nothing is resampled, and a tone is what it was', () => {
    const { out } = playoutRig({ seconds: 12, signal: tone(997) })
    expect(snr(out.subarray(8 * RATE, 12 * RATE), 997 / RATE)).toBeGreaterThan(120)
  })
})

describe('a bend', () => {
  test('of 0.2 % keeps 85 dB of any voice, and a tone only has another frequency', () => {
    for (const [hertz, least] of [
      [200, 85],
      [997, 85],
      [3_001, 85],
      [9_001, 75],
    ] as const) {
      for (const ratio of [1.002, 0.998, 1.0003]) {
        const out = new Float32Array(RATE)
        new Bend(RATE).read(ringOf(tone(hertz), 2), out, ratio)
        expect(snr(out, (hertz * ratio) / RATE)).toBeGreaterThan(least)
      }
    }
  })

  test('that changes all the time keeps to the wave', () => {
    const bend = new Bend(RATE)
    const ring = ringOf(tone(997), 3)
    const piece = new Float32Array(128)
    let place = 0
    let [power, beside] = [0, 0]
    for (let i = 0; i < 700; i++) {
      const ratio = 1 + 0.002 * Math.sin(i / 30)
      bend.read(ring, piece, ratio)
      for (const y of piece) {
        power += y * y
        beside += (y - tone(997)(place / RATE)) ** 2
        place += ratio
      }
    }
    expect(10 * Math.log10(power / beside)).toBeGreaterThan(85)
  })

  test('that is over ends on a whole sample within half a second, and what follows is exact', () => {
    const bend = new Bend(RATE)
    const ring = ringOf(tone(440), 3)
    const out = new Float32Array(1_000)
    bend.read(ring, out, 1.0013)
    expect(bend.read(ring, out, 1)).toBe(false)
    for (let i = 0; i < 24; i++) bend.read(ring, out, 1)
    const { at } = ring
    expect(bend.read(ring, out, 1)).toBe(true)
    expect(out).toEqual(ring.held.slice(at, at + 1_000))
  })
})

describe('nothing clicks', () => {
  const troubles: Record<string, Partial<RigOptions>> = {
    'where it begins': { seconds: 2 },
    'where frames are lost': { lost: (number) => number % 37 === 36 || number % 101 < 3 },
    'where a link stalls and what was late is cut': { stalls: [[7_000, 300]] },
    'where the speaker stalls': { speakerStalls: [[7_000, 180]] },
    'where frames are late': { jitter: 45, burst: 512 },
    'where the speaker stands still before anything is played': { speakerStalls: [[5, 2_500]], seconds: 5 },
    'where the rate is bent': { driftPpm: -450, seconds: 20 },
    'where it starts again': {
      before: (playout, at) => Math.floor(at) % 700 === 0 && playout.restart(false),
    },
  }
  for (const [where, trouble] of Object.entries(troubles)) {
    test(where, () => {
      const signals = [tone(180), tone(440), tone(997), tone(7_001), voice, noise]
      for (const signal of signals) {
        const { out } = playoutRig({ seconds: 12, signal, ...trouble })
        const own = steepest(Float32Array.from({ length: RATE }, (_, i) => signal(i / RATE, i)))
        // Half of full scale is crossed in 3 ms: what that adds to a step, and what lies between the samples of noise.
        expect(steepest(out)).toBeLessThan(own * (signal === noise ? 1.3 : 1) + 0.012)
      }
    })
  }
})

describe('the timeline', () => {
  test('holds where frames are lost: what follows is played when it should be', () => {
    const { out } = playoutRig({ seconds: 15, signal: stamp, lost: (n) => n === 950 || n === 951 })
    const before = 9.4 * RATE
    const expected = (out[before] as number) * 1e6
    for (const after of [0.2, 0.3, 1, 5]) {
      const captured = (out[before + after * RATE] as number) * 1e6
      expect(Math.abs(captured - expected - after * 1_000)).toBeLessThan(0.03)
    }
  })

  test('a stall of the link: the delay is as before half a second after', () => {
    for (const burst of [128, 480, 512]) {
      const run = playoutRig({ seconds: 40, signal: stamp, stalls: [[30_003, 300]], burst, jitter: 3 })
      const before = median(delays(run, 28_000, 30_000))
      expect(median(delays(run, 30_150, 30_290))).toBeGreaterThan(before + 100)
      expect(delays(run, 30_803, 35_000).at(-1)).toBeLessThan(before + 25)
      expect(run.playout.numbers().concealedMs).toBeLessThan(340)
    }
  })

  test('a stall of the speaker: the delay is as before half a second after', () => {
    for (const burst of [128, 480, 512]) {
      const run = playoutRig({ seconds: 40, signal: stamp, speakerStalls: [[30_003, 250]], burst })
      const before = median(delays(run, 28_000, 30_000))
      expect(delays(run, 30_250, 30_340).at(-1)).toBeGreaterThan(before + 200)
      expect(delays(run, 30_803, 35_000).at(-1)).toBeLessThan(before + 20)
    }
  })

  for (const driftPpm of [480, -480]) {
    test(`clocks that differ by ${driftPpm} ppm: the delay is flat for minutes, no more than a frame is cut`, () => {
      const run = playoutRig({ seconds: 120, signal: stamp, driftPpm, jitter: 4, burst: 480 })
      const [early, late] = [delays(run, 40_000, 75_000), delays(run, 85_000, 120_000)]
      expect(Math.abs(median(early) - median(late))).toBeLessThan(8)
      // Before the drift is known: speakers take a frame's worth at once, and where in it a frame comes, wanders.
      expect(run.playout.numbers().cutMs).toBeLessThan(12)
      expect(Math.abs(run.playout.numbers().driftPpm - driftPpm)).toBeLessThan(40)
    })
  }

  test('the drift is learned in half a minute, though frames and the speaker both come in tens of ms', () => {
    for (const driftPpm of [300, 0, -120]) {
      const { playout } = playoutRig({ seconds: 45, signal: stamp, driftPpm, jitter: 3, burst: 480 })
      expect(Math.abs(playout.numbers().driftPpm - driftPpm)).toBeLessThan(12)
    }
  })

  test('a speaker that stalls again and again says nothing of clocks, and what waits is cut soon', () => {
    const speakerStalls = [20, 30, 40, 50, 60, 70, 80].map((second) => [second * 1_000, 25] as const)
    const run = playoutRig({ seconds: 90, signal: stamp, speakerStalls, burst: 480, jitter: 2 })
    expect(Math.abs(run.playout.numbers().driftPpm)).toBeLessThan(15)
    expect(run.playout.numbers().underruns).toBeLessThanOrEqual(1)
    const before = median(delays(run, 10_000, 20_000))
    for (const [at] of speakerStalls) {
      expect(delays(run, at + 30, at + 200).at(-1)).toBeGreaterThan(before + 10)
      expect(delays(run, at + 600, at + 9_000).at(-1)).toBeLessThan(before + 8)
    }
  })

  test('another way through the network is not taken for a drift', () => {
    const delay = (at: number) => (at < 30_000 ? 10 : 50)
    const { playout } = playoutRig({ seconds: 60, signal: stamp, delay, burst: 480 })
    expect(Math.abs(playout.numbers().driftPpm)).toBeLessThan(15)
    expect(playout.numbers().concealedMs).toBeLessThan(80)
  })

  test('a speaker that stands still for long: a second waits at most, and the newest is kept', () => {
    const run = playoutRig({ seconds: 25, signal: stamp, speakerStalls: [[10_000, 10_000]] })
    expect(delays(run, 20_025, 20_080).at(-1)).toBeLessThan(1_100)
    expect(delays(run, 20_600, 25_000).at(-1)).toBeLessThan(80)
  })
})

describe('a restart', () => {
  test('throws away what waits, fades out, and counts go on', () => {
    const playout = new Playout(RATE)
    const loud = new Float32Array(RATE / 2).fill(0.5)
    const out = new Float32Array(480)
    playout.push(loud, 0)
    playout.render(out, 0)
    playout.restart(true)
    expect(playout.waiting).toBe(0)
    playout.render(out, 10)
    expect(out[0]).toBeWithin(0.45, 0.51)
    expect(steepest(out)).toBeLessThan(0.01)
    expect(out.subarray(200).every((y) => y === 0)).toBe(true)
    expect(playout.numbers().margin).toBe(20)
    expect(playout.numbers().cutMs).toBeCloseTo(490, -1)
  })

  test('before anything sounds says nothing', () => {
    const playout = new Playout(RATE)
    const out = new Float32Array(128).fill(1)
    playout.restart(false)
    playout.render(out, 0)
    expect(out.every((y) => y === 0)).toBe(true)
  })
})

test('made up sound goes on with a tone, and is gone after 20 ms', () => {
  const playout = new Playout(RATE)
  const sound = Float32Array.from({ length: 4_800 }, (_, i) => tone(400)(i / RATE))
  const out = new Float32Array(4_800 + 1_920)
  for (let at = 0; at < 4_800; at += 480) playout.push(sound.subarray(at, at + 480), 0)
  for (let at = 0; at < out.length; at += 128) playout.render(out.subarray(at, at + 128), (at * 1_000) / RATE)
  const end = out.subarray(4_800, 4_800 + 96)
  end.forEach((y, i) => {
    expect(Math.abs(y - tone(400)((4_800 + i) / RATE))).toBeLessThan(0.02)
  })
  expect(out.subarray(4_800 + 960).every((y) => y === 0)).toBe(true)
})

test('whatever comes: numbers in range, nothing louder than full scale, and every sample accounted for', () => {
  const event = fc.oneof(
    fc.record({ render: fc.constantFrom(128, 128, 128, 480, 512, 1, 4_800), stall: fc.nat(20) }),
    fc.record({
      push: fc.oneof(fc.nat(1_000), fc.nat(60_000)),
      missing: fc.oneof(fc.constant(0), fc.nat(3_000)),
    }),
    fc.record({ push: fc.constant(480), missing: fc.constant(0) }),
    fc.record({ restart: fc.boolean() }),
  )
  const rates = fc.constantFrom(8_000, 44_100, 48_000, 192_000)
  const all = fc.array(event, { maxLength: 120 })
  fc.assert(
    fc.property(rates, all, fc.integer(), (rate, events, seed) => {
      const playout = new Playout(rate)
      const { below } = random(seed)
      let [now, came, played] = [0, 0, 0]
      /** Samples that left the ring to be heard. */
      const used = (act: () => void): number => {
        const [waiting, before] = [playout.waiting, playout.numbers()]
        act()
        const after = playout.numbers()
        const made = after.concealedMs - before.concealedMs - (after.cutMs - before.cutMs)
        return waiting - playout.waiting + (made * rate) / 1_000
      }
      for (const one of events) {
        if ('push' in one) {
          playout.push(
            Float32Array.from({ length: one.push }, () => below(65_536) / 32_768 - 1),
            one.missing,
          )
          came += one.push
        } else if ('restart' in one) played += used(() => playout.restart(one.restart))
        else {
          now += one.stall
          const out = new Float32Array(one.render)
          played += used(() => playout.render(out, now))
          now += (one.render * 1_000) / rate
          expect(out.every((y) => Math.abs(y) <= 1.1)).toBe(true)
        }
        expect(playout.waiting).toBeWithin(0, rate * 1.02)
      }
      const { concealedMs, cutMs } = playout.numbers()
      const [made, cut] = [(concealedMs * rate) / 1_000, (cutMs * rate) / 1_000]
      expect(Math.abs(came + made - cut - playout.waiting - played)).toBeLessThan(1)
    }),
    { numRuns: 40 },
  )
})
