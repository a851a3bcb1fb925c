/** Bodies of the ride service's HTTP side. The three fields each way that the reference document shows come first. */
import { type Static, Type } from 'typebox'
import { backendId } from './ride.ts'

const seconds = Type.Integer({ minimum: 1, maximum: 86_400, description: 'Seconds.' })

/** `POST /sessions`, from the app's backend. */
export const createSession = Type.Object({
  ride_id: backendId,
  driver_id: backendId,
  passenger_id: backendId,
  max_duration: Type.Optional(seconds),
  join_window: Type.Optional(seconds),
  metadata: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
})
export type CreateSession = Static<typeof createSession>

/** Answers `POST /sessions`. `expires_in`: seconds left for both to come in. */
export const sessionCreated = Type.Object({
  session_id: Type.String(),
  ride_id: backendId,
  expires_in: Type.Integer(),
  join_tokens: Type.Object({ driver: Type.String(), passenger: Type.String() }),
  websocket_url: Type.String(),
})
export type SessionCreated = Static<typeof sessionCreated>

/** `PATCH /sessions/:id`: the longest duration, counted from when both were in. */
export const extendSession = Type.Object({ max_duration: seconds })
export type ExtendSession = Static<typeof extendSession>

/** Answers `GET`, `PATCH` and `DELETE /sessions/:id`. Times are ISO 8601 in UTC, or null. */
export const session = Type.Object({
  session_id: Type.String(),
  ride_id: backendId,
  driver_id: backendId,
  passenger_id: backendId,
  status: Type.Union([Type.Literal('created'), Type.Literal('active'), Type.Literal('ended')]),
  participants: Type.Object({ driver: legState(), passenger: legState() }),
  created_at: Type.String(),
  connected_at: Type.Union([Type.String(), Type.Null()]),
  expires_at: Type.Union([Type.String(), Type.Null()]),
  ended_at: Type.Union([Type.String(), Type.Null()]),
  end_reason: Type.Union([Type.String(), Type.Null()]),
  metadata: Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()]),
})
export type SessionView = Static<typeof session>

function legState() {
  return Type.Union([Type.Literal('absent'), Type.Literal('present'), Type.Literal('away')])
}

/** Every error answer. `field` where one is at fault. */
export const httpError = Type.Object({
  error: Type.Object({ code: Type.String(), message: Type.String(), field: Type.Optional(Type.String()) }),
})
export type HttpError = Static<typeof httpError>
