/** The low-pass filter of a resampler: a windowed sinc, one row of taps for each place between two input samples. */

/** Decibels by which images and aliases are weaker. 16 bits have 98. */
const ATTENUATION = 100
/** The same for equal rates, where the filter works only while a stream is steered: 32 taps. */
const ATTENUATION_STEERED = 80
const TAPS_STEERED = 32
/** Nobody hears beyond this. */
const AUDIBLE = 20_000
/** From this rate on, the fold around half the rate lies beyond what is heard and may be shared by the slopes. */
const WIDE_RATE = 44_100
/** The longest half, in periods of the lower rate: delay and work are bounded by it. */
const LONGEST_HALF = 36
/** Rows over a sample, at full band, for a straight line between two to be near enough. */
const GRAIN = 1_024
/** Numbers in a table; a ratio that needs more has fewer rows and goes between them. */
const MOST_NUMBERS = 1 << 18

export class Kernel {
  /** Taps of a row, a multiple of 4. */
  readonly taps: number
  /** Rows over one input sample. There is one row more, so that each has a next. */
  readonly count: number
  /** Whether each step of the ratio falls on a row, and then how many rows lie between two steps. */
  readonly exact: boolean
  readonly perUnit: number
  readonly rows: Float64Array

  /** `up` is how many steps the ratio of the rates divides an input sample into. */
  constructor(from: number, to: number, up: number) {
    const low = Math.min(from, to)
    const { half, cutoff, attenuation } = from === to ? steering(from) : slopes(low)
    this.taps = 4 * Math.ceil((half * from) / low / 2)
    const band = cutoff / from
    const needed = Math.ceil(GRAIN * 2 * band)
    const perUnit = Math.ceil(needed / up)
    this.exact = perUnit * up * this.taps <= MOST_NUMBERS
    this.perUnit = this.exact ? perUnit : 0
    this.count = this.exact ? perUnit * up : needed
    this.rows = table(this.taps, this.count, band, 0.1102 * (attenuation - 8.7))
  }
}

interface Filter {
  /** Periods of the lower rate on each side. */
  readonly half: number
  /** Hz at which half the amplitude is left. */
  readonly cutoff: number
  readonly attenuation: number
}

/**
 * Flat to 20 kHz wherever the lower rate holds that. What lies between there and half the rate may fold onto itself,
 * which buys a slope twice as wide: half the delay and half the work. Below, folding would be heard, and the slope ends
 * at half the rate.
 */
function slopes(low: number): Filter {
  const flat = low >= WIDE_RATE ? Math.max(AUDIBLE, (low * AUDIBLE) / 48_000) : low * 0.42
  const stop = low >= WIDE_RATE ? low - flat : low / 2
  // Kaiser's estimate of the length for a slope.
  const half = (ATTENUATION - 8) / (2.285 * 2 * Math.PI * ((stop - flat) / low)) / 2
  return {
    half: Math.min(LONGEST_HALF, Math.ceil(half)),
    cutoff: (flat + stop) / 2,
    attenuation: ATTENUATION,
  }
}

/** Cut off at half the rate exactly: at whole samples it is a one among noughts. */
function steering(rate: number): Filter {
  return { half: TAPS_STEERED / 2, cutoff: rate / 2, attenuation: ATTENUATION_STEERED }
}

/** `band` is the cutoff in cycles per input sample. Each row sums to one, so that no row has a level of its own. */
function table(taps: number, count: number, band: number, beta: number): Float64Array {
  const rows = new Float64Array((count + 1) * taps)
  const half = taps / 2
  const scale = bessel(beta)
  for (let row = 0; row <= count; row++) {
    let sum = 0
    for (let tap = 0; tap < taps; tap++) {
      const t = tap - (half - 1) - row / count
      const edge = 1 - (t / half) ** 2
      const window = edge > 0 ? bessel(beta * Math.sqrt(edge)) / scale : 0
      const value = sinc(2 * band * t) * window
      rows[row * taps + tap] = value
      sum += value
    }
    for (let tap = 0; tap < taps; tap++) rows[row * taps + tap] = (rows[row * taps + tap] as number) / sum
  }
  return rows
}

/** Zero where it is zero, which sin(pi) of a float is not. */
function sinc(x: number): number {
  if (x === 0) return 1
  return Number.isInteger(x) ? 0 : Math.sin(Math.PI * x) / (Math.PI * x)
}

/** The modified Bessel function I0, by its series. */
function bessel(x: number): number {
  let sum = 1
  let term = 1
  for (let k = 1; term > sum * 1e-17; k++) {
    term *= (x / (2 * k)) ** 2
    sum += term
  }
  return sum
}
