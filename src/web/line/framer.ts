/**
 * From pieces of the device's sound to frames of the wire. Frames follow one another by the count of samples alone. The
 * capture clock, and so the numbers of frames, also run where sound was lost: what is not there has had its numbers.
 */
import { Resampler, toPcm } from '../../audio/resample.ts'
import { DURATIONS, RATES, rawSize } from '../../protocol/line.ts'
import type { Profile } from './messages.ts'

/** Sound that begins later after the last than by this is not what followed it. In ms. */
const JUMP = 30
/** What a piece is cut into, so that no resampler has to hold more: a share of a second. */
const BLOCKS_PER_SECOND = 100

/** `pcm` is used again for the next frame. `clock`: when its first sample was captured, in ms. */
export type TakeFrame = (pcm: Int16Array, number: number, clock: number) => void

export class Framer {
  readonly #wireRate: number
  readonly #duration: number
  readonly #pcm: Int16Array
  #number: number
  #filled = 0
  /** When the first sample of the frame at work was captured, and the next one will be, if nothing is lost. */
  #frameAt = 0
  #nextAt: number | null = null
  #rate = 0
  #resampler: Resampler | null = null
  #block = new Float32Array(0)
  #blockPcm = new Int16Array(0)
  /** Ms that the resampler holds sound back. */
  #delay = 0

  /** `first`: the number of the first frame. */
  constructor(profile: Profile, first: number) {
    this.#wireRate = RATES[profile.rate] ?? RATES[0]
    this.#duration = DURATIONS[profile.duration] ?? DURATIONS[2]
    this.#pcm = new Int16Array(rawSize(profile) / 2)
    this.#number = first
  }

  /** Of the frame at work. */
  get number(): number {
    return this.#number
  }

  /** `at`: when the first sample was captured, in ms. Passes over what has no rate of a device. */
  push(samples: Float32Array, rate: number, at: number, take: TakeFrame): void {
    const resampler = this.#resamplerFor(rate)
    if (resampler === null) return
    if (this.#nextAt !== null && at - this.#nextAt > JUMP) this.#jump(at)
    this.#nextAt = at + (samples.length * 1_000) / rate
    const size = Math.ceil(rate / BLOCKS_PER_SECOND)
    for (let from = 0; from < samples.length; from += size) {
      const block = samples.subarray(from, from + size)
      const count = resampler.push(block, this.#block)
      toPcm(this.#block, this.#blockPcm, count)
      this.#cut(count, at + (from * 1_000) / rate - this.#delay, take)
    }
  }

  #cut(count: number, at: number, take: TakeFrame): void {
    for (let from = 0; from < count; ) {
      if (this.#filled === 0) this.#frameAt = at + (from * 1_000) / this.#wireRate
      const part = Math.min(count - from, this.#pcm.length - this.#filled)
      this.#pcm.set(this.#blockPcm.subarray(from, from + part), this.#filled)
      this.#filled += part
      from += part
      if (this.#filled < this.#pcm.length) continue
      this.#filled = 0
      const { number } = this
      this.#number = (number + 1) >>> 0
      take(this.#pcm, number, this.#frameAt)
    }
  }

  /** The frame at work is given up. */
  #jump(at: number): void {
    const began = this.#filled === 0 ? (this.#nextAt ?? at) : this.#frameAt + this.#delay
    this.#filled = 0
    this.#number = (this.#number + Math.round((at - began) / this.#duration)) >>> 0
  }

  #resamplerFor(rate: number): Resampler | null {
    if (rate === this.#rate) return this.#resampler
    this.#rate = rate
    this.#resampler = null
    try {
      const block = Math.ceil(rate / BLOCKS_PER_SECOND)
      const resampler = new Resampler({ from: rate, to: this.#wireRate, block })
      this.#block = new Float32Array(resampler.most(block))
      this.#blockPcm = new Int16Array(this.#block.length)
      this.#delay = (resampler.delay * 1_000) / rate
      this.#resampler = resampler
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
    }
    return this.#resampler
  }
}
