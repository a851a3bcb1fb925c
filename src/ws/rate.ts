/**
 * A token bucket: so many a minute, with a burst at once. Refilled when asked, so it needs no timer.
 */
import type { Millis } from '../core/ids.ts'

export class Bucket {
  readonly #size: number
  readonly #perMilli: number
  #left: number
  #at: Millis

  constructor(perMinute: number, burst: number, now: Millis) {
    this.#size = burst
    this.#perMilli = perMinute / 60_000
    this.#left = burst
    this.#at = now
  }

  /** Takes so many, or none when there are too few. */
  take(count: number, now: Millis): boolean {
    this.#left = Math.min(this.#size, this.#left + (now - this.#at) * this.#perMilli)
    this.#at = now
    if (this.#left < count) return false
    this.#left -= count
    return true
  }
}
