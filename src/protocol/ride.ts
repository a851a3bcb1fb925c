/**
 * What is said on `/ws`: the ride service's messages, up (client to server) and down (server to client). Flat JSON
 * objects told apart by `type`. Source: the reference document "Intaleq Voice Call Signaling Backend". What it does
 * not show (resume, warnings, reconnecting) is additive: a client written from it alone never needs it.
 *
 * Changing a message: raise the number in version.ts, add a line of history there, change docs/protocol.md.
 */
import { type Static, type TProperties, Type } from 'typebox'
import { codes, codesOf, endReasons, type Failure } from './codes.ts'
import { iceServer, USUAL_CANDIDATE } from './ice.ts'
import { ID_CHARS } from './limits.ts'
import { messageReader } from './read.ts'

/** Where phones connect. */
export const RIDE_PATH = '/ws'

function message<const T extends string, F extends TProperties>(type: T, fields: F, description: string) {
  return Type.Object({ type: Type.Literal(type), ...fields }, { description })
}

/** An id the app's backend chose: any script, no folding of case or form, no control characters, not blank. */
export const backendId = Type.String({
  pattern: `^(?!\\s*$)[^\\p{Cc}\\p{Cs}]{1,${ID_CHARS}}$`,
  description: `1 to ${ID_CHARS} characters, not blank, without control characters`,
})

export const role = Type.Union([Type.Literal('driver'), Type.Literal('passenger')])
export type Role = Static<typeof role>

const sdp = Type.String({ minLength: 1, description: 'Session description, opaque to the server. RFC 8866.' })

/** As RTCIceCandidate.toJSON gives it; members not named here pass as they are. */
const candidate = Type.Object({
  candidate: Type.String({ description: 'RFC 8839 section 5.1; empty for end of candidates.' }),
  sdpMid: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  sdpMLineIndex: Type.Optional(Type.Union([Type.Integer({ minimum: 0 }), Type.Null()])),
})

/** Relayed as they came, to the other party; they wait in a bounded buffer while it is not there. */
export const relayed = {
  offer: message('offer', { sdp }, 'WebRTC offer. Relayed to the other party as it came.'),
  answer: message('answer', { sdp }, 'WebRTC answer. Relayed to the other party as it came.'),
  ice_candidate: message(
    'ice_candidate',
    { candidate },
    'ICE candidate. Relayed to the other party as it came.',
  ),
} as const

export const up = {
  authenticate: message(
    'authenticate',
    {
      session_id: Type.String({ minLength: 1 }),
      user_id: backendId,
      join_token: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
    },
    'First message of a connection. Answered by authenticated and session_joined, or by unauthorized and close 4401.',
  ),
  resume: message(
    'resume',
    {
      resume_token: Type.String({ minLength: 1, maxLength: 256 }),
      received: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
    },
    'First message of a connection that takes up a lost one. `received` counts the text frames got in this session ' +
      'since and with `authenticated`, on all connections, `resumed` and `error` not counted. Answered by resumed and ' +
      'what was missed.',
  ),
  ...relayed,
  ice_servers: message('ice_servers', {}, 'Asks for fresh TURN credentials. Answered by ice_servers.'),
  heartbeat: message('heartbeat', {}, 'A sign of life. Answered by pong.'),
  end_call: message('end_call', {}, 'Hangs up. Both parties get call_ended, then close 1000.'),
} as const

export type RideUp = Static<(typeof up)[keyof typeof up]>

type Relayed = keyof typeof relayed
/** What a client said, as the server reads it: what is relayed goes on as text, so no more than its type is told. */
export type RideRead = Exclude<RideUp, { type: Relayed }> | { readonly type: Relayed }

const reasonOf = (service: 'ride') =>
  Type.Union(
    Object.entries(endReasons)
      .filter(([, row]) => (row.services as readonly string[]).includes(service))
      .map(([name]) => Type.Literal(name)),
  )

const unauthorizedReasons = [
  'session_not_found',
  'join_token_required',
  'join_token_invalid',
  'resume_failed',
  'authenticate_timeout',
] as const

