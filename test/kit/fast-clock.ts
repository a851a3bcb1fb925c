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

  /** `speed`: so many times as fast. `failed` hears what an alarm threw; unless given, the test fails. */
  constructor(speed: number, failed?: (error: unknown) => void) {
    this.#speed = speed
    this.#timer = setInterval(() => {
      try {
        this.#wheel.advance(this.now())
      } catch (error) {
        if (failed === undefined) throw error
        failed(error)
      }
    }, 2)
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
