/**
 * One line: two seats, and the call between them as `core` steps it. Whoever has the leaf has the room; who sits is
 * known by a seat token drawn at random, so one who comes back is told from a third. What passes between the seats is
 * opaque, kept nowhere, and never runs the machine.
 *
 * A call ends when one of the two is gone. Who remains sits on in the next call, which waits for somebody; it is
 * written down once somebody comes. Deliberately not here: finding lines (lines.ts), what a frame is (session.ts).
 */
import { type Call, type CallEvent, type Effect, type Live, open, recover, step } from '../../core/call.ts'
import { type CallId, type Millis, otherSide, SIDES, type Side } from '../../core/ids.ts'
import type { Alarm, BytesPeer, CallLog, Clock, Log, Metrics, Snapshots } from '../../core/ports.ts'
import { codes } from '../../protocol/codes.ts'
import { type Notice, writeNotice } from '../../protocol/line.ts'
import { Pace } from './pace.ts'

/** What the service knows of a line besides the call. Plain JSON: it is kept in the snapshot. */
export interface LineDetail {
  /** Digests of the room, and of the tokens of the seats: neither is kept itself. */
  readonly room: string
  readonly seats: readonly [string | null, string | null]
  /** When who is in it first could be called. */
  readonly openedAt: Millis
}

export interface LineWorld {
  readonly grace: Millis
  readonly clock: Clock
  readonly callLog: CallLog
  readonly snapshots: Snapshots
  readonly metrics: Metrics
  readonly log: Log
  readonly newId: () => CallId
  /** Nobody sits there any more: it can be forgotten. */
  readonly empty: (line: Line) => void
}

/** Somebody who wants to sit. `seat`: digest of the token. `seated` is called once, at once or later, or never. */
export interface Caller {
  readonly peer: BytesPeer
  readonly seat: string
  readonly seated: (seat: Seat) => void
}

/** Somebody's place on a line, also while their connection is lost. */
export class Seat {
  readonly line: Line
  readonly side: Side
  /** Digest of the token. */
  readonly key: string
  readonly pace: Pace
  peer: BytesPeer | null = null
  /** Audio frames that were left out since one was sent. */
  missed = 0

  constructor(line: Line, side: Side, key: string, now: Millis) {
    this.line = line
    this.side = side
    this.key = key
    this.pace = new Pace(now)
  }

  /** Sends sound to who sits here, if they keep up; tells them how much they missed once they do. */
  hear(bytes: Uint8Array): boolean {
    const { peer } = this
    if (peer === null) return false
    if (this.missed > 0 && peer.offer(writeNotice('missed', this.missed))) this.missed = 0
    if (this.missed === 0 && peer.offer(bytes)) return true
    this.missed++
    return false
  }
}

/** A call that nobody joined by then begins anew: who waits sits on. */
const WINDOW: Millis = 24 * 3600_000
/** Callers who wait for the answer whether somebody who sits is alive. */
const MOST_KNOCKING = 4
/** Characters of the room's digest that stand for it in the call log. */
const SUBJECT_CHARS = 16

export class Line {
  readonly room: string
  readonly #world: LineWorld
  readonly #seats: [Seat | null, Seat | null] = [null, null]
  #call: Call
  #openedAt: Millis
  #alarm: Alarm | null = null
  #knocking: Caller[] = []
  #suspended = false

  /** `taken`: what it was before the server was started again, to be taken up with `recover`. */
  constructor(room: string, world: LineWorld, taken?: { readonly call: Live; readonly detail: LineDetail }) {
    this.room = room
    this.#world = world
    const now = world.clock.now()
    this.#openedAt = taken?.detail.openedAt ?? now
    this.#call = taken?.call ?? this.#open(now)
    for (const side of SIDES) {
      const key = taken?.detail.seats[side] ?? null
      if (key !== null) this.#seats[side] = new Seat(this, side, key, now)
    }
  }

  get id(): CallId {
    return this.#call.id
  }

  get isActive(): boolean {
    return this.#call.at === 'active'
  }

  /** Stands for the room where people read. */
  get subject(): string {
    return this.room.slice(0, SUBJECT_CHARS)
  }

