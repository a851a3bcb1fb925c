import type { CryptoKey, JWTHeaderParameters } from 'jose'
import type { Millis } from '../core/ids.ts'
import type { Log } from '../core/ports.ts'
import { seldom } from './seldom.ts'

/** After so long they are read again, in the background. */
const FRESH: Millis = 10 * 60_000
/** So long they are believed when they cannot be read again. */
const LASTING: Millis = 60 * 60_000
/** Between two readings, whatever anybody presents. */
const PAUSE: Millis = 10_000
const DEADLINE: Millis = 1000

type KeySet = ReturnType<typeof import('jose').createLocalJWKSet>

/**
 * The public keys of a JWKS (RFC 7517). Read when the first token comes, and again when they are old or when a token
 * names one that is not among them. When that fails, the old ones go on being good for an hour, and nobody waits for the
 * next try. A token whose key is known never waits for one whose key is not.
 */
export class RemoteKeys {
  readonly #url: string
  readonly #now: () => Millis
  readonly #warn: (context: object, message: string) => void
  #keys: KeySet | null = null
  #read: Millis = 0
  #tried: Millis | null = null
  #reading: Promise<void> | null = null

  /** `now`: the wall clock. */
  constructor({ url, now, log }: { url: string; now: () => Millis; log: Log }) {
    this.#url = url
    this.#now = now
    this.#warn = seldom(log, now)
  }

  /** Those that may have signed this. Rejects when there are none; takes little more than a second at most. */
  async matching(header: JWTHeaderParameters): Promise<CryptoKey[]> {
    const age = this.#now() - this.#read
    if (this.#keys !== null && age > FRESH) void this.#readAgain()
    if (this.#keys === null || age > LASTING) await this.#readAgain()
    const found = await this.#among(header)
    if (found.length > 0) return found
    await this.#readAgain()
    return await this.#among(header)
  }

  async #among(header: JWTHeaderParameters): Promise<CryptoKey[]> {
    if (this.#keys === null || this.#now() - this.#read > LASTING) return []
    const { errors } = await import('jose')
    try {
      return [await this.#keys(header)]
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey) return []
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
      const several: CryptoKey[] = []
      for await (const key of error) several.push(key)
      return several
    }
  }

  /** Once at a time, and not again right after; never rejects. */
  #readAgain(): Promise<void> {
    if (this.#reading !== null) return this.#reading
    const since = this.#tried === null ? PAUSE : this.#now() - this.#tried
    if (since >= 0 && since < PAUSE) return Promise.resolve()
    this.#tried = this.#now()
    this.#reading = this.#fetch()
      .catch((error: unknown) => {
        const why = error instanceof Error ? error.message : 'unknown'
        this.#warn({ why }, "the keys of the app's tokens (JWKS_URL) cannot be read")
      })
      .finally(() => {
        this.#reading = null
      })
    return this.#reading
  }

  async #fetch(): Promise<void> {
    const { createLocalJWKSet } = await import('jose')
    const response = await fetch(this.#url, {
      headers: { accept: 'application/jwk-set+json, application/json' },
      redirect: 'error',
      signal: AbortSignal.timeout(DEADLINE),
    })
    if (response.status !== 200) throw new Error(`status ${response.status}`)
    this.#keys = createLocalJWKSet((await response.json()) as Parameters<typeof createLocalJWKSet>[0])
    this.#read = this.#now()
  }
}
