/**
 * How many attempts an address has left. Attempts come back with time, or at once by `giveBack` when one turned out to
 * be somebody we know. Addresses that have all theirs again are not kept for long, and the number kept is bounded.
 */
import type { Millis } from './ids.ts'
import type { Clock } from './ports.ts'

interface Account {
  left: number
  at: Millis
}

/** Addresses remembered at once, at most. Over it those seen longest ago are forgotten. */
const MOST = 100_000

export class Limiter {
  readonly #most: number
  readonly #window: Millis
  readonly #clock: Clock
  /**
   * Those seen lately, and those seen before that. The older half is forgotten as a whole, which costs nothing for each
   * one: after a whole window unseen they have all their attempts again, or they are too many.
   */
  #lately = new Map<string, Account>()
  #before = new Map<string, Account>()
  #turnedAt: Millis

  /** `most` attempts in each `window` milliseconds; 0: no limit. */
  constructor(most: number, window: Millis, clock: Clock) {
    this.#most = most
    this.#window = window
    this.#clock = clock
    this.#turnedAt = clock.now()
  }

  /** Takes an attempt. Null when there was one, else the milliseconds until there will be. */
  take(key: string): Millis | null {
    if (this.#most === 0) return null
    const account = this.#refilled(key)
    // Also when there is none left: who keeps trying is not forgotten before who has stopped.
    this.#keep(key, account)
    if (account.left < 1) return Math.ceil(((1 - account.left) * this.#window) / this.#most)
    account.left--
    return null
  }

  giveBack(key: string): void {
    const account = this.#lately.get(key) ?? this.#before.get(key)
    if (account === undefined) return
    account.left = Math.min(this.#most, account.left + 1)
    if (account.left < this.#most) return
    this.#lately.delete(key)
    this.#before.delete(key)
  }

  get size(): number {
    return this.#lately.size + this.#before.size
  }

  #refilled(key: string): Account {
    const now = this.#clock.now()
    const account = this.#lately.get(key) ?? this.#before.get(key)
    if (account === undefined) return { left: this.#most, at: now }
    account.left = Math.min(this.#most, account.left + ((now - account.at) * this.#most) / this.#window)
    account.at = now
    return account
  }

  #keep(key: string, account: Account): void {
    const now = this.#clock.now()
    if (now - this.#turnedAt >= this.#window || this.#lately.size >= MOST / 2) {
      this.#before = this.#lately
      this.#lately = new Map()
      this.#turnedAt = now
    }
    this.#before.delete(key)
    this.#lately.set(key, account)
  }
}
