/** Stores for tests: on the real clock, with a log that can be looked at, and calls to put into them. */
import { onTestFinished } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SystemClock } from '../../src/clock.ts'
import { type Call, open } from '../../src/core/call.ts'
import { type CallId, callId, type Millis } from '../../src/core/ids.ts'
import type { CallQuery, CallRecord, CallRow } from '../../src/core/ports.ts'
import { openStore, type Store, type StoreSettings } from '../../src/store/store.ts'
import { type LogLine, listLog } from './log.ts'
import { until } from './until.ts'

export interface OpenedStore extends Store {
  readonly dataDir: string
  readonly lines: LogLine[]
}

/** Opens a store, in a folder of its own unless one is given. `close` stops its clock as well. */
export function openTestStore(settings: Partial<StoreSettings> = {}): OpenedStore {
  const dataDir = settings.dataDir ?? temporaryFolder()
  const log = listLog()
  const clock = new SystemClock((error) => {
    throw error
  })
  const store = openStore({ mysql: null, clock, log, ...settings, dataDir })
  return {
    ...store,
    dataDir,
    lines: log.lines,
    async close() {
      await store.close()
      clock.close()
    },
  }
}

/** For one test: removed when it is over and everything of it was closed. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringdown-store-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Everything that was told is where it belongs: on the disk here, and in the database over there. */
export async function arrived(store: Store): Promise<void> {
  await store.callLog.synced()
  await until(() => store.status().backlog === 0, 'the backlog to be carried')
}

export function newId(): CallId {
  return callId(crypto.randomUUID())
}

export const T0: Millis = Date.UTC(2026, 0, 31, 9, 30, 0, 250)

type Created = CallRecord & { is: 'created' }

export function created(id: CallId, more: Partial<Created> = {}): Created {
  const parties = ['user_123', 'user_789'] as const
  return { is: 'created', id, at: T0, kind: 'ride', subject: 'ride_456', parties, metadata: null, ...more }
}

export function ended(id: CallId, at: Millis = T0 + 60_000): CallRecord {
  return { is: 'ended', id, at, reason: 'user_terminated', by: 0, detail: null }
}

/** A call that waits. */
export function waitingCall(id: CallId, kind: 'ride' | 'direct' = 'ride'): Call {
  return open(id, { kind, limit: 60_000, grace: 15_000 }, 60_000, T0)
}

const EVERYTHING: CallQuery = {
  ride: null,
  user: null,
  service: null,
  status: null,
  reason: null,
  from: null,
  to: null,
  before: null,
  limit: 1_000_000,
}

export function find(store: Store, query: Partial<CallQuery> = {}): Promise<CallRow[]> {
  return store.history.find({ ...EVERYTHING, ...query })
}
