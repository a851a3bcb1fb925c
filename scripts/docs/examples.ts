/**
 * An example for every message and every body but an error, so that a new one cannot be forgotten: the reference document's own, as far as
 * it shows them, with what we add after its fields. Kept out of the schemas, which browsers load.
 */
import type { Static } from 'typebox'
import type * as http from '../../src/protocol/http.ts'
import type { down, RideDown, RideUp, up } from '../../src/protocol/ride.ts'

type Bodies = Omit<typeof http, 'httpError'>
type Of<Messages, Name> = Extract<Messages, { type: Name }>

const SESSION = '3b2e7c4f-95a2-4a0b-99f6-fc935d0a4461'

export const bodies: { readonly [Name in keyof Bodies]: Static<Bodies[Name]> } = {
  createSession: { ride_id: 'ride_456', driver_id: 'user_123', passenger_id: 'user_789' },
  sessionCreated: {
    session_id: SESSION,
    ride_id: 'ride_456',
    expires_in: 60,
    join_tokens: { driver: 'bI0y…', passenger: 'Xq7c…' },
    websocket_url: 'wss://calls.example.com/ws',
  },
  extendSession: { max_duration: 600 },
  session: {
    session_id: SESSION,
    ride_id: 'ride_456',
    driver_id: 'user_123',
    passenger_id: 'user_789',
    status: 'active',
    participants: { driver: 'present', passenger: 'away' },
    created_at: '2026-02-20T20:20:20.000Z',
    connected_at: '2026-02-20T20:20:31.250Z',
    expires_at: '2026-02-20T20:21:31.250Z',
    ended_at: null,
    end_reason: null,
    metadata: null,
  },
  rejectCall: { token: 'Jk2v…' },
}

const relayed = {
  offer: { type: 'offer', sdp: 'v=0\r\n...' },
  answer: { type: 'answer', sdp: 'v=0\r\n...' },
  ice_candidate: { type: 'ice_candidate', candidate: { candidate: '...', sdpMid: '0', sdpMLineIndex: 0 } },
} as const

export const upMessages: { readonly [Name in keyof typeof up]: Of<RideUp, Name> } = {
  authenticate: { type: 'authenticate', session_id: SESSION, user_id: 'user_123' },
  resume: { type: 'resume', resume_token: 'pW3x…', received: 7 },
  ...relayed,
  ice_servers: { type: 'ice_servers' },
  heartbeat: { type: 'heartbeat' },
  end_call: { type: 'end_call' },
}

export const downMessages: { readonly [Name in keyof typeof down]: Of<RideDown, Name> } = {
  authenticated: { type: 'authenticated', user_id: 'user_123', resume_token: 'pW3x…' },
  session_joined: { type: 'session_joined', session_id: 'sess_abc', ride_id: 'ride_456' },
  resumed: { type: 'resumed', replayed: 2, resume_token: 'u81K…' },
  participant_joined: { type: 'participant_joined', role: 'passenger' },
  participant_reconnecting: { type: 'participant_reconnecting', role: 'driver', grace_ms: 15_000 },
  participant_resumed: { type: 'participant_resumed', role: 'driver' },
  participant_left: { type: 'participant_left', role: 'driver' },
  ...relayed,
  call_warning: { type: 'call_warning', remaining_ms: 15_000 },
  call_timeout: { type: 'call_timeout', reason: 'max_duration_reached' },
  call_ended: { type: 'call_ended', reason: 'user_terminated' },
  ice_servers: {
    type: 'ice_servers',
    ice_servers: [
      {
        urls: ['turn:turn.example.com:3478'],
        username: '1771618950:3b2e7c4f-95a2-4a0b-99f6-fc935d0a4461.0',
        credential: 'q0Ck…',
      },
    ],
    expires_at: 1_771_618_950_000,
  },
  pong: { type: 'pong' },
  unauthorized: { type: 'unauthorized', reason: 'session_not_found' },
  error: { type: 'error', code: 'session_not_found', message: 'No active session for this ride' },
}
