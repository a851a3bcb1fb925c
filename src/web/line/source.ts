/**
 * Where sound comes from, whatever the browser has for that: pieces of a track or of the capture worklet, or silence at
 * the pace of sound where there is neither, so that the wire is the same with and without a microphone.
 */
import type { Cancel, Millis, Timers } from '../../client/ports.ts'
import type { Captured, Source } from './messages.ts'
import { SourceClock } from './source-clock.ts'

/** A source that gives nothing for so long is not well. */
const STALLED_AFTER: Millis = 1_000
const SILENCE_EVERY: Millis = 10
const LOOKS_EVERY: Millis = 100
/** Silence that is later than this has not been said. */
const SILENCE_LATE: Millis = 60
/** Of silence, while the microphone's is not known. */
const USUAL_RATE = 48_000

export interface IntakeOptions {
  readonly timers: Timers
  /** Samples of one channel at this rate, which are not kept. `at`: when the first one was captured. */
  readonly take: (samples: Float32Array, rate: number, at: Millis, now: Millis) => void
  /** It gives sound again, or none any more. */
  readonly changed: () => void
}

/** The one source of a call, in whose place another one can be put. */
export class Intake {
  readonly #options: IntakeOptions
  #stop: Cancel = () => {}
  #clock = new SourceClock()
  #hasSource = false
  #cameAt: Millis
  #isStalled = false
  /** Up to when there is silence; null while there is sound. */
  #silentUntil: Millis | null
  #tick: Cancel = () => {}
  #nextTick: Millis
  #zeros = new Float32Array(0)
  #rate = USUAL_RATE
  /** Ms of sound that was too late to be sent. */
  skipped = 0

  constructor(options: IntakeOptions) {
    this.#options = options
    const now = options.timers.now()
    this.#cameAt = this.#silentUntil = this.#nextTick = now
    this.#tickLater(now)
  }

  /** The microphone is gone, or the browser holds it. */
  get isStalled(): boolean {
    return this.#isStalled
  }

  /** Samples a second; 0 while nothing came. */
  get rate(): number {
    return this.#hasSource && this.#silentUntil === null ? this.#rate : 0
  }

  use(source: Source): void {
    this.#stop()
    this.#clock = new SourceClock()
    this.#cameAt = this.#options.timers.now()
    this.#hasSource = source.from !== 'nowhere'
    this.#silentUntil ??= this.#cameAt
    this.#stall(false)
    this.#stop = open(source, (samples, rate, at) => this.#came(samples, rate, at))
  }

  close(): void {
    this.#stop()
    this.#tick()
    this.#stop = this.#tick = () => {}
  }

  #came(samples: Float32Array, rate: number, at: Millis): void {
    const { timers, take } = this.#options
    const now = timers.now()
    const duration = (samples.length * 1_000) / rate
    this.#cameAt = now
    this.#rate = rate
    this.#silentUntil = null
    this.#stall(false)
    const began = this.#clock.place(at, duration, now)
    if (began === null) this.skipped += duration
    else take(samples, rate, began, now)
  }

  #look(now: Millis): void {
    if (this.#hasSource && now - this.#cameAt >= STALLED_AFTER) {
      this.#silentUntil ??= now
      this.#stall(true)
    }
    // A source that was just opened may still give sound at once, but the wire does not wait for it.
    if (this.#silentUntil !== null) this.#fill(now, this.#silentUntil)
  }

  #fill(now: Millis, from: Millis): void {
    const rate = this.#rate
    const begin = now - from > SILENCE_LATE ? now - SILENCE_EVERY : from
    const count = Math.floor(((now - begin) * rate) / 1_000)
    if (this.#zeros.length < count) this.#zeros = new Float32Array(count)
    this.#silentUntil = begin + (count * 1_000) / rate
    if (count > 0) this.#options.take(this.#zeros.subarray(0, count), rate, begin, now)
  }

  #stall(isStalled: boolean): void {
    if (this.#isStalled === isStalled) return
    this.#isStalled = isStalled
    this.#options.changed()
  }

  #tickLater(now: Millis): void {
    // By the clock, not by the sum of the waits; after a sleep from there on.
    const span = this.#silentUntil === null ? LOOKS_EVERY : SILENCE_EVERY
    this.#nextTick = Math.max(this.#nextTick + span, now)
    this.#tick = this.#options.timers.after(this.#nextTick - now, () => {
      const then = this.#options.timers.now()
      this.#look(then)
      this.#tickLater(then)
    })
  }
}

type Take = (samples: Float32Array, rate: number, at: Millis) => void

function open(source: Source, take: Take): Cancel {
  switch (source.from) {
    case 'track':
      return openTrack(source.readable, take)
    case 'worklet':
      return openPort(source.port, source.rate, take)
    case 'nowhere':
      return () => {}
    default:
      return source satisfies never
  }
}

function openTrack(readable: ReadableStream<AudioData>, take: Take): Cancel {
  const reader = readable.getReader()
  let isClosed = false
  let samples = new Float32Array(0)
  const read = async () => {
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      try {
        if (isClosed) return
        const { numberOfFrames, sampleRate, timestamp } = value
        if (samples.length < numberOfFrames) samples = new Float32Array(numberOfFrames)
        const piece = samples.subarray(0, numberOfFrames)
        // The first channel; from whatever format there is.
        value.copyTo(piece, { planeIndex: 0, format: 'f32-planar' })
        take(piece, Math.round(sampleRate), timestamp / 1_000)
      } finally {
        // Held by the browser otherwise, of which there are few.
        value.close()
      }
    }
  }
  // A track that fails is one that gives nothing: it is found out by that.
  read().catch(() => {})
  return () => {
    isClosed = true
    reader.cancel().catch(() => {})
  }
}

function openPort(port: MessagePort, rate: number, take: Take): Cancel {
  port.onmessage = ({ data }: MessageEvent<Captured>) => take(data.samples, rate, data.at)
  return () => {
    port.onmessage = null
    port.close()
  }
}
