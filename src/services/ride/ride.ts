/**
 * One live ride: the call as `core` steps it, and for each leg the connection that sits in it and the frames it is
 * owed. Says the core's notices in the ride's words. Deliberately not here: finding rides, creating them, proving who
 * somebody is (rides.ts), and what a connection may say when (session.ts).
 */
import {
  type Call,
  type CallEvent,
  type Effect,
  type Live,
  type Notice,
  recover,
  step,
} from '../../core/call.ts'
import { type CallId, type Millis, otherSide, SIDES, type Side } from '../../core/ids.ts'
import { Outbox } from '../../core/outbox.ts'
import type { Alarm, CallLog, Clock, Log, Metrics, Peer, Snapshots } from '../../core/ports.ts'
import { codes, fail, NORMAL_CLOSE } from '../../protocol/codes.ts'
import type { IceServer } from '../../protocol/ice.ts'
import { type RideDown, type Role, write } from '../../protocol/ride.ts'

export const ROLES: readonly [Role, Role] = ['driver', 'passenger']

/** What the ride service knows of a call besides the call. Plain JSON: it is kept in the snapshot. */
export interface RideDetail {
  readonly rideId: string
  /** User ids of driver and passenger. */
  readonly users: readonly [string, string]
  readonly metadata: Record<string, unknown> | null
  readonly createdAt: Millis
  /** How often each leg came in: the number of its resume token. */
  readonly generations: readonly [number, number]
  readonly initiatedBy: Side | null
}

export interface RideWorld {
  readonly clock: Clock
  readonly callLog: CallLog
  readonly snapshots: Snapshots
  readonly metrics: Metrics
  readonly log: Log
  /** The ride has ended and can be forgotten. */
  readonly ended: (ride: Ride) => void
}

/** Where a leg sits: what it is owed, and the connection it has. One object, since every relayed message comes by. */
class Seat extends Outbox {
  peer: Peer | null = null
}

export class Ride {
  readonly #world: RideWorld
  readonly #driver = new Seat()
  readonly #passenger = new Seat()
  #call: Call
  #detail: RideDetail
  #alarm: Alarm | null = null
  #firstJoinAt: Millis | null = null

  constructor(call: Live, detail: RideDetail, world: RideWorld) {
    this.#call = call
    this.#detail = detail
    this.#world = world
  }

  /** Starts the clock of a new ride and keeps its snapshot. */
  begin(): void {
    this.#save()
    this.#setAlarm(this.#call.at === 'waiting' ? this.#call.until : null)
  }

  /** Takes the ride up after a restart of the server. */
  recover(): void {
    if (this.#call.at === 'ended') return
    for (const side of SIDES) this.#seat(side).forget()
    const [next, effects] = recover(this.#call, this.#world.clock.now())
    this.#become(next, effects)
  }

  /** Made when there is something to say. */
  get #log(): Log {
    return this.#world.log.child({ session: this.id })
  }

  get id(): CallId {
    return this.#call.id
  }

  get call(): Call {
    return this.#call
  }

  get detail(): RideDetail {
    return this.#detail
  }

  /** Who sits in a leg now. */
  peer(side: Side): Peer | null {
    return this.#seat(side).peer
  }

  /** Stands for who holds a leg, whatever the connection. */
  client(side: Side): object {
    return this.#seat(side)
  }

  sideOf(userId: string): Side | null {
    const side = this.#detail.users.indexOf(userId)
    return side === 0 || side === 1 ? side : null
  }

  /**
   * A client that knows nothing of the call yet takes the leg. Who sat there is closed with `taken_over`.
   * `token` makes the resume token for the generation this is.
   */
  join(
    side: Side,
    peer: Peer,
    iceServers: readonly IceServer[],
    token: (generation: number) => string,
  ): void {
    const seat = this.#seat(side)
    this.#firstJoinAt ??= this.#world.clock.now()
    const generation = this.#sit(side, peer, this.#detail.generations[side] + 1)
    const waited = seat.restart()
    const { users, rideId } = this.#detail
    const authenticated = {
      type: 'authenticated',
      user_id: users[side],
      resume_token: token(generation),
    } as const
    // The document's clients know of no TURN, and see none where none is set.
    const ice_servers = [...iceServers]
    this.#say(side, ice_servers.length === 0 ? authenticated : { ...authenticated, ice_servers })
    this.#say(side, { type: 'session_joined', session_id: this.id, ride_id: rideId })
    this.apply({ is: 'join', side })
    if (this.#call.at === 'ended') return
    for (const text of waited) this.#deliver(seat, text)
  }

  /**
   * The client that sat there comes back on another connection, with the token of this generation and having got
   * `received` frames. Throws `resume_failed`.
   */
  resume(
    { side, generation }: { side: Side; generation: number },
    peer: Peer,
    received: number,
    token: (generation: number) => string,
  ): void {
    const seat = this.#seat(side)
    const current = this.#detail.generations[side]
    // The answer to the last try may have been lost, and the new token with it.
    const isRetry = seat.isUnheard && generation === current - 1
    const replay = generation === current || isRetry ? seat.resume(received) : null
    if (replay === null) throw fail('resume_failed')
    const next = this.#sit(side, peer, generation + 1)
    const { frames, gap } = replay
    const resumed = { type: 'resumed', replayed: frames.length, resume_token: token(next) } as const
    peer.send(write(gap ? { ...resumed, gap } : resumed))
    for (const text of frames) peer.send(text)
    this.#world.metrics.resumed('ride')
    this.apply({ is: 'resume', side })
  }

  /** Forwards a frame as it came, or keeps it while the other leg is not there. The hot path. */
  relay(from: Side, text: string): void {
    const seat = this.#seat(otherSide(from))
    if (seat.peer !== null) {
      seat.sent(text)
      seat.peer.send(text)
    } else if (this.#call.at === 'ended') {
      throw fail('session_not_found')
    } else if (!seat.hold(text)) {
      throw fail('buffer_full')
    }
  }

  /** Notes who sent the first offer. */
  offered(side: Side): void {
    if (this.#detail.initiatedBy !== null || this.#call.at === 'ended') return
    this.#detail = { ...this.#detail, initiatedBy: side }
    this.#world.callLog.append({ is: 'initiated', id: this.id, by: this.#detail.users[side] })
    this.#save()
  }

  /** Sends a frame of the server's own to a leg that sits. */
  answer(side: Side, text: string): void {
    this.#deliver(this.#seat(side), text)
  }

  /** The connection in a leg is gone. One that was taken over changes nothing. */
  left(side: Side, peer: Peer, goodbye: boolean): void {
    const seat = this.#seat(side)
    if (seat.peer !== peer) return
    seat.peer = null
    this.apply({ is: goodbye ? 'leave' : 'drop', side })
  }

  /** The client in the leg has said something: it has its resume token. */
  heard(side: Side): void {
    this.#seat(side).heard()
  }

  /** Every frame sent to the leg so far is followed by a ping, or its pong came. */
  pinged(side: Side): void {
    this.#seat(side).mark()
  }

  ponged(side: Side): void {
    this.#seat(side).confirm()
  }

  apply(event: CallEvent): void {
    const [next, effects] = step(this.#call, event, this.#world.clock.now())
    this.#become(next, effects)
  }

  /** Lets go of every connection without a word to the call, which its snapshot will carry over. */
  suspend(): void {
    this.#alarm?.cancel()
    for (const side of SIDES) {
      const seat = this.#seat(side)
      const { peer } = seat
      seat.peer = null
      peer?.close(codes.draining.close, 'draining')
    }
  }

  #seat(side: Side): Seat {
    return side === 0 ? this.#driver : this.#passenger
  }

  #sit(side: Side, peer: Peer, generation: number): number {
    const seat = this.#seat(side)
    const before = seat.peer
    seat.peer = peer
    before?.close(codes.taken_over.close, 'taken_over')
    const [driver, passenger] = this.#detail.generations
    this.#detail = {
      ...this.#detail,
      generations: side === 0 ? [generation, passenger] : [driver, generation],
    }
    this.#save()
    return generation
  }

  #become(next: Call, effects: Effect[]): void {
    const before = this.#call
    this.#call = next
    if (next !== before && next.at !== 'ended') this.#save()
    for (const effect of effects) this.#do(effect)
    if (next.at === 'ended' && before.at !== 'ended') this.#finish()
  }

