/**
 * The sound of a line, without a page around it: rates, packing, levels, and beside them keys, frames and the buffer.
 * A worker and worklets put these parts together. Deliberately not in this room's pure parts: the DOM, ports, sockets,
 * timers, clocks. What they work on comes in as arrays, and nothing is allocated once a call runs.
 *
 * This file changes the rate of a stream: from the device to the wire, from the wire to the device, and, for a buffer
 * that follows the clock of the other side, from a rate to very nearly the same rate.
 */
import { Kernel } from './resample-kernel.ts'

/** How far `steer` may go: drift of 500 ppm and the 0.2 % a buffer shaves, with room. */
export const STEER_LIMIT = 0.005
/** How fast what steering left over is worked off, so that copying is exact again: half a sample in 0.2 s at 48 kHz. */
const PARKING = 5e-5
/** A device outside of these is none that browsers offer. */
const LOWEST_RATE = 8_000
const HIGHEST_RATE = 384_000

export interface ResamplerOptions {
  /** Samples per second that come in. */
  readonly from: number
  /** Samples per second that go out. */
  readonly to: number
  /** The most samples that are pushed at once. */
  readonly block: number
}

/**
 * A stream at another rate. The place of each output sample is kept as a whole number of input samples, a whole
 * fraction of one, and what steering added: unsteered streams never drift against each other by rounding, and a block
 * whose length the ratio divides always gives the same number of samples (480 at 48 kHz are 2,000 at 200 kHz).
 *
 * Of equal rates and unsteered, it is a delay and nothing else: each sample comes out bit for bit.
 */
export class Resampler {
  /** What goes in comes out this many input samples later. */
  readonly delay: number
  readonly #kernel: Kernel
  /** `up / down` is the ratio in lowest terms: each output is `down / up` input samples after the last. */
  readonly #up: number
  readonly #whole: number
  readonly #part: number
  readonly #equal: boolean
  /** Input that is still needed. The next output is made of the taps from `#at` on. */
  readonly #held: Float64Array
  #at = 0
  #filled: number
  /** Beyond `#at`: this many `up`-ths of a sample. */
  #phase = 0
  /** Beyond that: what steering added, from 0 to 1 sample. */
  #offset = 0
  #pace = 1

  /** Builds a table of up to 2 MB; some milliseconds. Throws RangeError when a rate is no device's. */
  constructor({ from, to, block }: ResamplerOptions) {
    for (const rate of [from, to]) {
      if (!(Number.isInteger(rate) && rate >= LOWEST_RATE && rate <= HIGHEST_RATE)) {
        throw new RangeError(`no rate of a device: ${rate}`)
      }
    }
    const common = gcd(from, to)
    const down = from / common
    this.#up = to / common
    this.#whole = Math.floor(down / this.#up)
    this.#part = down % this.#up
    this.#equal = from === to
    this.#kernel = new Kernel(from, to, this.#up)
    const { taps } = this.#kernel
    this.delay = taps / 2
    // Silence before the first sample, so that the first block gives as many samples as each later one.
    this.#filled = taps - 1
    this.#held = new Float64Array(2 * taps + 2 * block + this.#whole + 2)
  }

  /**
   * Input used per output, relative to the two rates: 1.0005 is 500 ppm faster and shortens what waits. Anything
   * beyond the limit counts as the limit. Holds until it is called again; 1 ends it, and then the fraction of a sample
   * that was gained or lost is worked off inaudibly, until output is exact again.
   */
  steer(pace: number): void {
    const bounded = Math.min(1 + STEER_LIMIT, Math.max(1 - STEER_LIMIT, pace))
    this.#pace = Number.isNaN(bounded) ? 1 : bounded
  }

  /** Whether output is exact now: no steering, and none left over. */
  get idle(): boolean {
    return this.#pace === 1 && this.#offset === 0
  }

  /** No push of so many samples gives more than this, whatever the steering. */
  most(input: number): number {
    const step = this.#whole + this.#part / this.#up
    return Math.ceil((input + 2) / (step * (1 - STEER_LIMIT))) + 1
  }

