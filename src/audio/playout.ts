/**
 * The last part of a line before the speaker: holds the sound that came, and plays what the jitter buffer (buffer.ts)
 * decides, so that nobody hears the seams. The ring is the one timeline: what is made up for lost or late sound is
 * written to its end, and the sound that follows takes over from it there; bends and cuts happen where it is read.
 *
 *     push ─▶ [made up] ─▶ end ···· ring ···· at ─▶ [cut] ─▶ [bend] ─▶ render
 *
 * Nothing is allocated once it runs. Deliberately not here: ports, and clocks; times come in. `now` is the time of the
 * speaker's own samples: a speaker that stalls then shows as a fill that is too high, which is what is to be done
 * something about, and a wall clock that is set shows not at all.
 */
import { Bend } from './bend.ts'
import { BUFFER, BufferControl, MOBILE_BUFFER, type Step } from './buffer.ts'
import { Conceal } from './conceal.ts'
import { bestMatch, energy, rise } from './match.ts'
import { Ring } from './ring.ts'

/** All in ms. The most that waits; more comes when the speaker stands still, and then the oldest goes. */
const MOST = 1_000
/** Sound is taken in pieces of this at most, so that what is over can be cut out of what is there. */
const PIECE = 100
/** How long one sound goes over into another. */
const CROSS = 3
/** A cut is made in the quietest place of so much, looked for in steps of so much. */
const NEAR = 20
const NEAR_STEP = 0.5
/** It may be shorter than asked for by this, to fit on the wave: a period of a low voice. */
const FIT = 12.5
/** Of two places that fit as well, the one that cuts more. */
const FIT_BIAS = 0.1

/** What a speaker takes within this it takes at once. It takes more at the latest after this. */
const SAME_BURST = 1.5
const LONGEST_BURST = 60

export interface PlayoutNumbers {
  /** Ms that waited when a piece was played, on average since the last time these numbers were asked for. */
  readonly fill: number
  readonly margin: number
  readonly driftPpm: number
  readonly ratio: number
  /** Since the beginning, restarts included. */
  readonly underruns: number
  readonly concealedMs: number
  readonly cutMs: number
}

export class Playout {
  readonly #rate: number
  readonly #ring: Ring
  readonly #bend: Bend
  readonly #conceal: Conceal
  readonly #cross: number
  #control = new BufferControl(BUFFER)
  /** Whether the end of the ring is made up. */
  #isMadeUp = false
  /** Of the sound after something made up, this many samples are still to be mixed with it. */
  #mixing = 0
  #isSounding = false
  /** The end of what a restart has thrown away. */
  readonly #farewell: Float32Array
  #farewellAt: number
  /** When the speaker began to take what it took last, by the wall's clock, and how many samples that was. */
  #burstAt = Number.NaN
  #burst = 0
  #ratio = 1
  #fills = 0
  #looks = 0
  #underruns = 0
  #concealed = 0
  #cut = 0

