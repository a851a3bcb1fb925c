/**
 * Sound that waits, and what was played last: one stretch of memory, so that who reads it needs no wrapping. Its content
 * moves to the front when the end is reached, about once in a second.
 */
export class Ring {
  readonly held: Float32Array
  /** The next sample to be played, and the place after the last. Both move when the ring grows. */
  at: number
  end: number
  readonly #history: number

  /** The most that waits, what may be added at once included; and how much before `at` stays readable. */
  constructor(most: number, history: number) {
    this.#history = history
    this.held = new Float32Array(history + 2 * most)
    this.at = this.end = history
  }

  get filled(): number {
    return this.end - this.at
  }

  /** Makes `count` samples of room at the end; returns where it begins. What lies there must be written over. */
  grow(count: number): number {
    if (this.end + count > this.held.length) {
      const shift = this.at - this.#history
      this.held.copyWithin(0, shift, this.end)
      this.at -= shift
      this.end -= shift
    }
    const from = this.end
    this.end += count
    return from
  }

  /** Takes out the `count` samples from `place` on. What lies before, history included, moves up. */
  takeOut(place: number, count: number): void {
    const from = this.at - this.#history
    this.held.copyWithin(from + count, from, place)
    this.at += count
  }

  /** Nothing waits, nothing was. */
  clear(): void {
    this.at = this.end = this.#history
    this.held.fill(0, 0, this.#history)
  }
}
