/**
 * What the playout does next: the jitter buffer as a state machine, stepped with times and fills. It holds no sound and
 * no clock. It keeps the least fill at a margin: the fill at its lowest is what could be taken away without a gap, so
 * delay is no more than the jitter of the link needs.
 *
 *     waiting -- fill reaches the margin --> playing <--> dry (concealing: nothing was there in time)
 *        ^                                                 |
 *        +------------ nothing for a second ---------------+
 *
 * While all is well the ratio is exactly 1, so that what is played is bit for bit what came. Far above the margin a piece
 * is cut out; a little above or below it, and where the clocks of the two ends differ, the rate is bent, by no more than
 * 0.2 % and slowly. All times in ms, fills in ms of sound.
 */

import { DriftEstimate } from './drift.ts'

export interface BufferOptions {
  /** The least margin; on the narrow profile 20. */
  readonly floor: number
  readonly start: number
  readonly ceiling: number
}

export const BUFFER: BufferOptions = { floor: 8, start: 8, ceiling: 80 }
export const MOBILE_BUFFER: BufferOptions = { floor: 20, start: 20, ceiling: 80 }

/**
 * The margin grows to what would have been enough, by this at most. After quiet it shrinks by so many ms and by such a
 * share of what is above the floor: half of what a bad minute has added is gone in half a minute.
 */
const DRY_STEP = 4
const SHRINK_PER_S = 0.1
const SHRINK_SHARE_PER_S = 0.02
/** What is made up comes in pieces of this, so a loss is found a bit too long. */
const PLAYED_AT_ONCE = 3
const QUIET_MS = 15_000
/** What comes at once and is more than this is more than one frame. */
const LONGEST_FRAME = 20
/** Dry for so long, nobody knows any more how late the next sound will be: it finds its level as the first did. */
const GIVE_UP_MS = 1_000
/** Fills are looked at in pieces of this; the least of the last 10 is of a second, of the last 40 of four. */
const PIECE_MS = 100
const LONG = 40
const SHORT = 10
/** More above the margin than this for a piece, or than this all the time for three seconds: cut. */
const CUT_ABOVE = 40
const CUT_STEADY_ABOVE = 8
const STEADY = 30
/** A speaker that took nothing for more than this never catches up: cut when so many pieces, and no fewer, agree. */
const STOOD_STILL = 8
const STILL = 3
/** Off the margin by more than this: the rate is bent, until it is off by less than that. */
const DEAD_BAND = 3
const BACK_WITHIN = 1
/** Ratio for each ms off, and the most of it. */
const GAIN = 1.5e-4
const MOST_BEND = 2e-3
const SLEW_PER_S = 3e-4
/** Before this a new stream still finds its level: it is cut, and sooner, but not bent. */
const SETTLE_MS = 5_000

export interface Step {
  /**
   * What to put out: silence before the first sound; or the sound; or what is left of it and then something made up, of
   * which as much is made as is wanted, so that as much is left as there was.
   */
  readonly play: 'silence' | 'sound' | 'concealment'
  /** Sound taken for each played, by resampling; exactly 1 most of the time. */
  readonly ratio: number
  /** To be cut out first, in a quiet place near by, with a cross-fade; then `wasCut` is told how much it was. */
  readonly cut: number
}

/** What most steps are; so nothing is made for them. */
const SILENCE: Step = { play: 'silence', ratio: 1, cut: 0 }
const AS_IT_CAME: Step = { play: 'sound', ratio: 1, cut: 0 }

export class BufferControl {
  readonly #clocks = new DriftEstimate()
  readonly #options: BufferOptions
  #margin: number
  #state: 'waiting' | 'playing' | 'dry' = 'waiting'
  #lastStep: number | null = null
  #startedAt = 0
  /** What was made up since the buffer was dry, and since when. */
  #dryMs = 0
  #drySince = 0
  /** The least fill of the second before that. */
  #leastBefore = 0
  /** Sound that came at once, last. */
  #frame = 0
  #troubleAt = 0
  #ratio = 1
  #isBending = false
  /** The least fill of each whole piece, newest last. */
  #pieces: number[] = []
  #pieceAt = 0
  #pieceLeast = Number.POSITIVE_INFINITY
  /** By how much the speaker's time is behind the wall's, at least, in each of the last pieces; newest last. */
  #lags: number[] = []
  #pieceLag = Number.POSITIVE_INFINITY
  #sinceSecond = 0
  #error = 0
  underruns = 0
  concealed = 0

