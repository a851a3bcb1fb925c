import type { Millis } from '../core/ids.ts'
import type { Log } from '../core/ports.ts'

const PAUSE: Millis = 60_000

/** Warnings at most once a minute, so that something outside that is down does not fill the log. */
export function seldom(log: Log, now: () => Millis): (context: object, message: string) => void {
  let last: Millis = Number.NEGATIVE_INFINITY
  return (context, message) => {
    // Earlier than the last one: the clock was set back.
    if (now() >= last && now() - last < PAUSE) return
    last = now()
    log.warn(context, message)
  }
}
