/**
 * Which of four fixed sizes a frame is padded to. Sizes that followed the voice would tell what is said in spite of the
 * encryption, so a call has one size, and changes it only for good reason and for long.
 */
import { bucketBytes, RAW_BUCKET } from '../protocol/line.ts'
import { Packer, writeRaw } from './pack.ts'

/** A third of raw: speech at 200 kHz takes a fifth on average and hardly ever more than this. */
export const FIRST_BUCKET = 1
/** How long a call stays with a size after the last frame that needed it, in milliseconds. */
export const BUCKET_HOLD = 10_000

/** Puts the frames of a call into buckets, without allocating. */
export class BucketPacker {
  readonly #packer = new Packer()
  readonly #lowest: number
  #bucket: number
  #neededAt = Number.NEGATIVE_INFINITY

  /** `raw`: nothing is packed, all frames are in the last bucket. */
  constructor({ raw }: { readonly raw: boolean }) {
    this.#lowest = raw ? RAW_BUCKET : FIRST_BUCKET
    this.#bucket = this.#lowest
  }

  /**
   * Writes `pcm` to the start of `out`, which has room for it raw, and returns its bucket: raw in the last, packed in
   * the others, padded with zeros. A frame too large for the bucket of the call takes the call to one that holds it;
   * once no frame has needed that for 10 s, the call tries one size less. `now` in milliseconds, of a clock that is
   * never set back.
   */
  put(pcm: Int16Array, out: Uint8Array, now: number): number {
    const wanted = this.#pack(pcm, out)
    if (wanted >= this.#bucket) {
      this.#bucket = wanted
      this.#neededAt = now
    } else if (now - this.#neededAt >= BUCKET_HOLD) {
      this.#bucket--
      this.#neededAt = now
    }
    if (this.#bucket === RAW_BUCKET) writeRaw(pcm, out)
    return this.#bucket
  }

  /** Packs, if it can be done, with zeros up to the largest bucket for that. Returns the smallest that holds it. */
  #pack(pcm: Int16Array, out: Uint8Array): number {
    const { length } = pcm
    if (this.#lowest === RAW_BUCKET) return RAW_BUCKET
    const size = this.#packer.pack(pcm, out, bucketBytes(length, RAW_BUCKET - 1))
    if (size === 0) return RAW_BUCKET
    let bucket = this.#lowest
    while (size > bucketBytes(length, bucket)) bucket++
    return bucket
  }
}