  /** `rate`: samples a second, of the speaker. */
  constructor(rate: number) {
    this.#rate = rate
    this.#bend = new Bend(rate)
    this.#conceal = new Conceal(rate)
    this.#cross = this.#samples(CROSS)
    const history = Math.max(this.#conceal.history, this.#bend.reserve)
    this.#ring = new Ring(this.#samples(MOST + PIECE + FIT), history)
    this.#farewell = new Float32Array(this.#cross)
    this.#farewellAt = this.#cross
  }

  /** Sound of any length, `missing` ms after what came before it. `samples` is read, not kept. `wall`: as of `render`. */
  push(samples: Float32Array, missing: number, wall = Number.NaN): void {
    // A clock that was set says nothing; nor does a speaker that stands still.
    const since = wall - this.#burstAt
    const level =
      since >= 0 && since <= LONGEST_BURST ? this.#ms(this.#ring.filled + this.#burst) - since : Number.NaN
    const madeUp = this.#control.arrived(missing, this.#ms(samples.length), level)
    const made = Math.round((madeUp * this.#rate) / 1_000)
    if (this.#ring.filled > 0 || this.#isSounding) this.#makeUp(Math.min(made, this.#room()))
    const piece = this.#samples(PIECE)
    for (let from = 0; from < samples.length; from += piece) {
      const to = Math.min(samples.length, from + piece)
      const over = to - from - this.#room()
      if (over > 0) this.#control.wasCut(this.#ms(this.#takeOut(over, over + this.#samples(FIT))))
      this.#append(samples, from, to)
    }
  }

  /**
   * Fills `out` with what is heard next; `now` in ms is of its first sample. Any length up to 100 ms. Speakers take many
   * pieces at once, and then none for a while: `wall` is the time by any clock at which this one is taken, so that it is
   * known how much of them has been heard when other sound comes.
   */
  render(out: Float32Array, now: number, wall = Number.NaN): void {
    if (!(Math.abs(wall - this.#burstAt) < SAME_BURST)) {
      this.#burstAt = wall
      this.#burst = 0
    }
    this.#burst += out.length
    const wants = this.#ms(out.length)
    const step = this.#control.step(now, this.#ms(Math.max(0, this.#free())), wants, wall)
    this.#ratio = step.ratio
    if (step.play === 'silence') out.fill(0)
    else this.#play(out, step)
    this.#isSounding = step.play !== 'silence'
    for (let i = 0; i < out.length && this.#farewellAt < this.#cross; i++) {
      const sum = (out[i] as number) + (this.#farewell[this.#farewellAt++] as number)
      out[i] = Math.min(1, Math.max(-1, sum))
    }
  }

  #play(out: Float32Array, step: Step): void {
    if (step.cut > 0) {
      const most = Math.floor((step.cut * this.#rate) / 1_000)
      this.#control.wasCut(this.#ms(this.#takeOut(Math.max(1, most - this.#samples(FIT)), most)))
    }
    if (step.play === 'concealment') this.#makeUp(out.length)
    this.#makeUp(Math.ceil(out.length * step.ratio) - this.#free())
    if (!this.#isSounding) this.#fadeIn()
    this.#fills += this.#ring.filled
    this.#looks++
    this.#bend.read(this.#ring, out, step.ratio)
  }

  /** Throws away what waits, fading out what sounds. `mobile`: the wider buffer from now on. */
  restart(mobile: boolean): void {
    if (this.#isSounding) {
      this.#makeUp(Math.ceil(this.#cross * this.#ratio) - this.#free())
      this.#bend.read(this.#ring, this.#farewell, this.#ratio)
      for (let i = 0; i < this.#cross; i++) {
        this.#farewell[i] = (this.#farewell[i] as number) * (1 - rise(i, this.#cross))
      }
      this.#farewellAt = 0
    }
    this.#cut += this.#ring.filled
    this.#ring.clear()
    this.#bend.reset()
    this.#conceal.reset()
    this.#isMadeUp = false
    this.#mixing = 0
    this.#isSounding = false
    this.#ratio = 1
    this.#underruns += this.#control.underruns
    this.#control = new BufferControl(mobile ? MOBILE_BUFFER : BUFFER)
  }

  /** The one call that allocates. */
  numbers(): PlayoutNumbers {
    const fill = this.#looks === 0 ? this.#ring.filled : this.#fills / this.#looks
    this.#fills = this.#looks = 0
    return {
      fill: this.#ms(fill),
      margin: this.#control.margin,
      driftPpm: this.#control.driftPpm,
      ratio: this.#ratio,
      underruns: this.#underruns + this.#control.underruns,
      concealedMs: this.#ms(this.#concealed),
      cutMs: this.#ms(this.#cut),
    }
  }

  /** Samples that wait. */
  get waiting(): number {
    return this.#ring.filled
  }

  /** Samples that can be played, bent or not. */
  #free(): number {
    return this.#ring.filled - this.#bend.reserve
  }

  #room(): number {
    return Math.max(0, this.#samples(MOST) - this.#ring.filled)
  }

  #samples(ms: number): number {
    return Math.ceil((ms * this.#rate) / 1_000)
  }

  #ms(samples: number): number {
    return (samples * 1_000) / this.#rate
  }

  #makeUp(count: number): void {
    if (count <= 0) return
    if (!this.#isMadeUp) this.#conceal.begin(this.#ring)
    this.#isMadeUp = true
    const from = this.#ring.grow(count)
    const { held } = this.#ring
    for (let i = from; i < from + count; i++) held[i] = this.#conceal.next()
    this.#concealed += count
  }

  #append(samples: Float32Array, first: number, last: number): void {
    if (this.#isMadeUp) this.#mixing = this.#cross
    this.#isMadeUp = false
    const to = this.#ring.grow(last - first)
    const { held } = this.#ring
    for (let i = first; i < last; i++) held[to + i - first] = samples[i] as number
    for (let i = to; i < this.#ring.end && this.#mixing > 0; i++) {
      const share = rise(this.#cross - this.#mixing--, this.#cross)
      held[i] = (held[i] as number) * share + this.#conceal.next() * (1 - share)
    }
  }

  #fadeIn(): void {
    const { held, at } = this.#ring
    for (let i = 0; i < this.#cross; i++) held[at + i] = (held[at + i] as number) * rise(i, this.#cross)
  }

  /** Cuts out between `least` and `most` samples where it is heard the least; returns how many. */
  #takeOut(least: number, most: number): number {
    const { held, at } = this.#ring
    const cross = this.#cross
    const room = this.#free() - most - cross
    if (most <= 0 || room < 0) return 0
    const from = this.#quietest(at, Math.min(room, this.#samples(NEAR)), most)
    const stride = Math.max(1, Math.round(this.#rate / 48_000))
    const to = bestMatch(held, from, cross, from + least, from + most, stride, FIT_BIAS)
    for (let i = 0; i < cross; i++) {
      const share = rise(i, cross)
      held[to + i] = (held[from + i] as number) * (1 - share) + (held[to + i] as number) * share
    }
    this.#ring.takeOut(from, to - from)
    this.#cut += to - from
    return to - from
  }

  #quietest(first: number, span: number, apart: number): number {
    const { held } = this.#ring
    let best = first
    let least = Number.POSITIVE_INFINITY
    for (let place = first; place <= first + span; place += this.#samples(NEAR_STEP)) {
      const here = energy(held, place, this.#cross) + energy(held, place + apart, this.#cross)
      if (here < least) [best, least] = [place, here]
    }
    return best
  }
}
