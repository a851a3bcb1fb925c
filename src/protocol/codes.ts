/**
 * The one table of error codes, close codes and end reasons. The server throws by name (`fail`), the client
 * library backs off by the row, `docs/codes.md` is made from it. Close numbers 41xx ask the peer to come back and
 * resume; 44xx are final. Where two names share a number they ask the peer for the same thing.
 *
 * Not here: which message carries a code, and how it is written there. That is the codec of each service.
 */

/** What the peer that got the code does next: give up, come back with its resume token, or try again later. */
export type Retry = 'no' | 'resume' | 'later'

/** The services that speak over a socket. The line has no messages: its rows are closes. */
export type Service = 'ride' | 'direct' | 'line'

export interface Code {
  /** Whose messages name it. `close`: none does, it is the reason of a close, whatever is spoken. Empty: HTTP alone. */
  readonly where: readonly (Service | 'close')[]
  /** WebSocket close number that follows the error, or null when the socket stays open. RFC 6455 section 7.4.2. */
  readonly close: number | null
  /** HTTP status when the code answers a request, or null when it never does. */
  readonly http: number | null
  readonly retry: Retry
  /** One sentence for a person. Goes out as `message` where nothing more exact is known. */
  readonly means: string
}

const BOTH = ['ride', 'direct'] as const
const RIDE = ['ride'] as const
const DIRECT = ['direct'] as const
const LINE = ['line'] as const
const CLOSE = ['close'] as const
const HTTP = [] as const

