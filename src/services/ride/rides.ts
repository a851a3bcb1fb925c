/**
 * The ride service: creates rides for the app's backend, lets phones in, and answers the backend's questions about the
 * ones that live. Source: the reference document "Intaleq Voice Call Signaling Backend", and design.md section 4 for
 * what it leaves open. Deliberately not here: HTTP and WebSocket (the doors), SQL (the store), how a token is made.
 */
import { type CallEvent, open } from '../../core/call.ts'
import type { Heartbeat, Session, TextEndpoint } from '../../core/door.ts'
import type { CallId, Millis, Side } from '../../core/ids.ts'
import type {
  CallLog,
  Clock,
  Log,
  Metrics,
  Peer,
  Receipts,
  Snapshots,
  Turn,
  TurnCredentials,
} from '../../core/ports.ts'
import { Failure, fail } from '../../protocol/codes.ts'
import type { CreateSession, SessionView } from '../../protocol/http.ts'
import { AUTHENTICATE_TIMEOUT, METADATA_BYTES } from '../../protocol/limits.ts'
import { RIDE_PATH, type RideDown, type RideRead, rideCodec } from '../../protocol/ride.ts'
import { Ride, type RideDetail, type RideWorld, ROLES } from './ride.ts'
import { type Reception, RideSession, type Seated } from './session.ts'
import type { RideTokens } from './tokens.ts'

/** What the operator set. Spans in milliseconds. */
export interface RideTerms {
  readonly maxMessageBytes: number
  readonly duration: Millis
  readonly maxDuration: Millis
  readonly joinWindow: Millis
  readonly maxJoinWindow: Millis
  readonly grace: Millis
  readonly heartbeat: Heartbeat
  readonly requireJoinToken: boolean
}

export interface RideDeps {
  readonly terms: RideTerms
  readonly clock: Clock
  readonly callLog: CallLog
  readonly snapshots: Snapshots
  readonly receipts: Receipts
  readonly tokens: RideTokens
  /** Null: phones are told of no TURN servers. */
  readonly turn: Turn | null
  readonly metrics: Metrics
  readonly log: Log
  readonly newId: () => CallId
  /** A collision-free digest of a text. */
  readonly digest: (text: string) => string
}

/** What `POST /sessions` made; the door adds where to connect. */
export interface Created {
  readonly session_id: string
  readonly ride_id: string
  readonly expires_in: number
  readonly join_tokens: { readonly driver: string; readonly passenger: string }
}

/** An `Idempotency-Key` is good for so long. */
const RECEIPT_KEPT: Millis = 24 * 3600 * 1000

export class Rides {
  readonly #deps: RideDeps
  readonly #world: RideWorld
  readonly #live = new Map<string, Ride>()
  #draining = false
  #closed = false

  constructor(deps: RideDeps) {
    this.#deps = deps
    this.#world = { ...deps, ended: (ride) => this.#live.delete(ride.id) }
  }

