/** What can be told of sound that was recorded: how clean a tone is, when pings came, how late, how loud. */
import { CHIRP_MS, chirp } from './ping.ts'

/** Before an onset it was still for so long. */
const PAUSE_MS = 80
/** Louder than this is sound: above the noise of 16 bits and dither, far below a voice. */
const STILL = 0.01
const REFINE_MS = 4
/** Of a chirp that was heard through codecs and over gaps, and not of anything else. */
const LIKENESS = 0.5

/** Recorded sound whose samples have a time: that of `Date.now()`, but finer. */
export interface Recording {
  readonly samples: Float32Array
  readonly sampleRate: number
  /** Time of the sample, in ms. Samples that the recorder missed are a step in it. */
  readonly timeOf: (index: number) => number
}

/**
 * Power of a tone over that of all the rest, in dB, by least squares; the frequency is searched within a hertz of the one
 * given, as the clocks of two devices are never quite the same.
 */
export function toneSnr(samples: Float32Array, sampleRate: number, frequency: number): number {
  let [low, high] = [frequency - 1, frequency + 1]
  const rest = (hertz: number) => fitTone(samples, sampleRate, hertz).rest
  // The rest has one valley as wide as the reciprocal of the length: look for it in steps, then close in.
  const step = sampleRate / samples.length / 4
  let best = frequency
  for (let hertz = low; hertz <= high; hertz += step) if (rest(hertz) < rest(best)) best = hertz
  ;[low, high] = [best - step, best + step]
  const golden = (Math.sqrt(5) - 1) / 2
  for (let i = 0; i < 24; i++) {
    const a = high - golden * (high - low)
    const b = low + golden * (high - low)
    if (rest(a) < rest(b)) high = b
    else low = a
  }
  const fit = fitTone(samples, sampleRate, (low + high) / 2)
  return 10 * Math.log10(fit.tone / Math.max(fit.rest, 1e-20))
}

/** Which part of the power in `samples` is this tone, from 0 to 1; 0 of silence. */
export function toneShare(samples: Float32Array, sampleRate: number, frequency: number): number {
  const { tone, rest } = fitTone(samples, sampleRate, frequency)
  return tone + rest === 0 ? 0 : tone / (tone + rest)
}

/** Mean power of the tone at this frequency that fits best, and of what is left; a constant belongs to neither. */
function fitTone(
  samples: Float32Array,
  sampleRate: number,
  frequency: number,
): { tone: number; rest: number } {
  const turn = (2 * Math.PI * frequency) / sampleRate
  const { length } = samples
  let [ss, sc, cc, s1, c1, x1, sx, cx, xx] = [0, 0, 0, 0, 0, 0, 0, 0, 0]
  // In plain numbers: this is most of what listening costs, and the browsers that are listened to share the machine.
  for (let i = 0; i < length; i++) {
    const s = Math.sin(turn * i)
    const c = Math.cos(turn * i)
    const x = samples[i] ?? 0
    ss += s * s
    sc += s * c
    cc += c * c
    s1 += s
    c1 += c
    x1 += x
    sx += s * x
    cx += c * x
    xx += x * x
  }
  // Normal equations with the means taken out.
  const [ass, asc, acc] = [ss - (s1 * s1) / length, sc - (s1 * c1) / length, cc - (c1 * c1) / length]
  const [bs, bc] = [sx - (s1 * x1) / length, cx - (c1 * x1) / length]
  const determinant = ass * acc - asc * asc
  const [a, b] = [(bs * acc - bc * asc) / determinant, (bc * ass - bs * asc) / determinant]
  const tone = (a * bs + b * bc) / length
  const all = (xx - (x1 * x1) / length) / length
  return { tone: Math.max(0, tone), rest: Math.max(0, all - tone) }
}

/** Root mean square, in dB below full scale; of silence -Infinity. */
export function loudness(samples: Float32Array): number {
  let sum = 0
  for (const sample of samples) sum += sample * sample
  return 10 * Math.log10(sum / samples.length)
}

