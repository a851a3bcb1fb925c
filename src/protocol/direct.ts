/**
 * What is said on `/signal`: the direct service's messages, up (client to server) and down (server to client). Each is
 * `{type, payload}`. Source: the reference document "SecureCall Signaling Protocol Reference". What it does not show
 * (ringing, resume, identities, histories, TURN refreshes) is additive: a client written from it alone never needs it.
 *
 * Changing a message: raise the number in version.ts, add a line of history there, change docs/protocol.md.
 */
import { type Static, type TProperties, Type } from 'typebox'
import { type CodeName, type CodeOf, codesOf, endReasons, type Failure } from './codes.ts'
import { iceServer, PLAIN_TEXT, USUAL_CANDIDATE } from './ice.ts'
import { messageReader } from './read.ts'

/** Where people's devices connect. */
export const DIRECT_PATH = '/signal'

function message<const T extends string, F extends TProperties>(type: T, payload: F, description: string) {
  return Type.Object({ type: Type.Literal(type), payload: Type.Object(payload) }, { description })
}

export { CLIENT_ID } from './directory.ts'

/** Checked by the service, so that a wrong one is `INVALID_CLIENT_ID` and not just a wrong field. */
const clientId = Type.String({ description: 'matches ^[a-zA-Z0-9_-]{1,64}$' })
const callId = Type.String({ minLength: 1, maxLength: 64 })
const sdp = Type.String({ minLength: 1, description: 'Session description, opaque to the server.' })
const publicKey = Type.String({ minLength: 1, maxLength: 8192, description: 'Opaque to the server.' })
const token = Type.String({ minLength: 1, maxLength: 4096 })
/** As the client wrote it: a string in the document, the object of RTCIceCandidate.toJSON in browsers. */
const candidate = Type.Union([Type.String(), Type.Record(Type.String(), Type.Unknown()), Type.Null()])
const proof = Type.String({ minLength: 1, maxLength: 512, description: 'Signature, base64url.' })
const identityKey = Type.String({
  minLength: 1,
  maxLength: 512,
  description: 'SubjectPublicKeyInfo in DER, base64url: Ed25519 or ECDSA P-256.',
})

const iceServers = Type.Array(iceServer, {
  description: 'For RTCPeerConnection; empty when no TURN is configured.',
})
const expiresAt = Type.Integer({ description: 'Milliseconds since 1970.' })
/** Of the credentials in `iceServers`; null when they do not run out. */
const iceExpiresAt = Type.Union([expiresAt, Type.Null()])

/** Relayed as it came, to the other party. */
const iceCandidate = message(
  'ICE_CANDIDATE',
  { callId, candidate },
  'ICE candidate. Relayed to the peer as it came.',
)
const negotiate = message(
  'CALL_NEGOTIATE',
  { callId, sdp },
  'Offer or answer within a call (ICE restart, renegotiation). Relayed to the peer as it came.',
)

export const directUp = {
  HELLO: message('HELLO', {}, 'Asks for a nonce to sign. Answered by WELCOME.'),
  REGISTER: message(
    'REGISTER',
    {
      clientId,
      identityKey: Type.Optional(identityKey),
      signature: Type.Optional(proof),
      rotation: Type.Optional(
        Type.Object(
          { newIdentityKey: identityKey, signature: proof },
          { description: 'The new key that the id is bound to from now on, signed by the old one.' },
        ),
      ),
      token: Type.Optional(token),
    },
    'Says who this is, within 60 s. Answered by REGISTERED or ERROR.',
  ),
  RESUME: message(
    'RESUME',
    { resumeToken: token, received: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }) },
    'Takes up a lost connection. `received` counts the text frames got since and with REGISTERED, on all connections, ' +
      'RESUMED not counted. Answered by RESUMED and what was missed.',
  ),
  CALL_INITIATE: message(
    'CALL_INITIATE',
    {
      targetId: clientId,
      sdpOffer: sdp,
      ringTimeout: Type.Optional(Type.Integer({ minimum: 5, maximum: 180, description: 'Seconds.' })),
    },
    'Starts a call. Answered by CALL_RINGING, CALL_REJECTED {reason: busy} or ERROR.',
  ),
  CALL_ACCEPT: message(
    'CALL_ACCEPT',
    { callId, sdpAnswer: sdp },
    'Accepts an incoming call. The first device wins.',
  ),
  CALL_REJECT: message('CALL_REJECT', { callId }, 'Rejects an incoming call.'),
  CALL_END: message('CALL_END', { callId }, 'Hangs up, or cancels while it rings.'),
  CALL_NEGOTIATE: negotiate,
  ICE_CANDIDATE: iceCandidate,
  PKD_REGISTER: message(
    'PKD_REGISTER',
    { clientId, publicKey },
    "Puts one's own key into the directory. Answered by PKD_RESULT or ERROR.",
  ),
  PKD_LOOKUP: message(
    'PKD_LOOKUP',
    { clientId },
    "Asks for somebody's key. Answered by PKD_RESULT or ERROR.",
  ),
  PKD_HISTORY: message(
    'PKD_HISTORY',
    { clientId, after: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })) },
    'Asks for every change of a key after a version. Answered by PKD_HISTORY.',
  ),
  TURN_REFRESH: message('TURN_REFRESH', {}, 'Asks for fresh TURN credentials. Answered by ICE_SERVERS.'),
  PING: message('PING', {}, 'A sign of life. Answered by PONG. Any other frame is one too.'),
} as const

