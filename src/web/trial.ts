/** Asks the server for a session to try a call with, where it gives any: on a fresh machine and in development. */
import type { SessionCreated } from '../protocol/http.ts'
import type { Place } from './address.ts'

export interface Trial {
  readonly driver: Place
  readonly passenger: Place
  /** Seconds left for both to come in. */
  readonly expiresIn: number
}

type Answer = SessionCreated & { readonly driver_id: string; readonly passenger_id: string }

/** Null where this server opens sessions for the app's backend only. Rejects when it cannot be reached or asks to wait. */
export async function openTrial(): Promise<Trial | null> {
  const response = await fetch('/try/session', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  })
  if (response.status === 404) return null
  if (!response.ok) throw new Error(`HTTP ${response.status}`)
  const {
    session_id: sessionId,
    driver_id,
    passenger_id,
    join_tokens,
    expires_in,
  } = (await response.json()) as Answer
  return {
    driver: { sessionId, userId: driver_id, role: 'driver', joinToken: join_tokens.driver },
    passenger: { sessionId, userId: passenger_id, role: 'passenger', joinToken: join_tokens.passenger },
    expiresIn: expires_in,
  }
}
