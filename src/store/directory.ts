/**
 * The directory of direct calls in the local file: who a client id is, and every state its key has had. The statements
 * themselves compare and set, so that of several changes in one group the first one wins. A change resolves when it is
 * on the disk; until then nobody is shown what it did, since a power cut could take that back.
 */
import type { Statement } from 'bun:sqlite'
import type { Millis } from '../core/ids.ts'
import type { BoundIdentity, Directory, DirectoryKey, Log } from '../core/ports.ts'
import { fail } from '../protocol/codes.ts'
import { type LocalFile, messageOf } from './file.ts'
import { Held } from './held.ts'
import type { Journal, Part } from './journal.ts'

const COLUMNS = 'k.public_key, k.version, k.changed_at, k.hash, k.previous, k.owner'

/** One row whatever there is. Takes the client id three times. */
export const FIND = `
  SELECT i.public_key AS identity, i.bound_at, ${COLUMNS} FROM (SELECT 1) AS one
  LEFT JOIN direct_identities i ON i.client_id = ?
  LEFT JOIN direct_keys k ON k.client_id = ?
    AND k.version = (SELECT max(version) FROM direct_keys WHERE client_id = ?)`

/** Takes the client id and the version, and wants a LIMIT. */
export const HISTORY = `
  SELECT ${COLUMNS} FROM direct_keys k WHERE k.client_id = ? AND k.version > ? ORDER BY k.version`

interface StoredKey {
  public_key: string
  version: number
  changed_at: Millis
  hash: string
  previous: string
  owner: string
}

type Nullable<T> = { [K in keyof T]: T[K] | null }

/** What `FIND` finds. */
export type Found = Nullable<StoredKey & { identity: string; bound_at: Millis }>

export type Entry = Awaited<ReturnType<Directory['find']>>

export function toEntry(found: Found | undefined | null): Entry {
  const { identity, bound_at, public_key } = found ?? {}
  return {
    identity: identity == null ? null : { publicKey: identity, boundAt: bound_at ?? 0 },
    key: public_key == null ? null : toKey(found as StoredKey),
  }
}

/** What `HISTORY` finds. */
export function toKey(row: StoredKey): DirectoryKey {
  const { public_key, version, changed_at, hash, previous, owner } = row
  return { publicKey: public_key, version, changedAt: changed_at, hash, previous, owner }
}

interface Change {
  /** Returns how many rows it changed. */
  readonly run: () => number
  /** What the last run said; null while there was none that worked. */
  changed: number | null
}

export interface LocalDirectoryDeps {
  readonly file: LocalFile
  readonly journal: Journal
  readonly log: Log
}

export class LocalDirectory implements Directory, Part {
  readonly #deps: LocalDirectoryDeps
  readonly #held = new Held<Change, null>()
  /** The last change of each client id that is on its way to the disk. */
  readonly #underway = new Map<string, Promise<void>>()
  readonly #find: Statement<Found, [string, string, string]>
  readonly #history: Statement<StoredKey, [string, number, number]>
  readonly #bind: Statement<unknown, [string, string, Millis]>
  readonly #rebind: Statement<unknown, [string, Millis, string, string]>
  readonly #put: Statement<unknown, [string, number, string, Millis, string, string, string, number, string]>
  readonly #unbind: Statement<unknown, [string]>
  readonly #disown: Statement<unknown, [string, string]>

  constructor(deps: LocalDirectoryDeps) {
    this.#deps = deps
    const { file } = deps
    this.#find = file.prepare(FIND)
    this.#history = file.prepare(`${HISTORY} LIMIT ?`)
    this.#bind = file.prepare(
      'INSERT INTO direct_identities (client_id, public_key, bound_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
    )
    this.#rebind = file.prepare(
      'UPDATE direct_identities SET public_key = ?, bound_at = ? WHERE client_id = ? AND public_key = ?',
    )
    this.#put = file.prepare(`
      INSERT INTO direct_keys (client_id, version, public_key, changed_at, previous, hash, owner)
      SELECT ?, ?, ?, ?, ?, ?, ?
      WHERE ? = 1 + (SELECT coalesce(max(version), 0) FROM direct_keys WHERE client_id = ?)`)
    this.#unbind = file.prepare('DELETE FROM direct_identities WHERE client_id = ?')
    this.#disown = file.prepare(`
      UPDATE direct_keys SET owner = '' WHERE client_id = ? AND owner <> ''
        AND version = (SELECT max(version) FROM direct_keys WHERE client_id = ?)`)
    deps.journal.add(this)
  }

  async find(clientId: string): Promise<Entry> {
    await this.#underway.get(clientId)
    return this.#read(() => toEntry(this.#find.get(clientId, clientId, clientId)))
  }

  async history(clientId: string, after: number, limit: number): Promise<DirectoryKey[]> {
    await this.#underway.get(clientId)
    return this.#read(() => this.#history.all(clientId, after, limit).map(toKey))
  }

  bind(clientId: string, before: string | null, { publicKey, boundAt }: BoundIdentity): Promise<boolean> {
    return this.#change(clientId, () =>
      before === null
        ? this.#bind.run(clientId, publicKey, boundAt).changes
        : this.#rebind.run(publicKey, boundAt, clientId, before).changes,
    )
  }

  put(clientId: string, key: DirectoryKey): Promise<boolean> {
    const { version, publicKey, changedAt, previous, hash, owner } = key
    return this.#change(
      clientId,
      () =>
        this.#put.run(clientId, version, publicKey, changedAt, previous, hash, owner, version, clientId)
          .changes,
    )
  }

  reset(clientId: string): Promise<boolean> {
    return this.#change(
      clientId,
      () => this.#unbind.run(clientId).changes + this.#disown.run(clientId, clientId).changes,
    )
  }

  get held(): number {
    return this.#held.size
  }

  write(least: number): void {
    this.#held.write(least, this.#deps.log, (change) => {
      change.changed = change.run()
    })
  }

  settled(committed: boolean): void {
    this.#held.settled(committed)
  }

  /** Resolves once it is on the disk, with whether it changed anything. */
  async #change(clientId: string, run: () => number): Promise<boolean> {
    const { journal } = this.#deps
    const change: Change = { run, changed: null }
    this.#held.set(change, null)
    journal.changed()
    const synced = journal.synced()
    const over = synced.catch(() => {})
    this.#underway.set(clientId, over)
    try {
      await synced
    } catch (error) {
      // Whoever asked is told that it failed, so it must not happen later.
      this.#held.delete(change)
      throw error
    } finally {
      if (this.#underway.get(clientId) === over) this.#underway.delete(clientId)
    }
    if (change.changed === null) throw fail('storage_unavailable')
    return change.changed > 0
  }

  #read<T>(read: () => T): T {
    try {
      return read()
    } catch (error) {
      this.#deps.log.error({ error: messageOf(error) }, 'the key directory cannot be read')
      throw fail('storage_unavailable')
    }
  }
}
