/** A clock as one process sees it. What was set in a process that was killed never rings. */
import type { Millis } from '../../src/core/ids.ts'
import type { Alarm, Clock } from '../../src/core/ports.ts'

export class ProcessClock implements Clock {
  readonly #clock: Clock
  readonly #alarms: Alarm[] = []
  #alive = true

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get alive(): boolean {
    return this.#alive
  }

  kill(): void {
    this.#alive = false
    for (const alarm of this.#alarms) alarm.cancel()
  }

  now(): Millis {
    return this.#clock.now()
  }

  alarm(at: Millis, ring: () => void): Alarm {
    const alarm = this.#clock.alarm(at, ring)
    this.#alarms.push(alarm)
    return alarm
  }
}
