/**
 * The process's clock and its one timer. Instants start from the wall clock and then follow the monotonic one, so that
 * a wall clock that is set while calls run moves no deadline and turns no row of the log around.
 */
import type { Millis } from './core/ids.ts'
import type { Alarm, Clock } from './core/ports.ts'
import { TICK, Wheel } from './core/wheel.ts'

export class SystemClock implements Clock {
  readonly #origin = Date.now() - performance.now()
  readonly #wheel = new Wheel(this.now())
  readonly #timer: ReturnType<typeof setInterval>

  /** `failed` hears what an alarm threw. */
  constructor(failed: (error: unknown) => void) {
    this.#timer = setInterval(() => {
      try {
        this.#wheel.advance(this.now())
      } catch (error) {
        failed(error)
      }
    }, TICK)
  }

  now(): Millis {
    return Math.floor(this.#origin + performance.now())
  }

  alarm(at: Millis, ring: () => void): Alarm {
    return this.#wheel.set(at, ring)
  }

  /** Rings no more. Twice is fine. */
  close(): void {
    clearInterval(this.#timer)
  }
}
