/**
 * How much a connection may send. `Bucket` is a token bucket: so many a minute, with a burst at once, refilled when
 * asked, so it needs no timer. `Allowance` is what one client has of everything, over all its connections: who
 * reconnects gets no new one.
 */
import type { Millis } from '../core/ids.ts'

export class Bucket {
  readonly #size: number
  readonly #perMilli: number
  #left: number
  #at: Millis

  constructor(perMinute: number, burst: number, now: Millis) {
    this.#size = burst
    this.#perMilli = perMinute / 60_000
    this.#left = burst
    this.#at = now
  }

  /** Takes so many, or none when there are too few. */
  take(count: number, now: Millis): boolean {
    this.#left = Math.min(this.#size, this.#left + (now - this.#at) * this.#perMilli)
    this.#at = now
    if (this.#left < count) return false
    this.#left -= count
    return true
  }
}

export interface Rates {
  readonly messagesPerSecond: number
  readonly bytesPerMinute: number
}

/** Times in a minute that one client may come in without using up the attempts of its address. */
const ENTRIES_PER_MINUTE = 20

export class Allowance {
  readonly messages: Bucket
  readonly bytes: Bucket
  readonly entries: Bucket

  constructor({ messagesPerSecond, bytesPerMinute }: Rates, now: Millis) {
    this.messages = new Bucket(messagesPerSecond * 60, messagesPerSecond * 4, now)
    this.bytes = new Bucket(bytesPerMinute, bytesPerMinute, now)
    this.entries = new Bucket(ENTRIES_PER_MINUTE, ENTRIES_PER_MINUTE, now)
  }
}
