/**
 * The store: the log of calls, the snapshots of live ones, receipts, and the directory of direct calls. The only room
 * that knows SQL.
 *
 * Whatever the database of the log is, calls go into one local SQLite file first (`file.ts`), in groups and synced
 * (`journal.ts`). Without a MySQL the log stays there. With one, rows are carried over and then removed here. The
 * directory is in the one or in the other: several servers must agree on who somebody is.
 * The room touches that file, MySQL, and the clock it is given. Not here: what a call is, and when one is recorded.
 */
import type { CallId, Millis } from '../core/ids.ts'
import type { CallHistory, CallLog, Clock, Directory, Log, Receipts, Snapshots } from '../core/ports.ts'
import { Calls } from './calls.ts'
import { Carrier } from './carrier.ts'
import { LocalDirectory } from './directory.ts'
import { LocalFile } from './file.ts'
import { LocalHistory } from './history.ts'
import { Journal } from './journal.ts'
import type { MysqlSettings } from './mysql.ts'
import { Outbox } from './outbox.ts'
import { LocalReceipts } from './receipts.ts'
import { RemoteHistory } from './remote.ts'
import { RemoteDirectory } from './remote-directory.ts'
import { Retention } from './retention.ts'
import { LocalSnapshots } from './snapshots.ts'

export { IN_MEMORY, Unusable } from './file.ts'
export type { MysqlSettings } from './mysql.ts'
export { NewerFile } from './schema.ts'

export interface StoreSettings {
  /** Folder of the local file; `IN_MEMORY` for none. Made if missing. */
  readonly dataDir: string
  /** Where the log of calls goes; null: it stays in the local file. */
  readonly mysql: MysqlSettings | null
  readonly clock: Clock
  readonly log: Log
}

export interface StoreStatus {
  /** The local file can be written. */
  readonly writable: boolean
  /** The database of the log answers. Without MySQL that is the local file. */
  readonly reachable: boolean
  /** Rows that are still to be carried to MySQL, and when the oldest of them was first changed. */
  readonly backlog: number
  readonly backlogSince: Millis | null
}

export interface Store {
  readonly callLog: CallLog
  readonly snapshots: Snapshots
  readonly receipts: Receipts
  readonly history: CallHistory
  readonly directory: Directory
  status(): StoreStatus
  /**
   * Once at start, after the snapshots were taken up: every call of this server that is open in the log and not among
   * these ended with the last process, and is closed with `server_restart`. Forgets their snapshots. Returns how many.
   */
  closeOrphans(liveIds: Iterable<CallId>, now: Millis): number
  /** Deletes calls that ended so many days ago, a few at a time; 0: none. Resolves with how many. Never rejects. */
  retain(days: number): Promise<number>
  /** Writes and syncs what is left, and closes. Twice is fine. */
  close(): Promise<void>
}

/** Throws `Unusable` and `NewerFile`, whose message is a line for the operator. MySQL may be away. */
export function openStore({ dataDir, mysql, clock, log }: StoreSettings): Store {
  const file = LocalFile.open(dataDir, clock, log)
  const journal = new Journal({ file, clock, log })
  const outbox = mysql === null ? null : new Outbox({ file, journal, clock })
  const calls = new Calls({ file, journal, log, changed: (id, gone) => outbox?.changed(id, gone) })
  const snapshots = new LocalSnapshots({ file, journal, log })
  const receipts = new LocalReceipts({ file, journal, log })
  const retention = new Retention({ file, journal, mysql, clock, log })
  const local = new LocalHistory(file)
  const remote = mysql === null ? null : new RemoteHistory({ settings: mysql, local, clock })
  const remoteDirectory = mysql === null ? null : new RemoteDirectory({ settings: mysql, clock, log })
  const carrier =
    mysql === null || outbox === null ? null : new Carrier({ settings: mysql, outbox, journal, clock, log })
  return {
    callLog: calls,
    snapshots,
    receipts,
    history: upToDate(remote ?? local, calls),
    directory: remoteDirectory ?? new LocalDirectory({ file, journal, log }),
    status: () => ({
      writable: !journal.failing,
      reachable: carrier?.reachable ?? !journal.failing,
      backlog: outbox?.count ?? 0,
      backlogSince: outbox?.since() ?? null,
    }),
    closeOrphans(liveIds, now) {
      const live = [...liveIds]
      snapshots.keepOnly(live)
      return calls.closeOrphans(live, now)
    },
    retain: (days) => retention.retain(days),
    async close() {
      await journal.synced().catch(() => {})
      await carrier?.close()
      remote?.close()
      remoteDirectory?.close()
      await journal.close()
      file.close()
    },
  }
}

/** A history that sees what was appended before the question. What cannot be written now is not waited for. */
function upToDate(history: CallHistory, calls: CallLog): CallHistory {
  const settled = () => calls.synced().catch(() => {})
  return {
    find: (query) => settled().then(() => history.find(query)),
    get: (id) => settled().then(() => history.get(id)),
  }
}
