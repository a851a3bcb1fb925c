/**
 * The log of calls in the local file. What was appended since the last commit is folded together for each call, so that
 * a call which was opened and ended within one group is one row written once.
 */
import type { Statement } from 'bun:sqlite'
import type { EndedBy } from '../core/call.ts'
import type { CallId, Millis } from '../core/ids.ts'
import type { Kind } from '../core/kinds.ts'
import type { CallLog, CallRecord, Log } from '../core/ports.ts'
import type { LocalFile } from './file.ts'
import { Held } from './held.ts'
import type { Journal, Part } from './journal.ts'
import { toSql } from './times.ts'

type Of<Is extends CallRecord['is']> = CallRecord & { is: Is }

/** What was told of one call and is not written yet. */
interface News {
  created?: Of<'created'>
  active?: Of<'active'>
  initiated?: Of<'initiated'>
  ended?: Of<'ended'>
  retracted?: true
}

export interface CallsDeps {
  readonly file: LocalFile
  readonly journal: Journal
  readonly log: Log
  /** Is told of each call whose row was written or deleted, within that transaction. */
  readonly changed: (id: CallId, gone: boolean) => void
}

type Text = string | null

export class Calls implements CallLog, Part {
  readonly #deps: CallsDeps
  readonly #news = new Held<CallId, News>()
  readonly #insert: Statement<unknown, Text[]>
  readonly #update: Statement<unknown, Text[]>
  readonly #delete: Statement<unknown, [string]>
  readonly #open: Statement<{ session_id: CallId }, []>
  #lost = 0

  constructor(deps: CallsDeps) {
    this.#deps = deps
    const { file } = deps
    this.#insert = file.prepare(`
      INSERT INTO call_logs (session_id, ride_id, driver_id, passenger_id, created_at, service, metadata,
        status, initiated_by, connected_at, ended_at, end_reason, ended_by, detail)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (session_id) DO NOTHING`)
    // The first word on a thing counts, and the order in time holds whatever the wall clock did in between.
    // ?1 id, ?2 active at, ?3 ended at, ?4 initiated by, ?5 reason, ?6 and ?7 ended by (of a ride, of others), ?8 detail
    this.#update = file.prepare(`
      UPDATE call_logs SET
        status = CASE WHEN ?3 IS NOT NULL THEN 'ended' WHEN ?2 IS NOT NULL THEN 'active' ELSE status END,
        connected_at = coalesce(connected_at, max(?2, created_at)),
        ended_at = max(?3, coalesce(connected_at, max(?2, created_at), created_at)),
        initiated_by = coalesce(initiated_by, ?4),
        end_reason = ?5,
        ended_by = CASE service WHEN 'ride' THEN ?6 ELSE ?7 END,
        detail = ?8
      WHERE session_id = ?1 AND status <> 'ended'`)
    this.#delete = file.prepare('DELETE FROM call_logs WHERE session_id = ?')
    this.#open = file.prepare(`SELECT session_id FROM call_logs WHERE status <> 'ended'`)
    deps.journal.add(this)
  }

  append(record: CallRecord): void {
    const news = this.#newsOf(record)
    if (news === null) return
    switch (record.is) {
      case 'created':
        news.created ??= record
        break
      case 'active':
        news.active ??= record
        break
      case 'initiated':
        news.initiated ??= record
        break
      case 'ended':
        news.ended ??= record
        break
    }
    this.#deps.journal.changed()
  }

  synced(): Promise<void> {
    return this.#deps.journal.synced()
  }

  retract(id: CallId): void {
    this.#news.set(id, { retracted: true })
    this.#deps.journal.changed()
  }

  /**
   * Ends every call that is open in the log and not among these. All of them are this server's own: the local file
   * knows no others. Returns how many there were.
   */
  closeOrphans(liveIds: Iterable<CallId>, now: Millis): number {
    const live = new Set(liveIds)
    const orphans = this.#open.all().filter(({ session_id: id }) => !live.has(id) && !this.#news.has(id))
    for (const { session_id: id } of orphans) {
      this.append({ is: 'ended', id, at: now, reason: 'server_restart', by: 'clock', detail: null })
    }
    return orphans.length
  }

  get held(): number {
    return this.#news.size
  }

  write(least: number): void {
    this.#news.write(least, this.#deps.log, (id, news) => {
      if (this.#write(id, news)) this.#deps.changed(id, news.retracted === true)
    })
  }

  settled(committed: boolean): void {
    this.#news.settled(committed)
  }

  /** False when nothing is different now. */
  #write(id: CallId, news: News): boolean {
    if (news.retracted) return this.#delete.run(id).changes > 0
    const { created } = news
    if (created !== undefined && this.#insert.run(...rowOf(created, news)).changes > 0) return true
    if (news.active === undefined && news.initiated === undefined && news.ended === undefined) return false
    const { active, initiated, ended } = news
    const { changes } = this.#update.run(
      id,
      active === undefined ? null : toSql(active.at),
      ended === undefined ? null : toSql(ended.at),
      initiated?.by ?? null,
      ended?.reason ?? null,
      ended === undefined ? null : partyName('ride', ended.by),
      ended === undefined ? null : partyName('direct', ended.by),
      ended?.detail ?? null,
    )
    return changes > 0
  }

  #newsOf({ id, is }: CallRecord): News | null {
    const known = this.#news.get(id)
    if (known !== undefined) return known
    if (!this.#deps.journal.hasRoom(is === 'created')) {
      if (this.#lost++ === 0)
        this.#deps.log.error({}, 'too much is waiting to be written: news of calls are lost')
      return null
    }
    const news: News = {}
    this.#news.set(id, news)
    return news
  }
}

/** A call that is new to the file, with what became of it since. */
function rowOf(created: Of<'created'>, { active, initiated, ended }: News): Text[] {
  const { id, at, kind, subject, parties, metadata } = created
  const connectedAt = active === undefined ? null : Math.max(active.at, at)
  const endedAt = ended === undefined ? null : Math.max(ended.at, connectedAt ?? at)
  return [
    id,
    subject,
    parties[0],
    parties[1],
    toSql(at),
    kind,
    metadata === null ? null : JSON.stringify(metadata),
    ended !== undefined ? 'ended' : active !== undefined ? 'active' : 'created',
    initiated?.by ?? null,
    connectedAt === null ? null : toSql(connectedAt),
    endedAt === null ? null : toSql(endedAt),
    ended?.reason ?? null,
    ended === undefined ? null : partyName(kind, ended.by),
    ended?.detail ?? null,
  ]
}

/** Who ended a call, in the words of its kind. */
function partyName(kind: Kind, by: EndedBy): string {
  if (by === 0) return kind === 'ride' ? 'driver' : 'caller'
  if (by === 1) return kind === 'ride' ? 'passenger' : 'callee'
  return by
}