export const down = {
  authenticated: message(
    'authenticated',
    { user_id: backendId, resume_token: Type.String(), ice_servers: Type.Optional(Type.Array(iceServer)) },
    'The connection speaks for this user. `resume_token` takes the call up on a new connection, once. `ice_servers` ' +
      'when the server has any; their credentials last for the call.',
  ),
  session_joined: message(
    'session_joined',
    { session_id: Type.String(), ride_id: backendId },
    'Follows authenticated.',
  ),
  resumed: message(
    'resumed',
    { replayed: Type.Integer(), resume_token: Type.String(), gap: Type.Optional(Type.Literal(true)) },
    'Answers resume, then the `replayed` frames that were missed follow. `gap`: some are gone for good (the server ' +
      'was restarted, or more was missed than it keeps), so restart ICE. `resume_token` replaces the one used.',
  ),
  participant_joined: message('participant_joined', { role }, 'The other party is in: the call is active.'),
  participant_reconnecting: message(
    'participant_reconnecting',
    { role, grace_ms: Type.Integer() },
    'The other party lost its connection and has so long to come back.',
  ),
  participant_resumed: message('participant_resumed', { role }, 'The other party is back.'),
  participant_left: message('participant_left', { role }, 'The other party is gone.'),
  ...relayed,
  call_warning: message('call_warning', { remaining_ms: Type.Integer() }, 'The limit is near.'),
  call_timeout: message(
    'call_timeout',
    { reason: Type.Union([Type.Literal('max_duration_reached'), Type.Literal('join_timeout')]) },
    'The time is over: the call is at its limit, or the two did not both come. Then close 1000.',
  ),
  call_ended: message('call_ended', { reason: reasonOf('ride') }, 'The call is over. Then close 1000.'),
  ice_servers: message(
    'ice_servers',
    {
      ice_servers: Type.Array(iceServer),
      expires_at: Type.Union([Type.Integer({ description: 'Milliseconds since 1970.' }), Type.Null()]),
    },
    'Answers ice_servers. Empty when the server has none.',
  ),
  pong: message('pong', {}, 'Answers heartbeat.'),
  unauthorized: message(
    'unauthorized',
    { reason: Type.Union(unauthorizedReasons.map((name) => Type.Literal(name))) },
    'Answers authenticate or resume. Then close 4401.',
  ),
  error: message(
    'error',
    { code: Type.Union(codesOf('ride').map((name) => Type.Literal(name))), message: Type.String() },
    'Something sent was wrong; it had no effect. `message` names the field and the limit.',
  ),
} as const

/** Server to client. Written out where the schema above is made from a table, so that it can be read. */
export type RideDown =
  | Static<typeof down.authenticated>
  | Static<typeof down.session_joined>
  | Static<typeof down.resumed>
  | Static<typeof down.participant_joined>
  | Static<typeof down.participant_reconnecting>
  | Static<typeof down.participant_resumed>
  | Static<typeof down.participant_left>
  | Static<(typeof relayed)[keyof typeof relayed]>
  | Static<typeof down.call_warning>
  | Static<typeof down.call_timeout>
  | { type: 'call_ended'; reason: string }
  | Static<typeof down.ice_servers>
  | Static<typeof down.pong>
  | { type: 'unauthorized'; reason: string }
  | { type: 'error'; code: string; message: string }

const readUp = messageReader(up) as (text: string) => RideUp
const usualCandidate = new RegExp(`^\\{"type":"ice_candidate","candidate":${USUAL_CANDIDATE}\\}$`)
const CANDIDATE = { type: 'ice_candidate' } as const

export const rideCodec = {
  /** The text of one frame, checked. Throws a Failure. The hot path. */
  read(text: string): RideRead {
    return usualCandidate.test(text) ? CANDIDATE : readUp(text)
  },
  /** What the peer is told about its mistake. */
  failure({ code, message }: Failure): string {
    if ((unauthorizedReasons as readonly string[]).includes(code)) {
      return write({ type: 'unauthorized', reason: code })
    }
    // One that no message of a ride names is a mistake of ours.
    const isHere = (codesOf('ride') as string[]).includes(code)
    return write(
      isHere
        ? { type: 'error', code, message }
        : { type: 'error', code: 'internal', message: codes.internal.means },
    )
  },
} as const

export function write(message: RideDown): string {
  return JSON.stringify(message)
}