  /** Takes up the rides that outlived the last process. Once, before the doors open. */
  recover(): void {
    for (const { call, detail } of this.#deps.snapshots.load('ride')) {
      if (call.at === 'ended') continue
      if (!isDetail(detail)) {
        this.#deps.log.error({ session: call.id }, 'the snapshot of this call cannot be taken up')
        continue
      }
      const ride = new Ride(call, detail, this.#world)
      this.#live.set(ride.id, ride)
      ride.recover()
    }
    if (this.#live.size > 0) this.#deps.log.info({ rides: this.#live.size }, 'calls taken up after a restart')
  }

  /**
   * Opens a ride. Resolves once it is written down. `receipt`: digest of who asks and of the `Idempotency-Key`, or
   * null; the same key with the same request gets the same answer. Rejects with `invalid_field`,
   * `idempotency_mismatch`, `draining`, `storage_unavailable`.
   */
  async create(request: CreateSession, receipt: string | null): Promise<Created> {
    if (this.#draining) throw fail('draining')
    checkRequest(request, this.#deps.terms)
    const digest = receipt === null ? '' : this.#deps.digest(canonical(request))
    const before = receipt === null ? null : this.#deps.receipts.find(receipt, this.#deps.clock.now())
    if (before !== null && before.digest !== digest) throw fail('idempotency_mismatch')
    if (before !== null) {
      await this.#deps.callLog.synced()
      return JSON.parse(before.answer) as Created
    }
    const [ride, created] = this.#open(request)
    if (receipt !== null) {
      const expires = this.#deps.clock.now() + RECEIPT_KEPT
      this.#deps.receipts.keep(receipt, { digest, answer: JSON.stringify(created), expires })
    }
    try {
      await this.#deps.callLog.synced()
    } catch (error) {
      if (receipt !== null) this.#deps.receipts.drop(receipt)
      this.#forget(ride)
      throw error
    }
    return created
  }

  /** A ride that lives, or null. */
  view(id: string): SessionView | null {
    const ride = this.#live.get(id)
    return ride === undefined ? null : viewOf(ride)
  }

  /** Ends a ride for the backend. Null when it does not live. */
  end(id: string): SessionView | null {
    return this.#apply(id, { is: 'end', reason: 'cancelled_by_backend', by: 'backend' })
  }

  /** Sets the longest duration of a ride, in seconds. Null when it does not live. Throws `invalid_field`. */
  extend(id: string, seconds: number): SessionView | null {
    checkSpan('max_duration', seconds, this.#deps.terms.maxDuration)
    return this.#apply(id, { is: 'limit', limit: seconds * 1000 })
  }

  /** Rides that live, by state. */
  count(): { waiting: number; active: number } {
    let active = 0
    for (const ride of this.#live.values()) if (ride.call.at === 'active') active++
    return { waiting: this.#live.size - active, active }
  }

  liveIds(): CallId[] {
    return [...this.#live.values()].map((ride) => ride.id)
  }

  /** What phones connect to. */
  endpoint(): TextEndpoint<RideRead> {
    const reception: Reception = {
      authenticate: (message, from, seated) => this.#authenticate(message, from, seated),
      resume: (message, from) => this.#resume(message, from),
      iceServers: (who) => this.#iceServers(who),
    }
    return {
      kind: 'ride',
      speaks: 'text',
      access: 'anybody',
      path: RIDE_PATH,
      codec: rideCodec,
      maxBytes: this.#deps.terms.maxMessageBytes,
      firstWordWithin: AUTHENTICATE_TIMEOUT,
      tooLate: 'authenticate_timeout',
      heartbeat: this.#deps.terms.heartbeat,
      open: (peer): Session<RideRead> => new RideSession(peer, reception),
    }
  }

  /** From now on nothing new begins; what lives goes on. */
  drain(): void {
    this.#draining = true
  }

  /** Lets go of every connection; the rides stay as snapshots, for the next process. Twice is fine. */
  close(): void {
    this.#draining = true
    this.#closed = true
    for (const ride of this.#live.values()) ride.suspend()
    this.#live.clear()
  }

  #apply(id: string, event: CallEvent): SessionView | null {
    const ride = this.#live.get(id)
    if (ride === undefined) return null
    ride.apply(event)
    return viewOf(ride)
  }

  #open(request: CreateSession): [Ride, Created] {
    const { terms, clock, callLog, tokens, metrics, newId } = this.#deps
    const now = clock.now()
    const id = newId()
    const window = request.join_window === undefined ? terms.joinWindow : request.join_window * 1000
    const limit = request.max_duration === undefined ? terms.duration : request.max_duration * 1000
    const users = [request.driver_id, request.passenger_id] as const
    const metadata = request.metadata ?? null
    const detail = {
      rideId: request.ride_id,
      users,
      metadata,
      createdAt: now,
      generations: [0, 0],
      initiatedBy: null,
    } as const
    const ride = new Ride(
      open(id, { kind: 'ride', limit, grace: terms.grace }, window, now),
      detail,
      this.#world,
    )
    callLog.append({
      is: 'created',
      id,
      at: now,
      kind: 'ride',
      subject: request.ride_id,
      parties: users,
      metadata,
    })
    this.#live.set(id, ride)
    ride.begin()
    metrics.callOpened('ride')
    this.#deps.log.info({ session: id }, 'call created')
    const created = {
      session_id: id,
      ride_id: request.ride_id,
      expires_in: Math.round(window / 1000),
      join_tokens: { driver: tokens.join(id, 0), passenger: tokens.join(id, 1) },
    }
    return [ride, created]
  }

  /** A ride whose creation could not be written down has never been. */
  #forget(ride: Ride): void {
    this.#live.delete(ride.id)
    ride.suspend()
    this.#deps.snapshots.drop(ride.id)
    this.#deps.callLog.retract(ride.id)
  }

  /** The ride of this id, if it lives. Throws `draining` when that can no longer be said. */
  #find(id: string): Ride | undefined {
    // To a phone that comes between the suspension of the rides and its own close, no ride is over.
    if (this.#closed) throw fail('draining')
    // Alarms ring up to 50 ms late; who comes meanwhile comes too late.
    this.#live.get(id)?.apply({ is: 'tick' })
    return this.#live.get(id)
  }

  #authenticate(
    message: RideRead & { type: 'authenticate' },
    peer: Peer,
    seated: (who: Seated) => void,
  ): void {
    const { turn } = this.#deps
    const { ride, side } = this.#seatOf(message)
    if (turn === null) return this.#seat(message, peer, NO_TURN, seated)
    void turn.credentials(turnUser(ride, side, this.#deps.clock.now())).then((given) => {
      later(peer, () => this.#seat(message, peer, given, seated))
    })
  }

  /** The leg that a stranger may sit in. Throws `session_not_found`, `join_token_invalid`, `join_token_required`. */
  #seatOf({ session_id, user_id, join_token: token }: RideRead & { type: 'authenticate' }): Seated {
    const { terms, tokens } = this.#deps
    const ride = this.#find(session_id)
    const side = ride?.sideOf(user_id) ?? null
    if (ride === undefined || side === null) throw fail('session_not_found')
    if (token !== undefined && !tokens.isJoin(token, ride.id, side)) throw fail('join_token_invalid')
    if (token === undefined && terms.requireJoinToken) throw fail('join_token_required')
    return { ride, side }
  }

  #seat(
    message: RideRead & { type: 'authenticate' },
    peer: Peer,
    given: TurnCredentials,
    seated: (who: Seated) => void,
  ): void {
    const { ride, side } = this.#seatOf(message)
    const holder = ride.peer(side)
    const join = () => this.#join(ride, side, peer, given, seated)
    if (holder === null || message.join_token !== undefined) return join()
    // Both parties know the session id, so whoever sits there stays if there is life in the connection.
    holder.probe((alive) => {
      later(peer, () => {
        if (ride.peer(side) !== holder) this.#seat(message, peer, given, seated)
        else if (alive) throw fail('already_connected')
        else join()
      })
    })
  }

  #join(ride: Ride, side: Side, peer: Peer, given: TurnCredentials, seated: (who: Seated) => void): void {
    peer.admit({ session: ride.id, role: ROLES[side] }, ride.client(side))
    seated({ ride, side })
    const token = (generation: number) => this.#deps.tokens.resume(ride.id, side, generation)
    ride.join(side, peer, given.iceServers, token)
  }

  /** Fresh TURN credentials for a leg; none when there is no TURN. */
  async #iceServers({ ride, side }: Seated): Promise<RideDown> {
    const given =
      (await this.#deps.turn?.credentials(turnUser(ride, side, this.#deps.clock.now()))) ?? NO_TURN
    return { type: 'ice_servers', ice_servers: [...given.iceServers], expires_at: given.expiresAt }
  }

  #resume(message: RideRead & { type: 'resume' }, peer: Peer): Seated {
    const { tokens } = this.#deps
    const claim = tokens.readResume(message.resume_token)
    const ride = claim === null ? undefined : this.#find(claim.id)
    if (claim === null || ride === undefined) throw fail('resume_failed')
    const { side } = claim
    ride.resume(claim, peer, message.received, (generation) => tokens.resume(ride.id, side, generation))
    peer.admit({ session: ride.id, role: ROLES[side] }, ride.client(side))
    return { ride, side }
  }
}

const NO_TURN: TurnCredentials = { iceServers: [], expiresAt: null }

/** One user of the TURN server is one leg, and its credentials last to the latest end the call can have. */
function turnUser({ id, call }: Ride, side: Side, now: Millis) {
  const { limit } = call.terms
  const latest =
    call.at === 'waiting' && limit !== null ? call.until + limit : call.at === 'active' ? call.until : null
  return { callId: `${id}.${side}`, seconds: latest === null ? null : Math.ceil((latest - now) / 1000) }
}

/** Does what had to wait, unless the peer has gone meanwhile; what goes wrong is an answer to it. */
function later(peer: Peer, act: () => void): void {
  if (!peer.open) return
  try {
    act()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    peer.refuse(error)
  }
}

/** The same text for the same request, however its body was written. */
function canonical(request: CreateSession): string {
  const { ride_id, driver_id, passenger_id, max_duration, join_window, metadata } = request
  return JSON.stringify([
    ride_id,
    driver_id,
    passenger_id,
    max_duration ?? null,
    join_window ?? null,
    metadata ?? null,
  ])
}

function checkRequest(request: CreateSession, terms: RideTerms): void {
  if (request.driver_id === request.passenger_id) {
    throw fail('invalid_field', 'passenger_id must differ from driver_id', { field: 'passenger_id' })
  }
  if (request.max_duration !== undefined) checkSpan('max_duration', request.max_duration, terms.maxDuration)
  if (request.join_window !== undefined) checkSpan('join_window', request.join_window, terms.maxJoinWindow)
  if (request.metadata !== undefined && utf8Bytes(JSON.stringify(request.metadata)) > METADATA_BYTES) {
    throw fail('invalid_field', `metadata must be at most ${METADATA_BYTES} bytes as JSON`, {
      field: 'metadata',
    })
  }
}

/** Snapshots are our own, but a file can be damaged, or come from another version. */
function isDetail(value: unknown): value is RideDetail {
  if (typeof value !== 'object' || value === null) return false
  const { rideId, users, generations } = value as Partial<RideDetail>
  return typeof rideId === 'string' && isPair(users, 'string') && isPair(generations, 'number')
}

function isPair(value: unknown, of: 'string' | 'number'): boolean {
  return Array.isArray(value) && value.length === 2 && value.every((each) => typeof each === of)
}

function checkSpan(field: string, seconds: number, most: Millis): void {
  if (seconds * 1000 > most) throw fail('invalid_field', `${field} must be at most ${most / 1000}`, { field })
}

function utf8Bytes(text: string): number {
  return new TextEncoder().encode(text).length
}

function viewOf(ride: Ride): SessionView {
  const { call, detail } = ride
  const connectedAt = call.at === 'waiting' ? null : call.since
  const [driver, passenger] =
    call.at === 'ended' ? ([{ at: 'absent' }, { at: 'absent' }] as const) : call.legs
  return {
    session_id: call.id,
    ride_id: detail.rideId,
    driver_id: detail.users[0],
    passenger_id: detail.users[1],
    status: call.at === 'waiting' ? 'created' : call.at,
    participants: { driver: driver.at, passenger: passenger.at },
    created_at: iso(detail.createdAt),
    connected_at: connectedAt === null ? null : iso(connectedAt),
    expires_at: call.at === 'ended' || call.until === null ? null : iso(call.until),
    ended_at: call.at === 'ended' ? iso(call.endedAt) : null,
    end_reason: call.at === 'ended' ? call.reason : null,
    metadata: detail.metadata,
  }
}

function iso(at: Millis): string {
  return new Date(at).toISOString()
}
