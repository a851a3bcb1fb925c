import type { Millis } from '../core/ids.ts'
import type { Log } from '../core/ports.ts'
import { seldom } from './seldom.ts'

const DEADLINE: Millis = 900
/** Between tries while it does not answer: doubled each time. */
const FIRST_PAUSE: Millis = 5_000
const LONGEST_PAUSE: Millis = 60_000

export interface MeteredSettings {
  /** `https://yourapp.metered.live` */
  readonly account: string
  readonly secretKey: string
  /** Seconds for which a user is handed to others, too. */
  readonly spare: number
  /** The wall clock. */
  readonly now: () => Millis
  readonly log: Log
}

export interface MeteredUser {
  readonly username: string
  readonly credential: string
  readonly expiresAt: Millis
}

/**
 * Users of an account at Metered, made with its REST API: `POST /api/v1/turn/credential?secretKey=…` with
 * `{expiryInSeconds, label}`, answered by `{username, password, …}`.
 *
 * One user serves every call for a while, as one for each would be a request for each ring and a limit of their API to
 * run into; it is renewed before it is too old, in the background. When Metered does not answer, the first to ask waits
 * for the deadline; until it answers again nobody waits, and tries go on in the background.
 */
export class Metered {
  readonly #settings: MeteredSettings
  readonly #warn: (context: object, message: string) => void
  #user: MeteredUser | null = null
  #failures = 0
  #failedAt: Millis = 0
  #asking: Promise<void> | null = null

  constructor(settings: MeteredSettings) {
    this.#settings = settings
    this.#warn = seldom(settings.log, settings.now)
  }

  /** One that is good for so many seconds; for fewer, or null, while Metered does not answer. Never rejects. */
  async user(seconds: number): Promise<MeteredUser | null> {
    const left = this.#left()
    if (left < seconds + this.#settings.spare / 4) {
      const asking = this.#ask(seconds)
      if (left < seconds && this.#failures === 0) await asking
    }
    return this.#left() > 0 ? this.#user : null
  }

  /** Seconds for which the user that is there is good. */
  #left(): number {
    return this.#user === null ? 0 : (this.#user.expiresAt - this.#settings.now()) / 1000
  }

  /** One request at a time, and none in the pause after a failed one. Never rejects. */
  async #ask(seconds: number): Promise<void> {
    if (this.#asking !== null) return await this.#asking
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (this.#failures - 1))
    const since = this.#settings.now() - this.#failedAt
    if (this.#failures > 0 && since >= 0 && since < pause) return
    this.#asking = this.#make(Math.ceil(seconds + this.#settings.spare))
      .then(
        (user) => {
          this.#user = user
          this.#failures = 0
        },
        (error: unknown) => {
          this.#failures++
          this.#failedAt = this.#settings.now()
          // Never the address: the key is in it.
          const why =
            error instanceof Refusal ? error.message : error instanceof Error ? error.name : 'unknown'
          this.#warn({ why }, 'Metered gives no TURN credentials; calls go on without')
        },
      )
      .finally(() => {
        this.#asking = null
      })
    return await this.#asking
  }

  async #make(seconds: number): Promise<MeteredUser> {
    const { account, secretKey, now } = this.#settings
    const asked = now()
    const response = await fetch(
      `${account}/api/v1/turn/credential?secretKey=${encodeURIComponent(secretKey)}`,
      {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ expiryInSeconds: seconds, label: 'ringdown' }),
        redirect: 'error',
        signal: AbortSignal.timeout(DEADLINE),
      },
    )
    if (!response.ok) throw new Refusal(`status ${response.status}`)
    const { username, password, expiryInSeconds } = ((await response.json()) ?? {}) as Record<string, unknown>
    if (typeof username !== 'string' || typeof password !== 'string' || username === '') {
      throw new Refusal('an answer without username and password')
    }
    const granted = typeof expiryInSeconds === 'number' ? Math.min(seconds, expiryInSeconds) : seconds
    if (!(granted > 0)) throw new Refusal('credentials that have run out')
    return { username, credential: password, expiresAt: asked + granted * 1000 }
  }
}

class Refusal extends Error {}