  constructor(options: BufferOptions = BUFFER) {
    this.#options = options
    this.#margin = options.start
  }

  get margin(): number {
    return this.#margin
  }

  /** How much faster the other end's clock runs than this one's, as far as the buffer has learned it. */
  get driftPpm(): number {
    return this.#clocks.drift * 1e6
  }

  /**
   * Sound came, so much of it (`frame`), with so much missing before it. `level`: what waited just before, less what was
   * played of it since, where the speaker takes much at once; NaN where nobody knows. Says how much to make up and put in before it, so that the timeline
   * holds: less what has been made up already because the buffer was dry.
   */
  arrived(missing: number, frame = 0, level = Number.NaN): number {
    this.#frame = Math.min(frame, LONGEST_FRAME)
    const left = this.#arrived(missing)
    if (this.#state !== 'waiting') this.#clocks.note(this.#lastStep ?? 0, level + left)
    return left
  }

  #arrived(missing: number): number {
    if (this.#state !== 'dry') return missing
    const left = Math.max(0, missing - this.#dryMs)
    this.#clocks.took(missing - left)
    // What was lost, was lost: only what came too late asks for more margin.
    const late = this.#dryMs - missing
    if (missing === 0 || late > PLAYED_AT_ONCE) this.#grow(late)
    this.#dryMs = 0
    this.#state = 'playing'
    this.#forget()
    return left
  }

  /** Before each piece that is played. `fill`: sound at hand; `wants`: how much is played now; `wall`: any clock. */
  step(now: number, fill: number, wants: number, wall = Number.NaN): Step {
    const elapsed = this.#lastStep === null ? 0 : now - this.#lastStep
    this.#lastStep = now
    this.#pieceLag = Math.min(this.#pieceLag, wall - now)
    if (this.#state === 'waiting') {
      // Until the next sound comes, this one is used up; what is left then is the margin.
      if (fill < Math.max(this.#margin + this.#frame - wants, wants)) return SILENCE
      this.#state = 'playing'
      this.#startedAt = this.#troubleAt = this.#pieceAt = now
    }
    if (fill < wants * this.#ratio) return this.#runDry(now, wants)
    // Not told of an arrival, but there is sound again: as when the ring was short by less than a frame.
    if (this.#state === 'dry') this.arrived(0)
    const cut = this.#note(now, fill - wants * this.#ratio) ? this.#toCut(now) : 0
    this.#clocks.took((this.#ratio - 1) * wants)
    if (cut > 0) this.#forget()
    this.#shrink(now, elapsed)
    this.#bend(now, elapsed)
    return this.#ratio === 1 && cut === 0 ? AS_IT_CAME : { play: 'sound', ratio: this.#ratio, cut }
  }

  /** After a step that asked for a cut: so much was taken out. */
  wasCut(ms: number): void {
    this.#clocks.took(ms)
  }

  #runDry(now: number, wants: number): Step {
    if (this.#state !== 'dry') {
      this.underruns++
      this.#clocks.disturbed()
      this.#drySince = now
      const least = Math.min(this.#pieceLeast, ...this.#pieces.slice(-SHORT))
      this.#leastBefore = Number.isFinite(least) ? least : 0
    }
    if (now - this.#drySince >= GIVE_UP_MS) return this.#giveUp()
    this.#state = 'dry'
    // A whole piece, though some sound may be left: a gap of less would be followed by the next before long.
    this.#dryMs += wants
    this.#clocks.took(-wants)
    this.concealed += wants
    this.#troubleAt = now
    return { play: 'concealment', ratio: this.#ratio, cut: 0 }
  }

  /** The drift that was learned stays; where the fill was says nothing any more. */
  #giveUp(): Step {
    this.#state = 'waiting'
    this.#dryMs = 0
    this.#ratio = 1
    this.#clocks.startAgain()
    this.#forget()
    return SILENCE
  }

  /** Sound came so much too late. Where the fill was below the margin anyway, that says nothing against the margin. */
  #grow(late: number): void {
    const enough = Math.min(this.#leastBefore + late, this.#margin + DRY_STEP)
    this.#margin = Math.min(this.#options.ceiling, Math.max(this.#margin, enough))
  }

  #shrink(now: number, elapsed: number): void {
    if (now - this.#troubleAt < QUIET_MS) return
    const { floor } = this.#options
    const perSecond = SHRINK_PER_S + SHRINK_SHARE_PER_S * (this.#margin - floor)
    this.#margin = Math.max(floor, this.#margin - (perSecond * elapsed) / 1_000)
  }

  /** Whether a piece is whole now. */
  #note(now: number, fill: number): boolean {
    this.#pieceLeast = Math.min(this.#pieceLeast, fill)
    if (now - this.#pieceAt < PIECE_MS) return false
    this.#pieces.push(this.#pieceLeast)
    if (this.#pieces.length > LONG) this.#pieces.shift()
    this.#lags.push(this.#pieceLag)
    if (this.#lags.length > SHORT) this.#lags.shift()
    this.#pieceLag = Number.POSITIVE_INFINITY
    this.#pieceAt = now
    this.#pieceLeast = Number.POSITIVE_INFINITY
    return true
  }

  /** Fills of before a cut or a gap say nothing of after. */
  #forget(): void {
    this.#pieces = []
    this.#pieceAt = this.#lastStep ?? 0
    this.#pieceLeast = Number.POSITIVE_INFINITY
    this.#error = 0
    this.#isBending = false
    this.#sinceSecond = 0
  }

  #toCut(now: number): number {
    const above = (this.#pieces.at(-1) ?? 0) - this.#margin
    if (above > CUT_ABOVE) return above
    // Sooner while the stream settles: its first frames come in bursts.
    const pieces = now - this.#startedAt < SETTLE_MS ? SHORT : STEADY
    const steady = Math.min(...this.#pieces.slice(-pieces)) - this.#margin
    if (this.#pieces.length >= pieces && steady > CUT_STEADY_ABOVE) return steady
    const still = this.#stoodStill()
    const since = Math.min(...this.#pieces.slice(-STILL)) - this.#margin
    if (this.#pieces.length < STILL || !(Math.min(still, since) > STOOD_STILL)) return 0
    const cut = Math.min(still, since)
    // What is left of it, if it stood still again meanwhile, is seen next.
    for (let i = 0; i < this.#lags.length - STILL; i++) this.#lags[i] = (this.#lags[i] as number) + cut
    return cut
  }

  /** For how long the speaker took nothing, a moment ago. A link that is late may be sooner again; this stays. */
  #stoodStill(): number {
    if (this.#lags.length <= STILL) return 0
    return Math.min(...this.#lags.slice(-STILL)) - Math.min(...this.#lags.slice(0, -STILL))
  }

  #bend(now: number, elapsed: number): void {
    if (now - this.#startedAt < SETTLE_MS) return
    this.#sinceSecond += elapsed
    if (this.#sinceSecond >= 1_000 && this.#pieces.length >= SHORT) {
      this.#sinceSecond = 0
      // Too little is seen in a second; that there is too much, only when nothing in four seconds used it.
      const short = Math.min(...this.#pieces.slice(-SHORT)) - this.#margin
      const long = Math.min(...this.#pieces) - this.#margin
      this.#error = short < 0 ? short : this.#pieces.length < LONG ? 0 : Math.max(0, long)
      this.#isBending = Math.abs(this.#error) > (this.#isBending ? BACK_WITHIN : DEAD_BAND)
    }
    const bend = this.#isBending ? clamp(GAIN * this.#error, MOST_BEND) : 0
    const wished = 1 + bend + this.#clocks.drift
    const slew = (SLEW_PER_S * elapsed) / 1_000
    this.#ratio += clamp(wished - this.#ratio, slew)
    if (Math.abs(this.#ratio - 1) < 1e-9) this.#ratio = 1
  }
}

function clamp(value: number, most: number): number {
  return Math.min(most, Math.max(-most, value))
}
