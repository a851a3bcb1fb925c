/** What the page is told of the call: the numbers of all parts, put together, and what follows from them. */
import { clockOf } from '../../audio/acks.ts'
import type { Control } from '../../audio/control.ts'
import { type Level, SILENCE_DB } from '../../audio/levels.ts'
import type { Millis } from '../../client/ports.ts'
import { Least } from './least.ts'
import type { Delay, Played } from './messages.ts'
import type { Receiver } from './receiver.ts'

/** A round trip longer than this is a clock of before a reload. */
const LONGEST_ROUND_TRIP: Millis = 10_000
const RATE_EVERY: Millis = 1_000

export const NOTHING_PLAYED: Played = {
  fill: 0,
  margin: 0,
  driftPpm: 0,
  ratio: 1,
  underruns: 0,
  concealedMs: 0,
  cutMs: 0,
}

/** Bytes, as Mbit/s of the last whole second. */
export class Throughput {
  #bytes = 0
  #since: Millis
  #mbits = 0

  constructor(now: Millis) {
    this.#since = now
  }

  add(bytes: number): void {
    this.#bytes += bytes
  }

  /** To be asked several times a second. */
  take(now: Millis): number {
    const elapsed = now - this.#since
    if (elapsed >= RATE_EVERY) {
      this.#mbits = (this.#bytes * 8) / elapsed / 1_000
      this.#bytes = 0
      this.#since = now
    }
    return this.#mbits
  }
}

/** From frame to frame and back, on an empty link. */
export class RoundTrip {
  readonly #least = new Least()

  heard({ echo }: Pick<Control, 'echo'>, now: Millis): void {
    if (echo === null) return
    const took = ((clockOf(now) - echo.clock) | 0) / 10 - echo.hold
    if (took >= 0 && took <= LONGEST_ROUND_TRIP) this.#least.add(took, now)
  }

  /** Null before the first. */
  get value(): Millis | null {
    return this.#least.value
  }

  clear(): void {
    this.#least.clear()
  }
}

/**
 * From the peer's mouth to this ear. What a frame took is known against the quickest control frame, which took half a
 * round trip: so the time it took to be filled, packed and sealed is in it, and every queue on the way.
 */
export function delayOf(
  receiver: Pick<Receiver, 'delay' | 'duration' | 'heldBack'>,
  played: Played,
  { capture, output, roundTrip }: { capture: Millis; output: Millis; roundTrip: Millis | null },
): Delay | null {
  const frame = receiver.duration
  if (roundTrip === null || receiver.delay === null || frame === 0 || played.fill === 0) return null
  const network = roundTrip / 2 + Math.max(0, receiver.delay - frame)
  // On average there is half a frame more in the buffer than a frame finds there when it comes.
  const buffer = Math.max(0, played.fill - frame / 2) + receiver.heldBack
  return { total: capture + frame + network + buffer + output, capture, frame, network, buffer, output }
}

/** A level in the control frame: 0 is silence, 255 is full scale. */
export function levelByte({ rms }: Level): number {
  return Math.round(255 * Math.min(1, Math.max(0, 1 - rms / SILENCE_DB)))
}
