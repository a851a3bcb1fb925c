/**
 * Sound on its way in: opened frames, in order, to the speaker. What is stale or cannot be unpacked is not played; the
 * time it would have taken is told to the speaker with the next that is, so that the timeline holds.
 */
import { Heard, isAfter } from '../../audio/acks.ts'
import type { Bytes } from '../../audio/bytes.ts'
import { frameSize, type Head } from '../../audio/frame.ts'
import { Freshness } from '../../audio/freshness.ts'
import { type Level, Levels } from '../../audio/levels.ts'
import { readRaw, Unpacker } from '../../audio/pack.ts'
import { fromPcm, Resampler } from '../../audio/resample.ts'
import type { Millis } from '../../client/ports.ts'
import { DURATIONS, RATES, rawSize } from '../../protocol/line.ts'
import type { ToSpeaker } from './messages.ts'

/** More than this is not made up for: the speaker has been dry for as long. In ms. */
const MOST_MISSING = 1_000
/** Averages go so far towards each new value: half a second of frames or so. */
const SLOWLY = 1 / 64

/** Where sound goes: a part of MessagePort. */
export interface SpeakerPort {
  postMessage(message: ToSpeaker, transfer: Transferable[]): void
}

/** What goes with one format of the peer and one speaker. */
interface Way {
  readonly rate: number
  readonly duration: number
  readonly pcm: Int16Array
  readonly samples: Float32Array
  readonly resampler: Resampler
  readonly out: Float32Array
}

export class Receiver {
  readonly heard = new Heard()
  readonly #freshness = new Freshness()
  readonly #unpacker = new Unpacker()
  readonly #levels = new Levels()
  #speaker: { readonly port: SpeakerPort; readonly rate: number } | null = null
  #way: Way | null = null
  #isMobile = false
  /** Numbers of the last frame that came, and that was played. */
  #came: number | null = null
  #played: number | null = null
  #delay: number | null = null
  #jitter = 0
  received = 0
  /** Never came, up to the last one that did. */
  lost = 0
  stale = 0
  /** Opened, and yet nothing that can be played. */
  broken = 0
  /** Of the last frame, on the wire. */
  frameBytes = 0

  useSpeaker(port: SpeakerPort, rate: number): void {
    this.#speaker = { port, rate }
    this.#way = null
    this.#restart()
  }

  /** Another peer, or the same after a reload: its numbers and clocks begin anew. */
  peerChanged(): void {
    this.heard.peerChanged()
    this.#freshness.peerChanged()
    this.#way = null
    this.#came = this.#played = this.#delay = null
    this.#jitter = 0
    this.#restart()
  }

  /** Samples a second: on the wire, and of the speaker. 0 while unknown. */
  get rates(): { readonly wire: number; readonly speaker: number } {
    return { wire: this.#way?.rate ?? 0, speaker: this.#speaker?.rate ?? 0 }
  }

  /** Ms of a frame; 0 while unknown. */
  get duration(): number {
    return this.#way?.duration ?? 0
  }

  /** Ms by which frames come later than the quickest control frame would have, from their first sample; on average. */
  get delay(): number | null {
    return this.#delay
  }

  /** How far frames are off that, on average, in ms. */
  get jitter(): number {
    return this.#jitter
  }

  /** Ms that the sound is held back by its way to the speaker's rate. */
  get heldBack(): number {
    return this.#way === null ? 0 : (this.#way.resampler.delay * 1_000) / this.#way.rate
  }

  /** Since the last time this was asked for. */
  takeLevel(): Level {
    return this.#levels.take()
  }

  control(clock: number, at: Millis): void {
    this.#freshness.delayOf(clock, at)
    this.heard.control(clock, at)
  }

  audio(head: Head & { readonly type: 'audio' }, plain: Bytes, at: Millis): void {
    const delay = this.#freshness.delayOf(head.clock, at)
    this.heard.audio(head.number, head.clock, at)
    this.received++
    this.frameBytes = frameSize(head)
    if (this.#came !== null && isAfter(head.number, this.#came)) this.lost += after(this.#came, head.number)
    this.#came = head.number
    if (Freshness.isStale(delay)) {
      this.stale++
      return
    }
    this.#measure(delay)
    this.#play(head, plain)
  }

  #measure(delay: Millis): void {
    const last = this.#delay ?? delay
    this.#jitter += (Math.abs(delay - last) - this.#jitter) * SLOWLY
    this.#delay = last + (delay - last) * SLOWLY
  }

  #play(head: Head & { readonly type: 'audio' }, plain: Bytes): void {
    const way = this.#wayOf(head)
    const isWhole = head.packed ? this.#unpacker.unpack(plain, way.pcm) : readRaw(plain, way.pcm)
    if (!isWhole) {
      this.broken++
      return
    }
    this.#levels.add(way.pcm)
    const missing = this.#missing(head, way.duration)
    this.#played = head.number
    if (this.#speaker === null) return
    fromPcm(way.pcm, way.samples, way.pcm.length)
    const count = way.resampler.push(way.samples, way.out)
    const samples = way.out.slice(0, count)
    this.#speaker.port.postMessage({ type: 'sound', samples, missing }, [samples.buffer])
  }

  #missing({ number }: { readonly number: number }, duration: number): number {
    if (this.#played === null || !isAfter(number, this.#played)) return 0
    return Math.min(MOST_MISSING, after(this.#played, number) * duration)
  }

  #wayOf({ rate, duration }: { readonly rate: number; readonly duration: number }): Way {
    const wire = RATES[rate] ?? RATES[0]
    const ms = DURATIONS[duration] ?? DURATIONS[2]
    if (this.#way?.rate === wire && this.#way.duration === ms) return this.#way
    const length = rawSize({ rate, duration }) / 2
    const resampler = new Resampler({ from: wire, to: this.#speaker?.rate ?? wire, block: length })
    const out = new Float32Array(resampler.most(length))
    const pcm = new Int16Array(length)
    this.#way = { rate: wire, duration: ms, pcm, samples: new Float32Array(length), resampler, out }
    // Long frames are of a link that is thin: the narrow profile.
    const isMobile = ms === 20
    if (isMobile !== this.#isMobile) {
      this.#isMobile = isMobile
      this.#restart()
    }
    return this.#way
  }

  #restart(): void {
    this.#speaker?.port.postMessage({ type: 'restart', mobile: this.#isMobile }, [])
  }
}

/** How many numbers lie between two. */
function after(number: number, next: number): number {
  return ((next - number) >>> 0) - 1
}
