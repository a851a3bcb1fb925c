/**
 * A call: two legs and a clock. Ride, direct and line all run this machine; what they say on the wire is theirs.
 *
 *                    both legs present                       limit, hang up, leave, grace over, end
 *   open ─▶ waiting ───────────────────▶ active ─────────────────────────────────────────────▶ ended
 *              │     join window over, hang up, decline, end                                     ▲
 *              └─────────────────────────────────────────────────────────────────────────────────┘
 *
 *   a leg:   absent ──join──▶ present ──drop──▶ away until the grace is over
 *              ▲                 │  ▲             │   │
 *              │                 │  └resume, join─┘   │
 *              └─────leave───────┴─────grace over─────┘  (while waiting; later it ends the call)
 *
 * `step` decides and does nothing: no I/O, no clock, no timer, no randomness. It returns the next call and the effects
 * wished for. An event that makes no sense in a state changes nothing. What is deliberately not here: sockets, frames,
 * users, tokens, the wire, and the relaying of frames, which changes no state.
 */
import type { EndReason } from '../protocol/codes.ts'
import { WARNING_AHEAD } from '../protocol/limits.ts'
import { type CallId, type Millis, otherSide, SIDES, type Side } from './ids.ts'
import { type Kind, rulesOf } from './kinds.ts'

/**
 * `until`: when the grace of a leg that is away is over; the call's own end may come first. `lost`: by whom its
 * connection was lost.
 */
export type Leg =
  | { at: 'absent' }
  | { at: 'present' }
  | { at: 'away'; until: Millis; lost: 'by peer' | 'by restart' }

/** What was agreed when the call was opened. Spans in milliseconds. */
export interface Terms {
  readonly kind: Kind
  /** Longest time a call may be active; null: no limit. */
  readonly limit: Millis | null
  /** How long a leg that lost its connection may be away; 0: losing it is leaving. */
  readonly grace: Millis
}

interface Common {
  readonly id: CallId
  readonly terms: Terms
  readonly legs: readonly [Leg, Leg]
}

export type Waiting = Common & { readonly at: 'waiting'; readonly until: Millis }
export type Active = Common & {
  readonly at: 'active'
  readonly since: Millis
  readonly until: Millis | null
  /** When to warn of the limit; null once done, or when there is none to warn of. */
  readonly warnAt: Millis | null
}
export type Ended = Common & {
  readonly at: 'ended'
  /** When it became active, or null when it never did. */
  readonly since: Millis | null
  readonly endedAt: Millis
  readonly reason: EndReason
  readonly by: EndedBy
}
export type Call = Waiting | Active | Ended
export type Live = Waiting | Active

/** Who ended a call: a leg, the app's backend, an operator, or the clock. */
export type EndedBy = Side | 'backend' | 'operator' | 'clock'

export type CallEvent =
  /** A leg comes in as a client that knows nothing of the call yet: the first time, or anew. */
  | { is: 'join'; side: Side }
  /** A leg comes back as the client it was. */
  | { is: 'resume'; side: Side }
  /** A leg's connection was lost without a goodbye. */
  | { is: 'drop'; side: Side }
  /** A leg said goodbye to its connection, not to the call. */
  | { is: 'leave'; side: Side }
  | { is: 'decline'; side: Side }
  | { is: 'hangUp'; side: Side }
  /** It ends for a reason that the machine does not know of. */
  | { is: 'end'; reason: EndReason; by: EndedBy }
  /** The limit becomes this long, counted from when the call became active. */
  | { is: 'limit'; limit: Millis }
  | { is: 'tick' }

/** What a leg is told. `side` is the other leg, whom it is about: nothing of one it has not been told of as `joined`. */
export type Notice =
  | { is: 'joined'; side: Side }
  /** Away for `grace` at most: the rest of the call, when that is shorter. */
  | { is: 'away'; side: Side; grace: Millis }
  | { is: 'back'; side: Side }
  | { is: 'left'; side: Side }
  | { is: 'warning'; remaining: Millis }
  | { is: 'ended'; reason: EndReason; by: EndedBy }

export type Effect =
  | { do: 'tell'; side: Side; notice: Notice }
  /** Call again with `tick` at this instant; null: no need. Replaces the alarm before it. */
  | { do: 'alarm'; at: Millis | null }
  /** Write down that the call became active, or that it ended. */
  | { do: 'record'; what: 'active' | 'ended'; at: Millis }

export type Step = readonly [Call, Effect[]]

const ABSENT: Leg = { at: 'absent' }
const PRESENT: Leg = { at: 'present' }

/** A new call that waits for both legs until `window` milliseconds from `now`. */
export function open(id: CallId, terms: Terms, window: Millis, now: Millis): Waiting {
  return { at: 'waiting', id, terms, legs: [ABSENT, ABSENT], until: now + window }
}

