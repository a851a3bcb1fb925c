/**
 * How long to wait before trying again: exponential with full jitter, so that thousands of clients who lost the same
 * server do not come back in the same instant. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 */
import type { Millis } from './ports.ts'

export interface Bounds {
  /** The longest first wait. */
  readonly base: Millis
  readonly cap: Millis
}

/** For somebody in a call, who waits for it. */
const HURRIED: Bounds = { base: 400, cap: 6_000 }
/** For a client that is there all day. The reference document of the direct service: "1s to 30s max". */
export const PATIENT: Bounds = { base: 1_000, cap: 30_000 }

/** The longest wait before try number `attempt`, counted from 0. */
export function longestWait(attempt: number, { base, cap }: Bounds = HURRIED): Millis {
  return Math.min(cap, base * 2 ** attempt)
}

/** `random` is uniform in [0, 1). */
export function wait(attempt: number, random: number, bounds?: Bounds): Millis {
  return longestWait(attempt, bounds) * random
}
