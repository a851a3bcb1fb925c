import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { fromPcm, Resampler, STEER_LIMIT, toPcm } from './resample.ts'

const WIRE = 200_000
const seconds = 0.5

/** A tone from the device over 16 bits at the rate of the wire and back: what is left beside the tone, and its gain. */
function roundTrip(device: number, wire: number, hertz: number, amplitude: number) {
  const out = tone(device, seconds, hertz, amplitude)
  const up = new Resampler({ from: device, to: wire, block: device / 100 })
  const down = new Resampler({ from: wire, to: device, block: wire / 100 })
  const heard = through(down, inPcm(through(up, out)))
  const { gain, rest } = fit(heard.subarray(heard.length / 4), hertz / device)
  return { snr: 20 * Math.log10(gain / rest), gain: 20 * Math.log10(gain / amplitude), heard }
}

function tone(rate: number, length: number, hertz: number, amplitude: number): Float32Array {
  return Float32Array.from(
    { length: rate * length },
    (_, i) => amplitude * Math.sin((2 * Math.PI * hertz * i) / rate),
  )
}

/** In blocks of 10 ms, as a call does. */
function through(resampler: Resampler, input: Float32Array, block = input.length / 100 / seconds) {
  const output = new Float32Array(resampler.most(input.length))
  let count = 0
  for (let at = 0; at < input.length; at += block) {
    count += resampler.push(input.subarray(at, at + block), output.subarray(count))
  }
  return output.subarray(0, count)
}

function inPcm(samples: Float32Array): Float32Array {
  const pcm = new Int16Array(samples.length)
  const back = new Float32Array(samples.length)
  toPcm(samples, pcm, samples.length)
  fromPcm(pcm, back, samples.length)
  return back
}

/** The sine of this frequency that fits best: its amplitude, and the effective amplitude of what is beside it. */
function fit(samples: Float32Array, frequency: number) {
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
  const det = ss * cc - sc * sc
  const a = (ys * cc - yc * sc) / det
  const b = (yc * ss - ys * sc) / det
  let rest = 0
  samples.forEach((y, i) => {
    const phase = 2 * Math.PI * frequency * i
    rest += (y - a * Math.sin(phase) - b * Math.cos(phase)) ** 2
  })
  return { gain: Math.hypot(a, b), rest: Math.sqrt((2 * rest) / samples.length) }
}

describe('over the wire and back', () => {
  for (const [device, hertz] of [
    [48_000, 997],
    [48_000, 6_999],
    [48_000, 19_999],
    [44_100, 997],
    [44_100, 15_001],
  ] as const) {
    test(`a tone of ${hertz} Hz at ${device} Hz keeps 98 dB and its level`, () => {
      const { snr, gain } = roundTrip(device, WIRE, hertz, 0.5)
      expect(snr).toBeGreaterThan(98)
      expect(Math.abs(gain)).toBeLessThan(0.002)
    })
  }

  // White noise of 16 bits weighs more in a narrow band: there are fewer samples to spread it over.
  for (const device of [96_000, 192_000]) {
    test(`a loud tone at ${device} Hz loses nothing but its 16 bits`, () => {
      expect(roundTrip(device, WIRE, 6_999, 0.99).snr).toBeGreaterThan(97)
    })
  }

  test('the narrow profile keeps what it can hold, and folds nothing into it', () => {
    expect(roundTrip(48_000, 24_000, 9_999, 0.99).snr).toBeGreaterThan(97)
    const { heard } = roundTrip(48_000, 24_000, 14_001, 0.99)
    expect(Math.max(...heard.subarray(heard.length / 4))).toBeLessThan(1e-4)
  })

  test('the level is flat to 20 kHz within 0.02 dB', () => {
    for (const device of [44_100, 48_000]) {
      for (
        let hertz = 20;
        hertz <= 20_000;
        hertz = hertz * 1.9 > 20_000 && hertz < 20_000 ? 20_000 : hertz * 1.9
      ) {
        expect(Math.abs(roundTrip(device, WIRE, hertz, 0.9).gain)).toBeLessThan(0.02)
      }
    }
  })

  test('it takes less than a millisecond from 48 kHz, and as long as is said', () => {
    const up = new Resampler({ from: 48_000, to: WIRE, block: 480 })
    const down = new Resampler({ from: WIRE, to: 48_000, block: 2_000 })
    const late = up.delay / 48_000 + down.delay / WIRE
    expect(late).toBeLessThan(0.001)
    const click = new Float32Array(480 * 50)
    click[1_000] = 0.9
    const heard = through(down, through(up, click))
    const loudest = heard.reduce((best, y, i) => (y > (heard[best] as number) ? i : best), 0)
    expect(Math.abs(loudest - 1_000 - late * 48_000)).toBeLessThanOrEqual(0.5)
  })
})

