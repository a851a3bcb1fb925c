/**
 * Looks whether the certificate was renewed: each minute on the process's one clock, and when somebody says so. What
 * cannot be used, such as a new certificate whose key is not written yet, changes nothing and is looked at again.
 */
import { type Certificate, isSame } from './auth/certificate.ts'
import type { Millis } from './core/ids.ts'
import type { Alarm, Clock, Log } from './core/ports.ts'

const EVERY: Millis = 60_000

export interface RenewalDeps {
  /** What is in the files now. Throws when that will not do. */
  readonly read: () => Certificate
  /** What is served now. */
  readonly current: Certificate
  /** Serves the new one from now on. Throws when it cannot; then the old one is still served. */
  readonly apply: (certificate: Certificate) => void
  readonly clock: Clock
  readonly log: Log
}

export class Renewal {
  readonly #deps: RenewalDeps
  #current: Certificate
  /** What was last said to be wrong, so that it is said once. */
  #wrong = ''
  #alarm: Alarm | null = null

  constructor(deps: RenewalDeps) {
    this.#deps = deps
    this.#current = deps.current
    this.#later()
  }

  /** Looks now. */
  look(): void {
    const { read, apply, log } = this.#deps
    try {
      const found = read()
      this.#wrong = ''
      if (isSame(found, this.#current)) return
      apply(found)
      this.#current = found
      log.info(
        { names: found.names, until: new Date(found.until).toISOString() },
        'the certificate was renewed',
      )
    } catch (error) {
      const why = error instanceof Error ? error.message : 'unknown error'
      if (why !== this.#wrong) log.warn({ why }, 'the new certificate cannot be used; the old one stays')
      this.#wrong = why
    }
  }

  /** Looks no more. Twice is fine. */
  close(): void {
    this.#alarm?.cancel()
    this.#alarm = null
  }

  #later(): void {
    const { clock } = this.#deps
    this.#alarm = clock.alarm(clock.now() + EVERY, () => {
      this.look()
      this.#later()
    })
  }
}
