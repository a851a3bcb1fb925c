/**
 * What a part of the store holds until it is written, by key, oldest first. What is set again keeps its place, so that
 * whatever is held now is written before anything that comes later.
 */
import type { Log } from '../core/ports.ts'
import { messageOf } from './file.ts'

export class Held<Key, Thing> {
  readonly #things = new Map<Key, Thing>()
  #written: (readonly [Key, Thing])[] = []

  get size(): number {
    return this.#things.size
  }

  has(key: Key): boolean {
    return this.#things.has(key)
  }

  get(key: Key): Thing | undefined {
    return this.#things.get(key)
  }

  set(key: Key, thing: Thing): void {
    this.#things.set(key, thing)
  }

  /** Lets go of one that was not written; one that is not held is gone already. */
  delete(key: Key): void {
    this.#things.delete(key)
  }

  entries(): IterableIterator<[Key, Thing]> {
    return this.#things.entries()
  }

  /**
   * Writes so many, oldest first. What cannot be written for its own sake is said and passed over, so that it does not
   * hold up the rest; when the storage is at fault, this throws.
   */
  write(most: number, log: Log, write: (key: Key, thing: Thing) => void): void {
    this.#written = this.#things.entries().take(most).toArray()
    for (const [key, thing] of this.#written) {
      try {
        write(key, thing)
      } catch (error) {
        if (isOfTheStorage(error)) throw error
        log.error({ error: messageOf(error) }, 'something cannot be written to the local file')
      }
    }
  }

  /** Lets go of what was written last, if it is committed. Returns it then. */
  settled(committed: boolean): readonly (readonly [Key, Thing])[] {
    const settled = committed ? this.#written : []
    this.#written = []
    for (const [key] of settled) this.#things.delete(key)
    return settled
  }
}

function isOfTheStorage(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false
  const code = String(error.code)
  return code.startsWith('SQLITE_') && !/^SQLITE_(CONSTRAINT|MISMATCH|RANGE|TOOBIG)/.test(code)
}