/** The next instant at which the call must be stepped though nothing happens, or null. */
export function deadline(call: Call): Millis | null {
  if (call.at === 'ended') return null
  const instants = [call.until, call.at === 'active' ? call.warnAt : null, ...call.legs.map(awayUntil)]
  return instants.reduce(
    (soonest, at) => (at !== null && (soonest === null || at < soonest) ? at : soonest),
    null,
  )
}

function awayUntil(leg: Leg): Millis | null {
  return leg.at === 'away' ? leg.until : null
}

export function step(call: Call, event: CallEvent, now: Millis): Step {
  if (call.at === 'ended') return [call, []]
  const [due, told] = settle(call, now)
  const [next, more] = due.at === 'ended' ? [due, []] : apply(due, event, now)
  const effects = [...told, ...more]
  const alarm = deadline(next)
  if (alarm !== deadline(call)) effects.push({ do: 'alarm', at: alarm })
  return [next, effects]
}

/**
 * Takes up a call that outlived its process. Its own end may have passed meanwhile; otherwise every leg that was in it
 * lost its connection at `now` and has a whole grace to come back, since nobody could while the server was down. Where
 * there is no grace, an active call cannot be taken up, and neither leg is to blame.
 */
export function recover(call: Live, now: Millis): Step {
  if (call.until !== null && call.until <= now) return expire(call, call.until)
  if (call.at === 'active' && call.terms.grace <= 0) return end(call, 'server_restart', 'clock', now)
  const unwarned =
    call.at === 'active' && call.warnAt !== null && call.warnAt <= now ? { ...call, warnAt: null } : call
  let current: Call = unwarned
  let effects: Effect[] = []
  for (const side of SIDES) {
    if (current.at === 'ended' || current.legs[side].at === 'absent') continue
    const [next, more] = drop(withLeg(current, side, PRESENT), side, now, 'by restart')
    current = next
    effects = [...effects, ...more]
  }
  return [current, [...effects, { do: 'alarm', at: deadline(current) }]]
}

function apply(call: Live, event: CallEvent, now: Millis): Step {
  switch (event.is) {
    case 'join':
      return join(call, event.side, now)
    case 'resume':
      return resume(call, event.side, now)
    case 'drop':
      return drop(call, event.side, now)
    case 'leave':
      return leave(call, event.side, now, event.side)
    case 'decline':
      return call.at === 'waiting'
        ? end(call, rulesOf(call.terms.kind).declined, event.side, now)
        : [call, []]
    case 'hangUp':
      return end(call, hangUpReason(call, event.side), event.side, now)
    case 'end':
      return end(call, event.reason, event.by, now)
    case 'limit':
      return relimit(call, event.limit, now)
    case 'tick':
      return [call, []]
  }
}

function join(call: Live, side: Side, now: Millis): Step {
  if (call.at === 'waiting') return enter(call, side, now)
  const [joined, effects] = resume(call, side, now)
  const other = otherSide(side)
  const otherAway = awayUntil(call.legs[other])
  return [
    joined,
    [
      ...effects,
      ...tell(joined, other, { is: 'joined', side }),
      ...tell(joined, side, { is: 'joined', side: other }),
      ...(otherAway === null ? [] : tellAway(call, other, otherAway, now)),
    ],
  ]
}

function resume(call: Live, side: Side, now: Millis): Step {
  if (call.at === 'waiting') return enter(call, side, now)
  if (call.legs[side].at === 'present') return [call, []]
  const resumed = withLeg(call, side, PRESENT)
  return [resumed, tell(resumed, otherSide(side), { is: 'back', side })]
}

function enter(call: Waiting, side: Side, now: Millis): Step {
  if (call.legs[side].at === 'present') return [call, []]
  const entered = withLeg(call, side, PRESENT)
  return entered.legs[otherSide(side)].at === 'present' ? activate(entered, now) : [entered, []]
}

function activate(call: Waiting, now: Millis): Step {
  const { limit } = call.terms
  const { id, terms, legs } = call
  const active: Active = { at: 'active', id, terms, legs, since: now, ...ends(now, limit, now) }
  return [
    active,
    [
      ...SIDES.flatMap((side) => tell(active, side, { is: 'joined', side: otherSide(side) })),
      { do: 'record', what: 'active', at: now },
    ],
  ]
}

/**
 * When a call that is active since an instant reaches its limit, and when to warn of that. One that has been active
 * for longer than a limit it is given now ends now, not in the past.
 */
function ends(since: Millis, limit: Millis | null, now: Millis): Pick<Active, 'until' | 'warnAt'> {
  if (limit === null) return { until: null, warnAt: null }
  const until = Math.max(since + limit, now)
  const warnAt = until - WARNING_AHEAD
  return { until, warnAt: limit >= 2 * WARNING_AHEAD && warnAt > now ? warnAt : null }
}

