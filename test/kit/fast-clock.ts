/** A clock that runs faster than the real one, for real programs whose deadlines a test does not want to sit out. */
import type { Millis } from '../../src/core/ids.ts'
import type { Alarm, Clock } from '../../src/core/ports.ts'
import { Wheel } from '../../src/core/wheel.ts'

export class FastClock implements Clock {
  readonly #speed: number
  readonly #origin = Date.now()
  readonly #start = performance.now()
  readonly #wheel = new Wheel(this.#origin)
  readonly #timer: ReturnType<typeof setInterval>

  /** So many times as fast. */
  constructor(speed: number) {
    this.#speed = speed
    this.#timer = setInterval(() => this.#wheel.advance(this.now()), 2)
  }

  now(): Millis {
    return Math.floor(this.#origin + (performance.now() - this.#start) * this.#speed)
  }

  alarm(at: Millis, ring: () => void): Alarm {
    return this.#wheel.set(at, ring)
  }

  close(): void {
    clearInterval(this.#timer)
  }
}
