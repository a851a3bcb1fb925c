/** Bodies of the HTTP side. The three fields each way that the ride's reference document shows come first. */
import { type Static, Type } from 'typebox'
import { METADATA_BYTES } from './limits.ts'
import { backendId } from './ride.ts'

function seconds(description: string) {
  return Type.Integer({ minimum: 1, maximum: 86_400, description })
}

function text(description: string) {
  return Type.String({ description })
}

function textOrNull(description: string) {
  return Type.Union([Type.String(), Type.Null()], { description })
}

const maxDuration = seconds(
  'Seconds the call may last from when both are in, within what the operator allows.',
)
const metadata = Type.Record(Type.String(), Type.Unknown(), {
  description: `Kept with the call; at most ${METADATA_BYTES} bytes as JSON.`,
})

/** `POST /sessions`, from the app's backend. */
export const createSession = Type.Object({
  ride_id: backendId,
  driver_id: backendId,
  passenger_id: backendId,
  max_duration: Type.Optional(maxDuration),
  join_window: Type.Optional(seconds('Seconds that both have to come in, within what the operator allows.')),
  metadata: Type.Optional(metadata),
})
export type CreateSession = Static<typeof createSession>

/** Answers `POST /sessions`. `expires_in`: seconds left for both to come in. */
export const sessionCreated = Type.Object({
  session_id: text('A random UUID, for both phones.'),
  ride_id: backendId,
  expires_in: Type.Integer({ description: 'Seconds that both have to come in.' }),
  join_tokens: Type.Object(
    { driver: Type.String(), passenger: Type.String() },
    { description: 'Each proves one role in authenticate. Give each party its own alone.' },
  ),
  websocket_url: text('Where the phones connect.'),
})
export type SessionCreated = Static<typeof sessionCreated>

/** `PATCH /sessions/:id`: the longest duration, counted from when both were in. */
export const extendSession = Type.Object({ max_duration: maxDuration })
export type ExtendSession = Static<typeof extendSession>

/** Answers `GET`, `PATCH` and `DELETE /sessions/:id`. Times are ISO 8601 in UTC, or null. */
export const session = Type.Object({
  session_id: Type.String(),
  ride_id: backendId,
  driver_id: backendId,
  passenger_id: backendId,
  status: Type.Union([Type.Literal('created'), Type.Literal('active'), Type.Literal('ended')]),
  participants: Type.Object({ driver: legState(), passenger: legState() }),
  created_at: text('ISO 8601 in UTC.'),
  connected_at: textOrNull('When both were in.'),
  expires_at: textOrNull('When the join window or the call ends, if nothing happens before.'),
  ended_at: textOrNull('When it ended.'),
  end_reason: textOrNull('One of the end reasons.'),
  metadata: Type.Union([metadata, Type.Null()]),
})
export type SessionView = Static<typeof session>

function legState() {
  return Type.Union([Type.Literal('absent'), Type.Literal('present'), Type.Literal('away')])
}

/** `POST /calls/:id/reject`, from a phone that was woken. */
export const rejectCall = Type.Object({
  token: Type.String({ minLength: 1, maxLength: 512, description: 'reject_token of the call.wake.' }),
})
export type RejectCall = Static<typeof rejectCall>

/** Every error answer. `field` where one is at fault. */
export const httpError = Type.Object({
  error: Type.Object({
    code: text('One of the codes.'),
    message: text('A sentence for a person.'),
    field: Type.Optional(text('The field, header or parameter at fault.')),
  }),
})
export type HttpError = Static<typeof httpError>
