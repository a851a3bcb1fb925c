/** `/sessions`: the app's backend creates, looks at, extends and ends rides. Reference document: "Create Call Session". */
import { Type } from 'typebox'
import type { CallHistory, CallRow } from '../core/ports.ts'
import { fail } from '../protocol/codes.ts'
import {
  createSession,
  extendSession,
  type SessionCreated,
  type SessionView,
  session,
  sessionCreated,
} from '../protocol/http.ts'
import { BODY_BYTES } from '../protocol/limits.ts'
import { checker } from '../protocol/read.ts'
import type { Rides } from '../services/ride/rides.ts'
import { json, readJson } from './answer.ts'
import type { Asked, Route } from './route.ts'

export interface SessionsDeps {
  readonly rides: Rides
  readonly history: CallHistory
  readonly digest: (text: string) => string
  /** Where phones connect, as seen by who asked. */
  readonly socketUrl: (asked: Asked) => string
}

const idempotencyKeyHeader = Type.String({
  minLength: 1,
  maxLength: 255,
  pattern: '^[\\x21-\\x7e]+$',
  description: 'For 24 hours, the same request under the same key gets the answer of the first.',
})
const checkCreate = checker(createSession)
const checkExtend = checker(extendSession)

export function sessionRoutes({ rides, history, digest, socketUrl }: SessionsDeps): Route[] {
  async function find(id: string): Promise<SessionView> {
    const live = rides.view(id)
    if (live !== null) return live
    const row = await history.get(id)
    if (row === null || row.service !== 'ride')
      throw fail('session_not_found', 'There is no session of this id.')
    return viewOfRow(row)
  }

  return [
    {
      method: 'POST',
      path: '/sessions',
      access: 'backend',
      name: 'createSession',
      about: 'Opens a call session for a ride.',
      headers: { 'Idempotency-Key': idempotencyKeyHeader },
      body: createSession,
      answers: sessionCreated,
      fails: ['invalid_field', 'idempotency_mismatch', 'draining', 'storage_unavailable'],
      async handle(asked) {
        const request = checkCreate(await readJson(asked.request, BODY_BYTES))
        const key = idempotencyKey(asked.request.headers)
        // Two backends, told apart by their keys, cannot meet in one idempotency key.
        const receipt = key === null ? null : digest(`${asked.keyDigest}\n${key}`)
        const created = await rides.create(request, receipt)
        return json({ ...created, websocket_url: socketUrl(asked) } satisfies SessionCreated)
      },
    },
    {
      method: 'GET',
      path: '/sessions/:id',
      access: 'backend',
      name: 'getSession',
      about: 'A session, live or ended.',
      answers: session,
      fails: ['session_not_found', 'storage_unavailable'],
      handle: async ({ id }) => json(await find(id)),
    },
    {
      method: 'PATCH',
      path: '/sessions/:id',
      access: 'backend',
      name: 'extendSession',
      about: 'Sets the longest duration of a live session, counted from when both were in.',
      body: extendSession,
      answers: session,
      fails: ['invalid_field', 'session_not_found', 'session_ended', 'storage_unavailable'],
      async handle({ id, request }) {
        const { max_duration } = checkExtend(await readJson(request, BODY_BYTES))
        const extended = rides.extend(id, max_duration)
        if (extended !== null) return json(extended)
        await find(id)
        throw fail('session_ended')
      },
    },
    {
      method: 'DELETE',
      path: '/sessions/:id',
      access: 'backend',
      name: 'endSession',
      about: 'Ends a session; both parties get call_ended. One that has ended stays as it is.',
      answers: session,
      fails: ['session_not_found', 'storage_unavailable'],
      handle: async ({ id }) => json(rides.end(id) ?? (await find(id))),
    },
  ]
}

const checkKey = checker(Type.Object({ 'Idempotency-Key': idempotencyKeyHeader }))

function idempotencyKey(headers: Headers): string | null {
  const key = headers.get('idempotency-key')
  return key === null ? null : checkKey({ 'Idempotency-Key': key })['Idempotency-Key']
}

function viewOfRow(row: CallRow): SessionView {
  return {
    session_id: row.session_id,
    ride_id: row.ride_id ?? '',
    driver_id: row.driver_id ?? '',
    passenger_id: row.passenger_id ?? '',
    status: row.status,
    participants: { driver: 'absent', passenger: 'absent' },
    created_at: row.created_at,
    connected_at: row.connected_at,
    expires_at: null,
    ended_at: row.ended_at,
    end_reason: row.end_reason,
    metadata: row.metadata,
  }
}
