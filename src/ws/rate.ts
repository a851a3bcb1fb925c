/**
 * How much a client may send, over all its connections: who reconnects gets no new allowance. Token buckets: so many a
 * minute, with a burst at once, refilled when asked, so they need no timer. One object for all of them, since every
 * connection has one.
 */
import type { Rates } from '../core/door.ts'
import type { Millis } from '../core/ids.ts'

/** Seconds of messages that may come at once. */
const MESSAGE_BURST = 4
/** Times in a minute that one client may come in without using up the attempts of its address. */
const ENTRIES_PER_MINUTE = 20
const MINUTE: Millis = 60_000

export class Allowance {
  readonly #rates: Rates
  #messages: number
  #bytes: number
  #entries: number
  /** When they were last refilled. */
  #at: Millis

  constructor(rates: Rates, now: Millis) {
    this.#rates = rates
    this.#messages = rates.messagesPerSecond * MESSAGE_BURST
    this.#bytes = mostBytes(rates)
    this.#entries = ENTRIES_PER_MINUTE
    this.#at = now
  }

  /** Takes so many, or none when there are too few. So do the others. */
  takeMessages(count: number, now: Millis): boolean {
    this.#refill(now)
    if (this.#messages < count) return false
    this.#messages -= count
    return true
  }

  takeBytes(count: number, now: Millis): boolean {
    this.#refill(now)
    if (this.#bytes < count) return false
    this.#bytes -= count
    return true
  }

  takeEntry(now: Millis): boolean {
    this.#refill(now)
    if (this.#entries < 1) return false
    this.#entries--
    return true
  }

  #refill(now: Millis): void {
    const span = now - this.#at
    if (span === 0) return
    const { messagesPerSecond, bytesPerMinute } = this.#rates
    this.#at = now
    this.#messages = Math.min(
      messagesPerSecond * MESSAGE_BURST,
      this.#messages + (span * messagesPerSecond) / 1000,
    )
    this.#bytes = Math.min(mostBytes(this.#rates), this.#bytes + (span * bytesPerMinute) / MINUTE)
    this.#entries = Math.min(ENTRIES_PER_MINUTE, this.#entries + (span * ENTRIES_PER_MINUTE) / MINUTE)
  }
}

function mostBytes({ bytesPerMinute, bytesAtOnce = bytesPerMinute }: Rates): number {
  return bytesAtOnce
}
