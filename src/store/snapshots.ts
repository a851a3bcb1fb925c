/** Live calls in the local file. Only the last snapshot of a call in a group is written. */
import type { Statement } from 'bun:sqlite'
import type { Call } from '../core/call.ts'
import type { CallId } from '../core/ids.ts'
import type { Kind } from '../core/kinds.ts'
import type { Log, Snapshot, Snapshots } from '../core/ports.ts'
import type { LocalFile } from './file.ts'
import { Held } from './held.ts'
import type { Journal, Part } from './journal.ts'

export interface SnapshotsDeps {
  readonly file: LocalFile
  readonly journal: Journal
  readonly log: Log
}

export class LocalSnapshots implements Snapshots, Part {
  readonly #deps: SnapshotsDeps
  /** Null: dropped. */
  readonly #held = new Held<CallId, Snapshot | null>()
  /** Calls that the file may know. One that came and went between two commits never touches it. */
  readonly #inFile = new Set<CallId>()
  readonly #save: Statement<unknown, [string, string, string]>
  readonly #drop: Statement<unknown, [string]>
  readonly #load: Statement<{ id: CallId; body: string }, [string]>

  constructor(deps: SnapshotsDeps) {
    this.#deps = deps
    const { file } = deps
    // A conflict keeps `seq`, and with it the order of the first save.
    this.#save = file.prepare(`
      INSERT INTO snapshots (id, kind, body) VALUES (?, ?, ?)
      ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, body = excluded.body`)
    this.#drop = file.prepare('DELETE FROM snapshots WHERE id = ?')
    this.#load = file.prepare('SELECT id, body FROM snapshots WHERE kind = ? ORDER BY seq')
    for (const { id } of file.db.query<{ id: CallId }, []>('SELECT id FROM snapshots').all())
      this.#inFile.add(id)
    deps.journal.add(this)
  }

  save(snapshot: Snapshot): void {
    const { id } = snapshot.call
    if (!this.#held.has(id) && !this.#deps.journal.hasRoom(!this.#inFile.has(id))) return
    this.#held.set(id, snapshot)
    this.#deps.journal.changed()
  }

  drop(id: CallId): void {
    if (this.#inFile.has(id)) this.#held.set(id, null)
    else this.#held.delete(id)
    this.#deps.journal.changed()
  }

  load(kind: Kind): Snapshot[] {
    const found = new Map<CallId, Snapshot>()
    for (const { id, body } of this.#load.all(kind)) {
      const snapshot = read(id, kind, body)
      if (snapshot !== null) found.set(id, snapshot)
      else this.#deps.log.error({ session: id }, 'the snapshot of this call cannot be read')
    }
    for (const [id, held] of this.#held.entries()) {
      if (held === null) found.delete(id)
      else if (held.call.terms.kind === kind) found.set(id, held)
    }
    return [...found.values()]
  }

  /** Drops those of all other calls. */
  keepOnly(liveIds: Iterable<CallId>): void {
    const live = new Set(liveIds)
    const held = [...this.#held.entries()].map(([id]) => id)
    for (const id of [...this.#inFile, ...held]) if (!live.has(id)) this.drop(id)
  }

  get held(): number {
    return this.#held.size
  }

  write(least: number): void {
    this.#held.write(least, this.#deps.log, (id, held) => {
      if (held === null) this.#drop.run(id)
      else this.#save.run(id, held.call.terms.kind, JSON.stringify(held))
    })
  }

  settled(committed: boolean): void {
    for (const [id, held] of this.#held.settled(committed)) {
      if (held === null) this.#inFile.delete(id)
      else this.#inFile.add(id)
    }
  }
}

/** Null when this is not a live call of this kind. */
function read(id: CallId, kind: Kind, body: string): Snapshot | null {
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    return null
  }
  if (!isRecord(value) || !isCall(value.call)) return null
  const { call } = value
  return call.id === id && call.terms.kind === kind ? { call, detail: value.detail } : null
}

function isCall(value: unknown): value is Call {
  if (!isRecord(value) || typeof value.id !== 'string' || !isTerms(value.terms) || !isLegs(value.legs))
    return false
  if (value.at === 'waiting') return isInstant(value.until)
  if (value.at !== 'active') return false
  return isInstant(value.since) && isInstantOrNull(value.until) && isInstantOrNull(value.warnAt)
}

function isTerms(value: unknown): boolean {
  return (
    isRecord(value) &&
    typeof value.kind === 'string' &&
    isInstantOrNull(value.limit) &&
    isInstant(value.grace)
  )
}

function isLegs(value: unknown): boolean {
  return Array.isArray(value) && value.length === 2 && value.every(isLeg)
}

function isLeg(value: unknown): boolean {
  if (!isRecord(value)) return false
  return value.at === 'absent' || value.at === 'present' || (value.at === 'away' && isInstant(value.until))
}

function isInstantOrNull(value: unknown): boolean {
  return value === null || isInstant(value)
}

function isInstant(value: unknown): boolean {
  return Number.isFinite(value)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