export interface Onset {
  /** Of the first sample of the ping. */
  readonly index: number
  /** Of what was heard there with the chirp, from -1 to 1. */
  readonly correlation: number
}

/** Pings in the order in which they are heard: what begins after a pause, and is rather a chirp than not. */
export function onsets(samples: Float32Array, sampleRate: number, still = STILL): Onset[] {
  const pattern = chirp(sampleRate)
  const pause = (PAUSE_MS / 1_000) * sampleRate
  const found: Onset[] = []
  // What sounds from the first sample on did not begin with it.
  let lastLoud = 0
  for (let i = 0; i + pattern.length * 1.1 < samples.length; i++) {
    if (Math.abs(samples[i] ?? 0) < still) continue
    if (i - lastLoud > pause) found.push(refine(samples, pattern, i, sampleRate))
    lastLoud = i
  }
  return found.filter(({ correlation }) => correlation > LIKENESS)
}

/** The place near by where the chirp fits best. */
function refine(samples: Float32Array, pattern: Float32Array, near: number, sampleRate: number): Onset {
  const reach = Math.round((REFINE_MS / 1_000) * sampleRate)
  let best: Onset = { index: near, correlation: -1 }
  for (let index = Math.max(0, near - reach); index <= near + reach; index++) {
    const correlation = correlate(samples, index, pattern)
    if (correlation > best.correlation) best = { index, correlation }
  }
  return best
}

/** Normalised, from -1 to 1. */
function correlate(samples: Float32Array, from: number, pattern: Float32Array): number {
  let [xy, xx, yy] = [0, 0, 0]
  for (let i = 0; i < pattern.length; i++) {
    const [x, y] = [samples[from + i] ?? 0, pattern[i] ?? 0]
    xy += x * y
    xx += x * x
    yy += y * y
  }
  return xx === 0 ? 0 : xy / Math.sqrt(xx * yy)
}

/**
 * How much later each ping was heard than said, in ms, in order of time. A ping is taken for the last one said before it
 * was heard, so delays must be below the period of the pings.
 */
export function delays(said: readonly number[], heard: readonly number[]): number[] {
  return heard.flatMap((at) => {
    const before = said.filter((time) => time <= at).at(-1)
    return before === undefined ? [] : [at - before]
  })
}

/** When the pings in a recording began. */
export function pingTimes({ samples, sampleRate, timeOf }: Recording): number[] {
  return onsets(samples, sampleRate).map(({ index }) => timeOf(index))
}

/** The tones of the pings, each without its edges, where the whole of it was recorded. */
export function tones(samples: Float32Array, sampleRate: number, length = 500): Float32Array[] {
  const from = Math.round(((CHIRP_MS + 100) / 1_000) * sampleRate)
  const size = Math.round((length / 1_000) * sampleRate)
  return onsets(samples, sampleRate)
    .map(({ index }) => samples.subarray(index + from, index + from + size))
    .filter((tone) => tone.length === size)
}

/** Longest time in ms in which nothing is as loud as `still`. */
export function longestSilence(samples: Float32Array, sampleRate: number, still = 1e-3): number {
  let [longest, since] = [0, 0]
  for (const [i, sample] of samples.entries()) {
    if (Math.abs(sample) >= still) since = i + 1
    else longest = Math.max(longest, i + 1 - since)
  }
  return (1_000 * longest) / sampleRate
}

/** First index from which on nothing is as loud as `still`; the length if it ends loud. */
export function silentFrom(samples: Float32Array, still = 1e-3): number {
  const last = samples.findLastIndex((sample) => Math.abs(sample) >= still)
  return last + 1
}

/** Loudness in dB of pieces of so many ms, one after the other. */
export function levels(samples: Float32Array, sampleRate: number, piece = 10): number[] {
  const size = Math.round((piece / 1_000) * sampleRate)
  return Array.from({ length: Math.floor(samples.length / size) }, (_, i) =>
    loudness(samples.subarray(i * size, (i + 1) * size)),
  )
}

/** The value below which this part of them lies, from 0 to 1: the nearest one, none between two. NaN of none. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}
