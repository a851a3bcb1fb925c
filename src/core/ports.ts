/**
 * What the core and the services need from the world. Each port has one contract suite in `test/contract/`, run for
 * every implementation alike. A port has a handful of methods; its comments say what order it keeps, what a repeated
 * call does, and what failure looks like.
 */
import type { CodeName, EndReason, Failure } from '../protocol/codes.ts'
import type { IceServer } from '../protocol/ice.ts'
import type { Call, EndedBy } from './call.ts'
import type { CallId, Millis } from './ids.ts'
import type { Kind } from './kinds.ts'

/** The other end of one connection, whatever is spoken on it. */
export interface Remote {
  /** Short, for logs; says nothing about the person. */
  readonly id: string
  /** False once either end has begun to close. */
  readonly open: boolean
  /** Closes with a code and its name, after what was sent before. Repeated calls do nothing. */
  close(code: number, reason: string): void
  /**
   * The peer has said who it is. From now on it may be silent, and its log lines carry this context. All connections
   * that are admitted with the same `client` share what one may send; without it, each has that for itself.
   */
  admit(context: object, client?: object): void
  /** Asks for a sign of life; says once, within `PROBE_TIMEOUT`, whether one came. */
  probe(verdict: (alive: boolean) => void): void
}

/** One that speaks in messages. */
export interface Peer extends Remote {
  /**
   * Sends one text frame after those before it. False when it will not arrive: the connection is closed, or it reads
   * so slowly that it is being closed (`slow_reader`) and `closed` follows.
   */
  send(text: string): boolean
  /** Tells the peer what was wrong with something it asked earlier, and closes if the code's row says so. */
  refuse(failure: Failure): void
}

/** One that bytes are carried for. Frames arrive in the order they were sent in. */
export interface BytesPeer extends Remote {
  /** Sends a frame that must arrive. False when it will not, as with `Peer.send`. */
  send(bytes: Uint8Array): boolean
  /** Sends a frame if the peer keeps up with what it is sent. False when it was left out. */
  offer(bytes: Uint8Array): boolean
}

/** What happens to a call that the log must know. Told in order for each call. */
export type CallRecord =
  | {
      is: 'created'
      id: CallId
      at: Millis
      kind: Kind
      /** What the call is about in the app: the ride; null where there is no such thing. */
      subject: string | null
      /** User ids by side: driver and passenger, caller and callee; null on a line. */
      parties: readonly [string | null, string | null]
      metadata: Record<string, unknown> | null
    }
  | { is: 'active'; id: CallId; at: Millis }
  /** The user who sent the first offer. */
  | { is: 'initiated'; id: CallId; by: string }
  | { is: 'ended'; id: CallId; at: Millis; reason: EndReason; by: EndedBy; detail: string | null }

/**
 * The log of calls. `append` never blocks, never throws and keeps the order; a record told twice counts once.
 * What was appended is on this machine's disk once `synced` resolves.
 */
export interface CallLog {
  append(record: CallRecord): void
  /**
   * Resolves when everything appended or saved so far would outlive a crash of the process and of the machine. Rejects
   * with `storage_unavailable` when it cannot be written; what failed is tried again later unless it is `retract`ed.
   */
  synced(): Promise<void>
  /** Takes back a call that was created, appended and never acknowledged: nothing of it will be in the log. */
  retract(id: CallId): void
}

/** A live call with what its service must know of it besides; both are plain JSON. */
export interface Snapshot {
  readonly call: Call
  readonly detail: unknown
}

/**
 * Live calls, so that they outlive the process. The last `save` of a call wins; on disk with the next `synced`. What is
 * saved is read a little later, so that it must not be changed afterwards.
 */
export interface Snapshots {
  save(snapshot: Snapshot): void
  /** Forgets a call; one that is not there is forgotten already. */
  drop(id: CallId): void
  /** All that were saved and not dropped, in the order of their first save. One that cannot be read is left out and logged. */
  load(kind: Kind): Snapshot[]
}

/** Answers given under an `Idempotency-Key`, so that a repeated request gets the first one's. On disk with the next `synced`. */
export interface Receipts {
  /** The receipt kept under this key, unless it expired. */
  find(key: string, now: Millis): Receipt | null
  keep(key: string, receipt: Receipt): void
  /** Forgets one that was kept; one that is not there is forgotten already. */
  drop(key: string): void
}

export interface Receipt {
  /** Digest of the request, so that another body under the same key is noticed. */
  readonly digest: string
  /** What was answered, as JSON. */
  readonly answer: string
  readonly expires: Millis
}

/** One state of a client's key in the directory. */
export interface DirectoryKey {
  readonly publicKey: string
  /** Counts the changes, from 1. */
  readonly version: number
  readonly changedAt: Millis
  /** Hash of this change, which covers the hash of the one before; empty for the first. */
  readonly hash: string
  readonly previous: string
  /** Who set it, where no identity is bound: the line of connections that may change it. */
  readonly owner: string
}

/** The identity that a client id is bound to. */
export interface BoundIdentity {
  /** SubjectPublicKeyInfo in DER, base64url. */
  readonly publicKey: string
  readonly boundAt: Millis
}

