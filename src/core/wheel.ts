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

class Entry implements Alarm {
  readonly at: Millis
  ring: (() => void) | null
  readonly slot: Set<Entry>

  constructor(at: Millis, ring: () => void, slot: Set<Entry>) {
    this.at = at
    this.ring = ring
    this.slot = slot
    slot.add(this)
  }

  cancel(): void {
    this.ring = null
    this.slot.delete(this)
  }
}

export class Wheel {
  readonly #slots: Set<Entry>[] = Array.from({ length: SLOTS }, () => new Set())
  /** Number of the last tick that was looked at. */
  #done: number

  constructor(now: Millis) {
    this.#done = Math.floor(now / TICK)
  }

  /** Sets an alarm. One that is due already rings with the next tick. */
  set(at: Millis, ring: () => void): Alarm {
    const tick = Math.max(Math.ceil(at / TICK), this.#done + 1)
    return new Entry(at, ring, this.#slot(tick))
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
      for (const entry of this.#slot(until - steps + i)) if (entry.at <= now) due.push(entry)
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
    return this.#slots.reduce((sum, slot) => sum + slot.size, 0)
  }

  #slot(tick: number): Set<Entry> {
    return this.#slots[tick % SLOTS] as Set<Entry>
  }
}
