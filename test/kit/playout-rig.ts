/**
 * A playout between a microphone, a link and a speaker, with real samples and wound clocks. Every run of the same options
 * gives the same result. Times in ms.
 */
import { Playout, type PlayoutNumbers } from '../../src/audio/playout.ts'
import { random } from './random.ts'

export interface RigOptions {
  readonly seconds: number
  /** What the microphone hears, by its samples' time in seconds. */
  readonly signal: (seconds: number, sample: number) => number
  readonly rate?: number
  readonly frame?: number
  /** One way, until a frame is whole at the other end. */
  readonly delay?: number | ((at: number) => number)
  /** The most by which a frame is late; order is kept. */
  readonly jitter?: number
  readonly seed?: number
  /** From, and for how long, nothing arrives. */
  readonly stalls?: readonly (readonly [at: number, ms: number])[]
  /** Which frames never come. */
  readonly lost?: (number: number) => boolean
  /** How much faster the microphone's clock runs than the speaker's. */
  readonly driftPpm?: number
  /** Samples that the speaker takes at once, in pieces of 128 and a rest. */
  readonly burst?: number
  /** From, and for how long, the speaker takes nothing; it never catches up. */
  readonly speakerStalls?: readonly (readonly [at: number, ms: number])[]
  /** Called before each burst. */
  readonly before?: (playout: Playout, at: number) => void
}

export interface RigResult {
  readonly playout: Playout
  /** All that was heard. */
  readonly out: Float32Array
  /** When the burst of which a sample was part was rendered. */
  at(sample: number): number
  /** The numbers before each burst, and when. */
  readonly trace: readonly (PlayoutNumbers & { readonly at: number })[]
  readonly pushed: number
}

export function playoutRig(options: RigOptions): RigResult {
  const { rate = 48_000, frame = 10, delay = 10, jitter = 0, driftPpm = 0, burst = 128 } = options
  const { stalls = [], speakerStalls = [], lost = () => false } = options
  const chance = random(options.seed ?? 1)
  const end = options.seconds * 1_000
  const pace = 1 + driftPpm / 1e6
  const length = Math.round((rate * frame) / 1_000)
  const held = (all: RigOptions['stalls'] & object, at: number) =>
    all.reduce((t, [from, ms]) => (t >= from && t < from + ms ? from + ms : t), at)

  const playout = new Playout(rate)
  const out = new Float32Array(Math.ceil((end * rate) / 1_000) + burst)
  const bursts: number[] = []
  const trace: (PlayoutNumbers & { at: number })[] = []
  const samples = new Float32Array(length)
  let [number, missing, pushed, heard, lastArrival, nextBurst] = [0, 0, 0, 0, 0, 0]
  const arrivalOf = () => {
    const whole = ((number + 1) * length * 1_000) / (rate * pace)
    const late = (chance.below(1_000) / 1_000) * jitter
    lastArrival = Math.max(
      lastArrival,
      held(stalls, whole + (typeof delay === 'number' ? delay : delay(whole)) + late),
    )
    return lastArrival
  }
  let arrival = arrivalOf()
  for (let now = 0; ; now = Math.min(arrival, nextBurst)) {
    if (now >= end) break
    if (now === arrival) {
      if (lost(number)) missing += frame
      else {
        for (let i = 0; i < length; i++) {
          const sample = number * length + i
          samples[i] = options.signal(sample / (rate * pace), sample)
        }
        playout.push(samples, missing, now)
        pushed += length
        missing = 0
      }
      number++
      arrival = arrivalOf()
    } else if (now === nextBurst) {
      options.before?.(playout, now)
      trace.push({ at: now, ...playout.numbers() })
      bursts.push(now)
      for (let left = burst; left > 0; left -= 128) {
        const piece = out.subarray(heard, heard + Math.min(left, 128))
        playout.render(piece, (heard * 1_000) / rate, now)
        heard += piece.length
      }
      nextBurst = held(speakerStalls, now + (burst * 1_000) / rate)
    }
  }
  const at = (sample: number) => bursts[Math.floor(sample / burst)] ?? end
  return { playout, out: out.subarray(0, heard), at, trace, pushed }
}

/** Harmonics of a voice that glides and swells, with breath between. */
export function voice(seconds: number): number {
  const pitch = 2 * Math.PI * (140 * seconds + 3 * Math.sin(2 * Math.PI * 0.7 * seconds))
  let sum = 0
  for (let k = 1; k <= 12; k++) sum += Math.sin(k * pitch + k * k) / k
  return 0.2 * sum * (0.55 + 0.45 * Math.sin(2 * Math.PI * 3.1 * seconds))
}

/** The largest step from a sample to the next. */
export function steepest(samples: Float32Array): number {
  let most = 0
  for (let i = 1; i < samples.length; i++) {
    most = Math.max(most, Math.abs((samples[i] as number) - (samples[i - 1] as number)))
  }
  return most
}
