/**
 * How much faster the other end's clock runs: the level of the jitter buffer, if nothing had been bent, cut or made up,
 * grows by it. What came earliest in each few seconds counts, as nothing comes too early.
 *
 * A clock is told from everything else that moves a level (another way through the network, a machine that gets busy, a
 * speaker that stood still) by this: it draws a straight line, and goes on with it. So the longest stretch up to now whose
 * looks lie on a line decides, by the median of the slopes between all of them; and what is known stays until a stretch
 * contradicts it by more than the jitter of a look, so that equal clocks are taken for equal.
 */

/**
 * Looks so far apart in ms, so many at most, and so many at least before anything is said; and more before anything is
 * said by what came after something that was no clock, for that may not be over.
 */
const LOOK_MS = 4_000
const MOST_LOOKS = 30
const LEAST_LOOKS = 6
const LEAST_LOOKS_AGAIN = 10
const STEP = 4
/** More than clocks that differ by the most could come to from one look to the next: 2 ms, and some jitter. */
const JUMP_MS = 3
/** What must show of a drift in all, in ms, and the most there can be. */
const SEEN_MS = 4
const MOST_DRIFT = 5e-4
/** The middle half of the looks is no further from the line than this part of what it rises, or than so many ms. */
const OFF_SHARE = 0.05
const OFF_MS = 0.75

interface Line {
  readonly slope: number
  /** Ms from its first look to its last. */
  readonly span: number
}

export class DriftEstimate {
  /** Ms taken out of the buffer beyond what was played, since the beginning. */
  #taken = 0
  /** When, and the level then; newest last. */
  readonly #times = new Float64Array(MOST_LOOKS)
  readonly #levels = new Float64Array(MOST_LOOKS)
  readonly #slopes = new Float64Array((MOST_LOOKS * (MOST_LOOKS - 1)) / 2)
  #count = 0
  #highest = Number.NEGATIVE_INFINITY
  #until = Number.NEGATIVE_INFINITY
  /** Something stood still since the last look. */
  #isDisturbed = false
  drift = 0

  took(ms: number): void {
    this.#taken += ms
  }

  /** Sound was missing, or too much waited: the speaker, the link or the machine stood still. */
  disturbed(): void {
    this.#isDisturbed = true
  }

  /** What comes from now on has nothing to do with what was; the drift itself stays until it is seen again. */
  startAgain(): void {
    this.#count = 0
    this.#highest = this.#until = Number.NEGATIVE_INFINITY
  }

  /** The level when something came. */
  note(now: number, level: number): void {
    if (Number.isNaN(level)) return
    this.#highest = Math.max(this.#highest, level + this.#taken)
    if (now < this.#until) return
    if (this.#until > Number.NEGATIVE_INFINITY) this.#look(now, this.#highest)
    this.#highest = Number.NEGATIVE_INFINITY
    this.#until = now + LOOK_MS
  }

  #look(now: number, level: number): void {
    const [times, levels] = [this.#times, this.#levels]
    if (this.#count > 0) {
      const since = now - (times[this.#count - 1] as number)
      const jump = level - (levels[this.#count - 1] as number) - this.drift * since
      // A few such jumps in the middle of what is remembered would look like a slope.
      if (this.#isDisturbed || Math.abs(jump) > JUMP_MS) {
        for (let i = 0; i < this.#count; i++) levels[i] = (levels[i] as number) + jump
      }
    }
    this.#isDisturbed = false
    if (this.#count === MOST_LOOKS) {
      times.copyWithin(0, 1)
      levels.copyWithin(0, 1)
      this.#count--
    }
    times[this.#count] = now
    levels[this.#count++] = level
    if (this.#count >= LEAST_LOOKS) this.#estimate()
  }

  #estimate(): void {
    const line = this.#longestLine()
    if (line === null || Math.abs(line.slope) > 1.2 * MOST_DRIFT) return
    const { slope, span } = line
    const drift = Math.abs(slope) * span < SEEN_MS ? 0 : Math.min(MOST_DRIFT, Math.max(-MOST_DRIFT, slope))
    if (Math.abs(drift - this.drift) * span >= SEEN_MS) this.drift = drift
  }

  #longestLine(): Line | null {
    for (let first = 0; first === 0 || this.#count - first >= LEAST_LOOKS_AGAIN; first += STEP) {
      const line = this.#line(first)
      if (line !== null) return line
    }
    return null
  }

  /** Of the looks from this one on, if they lie on one. */
  #line(first: number): Line | null {
    const [times, levels] = [this.#times, this.#levels]
    const rise = (a: number, b: number) => (levels[b] as number) - (levels[a] as number)
    const since = (a: number, b: number) => (times[b] as number) - (times[a] as number)
    let count = 0
    for (let a = first; a < this.#count; a++) {
      for (let b = a + 1; b < this.#count; b++) this.#slopes[count++] = rise(a, b) / since(a, b)
    }
    const slope = quarter(this.#slopes.subarray(0, count).sort(), 2)
    const span = since(first, this.#count - 1)
    count = 0
    for (let a = first; a < this.#count; a++) this.#slopes[count++] = rise(first, a) - slope * since(first, a)
    const off = this.#slopes.subarray(0, count).sort()
    const spread = quarter(off, 3) - quarter(off, 1)
    return spread > Math.max(OFF_MS, OFF_SHARE * Math.abs(slope) * span) ? null : { slope, span }
  }
}

function quarter(sorted: Float64Array, which: 1 | 2 | 3): number {
  return sorted[(which * sorted.length) >> 2] as number
}