function drop(call: Live, side: Side, now: Millis, lost: 'by peer' | 'by restart' = 'by peer'): Step {
  if (call.legs[side].at !== 'present') return [call, []]
  const { grace } = call.terms
  if (grace <= 0) return leave(call, side, now, 'clock')
  const until = now + grace
  const away = withLeg(call, side, { at: 'away', until, lost })
  return [away, away.at === 'active' ? tellAway(away, side, until, now) : []]
}

/** The whole grace is kept in the leg, since the limit may be moved; what the other leg is told ends with the call. */
function tellAway(call: Active, side: Side, until: Millis, now: Millis): Effect[] {
  const grace = Math.min(until, call.until ?? until) - now
  return tell(call, otherSide(side), { is: 'away', side, grace })
}

function leave(call: Live, side: Side, now: Millis, by: EndedBy): Step {
  if (call.legs[side].at === 'absent') return [call, []]
  const gone = withLeg(call, side, ABSENT)
  const told = gone.at === 'active' ? tell(gone, otherSide(side), { is: 'left', side }) : []
  const reason = leaveReason(call, side, by)
  if (reason === null) return [gone, told]
  const [ended, effects] = end(gone, reason, by, now)
  return [ended, [...told, ...effects]]
}

function leaveReason(call: Live, side: Side, by: EndedBy): EndReason | null {
  const rules = rulesOf(call.terms.kind)
  if (call.at === 'waiting') return rules.leftWaiting[side]
  if (by !== 'clock') return rules.left[side]
  // When neither came back after a restart, neither is to blame.
  const abandoned = call.legs.every((leg) => leg.at === 'away' && leg.lost === 'by restart')
  return abandoned ? 'server_restart' : rules.lost[side]
}

function hangUpReason(call: Live, side: Side): EndReason {
  const rules = rulesOf(call.terms.kind)
  return call.at === 'active' ? rules.hungUp : rules.hungUpWaiting[side]
}

function relimit(call: Live, limit: Millis, now: Millis): Step {
  const terms = { ...call.terms, limit }
  if (call.at === 'waiting') return [{ ...call, terms }, []]
  return settle({ ...call, terms, ...ends(call.since, limit, now) }, now)
}

/** Ends the call, telling every leg that is or will be back. */
function end(call: Live, reason: EndReason, by: EndedBy, now: Millis): Step {
  const since = call.at === 'active' ? call.since : null
  // Between two processes even a clock that never goes back may have been set back.
  const at = Math.max(now, since ?? now)
  const ended: Ended = {
    at: 'ended',
    id: call.id,
    terms: call.terms,
    legs: call.legs,
    since,
    endedAt: at,
    reason,
    by,
  }
  return [
    ended,
    [
      ...SIDES.flatMap((side) => tell(call, side, { is: 'ended', reason, by })),
      { do: 'record', what: 'ended', at },
    ],
  ]
}

/** Lets everything happen that was due by `now`, in the order it was due, each at its own instant. */
function settle(call: Live, now: Millis): Step {
  let current: Call = call
  let effects: Effect[] = []
  for (;;) {
    const at = deadline(current)
    if (current.at === 'ended' || at === null || at > now) return [current, effects]
    const [next, more] = expire(current, at)
    current = next
    effects = [...effects, ...more]
  }
}

/** One deadline passes. The call's own end comes before a grace that ends at the same instant. */
function expire(call: Live, at: Millis): Step {
  if (call.until === at) {
    const reason = call.at === 'active' ? 'max_duration_reached' : rulesOf(call.terms.kind).nobody
    return end(call, reason, 'clock', at)
  }
  if (call.at === 'active' && call.warnAt === at) {
    const remaining = (call.until ?? at) - at
    const warned: Active = { ...call, warnAt: null }
    // A leg that is away would find a warning that is out of date when it comes back.
    const there = SIDES.filter((side) => warned.legs[side].at === 'present')
    return [warned, there.flatMap((side) => tell(warned, side, { is: 'warning', remaining }))]
  }
  const side: Side = awayUntil(call.legs[0]) === at ? 0 : 1
  return leave(call, side, at, 'clock')
}

/** A leg that is absent is told nothing; one that is away finds it when it comes back. */
function tell(call: Call, side: Side, notice: Notice): Effect[] {
  return call.legs[side].at === 'absent' ? [] : [{ do: 'tell', side, notice }]
}

function withLeg<C extends Live>(call: C, side: Side, leg: Leg): C {
  return { ...call, legs: side === 0 ? [leg, call.legs[1]] : [call.legs[0], leg] }
}
