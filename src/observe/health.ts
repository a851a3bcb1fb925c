import type { Millis } from '../core/ids.ts'
import type { StoreState } from './metrics.ts'

/** Whether to send new calls here, and for an operator what is wrong. */
export interface Readiness {
  readonly ready: boolean
  readonly degraded: boolean
  readonly parts: Readonly<Record<string, string>>
}

/**
 * Not ready: going down, or unable to write a call down. Degraded: everything works, and something needs a look: the
 * database of the log does not answer, and rows wait for it here.
 */
export function readiness(draining: boolean, store: StoreState, now: Millis): Readiness {
  return {
    ready: !draining && store.writable,
    degraded: !store.writable || !store.reachable,
    parts: { server: draining ? 'going down' : 'ok', store: stateOf(store, now) },
  }
}

function stateOf({ writable, reachable, backlog, backlogSince }: StoreState, now: Millis): string {
  const since =
    backlogSince === null ? '' : `, the oldest for ${Math.max(0, Math.round((now - backlogSince) / 1000))} s`
  const waiting = backlog === 0 ? '' : `; ${backlog} rows wait${since}`
  if (!writable) return `calls cannot be written down on this machine${waiting}`
  if (!reachable) return `the database does not answer${waiting}`
  return 'ok'
}
