/**
 * When a frame is too late to be worth sending. What a socket has queued says nothing of it: seconds of sound hide in
 * the system's buffers. So the other end tells, in its control frames, by a timer of its own, the highest frame it heard
 * and for how long it has had it; and who still waits for the ack of an old frame sends no more, but for a probe now and
 * then. Two ends that both did without would be silent for ever: without the timer, when both stop sending sound, which
 * would carry the acks; without the probe, when the frames waited for were lost, or sent before the other end came.
 *
 * Times in ms of the sender's monotonic clock, clocks in 0.1 ms of it, modulo 2^32.
 */
import type { Control } from './control.ts'
import { Freshness } from './freshness.ts'

/** Between control frames. */
export const CONTROL_EVERY = 50
/** A frame goes out this often, however late the acks are; less often where even that is too much for the link. */
const PROBE_EVERY = 100
const PROBE_AT_LEAST_EVERY = 1_000
/**
 * Acks may be late by this much before sound is dropped, or by a round trip, the timer of the acks and some queue; by more
 * on a way that has just delivered a burst: where frames catch up faster than they are made, none waits for want of room,
 * and to drop them would not make the next ones sooner.
 */
const LATE = 120
const LATE_MORE = 100
const LATE_MORE_IN_BURSTS = 160
/** For how long an ack may have waited on its way here, by what comes to all frames of the peer: it is no fault of ours. */
const MOST_BACK = 250
/** An ack of one frame more than so many times what is made in its time; and for so long the way is known for it. */
const BURST = 1.4
const BURSTS_FOR = 6_000
/** Before anything was measured. */
const LATE_AT_FIRST = 1_000
/** The round trip of an empty link is the shortest of so many seconds: a full one would excuse itself. */
const ROUND_TRIP_SECONDS = 60
/**
 * After so long with nothing but probes the way may have become longer for good. Then even probes stop for a second, so
 * that every queue runs empty, and the round trip is learned anew in the second half of it.
 */
const LISTEN_AFTER = 2_000
const LISTEN_FOR = 1_000
/** After a late ack, for so long no more frames are under way than were acked lately in the time that is allowed. */
const CROWDED_FOR = 2_000
/** Frames remembered: more are thinned out, and only make the ack coarser. */
const MOST_WAITING = 1_024
/** For the offer of the narrow profile: so much is dropped in each of so many pieces. A single stall is in one or two. */
const DROPS_PIECE = 500
const DROPS_PIECES = 4
const DROPS_SHARE = 0.05

interface Waiting {
  readonly number: number
  readonly at: number
}

/** The sender's half: `mayGo` for each frame, `heard` for each control frame of the peer. */
export class LatePolicy {
  #waiting: Waiting[] = []
  #lastSent = Number.NEGATIVE_INFINITY
  /** Since when nothing but probes went out; null while sound flows. */
  #probingSince: number | null = null
  /** The shortest round trip of each second, the newest last. */
  #seconds: { readonly second: number; shortest: number }[] = []
  /** The last pieces, the newest, not yet whole, at the end. */
  #pieces: { readonly piece: number; frames: number; dropped: number }[] = []
  #lateAt = Number.NEGATIVE_INFINITY
  #burstAt = Number.NEGATIVE_INFINITY
  readonly #wayBack = new Freshness()
  /** How much later than the quickest the last control frame came. */
  #back = 0
  /** Of the last control frame. */
  #peerClock: number | null = null
  /** How many each ack of the last second was for. */
  #acked: { readonly at: number; readonly frames: number }[] = []
  dropped = 0

  /** Another page, or the same one on a new socket: nothing sent so far will be acked. */
  peerChanged(): void {
    this.#waiting = []
    this.#probingSince = null
    this.#seconds = []
    this.#acked = []
    this.#lateAt = this.#burstAt = Number.NEGATIVE_INFINITY
    this.#peerClock = null
    this.#wayBack.peerChanged()
    this.#back = 0
  }

  /** The shortest round trip lately; null before the first. */
  get roundTrip(): number | null {
    return this.#seconds.length === 0 ? null : Math.min(...this.#seconds.map(({ shortest }) => shortest))
  }

