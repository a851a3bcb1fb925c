/**
 * When sound was captured, by the clock of the worker. A source says where in its own time a piece lies, and nothing is
 * known of that time but that a piece cannot arrive before it was captured: the quickest piece sets the offset. What
 * comes much later than that waited somewhere, as after a freeze, and is not worth sending: it would stay delay for good.
 * Times in ms.
 */

/** Later than this: too late. */
const LATE = 60
/** Of nothing but late pieces for so long: the source has another clock now. */
const ANEW_AFTER = 500
/** The clocks of source and worker may drift apart by so much, as a share. */
const DRIFT = 1e-3

export class SourceClock {
  #offset: number | null = null
  #lastAt = Number.NEGATIVE_INFINITY
  #lateSince: number | null = null

  /** When the piece began that lies at `at` in the source's time and is here `now`; null when it is too late. */
  place(at: number, duration: number, now: number): number | null {
    const offset = now - at - duration
    // Sound does not go back; clocks do: Chromium tells the first piece of a track by that of the page, 100s of ms off.
    if (at < this.#lastAt) this.#offset = null
    this.#lastAt = at
    this.#offset = Math.min((this.#offset ?? offset) + DRIFT * duration, offset)
    if (offset - this.#offset > LATE) {
      this.#lateSince ??= now
      if (now - this.#lateSince < ANEW_AFTER) return null
      this.#offset = offset
    }
    this.#lateSince = null
    return at + this.#offset
  }
}