const rates = fc.oneof(
  fc.constantFrom(8_000, 16_000, 24_000, 44_100, 48_000, 96_000, 192_000, 200_000),
  fc.integer({ min: 8_000, max: 200_000 }),
)

test('every rate gives the samples the ratio says, whatever the blocks', () => {
  fc.assert(
    fc.property(
      rates,
      rates,
      fc.array(fc.integer({ min: 0, max: 500 }), { maxLength: 30 }),
      (from, to, blocks) => {
        const resampler = new Resampler({ from, to, block: 500 })
        const output = new Float32Array(resampler.most(500))
        let [pushed, got] = [0, 0]
        for (const block of blocks) {
          const count = resampler.push(new Float32Array(block).fill(0.5), output)
          expect(count).toBeLessThan(resampler.most(block))
          // A constant is a constant at any rate.
          if (count > 0 && pushed > 2 * resampler.delay) expect(output[0]).toBeCloseTo(0.5, 6)
          pushed += block
          got += count
          expect(got).toBe(Math.ceil((pushed * to) / from))
        }
      },
    ),
    { numRuns: 60 },
  )
})

test('how a stream is cut into blocks changes nothing', () => {
  fc.assert(
    fc.property(fc.constantFrom(44_100, 48_000, 37_001), fc.integer({ min: 1, max: 480 }), (from, block) => {
      const input = tone(from, 0.02, 700, 0.7)
      const whole = through(new Resampler({ from, to: WIRE, block: input.length }), input, input.length)
      const cut = through(new Resampler({ from, to: WIRE, block: 480 }), input, block)
      expect(cut).toEqual(whole)
    }),
    { numRuns: 30 },
  )
})