  #do(effect: Effect): void {
    switch (effect.do) {
      case 'tell':
        for (const message of words(effect.notice)) this.#say(effect.side, message)
        return
      case 'alarm':
        return this.#setAlarm(effect.at)
      case 'record':
        return this.#record(effect.what, effect.at)
    }
  }

  #record(what: 'active' | 'ended', at: Millis): void {
    const { callLog, metrics } = this.#world
    const call = this.#call
    if (call.at === 'ended' && what === 'ended') {
      const { id, reason, by } = call
      callLog.append({ is: 'ended', id, at, reason, by, detail: null })
      metrics.callEnded('ride', reason)
      this.#log.info({ reason, by: typeof by === 'number' ? ROLES[by] : by }, 'call ended')
    } else {
      callLog.append({ is: 'active', id: this.id, at })
      metrics.callConnected('ride', at - (this.#firstJoinAt ?? at))
      this.#log.info({}, 'call active')
    }
  }

  /** The call is over: whoever is still there has been told and is closed. */
  #finish(): void {
    this.#alarm?.cancel()
    this.#world.snapshots.drop(this.id)
    this.#world.ended(this)
    for (const side of SIDES) {
      const seat = this.#seat(side)
      const { peer } = seat
      seat.peer = null
      peer?.close(NORMAL_CLOSE, this.#call.at === 'ended' ? this.#call.reason : '')
    }
  }

  #say(side: Side, message: RideDown): void {
    const seat = this.#seat(side)
    const text = write(message)
    if (seat.peer === null) seat.holdNotice(text)
    else this.#deliver(seat, text)
  }

  #deliver(seat: Seat, text: string): void {
    seat.sent(text)
    seat.peer?.send(text)
  }

  #save(): void {
    this.#world.snapshots.save({ call: this.#call, detail: this.#detail })
  }

  #setAlarm(at: Millis | null): void {
    this.#alarm?.cancel()
    this.#alarm = at === null ? null : this.#world.clock.alarm(at, () => this.apply({ is: 'tick' }))
  }
}

/** A notice of the core in the ride's words. */
function words(notice: Notice): RideDown[] {
  switch (notice.is) {
    case 'joined':
      return [{ type: 'participant_joined', role: ROLES[notice.side] }]
    case 'away':
      return [{ type: 'participant_reconnecting', role: ROLES[notice.side], grace_ms: notice.grace }]
    case 'back':
      return [{ type: 'participant_resumed', role: ROLES[notice.side] }]
    case 'left':
      return [{ type: 'participant_left', role: ROLES[notice.side] }]
    case 'warning':
      return [{ type: 'call_warning', remaining_ms: notice.remaining }]
    case 'ended':
      return notice.reason === 'max_duration_reached' || notice.reason === 'join_timeout'
        ? [{ type: 'call_timeout', reason: notice.reason }]
        : [{ type: 'call_ended', reason: notice.reason }]
  }
}
