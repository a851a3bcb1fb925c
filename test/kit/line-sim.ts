/**
 * One direction of a line without its bytes: a microphone, a link, a buffer, a speaker, and the acks on their way back.
 * Every run of the same options gives the same result. Times in ms.
 */
import { CONTROL_EVERY, clockOf, Heard, LatePolicy } from '../../src/audio/acks.ts'
import { BUFFER, BufferControl, type BufferOptions } from '../../src/audio/buffer.ts'
import { random } from './random.ts'

export interface LineSimOptions {
  readonly seed?: number
  readonly seconds: number
  /** Ms of sound in a frame, and its bytes on the wire. */
  readonly frame?: number
  readonly bytes?: number
  /** One way, without queues. */
  readonly delay?: number
  /** The most by which a frame is late, evenly spread; order is kept, as TCP does. */
  readonly jitter?: number
  /** Bit/s; frames queue before it without bound. */
  readonly capacity?: number
  /** From, and for how long, nothing arrives. */
  readonly stalls?: readonly (readonly [at: number, ms: number])[]
  /** Which frames the relay loses. */
  readonly lost?: (number: number) => boolean
  /** How much faster the microphone's clock runs than the speaker's. */
  readonly driftPpm?: number
  /** The speaker takes sound in bursts of so much. */
  readonly burst?: number
  readonly policy?: boolean
  readonly buffer?: BufferOptions
}

export interface Played {
  readonly at: number
  /** From microphone to speaker, of the sound played then. */
  readonly delay: number
  readonly ratio: number
}

export interface LineSimResult {
  readonly played: readonly Played[]
  readonly control: BufferControl
  readonly policy: LatePolicy
  readonly sent: number
  readonly cuts: number
  /** Ms of it. */
  readonly cut: number
  readonly concealed: number
  readonly offeredMobileAt: number | null
  /** Of the delays played from a time on. */
  delays(from: number, to?: number): { readonly p50: number; readonly p99: number; readonly most: number }
}

const QUANTUM = 128 / 48

export function lineSim(options: LineSimOptions): LineSimResult {
  const { frame = 10, bytes = 1_374, delay = 10, jitter = 0, burst = QUANTUM, driftPpm = 0 } = options
  const { capacity = Number.POSITIVE_INFINITY, stalls = [], lost = () => false, seconds } = options
  const chance = random(options.seed ?? 1)
  const control = new BufferControl(options.buffer ?? BUFFER)
  const policy = new LatePolicy()
  const heard = new Heard()
  const end = seconds * 1_000
  const step = frame / (1 + driftPpm / 1e6)
  const held = (at: number) =>
    stalls.reduce((t, [from, ms]) => (t >= from && t < from + ms ? from + ms : t), at)

  const onTheWay: { number: number; captured: number; at: number }[] = []
  const acks: { clock: number; report: ReturnType<Heard['report']>; at: number }[] = []
  const controls: { clock: number; at: number }[] = []
  /** Sound in the ring: when its beginning was captured (null: made up), and how much of it is left. */
  let ring: { captured: number | null; ms: number }[] = []
  const played: Played[] = []
  let [number, linkFree, lastArrival, lastNumber, sent, cuts, cut] = [0, 0, 0, -1, 0, 0, 0]
  let [nextFrame, nextControl, nextPlay, lastPlay] = [step, CONTROL_EVERY * 0.7, 0, 0]
  let offeredMobileAt: number | null = null
  const through = (from: number, size: number, spread: number): number => {
    linkFree = Math.max(from, linkFree) + (size * 8_000) / capacity
    lastArrival = Math.max(lastArrival, held(linkFree + delay + (chance.below(1_000) / 1_000) * spread))
    return lastArrival
  }
  const take = (ms: number): number | null => {
    const first = ring[0]?.captured ?? null
    for (let left = ms; left > 1e-9 && ring.length > 0; ) {
      const piece = ring[0] as { captured: number | null; ms: number }
      const used = Math.min(left, piece.ms)
      left -= used
      piece.ms -= used
      if (piece.captured !== null) piece.captured += used
      if (piece.ms <= 1e-9) ring.shift()
    }
    return first
  }

  while (true) {
    const arrival = onTheWay[0]?.at ?? Number.POSITIVE_INFINITY
    const ack = acks[0]?.at ?? Number.POSITIVE_INFINITY
    const echo = controls[0]?.at ?? Number.POSITIVE_INFINITY
    const now = Math.min(nextFrame, nextControl, nextPlay, arrival, ack, echo)
    if (now >= end) break
    if (now === arrival) {
      const came = onTheWay.shift() as { number: number; captured: number }
      heard.audio(came.number, clockOf(came.captured), now)
      const missing = lastNumber < 0 ? 0 : (came.number - lastNumber - 1) * frame
      lastNumber = came.number
      const madeUp = control.arrived(missing, frame, fillOf(ring) + burst - (now - lastPlay))
      if (madeUp > 0) ring.push({ captured: null, ms: madeUp })
      ring.push({ captured: came.captured, ms: frame })
    } else if (now === ack) {
      const { clock, report } = acks.shift() as (typeof acks)[0]
      policy.heard(clock, report, now)
    } else if (now === echo) {
      heard.control((controls.shift() as { clock: number }).clock, now)
    } else if (now === nextFrame) {
      nextFrame += step
      if (options.policy === false || policy.mayGo(number, now)) {
        sent++
        const at = through(now, bytes, jitter)
        if (!lost(number)) onTheWay.push({ number, captured: now - frame, at })
      }
      number++
      if (policy.shouldOfferMobile(now)) offeredMobileAt ??= now
    } else if (now === nextControl) {
      nextControl += CONTROL_EVERY
      controls.push({ clock: clockOf(now), at: through(now, 104, 0) })
      acks.push({ clock: clockOf(now), report: heard.report(now), at: held(now + delay) })
    } else {
      lastPlay = now
      nextPlay += burst
      for (let left = burst; left > 1e-9; left -= QUANTUM) {
        const wants = Math.min(left, QUANTUM)
        const fill = fillOf(ring)
        const next = control.step(now, fill, wants)
        if (next.cut > 0) {
          cuts++
          cut += next.cut
          take(next.cut)
          control.wasCut(next.cut)
        }
        if (next.play !== 'sound') continue
        const captured = take(wants * next.ratio)
        if (captured !== null) played.push({ at: now, delay: now - captured, ratio: next.ratio })
      }
      ring = ring.filter(({ ms }) => ms > 1e-9)
    }
  }

  const delays = (from: number, to = end) => {
    const sorted = played
      .filter(({ at }) => at >= from && at < to)
      .map((piece) => piece.delay)
      .sort((a, b) => a - b)
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
    return { p50: at(0.5), p99: at(0.99), most: sorted.at(-1) ?? 0 }
  }
  return { played, control, policy, sent, cuts, cut, concealed: control.concealed, offeredMobileAt, delays }
}

function fillOf(ring: readonly { readonly ms: number }[]): number {
  return ring.reduce((sum, { ms }) => sum + ms, 0)
}