export type DirectUp = Static<(typeof directUp)[keyof typeof directUp]>

type Relayed = 'ICE_CANDIDATE' | 'CALL_NEGOTIATE'
/** What a client said, as the server reads it: of what goes on as text, no more is told than which call it is about. */
export type DirectRead =
  | Exclude<DirectUp, { type: Relayed }>
  | { readonly type: Relayed; readonly payload: { readonly callId: string } }

const fingerprint = Type.String({ description: 'SHA-256 of the key as UTF-8, base64url.' })
const keyAtRing = Type.Object({
  fingerprint,
  version: Type.Integer(),
  changedAt: expiresAt,
  proven: Type.Boolean({
    description: 'The caller proved to be the holder of the identity that the id is bound to.',
  }),
})

/** One change of a key. `hash`: docs/protocol.md, DIRECT-25. */
export const keyChange = Type.Object({
  version: Type.Integer({ minimum: 1 }),
  publicKey,
  changedAt: expiresAt,
  previous: Type.String({ description: 'hash of the change before; empty for the first.' }),
  hash: Type.String(),
})
export type KeyChange = Static<typeof keyChange>

const reason = Type.Union(
  Object.entries(endReasons)
    .filter(([, row]) => (row.services as readonly string[]).includes('direct'))
    .map(([name]) => Type.Literal(name)),
)

/** Codes of the table that have another name here: the reference document's, or none that would tell more. */
const renamed = {
  unknown_type: 'INVALID_MESSAGE',
  invalid_field: 'INVALID_MESSAGE',
  binary_not_allowed: 'INVALID_MESSAGE',
  message_too_large: 'PAYLOAD_TOO_LARGE',
  storage_unavailable: 'INTERNAL_ERROR',
  internal: 'INTERNAL_ERROR',
} as const

type Renamed = typeof renamed
type NameHere<Code extends CodeName> = Code extends keyof Renamed ? Renamed[Code] : Uppercase<Code>
export type DirectError = NameHere<CodeOf<'direct'>>

/** How messages of this service write a code; one that none of them names is a mistake of ours. */
export function directName(code: CodeName): DirectError {
  if (code in renamed) return renamed[code as keyof Renamed]
  const isHere = (codesOf('direct') as CodeName[]).includes(code)
  return isHere ? (code.toUpperCase() as DirectError) : 'INTERNAL_ERROR'
}

/** The names of the reference document's kind, upper case. */
export const directErrors: readonly DirectError[] = [...new Set(codesOf('direct').map(directName))]

