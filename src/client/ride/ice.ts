/**
 * The STUN and TURN servers of one ride call: the caller's own, and those that the server tells of. The server's have
 * credentials that run out. When they do is by the server's clock, and clocks of phones are wrong, so fresh ones are
 * asked for each time a new way is looked for.
 */
import type { IceServer } from '../../protocol/ice.ts'
import type { Cancel, Millis, Timers } from '../ports.ts'

export interface RideIceOptions {
  /** Come first, and stay whatever the server tells. */
  readonly own: readonly RTCIceServer[]
  /** As an earlier page was told. */
  readonly told: readonly IceServer[]
  readonly timers: Timers
  /** Asks the server for fresh ones. False when that did not go out. */
  readonly ask: () => boolean
}

/** A new way waits so long for fresh credentials; then it is looked for with the old ones. */
export const FRESH_WITHIN: Millis = 1_000

export class RideIce {
  readonly #options: RideIceOptions
  #told: readonly IceServer[]
  #asked: { answered: Promise<void>; end: () => void; cancel: Cancel } | null = null

  constructor(options: RideIceOptions) {
    this.#options = options
    this.#told = options.told
  }

  get all(): RTCIceServer[] {
    return [...this.#options.own, ...this.told]
  }

  /** The server's alone. */
  get told(): IceServer[] {
    return [...this.#told]
  }

  /** What the server tells takes the place of what it told before. */
  take(told: readonly IceServer[]): void {
    this.#told = told
    this.close()
  }

  /** Resolves when fresh ones were taken, or did not come in time. Null when there is nothing to wait for. */
  freshen(): Promise<void> | null {
    if (this.#asked !== null) return this.#asked.answered
    if (!this.#told.some(({ credential }) => credential !== undefined) || !this.#options.ask()) return null
    let end = () => {}
    const answered = new Promise<void>((resolve) => {
      end = resolve
    })
    this.#asked = { answered, end, cancel: this.#options.timers.after(FRESH_WITHIN, () => this.close()) }
    return answered
  }

  /** Nobody waits any longer. Twice is fine. */
  close(): void {
    this.#asked?.cancel()
    this.#asked?.end()
    this.#asked = null
  }
}
