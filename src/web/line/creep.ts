/**
 * Finds out that sound waits longer than it did. Where a microphone is heard through an AudioContext, the browser keeps
 * a queue between the two that grows whenever the context stands still (150 ms for good after one freeze of 150 ms)
 * and that nobody can look into. But the clock of the context stands still with it, and that can be seen.
 */

/** The queue never shrinks by itself, so this much is worth the few ms of silence that a new one costs. */
const TOO_MUCH = 30
/** By this much a second the clock of a sound card may differ from the system's without anything being wrong. */
const DRIFT = 1
/** One late look is not enough: the page may have been held up between two clocks. */
const IN_A_ROW = 2

export class Creep {
  #usual: number | null = null
  #late = 0

  /** Once a second, by how many ms the context is behind. True when what is between must be made anew. */
  tell(lag: number): boolean {
    if (this.#usual === null) this.#usual = lag
    const more = lag - this.#usual
    this.#late = more > TOO_MUCH ? this.#late + 1 : 0
    if (this.#late >= IN_A_ROW) {
      this.reset()
      return true
    }
    // What is late does not become usual by and by.
    if (this.#late === 0) this.#usual += Math.min(DRIFT, more)
    return false
  }

  /** All is new: what comes next is usual. */
  reset(): void {
    this.#usual = null
    this.#late = 0
  }
}
