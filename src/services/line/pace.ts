/**
 * How much one seat may send: sound no faster than it sounds, and so many hellos and control frames. Kept with the
 * seat, so that who connects again gets no new allowance. Refilled when asked: it needs no timer and allocates nothing.
 */
import type { Millis } from '../../core/ids.ts'

/** Sound that may come in a second, in ms of itself: clocks differ, and a link that stood still is made up for. */
const SOUND_PER_SECOND = 1_100
/** Sound that may come at once, in ms of itself. */
export const SOUND_AT_ONCE = 1_000
/** Hellos and control frames. A page sends twenty a second, and all that it could not send while its link stood still. */
const WORDS_PER_SECOND = 60
export const WORDS_AT_ONCE = 400

export class Pace {
  #sound = SOUND_AT_ONCE
  #words = WORDS_AT_ONCE
  #at: Millis

  constructor(now: Millis) {
    this.#at = now
  }

  /** Takes a frame of so many ms of sound, or nothing when it is too early. */
  takeSound(milliseconds: number, now: Millis): boolean {
    this.#refill(now)
    if (this.#sound < milliseconds) return false
    this.#sound -= milliseconds
    return true
  }

  takeWord(now: Millis): boolean {
    this.#refill(now)
    if (this.#words < 1) return false
    this.#words--
    return true
  }

  #refill(now: Millis): void {
    const span = now - this.#at
    if (span === 0) return
    this.#at = now
    this.#sound = Math.min(SOUND_AT_ONCE, this.#sound + (span * SOUND_PER_SECOND) / 1000)
    this.#words = Math.min(WORDS_AT_ONCE, this.#words + (span * WORDS_PER_SECOND) / 1000)
  }
}
