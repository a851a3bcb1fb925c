/** Receipts in the local file. Those that expired are never found, and are deleted a few at a time. */
import type { Statement } from 'bun:sqlite'
import type { Millis } from '../core/ids.ts'
import type { Log, Receipt, Receipts } from '../core/ports.ts'
import type { LocalFile } from './file.ts'
import { Held } from './held.ts'
import type { Journal, Part } from './journal.ts'

/** Expired receipts that are deleted along with one group of changes. */
const SWEEP = 50

export interface ReceiptsDeps {
  readonly file: LocalFile
  readonly journal: Journal
  readonly log: Log
}

export class LocalReceipts implements Receipts, Part {
  readonly #deps: ReceiptsDeps
  /** Null: dropped. */
  readonly #held = new Held<string, Receipt | null>()
  readonly #find: Statement<Receipt, [string, Millis]>
  readonly #keep: Statement<unknown, [string, string, string, Millis]>
  readonly #drop: Statement<unknown, [string]>
  readonly #sweep: Statement<unknown, [Millis]>
  /** Latest time that was asked about; what expired by then can go. */
  #now: Millis = 0

  constructor(deps: ReceiptsDeps) {
    this.#deps = deps
    const { file } = deps
    this.#find = file.prepare('SELECT digest, answer, expires FROM receipts WHERE key = ? AND expires > ?')
    this.#keep = file.prepare(`
      INSERT INTO receipts (key, digest, answer, expires) VALUES (?, ?, ?, ?)
      ON CONFLICT (key) DO UPDATE SET digest = excluded.digest, answer = excluded.answer, expires = excluded.expires`)
    this.#drop = file.prepare('DELETE FROM receipts WHERE key = ?')
    // The oldest come first; one that was kept for longer than those after it holds them up, which harms nobody.
    this.#sweep = file.prepare(`
      DELETE FROM receipts WHERE expires <= ? AND seq IN (SELECT seq FROM receipts ORDER BY seq LIMIT ${SWEEP})`)
    deps.journal.add(this)
  }

  find(key: string, now: Millis): Receipt | null {
    this.#now = Math.max(this.#now, now)
    const held = this.#held.get(key)
    if (held !== undefined) return held !== null && held.expires > now ? held : null
    return this.#find.get(key, now)
  }

  keep(key: string, receipt: Receipt): void {
    this.#held.set(key, receipt)
    this.#deps.journal.changed()
  }

  drop(key: string): void {
    this.#held.set(key, null)
    this.#deps.journal.changed()
  }

  get held(): number {
    return this.#held.size
  }

  write(least: number): void {
    if (this.#held.size === 0) return
    this.#held.write(least, this.#deps.log, (key, receipt) => {
      if (receipt === null) this.#drop.run(key)
      else this.#keep.run(key, receipt.digest, receipt.answer, receipt.expires)
    })
    this.#sweep.run(this.#now)
  }

  settled(committed: boolean): void {
    this.#held.settled(committed)
  }
}