/**
 * Who a client id is, and what its key is. Every change is whole or not at all, and on disk (or in the database) when
 * it resolves. Methods reject with `storage_unavailable` when the database does not answer within its deadline, 2 s; a
 * change whose answer was lost may have happened then.
 */
export interface Directory {
  find(
    clientId: string,
  ): Promise<{ readonly identity: BoundIdentity | null; readonly key: DirectoryKey | null }>
  /**
   * Binds an id to `next` if it is bound to `before` (null: to nothing). False when it is not; then nothing changed.
   */
  bind(clientId: string, before: string | null, next: BoundIdentity): Promise<boolean>
  /** Puts the next version of a key, if the version before it is the newest. False when it is not. */
  put(clientId: string, key: DirectoryKey): Promise<boolean>
  /** Changes with a version above `after`, oldest first. */
  history(clientId: string, after: number, limit: number): Promise<DirectoryKey[]>
  /** Takes the binding of an id away, and the ownership of its key; the key and its history stay. False when it had neither. */
  reset(clientId: string): Promise<boolean>
}

/** Reading the call log, for `GET /calls`. */
export interface CallQuery {
  readonly ride: string | null
  readonly user: string | null
  readonly service: Kind | null
  readonly status: 'created' | 'active' | 'ended' | null
  readonly reason: EndReason | null
  /** Created at or after, and before. */
  readonly from: Millis | null
  readonly to: Millis | null
  /** Rows older than this row id; null: the newest. */
  readonly before: number | null
  readonly limit: number
}

export interface CallRow {
  readonly id: number
  readonly session_id: string
  readonly ride_id: string | null
  readonly driver_id: string | null
  readonly passenger_id: string | null
  readonly status: 'created' | 'active' | 'ended'
  readonly initiated_by: string | null
  readonly end_reason: string | null
  /** ISO 8601 in UTC, to the millisecond. */
  readonly created_at: string
  readonly connected_at: string | null
  readonly ended_at: string | null
  readonly service: Kind
  readonly ended_by: string | null
  readonly detail: string | null
  readonly metadata: Record<string, unknown> | null
}

/** Sees what this server appended to its log before the question, as far as the database has it by then. */
export interface CallHistory {
  /** Newest first. Rejects with `storage_unavailable` when the database does not answer. */
  find(query: CallQuery): Promise<CallRow[]>
  /** The row of one call, or null. */
  get(id: string): Promise<CallRow | null>
}

/** The time, and one coarse way to be woken. */
export interface Clock {
  /** A whole number that never goes back, whatever the wall clock does. */
  now(): Millis
  /** Calls back once, at or up to 50 ms after the instant, or after now when it is past; never from within this call. */
  alarm(at: Millis, ring: () => void): Alarm
}

export interface Alarm {
  /** Does nothing when it rang or was cancelled. */
  cancel(): void
}

/** Structured log lines. Context is bound when the logger is made. Never a key, a token or sound. */
export interface Log {
  debug(context: object, message: string): void
  info(context: object, message: string): void
  warn(context: object, message: string): void
  error(context: object, message: string): void
  child(context: object): Log
}

/** Taken; not taken and to be tried again; not taken; never tried, since too many waited. */
export type WebhookOutcome = 'delivered' | 'retried' | 'given_up' | 'dropped'

/**
 * Why a frame of the line went no further: nobody is in the other seat; its reader has fallen behind; there was more
 * sound than time; it is no frame of the protocol.
 */
export type DropCause = 'alone' | 'slow_reader' | 'rate' | 'wrong'

/** What is counted. Labels come from closed sets only, so the number of series is bounded. */
export interface Metrics {
  callOpened(kind: Kind): void
  /** A call became active so many milliseconds after its first leg came in. */
  callConnected(kind: Kind, setUp: Millis): void
  callEnded(kind: Kind, reason: EndReason): void
  /** A frame was forwarded. Called for every frame; costs an increment, and of one of bytes their sum. */
  relayed(kind: Kind, bytes?: number): void
  /** A frame of the line was not. Called for every such frame; costs an increment. */
  dropped(cause: DropCause): void
  /** Time from getting a frame to having handed it on, of a sample of the frames. */
  relayTook(kind: Kind, took: Millis): void
  /** Something was refused or cut off, by cause. */
  rejected(cause: CodeName): void
  resumed(kind: Kind): void
  socketOpened(): void
  socketClosed(): void
  /** What became of a try to post a webhook. */
  webhook(outcome: WebhookOutcome): void
}

/** TURN and STUN servers with credentials that run out. */
export interface Turn {
  /**
   * For one user of one call, or of none yet. `callId`: whatever tells users apart, such as call and leg (`callId.leg`);
   * quotas of the TURN server count by it. `seconds`: how long at least, to which 2 min are added; null where no end is
   * known, for TURN_TTL. Resolves within a second, and mostly at once; without credentials when there is no TURN or its
   * provider does not answer (STUN servers are told nevertheless). Never rejects.
   */
  credentials(who: { readonly callId: string; readonly seconds: number | null }): Promise<TurnCredentials>
}

export interface TurnCredentials {
  readonly iceServers: readonly IceServer[]
  /** When they run out, by the wall clock; null when there are none, and when they do not. */
  readonly expiresAt: Millis | null
}
