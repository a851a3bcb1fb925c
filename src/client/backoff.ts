/**
 * How long to wait before trying again: exponential with full jitter, so that thousands of clients who lost the same
 * server do not come back in the same instant. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 */
import type { Millis } from './ports.ts'

const BASE: Millis = 400
const CAP: Millis = 6_000

/** The longest wait before try number `attempt`, counted from 0. */
export function longestWait(attempt: number): Millis {
  return Math.min(CAP, BASE * 2 ** attempt)
}

/** `random` is uniform in [0, 1). */
export function wait(attempt: number, random: number): Millis {
  return longestWait(attempt) * random
}