  /** Age of the oldest frame without ack; 0 when there is none. */
  age(now: number): number {
    return now - (this.#waiting[0]?.at ?? now)
  }

  /** Decides on the frame of this number, and counts it as sent or dropped. */
  mayGo(number: number, now: number): boolean {
    const age = this.age(now)
    const isLate = age > this.#patience(now)
    if (isLate) this.#lateAt = now
    // Listening goes on to its end, though the last probes are acked meanwhile.
    const isListening =
      this.#probedFor(now) >= LISTEN_AFTER && this.#probedFor(now) < LISTEN_AFTER + LISTEN_FOR
    if (!isListening) this.#probingSince = this.#nextProbing(isLate, now)
    // A link that does not even carry the probes gets fewer of them, down to one a second.
    const probeAfter = Math.min(PROBE_AT_LEAST_EVERY, Math.max(PROBE_EVERY, age / 2))
    const isProbe = now - this.#lastSent >= probeAfter
    const goes = !isListening && ((!isLate && !this.#isCrowded(now)) || isProbe)
    if (goes) {
      this.#waiting.push({ number, at: now })
      if (this.#waiting.length > MOST_WAITING) this.#waiting = this.#waiting.filter((_, i) => i % 2 === 0)
      this.#lastSent = now
    } else this.dropped++
    this.#count(goes, now)
    return goes
  }

  /** `clock`: the peer's own, of the header. */
  heard(clock: number, { heard, echo }: Pick<Control, 'heard' | 'echo'>, now: number): void {
    if (echo !== null) this.#measure(sinceClock(echo.clock, now) - echo.hold, now)
    // By the peer's clock: control frames that come together were not sent together.
    const since = this.#peerClock === null ? 0 : ((clock - this.#peerClock) | 0) / 10
    this.#peerClock = clock
    this.#back = Math.min(MOST_BACK, this.#wayBack.delayOf(clock, now))
    if (heard === null) return
    const next = this.#waiting.findIndex(({ number }) => isAfter(number, heard.number))
    const frames = next < 0 ? this.#waiting.length : next
    this.#waiting = this.#waiting.slice(frames)
    this.#acked = [...this.#acked.filter(({ at }) => now - at < 1_000), { at: now, frames }]
    const made = ((this.#pieces.at(-2)?.frames ?? Number.POSITIVE_INFINITY) * since) / DROPS_PIECE
    if (since > 0 && frames > 1 + BURST * made) this.#burstAt = now
  }

  /** For two seconds more than one frame in twenty could not go: the narrow profile would fit. */
  shouldOfferMobile(now: number): boolean {
    const oldest = Math.floor(now / DROPS_PIECE) - DROPS_PIECES
    const whole = this.#pieces.slice(0, -1).filter(({ piece }) => piece >= oldest)
    return (
      whole.length === DROPS_PIECES && whole.every(({ frames, dropped }) => dropped > frames * DROPS_SHARE)
    )
  }

  #count(goes: boolean, now: number): void {
    const piece = Math.floor(now / DROPS_PIECE)
    let last = this.#pieces.at(-1)
    if (last?.piece !== piece) {
      last = { piece, frames: 0, dropped: 0 }
      this.#pieces = [...this.#pieces.slice(-DROPS_PIECES), last]
    }
    last.frames++
    if (!goes) last.dropped++
  }

  #nextProbing(isLate: boolean, now: number): number | null {
    if (!isLate) return null
    return this.#probedFor(now) >= LISTEN_AFTER + LISTEN_FOR ? now : (this.#probingSince ?? now)
  }

  #probedFor(now: number): number {
    return this.#probingSince === null ? 0 : now - this.#probingSince
  }

  #isCrowded(now: number): boolean {
    if (now - this.#lateAt > CROWDED_FOR) return false
    const perSecond = this.#acked.reduce((sum, { frames }) => sum + frames, 0)
    return this.#waiting.length > Math.max(1, (perSecond * this.#patience(now)) / 1_000)
  }

  #patience(now: number): number {
    const { roundTrip } = this
    const more = now - this.#burstAt < BURSTS_FOR ? LATE_MORE_IN_BURSTS : LATE_MORE
    // Else an end whose frames fill the way back would have both ways for itself.
    return this.#back + (roundTrip === null ? LATE_AT_FIRST : Math.max(LATE, roundTrip + more))
  }

  #measure(roundTrip: number, now: number): void {
    // A clock of before a reload, or a hold that was cut off.
    if (roundTrip < 0 || roundTrip > 10_000) return
    const second = Math.floor(now / 1_000)
    const isListening = this.#probedFor(now) > LISTEN_AFTER + LISTEN_FOR / 2
    this.#seconds = this.#seconds.filter(
      (kept) => second - kept.second < (isListening ? 1 : ROUND_TRIP_SECONDS),
    )
    const last = this.#seconds.at(-1)
    if (last?.second === second) last.shortest = Math.min(last.shortest, roundTrip)
    else this.#seconds.push({ second, shortest: roundTrip })
  }
}

/** The receiver's half: what its control frames say of what came. */
export class Heard {
  #audio: { number: number; clock: number; at: number } | null = null
  #control: { clock: number; at: number } | null = null

  peerChanged(): void {
    this.#audio = null
    this.#control = null
  }

  audio(number: number, clock: number, now: number): void {
    if (this.#audio === null || isAfter(number, this.#audio.number)) this.#audio = { number, clock, at: now }
  }

  control(clock: number, now: number): void {
    this.#control = { clock, at: now }
  }

  report(now: number): Pick<Control, 'heard' | 'echo'> {
    const [audio, control] = [this.#audio, this.#control]
    return {
      heard: audio && { number: audio.number, clock: audio.clock, hold: now - audio.at },
      echo: control && { clock: control.clock, hold: now - control.at },
    }
  }
}

/** The clock field of a header. */
export function clockOf(now: number): number {
  return Math.round(now * 10) >>> 0
}

/** Ms from a clock field to now, both of one clock; between -59 and 59 hours. */
function sinceClock(clock: number, now: number): number {
  return ((clockOf(now) - clock) | 0) / 10
}

/** Of two numbers modulo 2^32. */
export function isAfter(number: number, other: number): boolean {
  return ((number - other) | 0) > 0
}
