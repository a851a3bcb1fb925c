/**
 * Sound on its way out: frames of the source, packed into their bucket, and sealed if the link is not behind. Nothing is
 * queued: a frame that cannot go now is dropped, and its number with it.
 */
import { clockOf, type LatePolicy } from '../../audio/acks.ts'
import type { Bytes } from '../../audio/bytes.ts'
import type { Head } from '../../audio/frame.ts'
import { type Level, Levels } from '../../audio/levels.ts'
import { BucketPacker } from '../../audio/pack-bucket.ts'
import type { Millis } from '../../client/ports.ts'
import { bucketSize, OVERHEAD, RATES, RAW_BUCKET, rawSize } from '../../protocol/line.ts'
import { Framer } from './framer.ts'
import type { Profile } from './messages.ts'

export interface SenderOptions {
  readonly profile: Profile
  readonly policy: LatePolicy
  /** Somebody is here who can open it. */
  readonly isHeard: () => boolean
  /** Not too many frames wait for being sealed. */
  readonly canSeal: () => boolean
  /** `plain` is used again for the next frame. */
  readonly send: (head: Head & { readonly type: 'audio' }, plain: Bytes) => void
}

/** What goes with one profile. */
interface Format {
  readonly profile: Profile
  readonly framer: Framer
  readonly packer: BucketPacker
  /** One frame, raw. */
  readonly plain: Bytes
}

export class Sender {
  readonly #options: SenderOptions
  readonly #levels = new Levels()
  #format: Format
  #bucket = RAW_BUCKET
  #lastSent: number | null = null
  isMuted = false
  sent = 0
  /** Frames dropped though somebody was here: the link was behind, or the seals were. */
  dropped = 0

  constructor(options: SenderOptions) {
    this.#options = options
    this.#format = formatOf(options.profile, 0)
  }

  get profile(): Profile {
    return this.#format.profile
  }

  /** Numbers go on. */
  useProfile(profile: Profile): void {
    if (profile.name === this.profile.name) return
    this.#format = formatOf(profile, this.number)
  }

  /** Of the next frame. */
  get number(): number {
    return this.#format.framer.number
  }

  /** Samples a second, on the wire. */
  get rate(): number {
    return RATES[this.profile.rate] ?? 0
  }

  /** Bytes of a frame on the wire. */
  get frameBytes(): number {
    return OVERHEAD + bucketSize({ ...this.profile, bucket: this.#bucket })
  }

  /** Since the last time this was asked for. */
  takeLevel(): Level {
    return this.#levels.take()
  }

  /** Sound of the source. `at`: when its first sample was captured. */
  take(samples: Float32Array, rate: number, at: Millis, now: Millis): void {
    this.#format.framer.push(samples, rate, at, (pcm, number, clock) => this.#frame(pcm, number, clock, now))
  }

  #frame(pcm: Int16Array, number: number, clock: Millis, now: Millis): void {
    const { policy, isHeard, canSeal, send } = this.#options
    const { profile, packer, plain } = this.#format
    if (this.isMuted) pcm.fill(0)
    this.#levels.add(pcm)
    // Packed even if it does not go: the bucket belongs to the voice of the last seconds, not to the link.
    const bucket = packer.put(pcm, plain, now)
    this.#bucket = bucket
    if (!isHeard()) return
    if (!canSeal() || !policy.mayGo(number, now)) {
      this.dropped++
      return
    }
    const { rate, duration } = profile
    const packed = bucket !== RAW_BUCKET
    const gap = this.#lastSent !== null && number !== (this.#lastSent + 1) >>> 0
    this.#lastSent = number
    this.sent++
    send(
      { type: 'audio', gap, number, clock: clockOf(clock), rate, duration, bucket, packed },
      plain.subarray(0, bucketSize({ rate, duration, bucket })),
    )
  }
}

function formatOf(profile: Profile, first: number): Format {
  return {
    profile,
    framer: new Framer(profile, first),
    packer: new BucketPacker({ raw: profile.raw }),
    plain: new Uint8Array(rawSize(profile)),
  }
}