  /** Takes the line up after a restart of the server. */
  recover(): void {
    if (this.#call.at === 'ended') return
    const [next, effects] = recover(this.#call, this.#world.clock.now())
    this.#become(next, effects)
    this.#answerKnocking()
  }

  /**
   * Lets somebody sit: in the seat that is theirs, from which their connection before is closed with `replaced`; or in
   * one that is free. When there is none, they are told `busy`, at once if a seat is kept for somebody whose connection
   * was lost. Else who sits there is asked for a sign of life: somebody dead keeps nobody out.
   */
  enter(caller: Caller): void {
    // Alarms ring up to 50 ms late; a grace that is over keeps nobody out.
    this.#apply({ is: 'tick' })
    const own = this.#seats.find((seat) => seat?.key === caller.seat) ?? null
    const free = SIDES.find((side) => this.#seats[side] === null)
    if (own !== null) this.#return(own, caller)
    else if (free !== undefined) this.#sit(free, caller)
    else this.#knock(caller)
  }

  /** The other end of a seat, if somebody is there. The hot path. */
  facing(seat: Seat): Seat | null {
    return this.#seats[otherSide(seat.side)]
  }

  /** The connection in a seat is gone. One that was replaced changes nothing. */
  left(seat: Seat, peer: BytesPeer, goodbye: boolean): void {
    if (seat.peer !== peer || this.#suspended) return
    seat.peer = null
    this.#apply({ is: goodbye ? 'leave' : 'drop', side: seat.side })
    this.#answerKnocking()
  }

  /** Somebody who waited for a seat has gone. */
  tiredOfWaiting(peer: BytesPeer): void {
    this.#knocking = this.#knocking.filter((each) => each.peer !== peer)
  }

  /** Tells everybody who is there. */
  announce(notice: Notice): void {
    for (const seat of this.#seats) seat?.peer?.send(writeNotice(notice))
  }

  /** Lets go of every connection without a word to the call, which its snapshot will carry over. */
  suspend(): void {
    this.#suspended = true
    this.#alarm?.cancel()
    for (const peer of [
      ...this.#seats.map((seat) => seat?.peer),
      ...this.#knocking.map(({ peer }) => peer),
    ]) {
      peer?.close(codes.draining.close, 'draining')
    }
  }

  #return(seat: Seat, { peer, seated }: Caller): void {
    const wasActive = this.isActive
    const before = seat.peer
    seat.peer = peer
    seat.missed = 0
    before?.close(codes.replaced.close, 'replaced')
    this.#admit(seat, peer, seated)
    if (before === null) this.#world.metrics.resumed('line')
    this.#apply({ is: 'resume', side: seat.side })
    const { [otherSide(seat.side)]: other } = this.#call.legs
    if (wasActive && other.at !== 'absent') this.#tell(seat.side, other.at === 'away' ? 'away' : 'joined')
  }

  #sit(side: Side, { peer, seat: key, seated }: Caller): void {
    const seat = new Seat(this, side, key, this.#world.clock.now())
    this.#seats[side] = seat
    seat.peer = peer
    this.#admit(seat, peer, seated)
    this.#apply({ is: 'join', side })
  }

  #admit(seat: Seat, peer: BytesPeer, seated: (seat: Seat) => void): void {
    peer.admit({ line: this.subject }, seat)
    seated(seat)
  }

  #knock(caller: Caller): void {
    const holders = this.#seats.map((seat) => seat?.peer ?? null)
    if (holders.includes(null) || this.#knocking.length >= MOST_KNOCKING) return this.#sendAway(caller)
    this.#knocking = [...this.#knocking, caller]
    const verdicts: boolean[] = []
    for (const holder of holders) {
      holder?.probe((alive) => {
        verdicts.push(alive)
        if (!alive) this.#evict(holder)
        else if (verdicts.length === holders.length && !verdicts.includes(false)) this.#refuse(caller)
      })
    }
  }

  /** Somebody gave no sign of life while another waits for the seat. */
  #evict(peer: BytesPeer): void {
    const seat = this.#seats.find((each) => each?.peer === peer) ?? null
    // A connection that is closing says for itself, in a moment, how it ended.
    if (seat === null || !peer.open || this.#knocking.length === 0) return
    seat.peer = null
    this.#world.metrics.rejected('heartbeat_timeout')
    peer.close(codes.heartbeat_timeout.close, 'heartbeat_timeout')
    this.#tell(otherSide(seat.side), 'left')
    this.#apply({ is: 'end', reason: 'disconnect', by: 'clock' })
    this.#answerKnocking()
  }

  /** After somebody may have gone: the seat, if it is free now, is for who waits. Nobody at all is the end of it. */
  #answerKnocking(): void {
    const waiting = this.#knocking
    this.#knocking = []
    for (const caller of waiting) if (caller.peer.open) this.enter(caller)
    if (this.#seats.every((seat) => seat === null)) this.#world.empty(this)
  }

  #refuse(caller: Caller): void {
    if (!this.#knocking.includes(caller)) return
    this.tiredOfWaiting(caller.peer)
    this.#sendAway(caller)
  }

  #sendAway({ peer }: Caller): void {
    if (!peer.open) return
    this.#world.metrics.rejected('busy')
    peer.close(codes.busy.close, 'busy')
  }

  #apply(event: CallEvent): void {
    const [next, effects] = step(this.#call, event, this.#world.clock.now())
    this.#become(next, effects)
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
        switch (effect.notice.is) {
          case 'joined':
          case 'back':
            return this.#tell(effect.side, 'joined')
          case 'away':
            return this.#tell(effect.side, 'away')
          case 'left':
            return this.#tell(effect.side, 'left')
          case 'warning':
          case 'ended':
            return
        }
        return
      case 'alarm':
        return this.#setAlarm(effect.at)
      case 'record':
        return this.#record(effect.what, effect.at)
    }
  }

  /** A call is written down once both were in it: one who waits, or looks in, leaves no trace. */
  #record(what: 'active' | 'ended', at: Millis): void {
    const { callLog, metrics, log } = this.#world
    const call = this.#call
    const { id } = call
    if (what === 'active') {
      const created = { is: 'created', id, at: this.#openedAt, kind: 'line', subject: this.subject } as const
      callLog.append({ ...created, parties: [null, null], metadata: null })
      callLog.append({ is: 'active', id, at })
      metrics.callOpened('line')
      metrics.callConnected('line', at - this.#openedAt)
      log.info({ session: id }, 'call active')
    } else if (call.at === 'ended' && call.since !== null) {
      const { reason, by } = call
      callLog.append({ is: 'ended', id, at, reason, by, detail: null })
      metrics.callEnded('line', reason)
      log.info({ session: id, reason }, 'call ended')
    }
  }

  /** The call is over. Who is still there waits in the next one; seats of others are free. */
  #finish(): void {
    this.#alarm?.cancel()
    this.#world.snapshots.drop(this.id)
    for (const side of SIDES) if ((this.#seats[side]?.peer ?? null) === null) this.#seats[side] = null
    const now = this.#world.clock.now()
    this.#openedAt = now
    this.#call = this.#open(now)
    for (const side of SIDES) if (this.#seats[side] !== null) this.#apply({ is: 'join', side })
  }

  #open(now: Millis): Live {
    const { grace, newId } = this.#world
    return open(newId(), { kind: 'line', limit: null, grace }, WINDOW, now)
  }

  #tell(side: Side, notice: Notice): void {
    this.#seats[side]?.peer?.send(writeNotice(notice))
  }

  #save(): void {
    const [first, second] = this.#seats
    const detail: LineDetail = {
      room: this.room,
      seats: [first?.key ?? null, second?.key ?? null],
      openedAt: this.#openedAt,
    }
    this.#world.snapshots.save({ call: this.#call, detail })
  }

  #setAlarm(at: Millis | null): void {
    this.#alarm?.cancel()
    this.#alarm = at === null ? null : this.#world.clock.alarm(at, () => this.#ring())
  }

  #ring(): void {
    this.#apply({ is: 'tick' })
    this.#answerKnocking()
  }
}