export const codes = {
  // What a peer wrote.
  invalid_message: {
    where: BOTH,
    close: null,
    http: 400,
    retry: 'no',
    means: 'This is not a JSON object of the protocol.',
  },
  unknown_type: {
    where: BOTH,
    close: null,
    http: null,
    retry: 'no',
    means: 'There is no message of this type.',
  },
  invalid_field: {
    where: BOTH,
    close: null,
    http: 400,
    retry: 'no',
    means: 'A field is missing or has a wrong value.',
  },
  message_too_large: {
    where: BOTH,
    close: 1009,
    http: null,
    retry: 'no',
    means: 'The message is larger than the limit.',
  },
  binary_not_allowed: {
    where: BOTH,
    close: 1003,
    http: null,
    retry: 'no',
    means: 'Messages are text frames.',
  },
  text_not_allowed: {
    where: LINE,
    close: 1003,
    http: null,
    retry: 'no',
    means: 'The frames of the line are binary.',
  },
  rate_limited: {
    where: BOTH,
    close: null,
    http: 429,
    retry: 'later',
    means: 'Too much in too short a time.',
  },
  flooding: {
    where: CLOSE,
    close: 4129,
    http: null,
    retry: 'later',
    means: 'The connection kept sending over its rate.',
  },
  too_many_errors: {
    where: CLOSE,
    close: 4400,
    http: null,
    retry: 'no',
    means: 'Too many wrong messages in a row.',
  },
  buffer_full: {
    where: BOTH,
    close: null,
    http: null,
    retry: 'later',
    means: 'The other party is away and its buffer is full.',
  },

  // Who a peer is.
  not_authenticated: {
    where: RIDE,
    close: null,
    http: null,
    retry: 'no',
    means: 'The first message must be authenticate or resume.',
  },
  already_authenticated: {
    where: RIDE,
    close: null,
    http: null,
    retry: 'no',
    means: 'This connection is authenticated already.',
  },
  already_connected: {
    where: RIDE,
    close: 4423,
    http: null,
    retry: 'no',
    means: 'This user is connected on another live socket.',
  },
  taken_over: {
    where: CLOSE,
    close: 4409,
    http: null,
    retry: 'no',
    means: 'The same user came in on a newer socket.',
  },
  busy: {
    where: LINE,
    close: 4409,
    http: null,
    retry: 'no',
    means: 'Two others are on this line.',
  },
  replaced: {
    where: LINE,
    close: 4408,
    http: null,
    retry: 'no',
    means: 'The same page came in on a newer socket.',
  },
  session_not_found: {
    where: RIDE,
    close: 4401,
    http: 404,
    retry: 'no',
    means: 'No active session for this ride',
  },
  join_token_required: {
    where: RIDE,
    close: 4401,
    http: null,
    retry: 'no',
    means: 'This server needs the join token of the role.',
  },
  join_token_invalid: {
    where: RIDE,
    close: 4401,
    http: null,
    retry: 'no',
    means: 'The join token is not the one of this role.',
  },
  resume_failed: {
    where: BOTH,
    close: 4401,
    http: null,
    retry: 'no',
    means: 'The resume token is not good any more.',
  },
  authenticate_timeout: {
    where: RIDE,
    close: 4401,
    http: null,
    retry: 'no',
    means: 'No authenticate arrived in time.',
  },
  invalid_api_key: {
    where: HTTP,
    close: null,
    http: 401,
    retry: 'no',
    means: 'The API key is missing or wrong.',
  },
  origin_not_allowed: {
    where: HTTP,
    close: null,
    http: 403,
    retry: 'no',
    means: 'Pages of this origin may not connect.',
  },

  // Direct calls. On `/signal` they are written in upper case.
  invalid_client_id: {
    where: DIRECT,
    close: null,
    http: 400,
    retry: 'no',
    means: 'A client id is 1 to 64 of a-z, A-Z, 0-9, _ and -.',
  },
  not_registered: {
    where: DIRECT,
    close: null,
    http: null,
    retry: 'no',
    means: 'The first message must be REGISTER or RESUME.',
  },
  already_registered: {
    where: DIRECT,
    close: null,
    http: null,
    retry: 'no',
    means: 'This connection is registered already.',
  },
  client_id_taken: {
    where: DIRECT,
    close: null,
    http: null,
    retry: 'later',
    means: 'Another live connection has this id.',
  },
  identity_required: {
    where: DIRECT,
    close: null,
    http: null,
    retry: 'no',
    means: 'This id is registered with a proof only.',
  },
  identity_invalid: {
    where: DIRECT,
    close: null,
    http: null,
    retry: 'no',
    means: 'The proof of identity does not hold.',
  },
  register_timeout: {
    where: DIRECT,
    close: 4401,
    http: null,
    retry: 'no',
    means: 'No REGISTER arrived in time.',
  },
  target_offline: {
    where: DIRECT,
    close: null,
    http: null,
    retry: 'later',
    means: 'The target cannot be reached.',
  },
  glare: {
    where: DIRECT,
    close: null,
    http: null,
    retry: 'no',
    means: 'The target is calling you at this moment: accept that call.',
  },
  call_not_found: { where: DIRECT, close: null, http: 404, retry: 'no', means: 'You are in no such call.' },
  call_not_ringing: {
    where: DIRECT,
    close: null,
    http: 409,
    retry: 'no',
    means: 'The call does not ring any more.',
  },
  key_not_found: {
    where: DIRECT,
    close: null,
    http: null,
    retry: 'no',
    means: 'The directory has no key of this id.',
  },
  key_refused: {
    where: DIRECT,
    close: null,
    http: null,
    retry: 'no',
    means: 'Only the owner of an id may change its key.',
  },

  // How a connection ends without the call ending.
  slow_reader: {
    where: CLOSE,
    close: 4101,
    http: null,
    retry: 'resume',
    means: 'The connection does not read what it is sent.',
  },
  heartbeat_timeout: {
    where: CLOSE,
    close: 4102,
    http: null,
    retry: 'resume',
    means: 'Nothing was heard from the connection in time.',
  },
  draining: {
    where: BOTH,
    close: 4103,
    http: 503,
    retry: 'resume',
    means: 'The server is going down; come back in a moment.',
  },

  // HTTP.
  bad_request: { where: HTTP, close: null, http: 400, retry: 'no', means: 'The request cannot be read.' },
  not_found: { where: HTTP, close: null, http: 404, retry: 'no', means: 'There is nothing at this address.' },
  method_not_allowed: {
    where: HTTP,
    close: null,
    http: 405,
    retry: 'no',
    means: 'This address does not take this method.',
  },
  idempotency_mismatch: {
    where: HTTP,
    close: null,
    http: 409,
    retry: 'no',
    means: 'This Idempotency-Key was used with another body.',
  },
  session_ended: { where: HTTP, close: null, http: 409, retry: 'no', means: 'The session has ended.' },
  body_too_large: {
    where: HTTP,
    close: null,
    http: 413,
    retry: 'no',
    means: 'The body is larger than the limit.',
  },
  unsupported_media_type: {
    where: HTTP,
    close: null,
    http: 415,
    retry: 'no',
    means: 'The body must be application/json in UTF-8, not encoded.',
  },
  upgrade_required: {
    where: HTTP,
    close: null,
    http: 426,
    retry: 'no',
    means: 'This address takes WebSocket version 13.',
  },
  storage_unavailable: {
    where: DIRECT,
    close: null,
    http: 503,
    retry: 'later',
    means: 'The call cannot be written down now.',
  },
  too_many_lines: {
    where: HTTP,
    close: null,
    http: 503,
    retry: 'later',
    means: 'As many lines are open under this key as may be (`LINES_PER_KEY`).',
  },
  overloaded: {
    where: HTTP,
    close: null,
    http: 503,
    retry: 'later',
    means: 'The server holds as many connections as it may.',
  },
  internal: {
    where: BOTH,
    close: 1011,
    http: 500,
    retry: 'later',
    means: 'The server made a mistake; it is in its log.',
  },
} as const satisfies Record<string, Code>

