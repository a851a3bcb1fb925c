/** How loud a side is, frame by frame, for its meter and for the other side. */

/** What counts as silence, in dB below full scale; 16 bits hold nothing weaker. */
export const SILENCE_DB = -96
const FULL_SCALE = 32_768

export interface Level {
  /** Root of the mean square, in dB below full scale: 0 for a square wave as loud as there is, -3 for a sine. */
  readonly rms: number
  /** The loudest sample, likewise. */
  readonly peak: number
}

/** Gathers frames, at a hundred a second, until the meter asks, at fifteen. */
export class Levels {
  #squares = 0
  #count = 0
  #peak = 0

  /** Allocates nothing. */
  add(pcm: Int16Array): void {
    let squares = 0
    let peak = this.#peak
    for (let i = 0; i < pcm.length; i++) {
      const sample = pcm[i] as number
      squares += sample * sample
      if (sample > peak) peak = sample
      else if (-sample > peak) peak = -sample
    }
    this.#squares += squares
    this.#count += pcm.length
    this.#peak = peak
  }

  /** The level of all that came since the last time. Silence when nothing did. */
  take(): Level {
    const rms = this.#count === 0 ? 0 : Math.sqrt(this.#squares / this.#count)
    const level = { rms: decibels(rms), peak: decibels(this.#peak) }
    this.#squares = 0
    this.#count = 0
    this.#peak = 0
    return level
  }
}

function decibels(amplitude: number): number {
  return amplitude === 0 ? SILENCE_DB : Math.max(SILENCE_DB, 20 * Math.log10(amplitude / FULL_SCALE))
}