  /** How many samples to push to get `outputs`. One more than enough where steering makes it uncertain. */
  needed(outputs: number): number {
    if (outputs <= 0) return 0
    const step = (this.#whole + this.#part / this.#up) * (this.#pace === 1 ? 1 + PARKING : this.#pace)
    const last = this.idle
      ? this.#at +
        (outputs - 1) * this.#whole +
        Math.floor(((outputs - 1) * this.#part + this.#phase) / this.#up)
      : this.#at + Math.floor((outputs - 1) * step + this.#phase / this.#up + this.#offset + 1e-9)
    return Math.max(0, last + this.#kernel.taps - this.#filled)
  }

  /**
   * Takes `input` and writes what can be made of it into `output`; returns how many. What `output` has no room for
   * comes with the next push, and counts against the block: more than two blocks held is a RangeError.
   */
  push(input: Float32Array, output: Float32Array): number {
    const held = this.#held
    if (this.#at > 0) {
      held.copyWithin(0, this.#at, this.#filled)
      this.#filled -= this.#at
      this.#at = 0
    }
    if (this.#filled + input.length > held.length) throw new RangeError('more pushed than is taken out')
    held.set(input, this.#filled)
    this.#filled += input.length
    if (!this.idle) return this.#between(output)
    if (this.#equal) return this.#copy(output)
    return this.#kernel.exact ? this.#exact(output) : this.#between(output)
  }

  /** Equal rates: the kernel would multiply one sample by one and the others by nought. */
  #copy(output: Float32Array): number {
    const { taps } = this.#kernel
    const count = Math.max(0, Math.min(output.length, this.#filled - this.#at - taps + 1))
    const from = this.#at + taps / 2 - 1
    for (let i = 0; i < count; i++) output[i] = this.#held[from + i] as number
    this.#at += count
    return count
  }

  /** Every place falls on a row of the table. */
  #exact(output: Float32Array): number {
    const held = this.#held
    const { rows, taps, perUnit } = this.#kernel
    const up = this.#up
    const whole = this.#whole
    const part = this.#part
    const stride = perUnit * taps
    const last = this.#filled - taps
    const room = output.length
    let at = this.#at
    let phase = this.#phase
    let count = 0
    while (at <= last && count < room) {
      const row = phase * stride
      // Four sums, so that no addition waits for the one before it: the engine may not regroup floats, we may.
      let a = 0
      let b = 0
      let c = 0
      let d = 0
      for (let i = 0; i < taps; i += 4) {
        a += (held[at + i] as number) * (rows[row + i] as number)
        b += (held[at + i + 1] as number) * (rows[row + i + 1] as number)
        c += (held[at + i + 2] as number) * (rows[row + i + 2] as number)
        d += (held[at + i + 3] as number) * (rows[row + i + 3] as number)
      }
      output[count++] = a + b + (c + d)
      at += whole
      phase += part
      if (phase >= up) {
        phase -= up
        at++
      }
    }
    this.#at = at
    this.#phase = phase
    return count
  }

  /** Places fall between two rows: a straight line between them is 118 dB from the true kernel. */
  #between(output: Float32Array): number {
    const held = this.#held
    const { rows, taps, count: grain } = this.#kernel
    const up = this.#up
    const step = this.#whole + this.#part / up
    const drift = (this.#pace - 1) * step
    const parking = this.#pace === 1
    let count = 0
    for (;;) {
      const place = this.#phase / up + this.#offset
      const carry = Math.floor(place)
      const at = this.#at + carry
      if (at > this.#filled - taps || count >= output.length) return count
      const fine = (place - carry) * grain
      const below = Math.floor(fine)
      const weight = fine - below
      const row = below * taps
      const next = row + taps
      let a = 0
      let b = 0
      let c = 0
      let d = 0
      for (let i = 0; i < taps; i += 2) {
        const x = held[at + i] as number
        const y = held[at + i + 1] as number
        a += x * (rows[row + i] as number)
        b += x * (rows[next + i] as number)
        c += y * (rows[row + i + 1] as number)
        d += y * (rows[next + i + 1] as number)
      }
      const low = a + c
      output[count++] = low + weight * (b + d - low)

      this.#at += this.#whole
      this.#phase += this.#part
      if (this.#phase >= up) {
        this.#phase -= up
        this.#at++
      }
      this.#offset += parking ? this.#towardsWhole(step) : drift
      if (this.#offset >= 1) {
        this.#offset -= 1
        this.#at++
      } else if (this.#offset < 0) {
        // #at may be -1 for a while; the place never goes back, so what is read never lies before the first sample.
        this.#offset += 1
        this.#at--
      }
    }
  }

  /** The next bit of the way to the nearest whole sample. */
  #towardsWhole(step: number): number {
    const most = PARKING * step
    return this.#offset > 0.5 ? Math.min(most, 1 - this.#offset) : -Math.min(most, this.#offset)
  }
}

/** Full scale is 1 and 32,768: every int16 comes back from a float as it went. */
const SCALE = 32_768

/** Into 16 bits, rounded to the nearest and clipped. `count` samples from the start of each. */
export function toPcm(samples: Float32Array, pcm: Int16Array, count: number): void {
  for (let i = 0; i < count; i++) {
    const value = Math.floor((samples[i] as number) * SCALE + 0.5)
    pcm[i] = value > 32_767 ? 32_767 : value < -32_768 ? -32_768 : value
  }
}

/** Out of 16 bits. `count` samples from the start of each. */
export function fromPcm(pcm: Int16Array, samples: Float32Array, count: number): void {
  for (let i = 0; i < count; i++) samples[i] = (pcm[i] as number) / SCALE
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b)
}