describe('steering', () => {
  const RATE = 48_000

  test('of equal rates and unsteered, every sample comes out bit for bit', () => {
    const resampler = new Resampler({ from: RATE, to: RATE, block: 480 })
    const input = Float32Array.from({ length: 4_800 }, () => Math.random() * 2 - 1)
    const output = through(resampler, input, 480)
    expect(output.subarray(resampler.delay)).toEqual(input.subarray(0, input.length - resampler.delay))
  })

  test('a steered stream gives more or fewer samples, exactly as many as steered', () => {
    for (const pace of [1 - 5e-4, 1 + 5e-4, 1.002, 0.998]) {
      for (const [from, to] of [
        [RATE, RATE],
        [WIRE, RATE],
        [RATE, WIRE],
      ] as const) {
        const resampler = new Resampler({ from, to, block: from / 100 })
        resampler.steer(pace)
        const got = through(resampler, new Float32Array(from * seconds)).length
        expect(Math.abs(got - (to * seconds) / pace)).toBeLessThanOrEqual(1)
      }
    }
  })

  test('a tone that is steered is a clean tone of another pitch', () => {
    const resampler = new Resampler({ from: RATE, to: RATE, block: 480 })
    resampler.steer(1.0005)
    const heard = through(resampler, tone(RATE, seconds, 997, 0.5))
    const { gain, rest } = fit(heard.subarray(1_000), (997 * 1.0005) / RATE)
    expect(20 * Math.log10(gain / rest)).toBeGreaterThan(80)
  })

  test('steering that ends is worked off, and then output is exact again', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 1 - STEER_LIMIT, max: 1 + STEER_LIMIT, noNaN: true }),
        fc.integer({ min: 1, max: 50 }),
        (pace, blocks) => {
          const resampler = new Resampler({ from: RATE, to: RATE, block: 480 })
          const output = new Float32Array(resampler.most(480))
          const push = () => resampler.push(new Float32Array(480).fill(0.25), output)
          resampler.steer(pace)
          for (let i = 0; i < blocks; i++) push()
          resampler.steer(1)
          for (let i = 0; i < 25 && !resampler.idle; i++) push()
          expect(resampler.idle).toBe(true)
          // The sample with which it became exact may have carried the next one over the end of its block.
          expect(Math.abs(push() - 480)).toBeLessThanOrEqual(1)
          expect(push()).toBe(480)
          const input = Float32Array.from({ length: 480 }, () => Math.random())
          resampler.push(input, output)
          expect(output.subarray(resampler.delay, 480)).toEqual(input.subarray(0, 480 - resampler.delay))
        },
      ),
      { numRuns: 40 },
    )
  })

  test('what is needed is enough, and never more than one too many', () => {
    const paces = fc.array(fc.constantFrom(1, 1.0005, 0.9995, 1.002, 0.998), { minLength: 1, maxLength: 40 })
    fc.assert(
      fc.property(fc.constantFrom(RATE, 44_100, WIRE, 37_001), paces, (from, steps) => {
        const resampler = new Resampler({ from, to: RATE, block: 4 * 128 * 5 })
        const output = new Float32Array(128)
        let pushed = 0
        for (const pace of steps) {
          resampler.steer(pace)
          const input = new Float32Array(resampler.needed(128)).fill(0.5)
          pushed += input.length
          expect(resampler.push(input, output)).toBe(128)
          expect(output.every((y) => y > -0.1 && y < 0.6)).toBe(true)
        }
        expect(Math.abs(pushed - (steps.length * 128 * from) / RATE)).toBeLessThan(3 + pushed * 0.003)
      }),
      { numRuns: 60 },
    )
  })

  test('nonsense is bounded', () => {
    const resampler = new Resampler({ from: RATE, to: RATE, block: 4_800 })
    for (const [wild, count] of [
      [Number.NaN, 4_800],
      [Number.POSITIVE_INFINITY, 4_776],
      [-1, 4_825],
    ] as const) {
      resampler.steer(wild)
      const got = resampler.push(new Float32Array(4_800), new Float32Array(resampler.most(4_800)))
      expect(Math.abs(got - count)).toBeLessThanOrEqual(1)
    }
  })
})

test('rates that no device has are refused, and so is more than a block', () => {
  for (const rate of [0, -48_000, 7_999, 400_000, 44_100.5, Number.NaN]) {
    expect(() => new Resampler({ from: rate, to: 48_000, block: 480 })).toThrow(RangeError)
    expect(() => new Resampler({ from: 48_000, to: rate, block: 480 })).toThrow(RangeError)
  }
  const resampler = new Resampler({ from: 48_000, to: WIRE, block: 480 })
  expect(() => resampler.push(new Float32Array(4_800), new Float32Array(4_800))).toThrow(RangeError)
})

test('16 bits come back from floats as they went, and what is too loud is clipped', () => {
  const all = Int16Array.from({ length: 65_536 }, (_, i) => i - 32_768)
  const floats = new Float32Array(all.length)
  const back = new Int16Array(all.length)
  fromPcm(all, floats, all.length)
  toPcm(floats, back, all.length)
  expect(back).toEqual(all)
  toPcm(Float32Array.of(7, -7, Number.NaN), back, 3)
  expect([...back.subarray(0, 3)]).toEqual([32_767, -32_768, 0])
})
