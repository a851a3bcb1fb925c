/**
 * A timing wheel: every alarm of the process in one ring of slots, so that setting and cancelling one costs the same
 * with ten and with a hundred thousand, and the process has a single timer. It knows no clock: its owner tells it the
 * time with `advance`. Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", scheme 6.
 */
import type { Millis } from './ids.ts'
import type { Alarm } from './ports.ts'

/** Grain of the wheel: how late an alarm may be. */
export const TICK: Millis = 50
const SLOTS = 1024

/**
 * An alarm in the list of its slot; or the slot itself, as the end of its list, which is a ring of its own. A set of
 * alarms for each slot would take twice the memory, and there is an alarm for every connection.
 */
class Entry implements Alarm {
  readonly at: Millis
  ring: (() => void) | null
  #before: Entry = this
  #after: Entry = this

  constructor(at: Millis, ring: (() => void) | null) {
    this.at = at
    this.ring = ring
  }

  /** Puts an alarm last into the list that this is the end of. */
  add(entry: Entry): void {
    const last = this.#before
    entry.#before = last
    entry.#after = this
    last.#after = entry
    this.#before = entry
  }

  cancel(): void {
    this.ring = null
    this.#before.#after = this.#after
    this.#after.#before = this.#before
    this.#before = this.#after = this
  }

  /** All in the list that this is the end of, as it stands. */
  all(): Entry[] {
    const entries: Entry[] = []
    for (let entry = this.#after; entry !== this; entry = entry.#after) entries.push(entry)
    return entries
  }
}

export class Wheel {
  readonly #slots: readonly Entry[] = Array.from({ length: SLOTS }, () => new Entry(0, null))
  /** Number of the last tick that was looked at. */
  #done: number

  constructor(now: Millis) {
    this.#done = Math.floor(now / TICK)
  }

  /** Sets an alarm. One that is due already rings with the next tick. */
  set(at: Millis, ring: () => void): Alarm {
    const tick = Math.max(Math.ceil(at / TICK), this.#done + 1)
    const entry = new Entry(at, ring)
    this.#slot(tick).add(entry)
    return entry
  }

  /**
   * Rings what is due by `now`, slot by slot. Alarms set meanwhile wait for the next call. An alarm that throws does
   * not stop the others; the first thing thrown is thrown again at the end.
   */
  advance(now: Millis): void {
    const until = Math.floor(now / TICK)
    const steps = Math.min(until - this.#done, SLOTS)
    if (steps <= 0) return
    const due: Entry[] = []
    for (let i = 1; i <= steps; i++) {
      for (const entry of this.#slot(until - steps + i).all()) if (entry.at <= now) due.push(entry)
    }
    this.#done = until
    // Far sleeps (a laptop lid, a wound clock) pass many slots at once: ring in the order things were due.
    due.sort((a, b) => a.at - b.at)
    let failure: { error: unknown } | null = null
    for (const entry of due) {
      const { ring } = entry
      entry.cancel()
      try {
        ring?.()
      } catch (error) {
        failure ??= { error }
      }
    }
    if (failure !== null) throw failure.error
  }

  /** How many alarms are set. */
  get size(): number {
    return this.#slots.reduce((sum, slot) => sum + slot.all().length, 0)
  }

  #slot(tick: number): Entry {
    return this.#slots[tick % SLOTS] as Entry
  }
}
