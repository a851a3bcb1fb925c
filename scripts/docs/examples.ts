/**
 * An example for every message and every body but an error, so that a new one cannot be forgotten: the reference
 * documents' own, as far as they show them, with what we add after their fields. Kept out of the schemas, which
 * browsers load.
 */
import type { Static } from 'typebox'
import type { DirectDown, DirectUp, directDown, directUp } from '../../src/protocol/direct.ts'
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

const LATER = 1_771_618_950_000

const iceServers = [
  {
    urls: ['turn:turn.example.com:3478'],
    username: '1771618950:3b2e7c4f-95a2-4a0b-99f6-fc935d0a4461.0',
    credential: 'q0Ck…',
  },
]

export const rideUp: { readonly [Name in keyof typeof up]: Of<RideUp, Name> } = {
  authenticate: { type: 'authenticate', session_id: SESSION, user_id: 'user_123' },
  resume: { type: 'resume', resume_token: 'pW3x…', received: 7 },
  ...relayed,
  ice_servers: { type: 'ice_servers' },
  heartbeat: { type: 'heartbeat' },
  end_call: { type: 'end_call' },
}

export const rideDown: { readonly [Name in keyof typeof down]: Of<RideDown, Name> } = {
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
  ice_servers: { type: 'ice_servers', ice_servers: iceServers, expires_at: LATER },
  pong: { type: 'pong' },
  unauthorized: { type: 'unauthorized', reason: 'session_not_found' },
  error: { type: 'error', code: 'session_not_found', message: 'No active session for this ride' },
}

const callId = '5d0f9a52-7a52-4a0e-9f3b-0c1b8a4f6e21'
const ofPeer = {
  ICE_CANDIDATE: { type: 'ICE_CANDIDATE', payload: { callId, candidate: '...' } },
  CALL_NEGOTIATE: { type: 'CALL_NEGOTIATE', payload: { callId, sdp: '...' } },
} as const

export const directUpExamples: { readonly [Name in keyof typeof directUp]: Of<DirectUp, Name> } = {
  HELLO: { type: 'HELLO', payload: {} },
  REGISTER: { type: 'REGISTER', payload: { clientId: 'abc123' } },
  RESUME: { type: 'RESUME', payload: { resumeToken: 'pW3x…', received: 7 } },
  CALL_INITIATE: { type: 'CALL_INITIATE', payload: { targetId: 'xyz789', sdpOffer: '...' } },
  CALL_ACCEPT: { type: 'CALL_ACCEPT', payload: { callId, sdpAnswer: '...' } },
  CALL_REJECT: { type: 'CALL_REJECT', payload: { callId } },
  CALL_END: { type: 'CALL_END', payload: { callId } },
  ...ofPeer,
  PKD_REGISTER: { type: 'PKD_REGISTER', payload: { clientId: 'abc123', publicKey: '...' } },
  PKD_LOOKUP: { type: 'PKD_LOOKUP', payload: { clientId: 'xyz789' } },
  PKD_HISTORY: { type: 'PKD_HISTORY', payload: { clientId: 'xyz789', after: 1 } },
  TURN_REFRESH: { type: 'TURN_REFRESH', payload: {} },
  PING: { type: 'PING', payload: {} },
}

const key = {
  clientId: 'xyz789',
  publicKey: '...',
  version: 2,
  changedAt: 1_771_618_820_000,
  fingerprint: 'mX4b…',
  hash: 'h7Yt…',
}

export const directDownExamples: { readonly [Name in keyof typeof directDown]: Of<DirectDown, Name> } = {
  WELCOME: {
    type: 'WELCOME',
    payload: {
      nonce: 'Zk1s…',
      features: ['resume', 'negotiate', 'identity', 'history', 'turn'],
      limits: { payloadBytes: 65_536, heartbeatMs: 30_000, timeoutMs: 60_000 },
    },
  },
  REGISTERED: {
    type: 'REGISTERED',
    payload: { clientId: 'abc123', resumeToken: 'pW3x…', iceServers, iceExpiresAt: LATER },
  },
  RESUMED: { type: 'RESUMED', payload: { replayed: 2, resumeToken: 'u81K…' } },
  CALL_RINGING: {
    type: 'CALL_RINGING',
    payload: { callId, targetId: 'xyz789', expiresAt: 1_771_618_880_000, iceServers, iceExpiresAt: LATER },
  },
  INCOMING_CALL: {
    type: 'INCOMING_CALL',
    payload: {
      callId,
      callerId: 'abc123',
      sdpOffer: '...',
      expiresAt: 1_771_618_880_000,
      iceServers,
      iceExpiresAt: LATER,
    },
  },
  CALL_ACCEPTED: { type: 'CALL_ACCEPTED', payload: { callId, sdpAnswer: '...' } },
  CALL_REJECTED: { type: 'CALL_REJECTED', payload: { callId, reason: 'rejected' } },
  CALL_ENDED: { type: 'CALL_ENDED', payload: { callId, reason: 'ended' } },
  ...ofPeer,
  PEER_RECONNECTING: { type: 'PEER_RECONNECTING', payload: { callId, graceMs: 15_000 } },
  PEER_RESUMED: { type: 'PEER_RESUMED', payload: { callId } },
  PKD_RESULT: { type: 'PKD_RESULT', payload: key },
  PKD_CHANGED: { type: 'PKD_CHANGED', payload: key },
  PKD_HISTORY: {
    type: 'PKD_HISTORY',
    payload: {
      clientId: 'xyz789',
      changes: [
        { version: 2, publicKey: '...', changedAt: 1_771_618_820_000, previous: 'b0Qe…', hash: 'h7Yt…' },
      ],
      more: false,
    },
  },
  ICE_SERVERS: { type: 'ICE_SERVERS', payload: { iceServers, expiresAt: LATER } },
  PONG: { type: 'PONG', payload: {} },
  ERROR: { type: 'ERROR', payload: { code: 'TARGET_OFFLINE', message: 'The target cannot be reached.' } },
}
