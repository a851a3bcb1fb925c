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
  readonly #failed: (error: unknown) => void
  #timer: ReturnType<typeof setTimeout>
  #closed = false

  /** `failed` hears what an alarm threw. */
  constructor(failed: (error: unknown) => void) {
    this.#failed = failed
    this.#timer = this.#nextTick()
  }

  now(): Millis {
    return Math.floor(this.#origin + performance.now())
  }

  alarm(at: Millis, ring: () => void): Alarm {
    return this.#wheel.set(at, ring)
  }

  /** Rings no more. Twice is fine. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  /** At the next tick of the wheel: a timer in a rhythm of its own would double what an alarm may be late. */
  #nextTick(): ReturnType<typeof setTimeout> {
    return setTimeout(() => this.#tick(), TICK - (this.now() % TICK))
  }

  #tick(): void {
    try {
      this.#wheel.advance(this.now())
    } catch (error) {
      this.#failed(error)
    }
    if (!this.#closed) this.#timer = this.#nextTick()
  }
}
