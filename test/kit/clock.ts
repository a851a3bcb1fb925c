/** A clock that the test winds. */
import type { Millis } from '../../src/core/ids.ts'
import type { Alarm, Clock } from '../../src/core/ports.ts'
import { Wheel } from '../../src/core/wheel.ts'

/** Steps in which time is wound, so that real sockets get to answer pings in between. */
const STEP: Millis = 500

export class TestClock implements Clock {
  #now: Millis
  readonly #wheel: Wheel

  constructor(now: Millis = Date.UTC(2026, 0, 1)) {
    this.#now = now
    this.#wheel = new Wheel(now)
  }

  now(): Millis {
    return this.#now
  }

  alarm(at: Millis, ring: () => void): Alarm {
    return this.#wheel.set(at, ring)
  }

  /** How many alarms are set. */
  get alarms(): number {
    return this.#wheel.size
  }

  /** Lets so much time pass, ringing what is due in order, with turns of the event loop in between. */
  async wind(span: Millis): Promise<void> {
    const until = this.#now + span
    while (this.#now < until) {
      this.#now = Math.min(until, this.#now + STEP)
      this.#wheel.advance(this.#now)
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Lets time pass at once, as a laptop that was asleep. */
  leap(span: Millis): void {
    this.#now += span
    this.#wheel.advance(this.#now)
  }
}
