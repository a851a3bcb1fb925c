/**
 * How many attempts an address has left. Attempts come back with time, or at once by `giveBack` when one turned out to
 * be somebody we know. Addresses that have all theirs are not kept, and the number kept is bounded.
 */
import type { Millis } from './ids.ts'
import type { Clock } from './ports.ts'

interface Account {
  left: number
  at: Millis
}

/** Addresses remembered at once. Over it the one seen longest ago is forgotten. */
const MOST = 100_000

export class Limiter {
  readonly #most: number
  readonly #window: Millis
  readonly #clock: Clock
  readonly #accounts = new Map<string, Account>()

  /** `most` attempts in each `window` milliseconds; 0: no limit. */
  constructor(most: number, window: Millis, clock: Clock) {
    this.#most = most
    this.#window = window
    this.#clock = clock
  }

  /** Takes an attempt. Null when there was one, else the milliseconds until there will be. */
  take(key: string): Millis | null {
    if (this.#most === 0) return null
    const account = this.#refilled(key)
    if (account.left < 1) return Math.ceil(((1 - account.left) * this.#window) / this.#most)
    account.left--
    this.#keep(key, account)
    return null
  }

  /** True when there is no attempt left; takes none. */
  isOut(key: string): boolean {
    return this.#most !== 0 && this.#accounts.has(key) && this.#refilled(key).left < 1
  }

  giveBack(key: string): void {
    const account = this.#accounts.get(key)
    if (account === undefined) return
    account.left = Math.min(this.#most, account.left + 1)
    if (account.left >= this.#most) this.#accounts.delete(key)
  }

  get size(): number {
    return this.#accounts.size
  }

  #refilled(key: string): Account {
    const now = this.#clock.now()
    const account = this.#accounts.get(key)
    if (account === undefined) return { left: this.#most, at: now }
    account.left = Math.min(this.#most, account.left + ((now - account.at) * this.#most) / this.#window)
    account.at = now
    return account
  }

  #keep(key: string, account: Account): void {
    // A map keeps the order of insertion, so its first key is the one that was seen longest ago.
    this.#accounts.delete(key)
    this.#accounts.set(key, account)
    if (this.#accounts.size <= MOST) return
    const [oldest] = this.#accounts.keys()
    if (oldest !== undefined) this.#accounts.delete(oldest)
  }
}
