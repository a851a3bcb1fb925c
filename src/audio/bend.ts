/** Reads a ring a little faster or slower than it was filled, and exactly where that is asked for. */
import { Kernel } from './resample-kernel.ts'
import type { Ring } from './ring.ts'

/** How fast a fraction of a sample is worked off after a bend: half a sample in 0.2 s at 48 kHz, which nobody hears. */
const PARKING = 5e-5

/**
 * While the ratio is 1 samples are copied. Otherwise each is made of 32 around its place, by a windowed sinc. When the
 * ratio returns to 1 the place lies between two samples; it is eased to the nearest, and copying goes on from there.
 */
export class Bend {
  readonly #kernel: Kernel
  /** Beyond the ring's `at`, from 0 to 1 sample. */
  #offset = 0

  /** Builds a table; some milliseconds. */
  constructor(rate: number) {
    this.#kernel = new Kernel(rate, rate, 1)
  }

  /** Samples that must lie in the ring behind those that are read. Before them, as many must be readable. */
  get reserve(): number {
    return this.#kernel.taps / 2 + 2
  }

  /** From the next read on, copying. */
  reset(): void {
    this.#offset = 0
  }

  /**
   * Fills `out`, taking `out.length * ratio` samples from the ring, which must hold them and the reserve. Returns
   * whether they were copied.
   */
  read(ring: Ring, out: Float32Array, ratio: number): boolean {
    if (ratio !== 1 || this.#offset !== 0) {
      this.#between(ring, out, ratio)
      return false
    }
    const { held, at } = ring
    for (let i = 0; i < out.length; i++) out[i] = held[at + i] as number
    ring.at += out.length
    return true
  }

  #between(ring: Ring, out: Float32Array, ratio: number): void {
    const { held } = ring
    const { rows, taps, count: grain } = this.#kernel
    const before = taps / 2 - 1
    const drift = ratio - 1
    let at = ring.at - before
    let offset = this.#offset
    for (let n = 0; n < out.length; n++) {
      const fine = offset * grain
      const below = Math.floor(fine)
      const weight = fine - below
      const row = below * taps
      const next = row + taps
      // Sums of their own, so that no addition waits for the one before it.
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
      // Between two samples at full scale a wave may be louder than both; the speaker could not play that either.
      out[n] = Math.min(1, Math.max(-1, low + weight * (b + d - low)))
      at++
      offset += drift === 0 ? towardsWhole(offset) : drift
      if (offset >= 1) {
        offset -= 1
        at++
      } else if (offset < 0) {
        offset += 1
        at--
      }
    }
    ring.at = at + before
    this.#offset = offset
  }
}

/** The next bit of the way to the nearest whole sample. */
function towardsWhole(offset: number): number {
  return offset > 0.5 ? Math.min(PARKING, 1 - offset) : -Math.min(PARKING, offset)
}
