/**
 * The store: the log of calls, the snapshots of live ones, and receipts. The only room that knows SQL.
 *
 * Whatever the database of the log is, everything goes into one local SQLite file first (`file.ts`), in groups and
 * synced (`journal.ts`). Without a MySQL the log stays there. With one, rows are carried over and then removed here.
 * The room touches that file, MySQL, and the clock it is given. Not here: what a call is, and when one is recorded.
 */
import type { CallId, Millis } from '../core/ids.ts'
import type { CallHistory, CallLog, Clock, Log, Receipts, Snapshots } from '../core/ports.ts'
import { Calls } from './calls.ts'
import { LocalFile } from './file.ts'
import { LocalHistory } from './history.ts'
import { Journal } from './journal.ts'
import { LocalReceipts } from './receipts.ts'
import { LocalSnapshots } from './snapshots.ts'

export { IN_MEMORY, Unusable } from './file.ts'
export { NewerFile } from './schema.ts'

export interface MysqlSettings {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly username: string
  readonly password: string
}

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
  status(): StoreStatus
  /**
   * Once at start, after the snapshots were taken up: every call of this server that is open in the log and not among
   * these ended with the last process, and is closed with `server_restart`. Forgets their snapshots. Returns how many.
   */
  closeOrphans(liveIds: Iterable<CallId>, now: Millis): number
  /** Writes and syncs what is left, and closes. Twice is fine. */
  close(): Promise<void>
}

/** Throws `Unusable` and `NewerFile`, whose message is a line for the operator. */
export function openStore({ dataDir, clock, log }: StoreSettings): Store {
  const file = LocalFile.open(dataDir, log)
  const journal = new Journal({ file, clock, log, durable: () => {} })
  const calls = new Calls({ file, journal, clock, log, changed: null })
  const snapshots = new LocalSnapshots({ file, journal, log })
  const receipts = new LocalReceipts({ file, journal })
  const history = upToDate(new LocalHistory(file), calls)
  return {
    callLog: calls,
    snapshots,
    receipts,
    history,
    status: () => ({
      writable: !journal.failing,
      reachable: !journal.failing,
      backlog: 0,
      backlogSince: null,
    }),
    closeOrphans(liveIds, now) {
      const live = [...liveIds]
      snapshots.keepOnly(live)
      return calls.closeOrphans(live, now)
    },
    async close() {
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
