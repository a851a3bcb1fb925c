/** A clock that the test winds. */
import type { Millis } from '../../src/core/ids.ts'
import type { Alarm, Clock } from '../../src/core/ports.ts'
import { TICK, Wheel } from '../../src/core/wheel.ts'

/** After so much time real sockets get their turn, to answer pings. */
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
      this.#tick(Math.min(until, this.#now + STEP))
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Lets time pass at once, as a laptop that was asleep. */
  leap(span: Millis): void {
    this.#now += span
    this.#wheel.advance(this.#now)
  }

  /** Tick by tick, so that an alarm finds the time at which it rings. */
  #tick(until: Millis): void {
    while (this.#now < until) {
      this.#now = Math.min(until, this.#now - (this.#now % TICK) + TICK)
      this.#wheel.advance(this.#now)
    }
  }
}
