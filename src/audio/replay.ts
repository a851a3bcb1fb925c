/**
 * Which counters under one key have been had, and how many were left out. On an ordered link (`window` 0) a counter is
 * new only above the last; where frames may overtake one another, one of the last `window` may also come late, once.
 * Ask before a frame is opened, because that is cheap; tell only after it was opened, because anybody can write a
 * counter into a header.
 */
export class ReplayGuard {
  readonly #window: number
  readonly #had: Uint8Array
  #last = -1
  #first = -1
  #accepted = 0

  constructor(window = 0) {
    this.#window = window
    this.#had = new Uint8Array(window)
  }

  /** The highest counter accepted; -1 before the first. */
  get last(): number {
    return this.#last
  }

  get accepted(): number {
    return this.#accepted
  }

  /** Counters between the first and the last accepted that never came. */
  get gaps(): number {
    return this.#last < 0 ? 0 : this.#last - this.#first + 1 - this.#accepted
  }

  isNew(counter: number): boolean {
    if (counter > this.#last) return true
    if (counter < this.#first || this.#last - counter >= this.#window) return false
    return this.#had[counter % this.#window] === 0
  }

  /** Of a frame that was opened. False, and nothing changed, when it is not new. */
  accept(counter: number): boolean {
    if (!this.isNew(counter)) return false
    if (counter > this.#last) {
      // What falls out of the window makes room; a jump past the whole window clears it all, and no more than that.
      if (counter - this.#last >= this.#window) this.#had.fill(0)
      else for (let at = this.#last + 1; at < counter; at++) this.#had[at % this.#window] = 0
      if (this.#first < 0) this.#first = counter
      this.#last = counter
    }
    if (this.#window > 0) this.#had[counter % this.#window] = 1
    this.#accepted++
    return true
  }
}