export const directDown = {
  WELCOME: message(
    'WELCOME',
    {
      nonce: Type.String({
        description: '32 random bytes, base64url. Good once, for this connection, for 30 s.',
      }),
      features: Type.Array(Type.String()),
      limits: Type.Object({
        payloadBytes: Type.Integer(),
        heartbeatMs: Type.Integer(),
        timeoutMs: Type.Integer(),
      }),
    },
    'Answers HELLO.',
  ),
  REGISTERED: message(
    'REGISTERED',
    { clientId, resumeToken: token, iceServers, iceExpiresAt },
    'The connection speaks for this id.',
  ),
  RESUMED: message(
    'RESUMED',
    { replayed: Type.Integer(), resumeToken: token, gap: Type.Optional(Type.Literal(true)) },
    'Answers RESUME; the `replayed` frames that were missed follow. `gap`: some are gone for good.',
  ),
  CALL_RINGING: message(
    'CALL_RINGING',
    {
      callId,
      targetId: clientId,
      expiresAt,
      iceServers,
      iceExpiresAt,
      state: Type.Optional(Type.Literal('waking')),
    },
    'Answers CALL_INITIATE. `waking`: the target has no connection and was sent a wake-up.',
  ),
  INCOMING_CALL: message(
    'INCOMING_CALL',
    {
      callId,
      callerId: clientId,
      sdpOffer: sdp,
      expiresAt,
      iceServers,
      iceExpiresAt,
      callerKey: Type.Optional(keyAtRing),
    },
    'Somebody calls.',
  ),
  CALL_ACCEPTED: message(
    'CALL_ACCEPTED',
    { callId, sdpAnswer: sdp },
    'The target accepted: the call is active.',
  ),
  CALL_REJECTED: message('CALL_REJECTED', { callId, reason }, 'The target rejected, or is busy.'),
  CALL_ENDED: message('CALL_ENDED', { callId, reason }, 'The call is over.'),
  CALL_NEGOTIATE: negotiate,
  ICE_CANDIDATE: iceCandidate,
  PEER_RECONNECTING: message(
    'PEER_RECONNECTING',
    { callId, graceMs: Type.Integer() },
    'The peer lost its connection and has so long to come back.',
  ),
  PEER_RESUMED: message('PEER_RESUMED', { callId }, 'The peer is back.'),
  PKD_RESULT: message(
    'PKD_RESULT',
    { clientId, publicKey, version: Type.Integer(), changedAt: expiresAt, fingerprint, hash: Type.String() },
    'A key of the directory. `hash` is the head of its history.',
  ),
  PKD_CHANGED: message(
    'PKD_CHANGED',
    { clientId, publicKey, version: Type.Integer(), changedAt: expiresAt, fingerprint, hash: Type.String() },
    'A key that this connection looked up has changed.',
  ),
  PKD_HISTORY: message(
    'PKD_HISTORY',
    { clientId, changes: Type.Array(keyChange), more: Type.Boolean() },
    'Changes of a key, oldest first. `more`: ask again after the last.',
  ),
  ICE_SERVERS: message(
    'ICE_SERVERS',
    { iceServers, expiresAt: Type.Union([expiresAt, Type.Null()]) },
    'Answers TURN_REFRESH.',
  ),
  PONG: message('PONG', {}, 'Answers PING.'),
  ERROR: message(
    'ERROR',
    {
      code: Type.Union(directErrors.map((name) => Type.Literal(name))),
      message: Type.String(),
      retryAfterMs: Type.Optional(Type.Integer()),
      callId: Type.Optional(callId),
    },
    'Something asked was refused; it had no effect.',
  ),
} as const

type Down = typeof directDown
type ReasonGiven = { callId: string; reason: string }
/** Server to client. Where the schema is made from a table, the plain type stands here. */
export type DirectDown =
  | Static<Down[Exclude<keyof Down, 'CALL_REJECTED' | 'CALL_ENDED' | 'ERROR'>]>
  | { type: 'CALL_REJECTED'; payload: ReasonGiven }
  | { type: 'CALL_ENDED'; payload: ReasonGiven }
  | { type: 'ERROR'; payload: { code: DirectError; message: string; retryAfterMs?: number; callId?: string } }

const readUp = messageReader(directUp) as (text: string) => DirectUp
const usualCandidate = new RegExp(
  '^\\{"type":"ICE_CANDIDATE","payload":\\{"callId":"([^"\\\\\\u0000-\\u001f]{1,64})",' +
    `"candidate":(?:${PLAIN_TEXT}|null|${USUAL_CANDIDATE})\\}\\}$`,
)

export const directCodec = {
  /** The text of one frame, checked. Throws a Failure. The hot path. */
  read(text: string): DirectRead {
    const callId = usualCandidate.exec(text)?.[1]
    return callId === undefined ? readUp(text) : { type: 'ICE_CANDIDATE', payload: { callId } }
  },
  /** What the peer is told about its mistake. */
  failure({ code, message, retryAfter, callId: call }: Failure): string {
    return writeDirect({
      type: 'ERROR',
      payload: {
        code: directName(code),
        message,
        ...(retryAfter === undefined ? {} : { retryAfterMs: retryAfter }),
        ...(call === undefined ? {} : { callId: call }),
      },
    })
  },
} as const

export function writeDirect(message: DirectDown): string {
  return JSON.stringify(message)
}