export type CodeName = keyof typeof codes

/** The codes that messages of a service name. */
export type CodeOf<S extends Service> = {
  [Name in CodeName]: S extends (typeof codes)[Name]['where'][number] ? Name : never
}[CodeName]

export function codesOf<S extends Service>(service: S): CodeOf<S>[] {
  return rows.filter(([, { where }]) => where.includes(service)).map(([name]) => name as CodeOf<S>)
}

/** The codes that a connection of a service is closed for. */
export function closesOf(service: Service): CodeName[] {
  const closes = rows.filter(([, { close }]) => close !== null)
  return closes
    .filter(([, { where }]) => where.includes(service) || where.includes('close'))
    .map(([name]) => name)
}

// Pure, so that a page that uses none of this is built without the table.
const rows = /* @__PURE__ */ Object.entries(codes) as [CodeName, Code][]

/** Close number for a call that is over, or a peer that said goodbye. RFC 6455 section 7.4.1. */
export const NORMAL_CLOSE = 1000

/** Why a call ended: `call_logs.end_reason`, and the reason both parties are told. A closed list. */
export const endReasons = {
  user_terminated: { services: ['ride'], means: 'One of the two hung up.' },
  max_duration_reached: {
    services: ['ride', 'direct', 'line'],
    means: 'The call reached its longest duration.',
  },
  disconnect_driver: { services: ['ride'], means: 'The driver left, or was gone for longer than the grace.' },
  disconnect_passenger: {
    services: ['ride'],
    means: 'The passenger left, or was gone for longer than the grace.',
  },
  ended: { services: ['direct'], means: 'One of the two hung up.' },
  cancelled: { services: ['direct'], means: 'The caller hung up while it rang.' },
  rejected: { services: ['direct'], means: 'The callee declined.' },
  busy: { services: ['direct'], means: 'The callee was in another call.' },
  no_answer: { services: ['direct'], means: 'Nobody answered while it rang.' },
  answered_elsewhere: { services: ['direct'], means: 'Another device of the callee answered.' },
  disconnect_caller: { services: ['direct'], means: 'The caller was gone for longer than the grace.' },
  disconnect_callee: { services: ['direct'], means: 'The callee was gone for longer than the grace.' },
  left: { services: ['line'], means: 'One of the two left the line.' },
  disconnect: { services: ['line'], means: 'One of the two was gone for longer than the grace.' },
  join_timeout: { services: ['ride'], means: 'The two did not both come within the join window.' },
  cancelled_by_backend: { services: ['ride'], means: "The app's backend ended the session." },
  ended_by_operator: { services: ['ride', 'direct', 'line'], means: 'An operator ended the call.' },
  server_restart: {
    services: ['ride', 'direct', 'line'],
    means: 'The server went down and could not take the call up again.',
  },
} as const

export type EndReason = keyof typeof endReasons

export interface FailureDetails {
  readonly field?: string
  /** Milliseconds. */
  readonly retryAfter?: number
  readonly callId?: string
}

/**
 * What a peer did wrong. Thrown where the fact is known, caught once at the door, answered there as the row says.
 * `field` names the field at fault; `retryAfter` is in milliseconds.
 */
export class Failure extends Error {
  readonly code: CodeName
  readonly field: string | undefined
  readonly retryAfter: number | undefined
  readonly callId: string | undefined

  constructor(code: CodeName, message?: string, details: FailureDetails = {}) {
    super(message ?? codes[code].means)
    this.name = 'Failure'
    this.code = code
    this.field = details.field
    this.retryAfter = details.retryAfter
    this.callId = details.callId
  }
}

/** Makes the Failure of a row; the caller throws it, so that the compiler sees the flow end there. */
export function fail(code: CodeName, message?: string, details?: FailureDetails): Failure {
  return new Failure(code, message, details)
}
