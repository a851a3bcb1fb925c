/**
 * How much faster the other end's clock runs: the level of the jitter buffer, if nothing had been bent, cut or made up,
 * grows by it. What came earliest in each few seconds counts, as nothing comes too early.
 *
 * A clock is told from everything else that moves a level (another way through the network, a machine that gets busy, a
 * speaker that stood still) by this: it draws a straight line, and goes on with it. So the longest stretch up to now whose
 * looks lie on a line decides, by the median of the slopes between all of them; and what is known stays until a stretch
 * contradicts it by more than the jitter of a look, so that equal clocks are taken for equal. Where a level jumps, the line
 * goes on beside: only looks between the same jumps are compared.
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
/** Between looks with no jump between them. */
const LEAST_SLOPES = 9
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
  /** Ms from its first look to its last, less those across jumps. */
  readonly span: number
}

export class DriftEstimate {
  /** Ms taken out of the buffer beyond what was played, since the beginning. */
  #taken = 0
  /** When, and the level then; newest last. */
  readonly #times = new Float64Array(MOST_LOOKS)
  readonly #levels = new Float64Array(MOST_LOOKS)
  /** Of each look, between which jumps it lies. */
  readonly #stretches = new Float64Array(MOST_LOOKS)
  #stretch = 0
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

  /** Sound was missing: the speaker, the link or the machine stood still. */
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
    const [times, levels, stretches] = [this.#times, this.#levels, this.#stretches]
    const last = this.#count - 1
    if (last >= 0) {
      const expected = (levels[last] as number) + this.drift * (now - (times[last] as number))
      if (this.#isDisturbed || Math.abs(level - expected) > JUMP_MS) this.#stretch++
    }
    this.#isDisturbed = false
    if (this.#count === MOST_LOOKS) {
      for (const all of [times, levels, stretches]) all.copyWithin(0, 1)
      this.#count--
    }
    times[this.#count] = now
    levels[this.#count] = level
    stretches[this.#count++] = this.#stretch
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

  /** Of the looks from this one on, if they lie on one, but for where it jumped. */
  #line(first: number): Line | null {
    const [times, levels, stretches] = [this.#times, this.#levels, this.#stretches]
    let [count, span] = [0, 0]
    for (let a = first; a < this.#count; a++) {
      for (let b = a + 1; b < this.#count && stretches[b] === stretches[a]; b++) {
        const since = (times[b] as number) - (times[a] as number)
        if (b === a + 1) span += since
        this.#slopes[count++] = ((levels[b] as number) - (levels[a] as number)) / since
      }
    }
    if (count < LEAST_SLOPES) return null
    const slope = quarter(this.#slopes.subarray(0, count).sort(), 2)
    const off = this.#slopes.subarray(0, this.#count - first)
    for (let from = first; from < this.#count; ) {
      let to = from
      let sum = 0
      for (; to < this.#count && stretches[to] === stretches[from]; to++) {
        off[to - first] = (levels[to] as number) - slope * (times[to] as number)
        sum += off[to - first] as number
      }
      for (let i = from; i < to; i++) off[i - first] = (off[i - first] as number) - sum / (to - from)
      from = to
    }
    off.sort()
    const spread = quarter(off, 3) - quarter(off, 1)
    return spread > Math.max(OFF_MS, OFF_SHARE * Math.abs(slope) * span) ? null : { slope, span }
  }
}

function quarter(sorted: Float64Array, which: 1 | 2 | 3): number {
  return sorted[(which * sorted.length) >> 2] as number
}
