/** Makes sound up where none came: the last period of a voice or tone again and again, fading to silence. */
import { bestMatch, rise } from './match.ts'
import type { Ring } from './ring.ts'

/** Voices lie between 67 and 400 Hz; higher tones repeat within that too. In ms. */
const SHORTEST = 2.5
const LONGEST = 15
/** What is looked for earlier, to find how long a period is. */
const LIKE = 7.5
/** The end of the period goes over into its beginning, and what is made up begins where the sound ended. */
const SEAM = 2
const FADE = 20
/** Between two periods that fit as well, the shorter. */
const BIAS = 0.05

export class Conceal {
  /** So much must be readable before the end of the ring. */
  readonly history: number
  readonly #shortest: number
  readonly #like: number
  readonly #seam: number
  readonly #fade: number
  readonly #stride: number
  readonly #period: Float32Array
  #length = 1
  #at = 0
  /** By how much the end of the sound lies beside the period. */
  #beside = 0
  /** Of what was heard last: what is made up is no louder. */
  #loudest = 0
  /** Made up so far. Silent before the first sound. */
  #count: number

  constructor(rate: number) {
    const samples = (ms: number) => Math.ceil((ms * rate) / 1_000)
    this.#shortest = samples(SHORTEST)
    this.#like = samples(LIKE)
    this.#seam = samples(SEAM)
    this.#fade = this.#count = samples(FADE)
    this.#stride = Math.max(1, Math.round(rate / 24_000))
    this.#period = new Float32Array(samples(LONGEST))
    this.history = this.#period.length + Math.max(this.#like, this.#seam) + 1
  }

  /** From here on nothing is known: goes on from the last sound in the ring. */
  begin({ held, end }: Ring): void {
    const like = end - this.#like
    const first = like - this.#period.length
    const place = bestMatch(held, like, this.#like, first, like - this.#shortest, this.#stride, BIAS)
    const length = like - place
    const start = end - length
    for (let i = 0; i < length; i++) this.#period[i] = held[start + i] as number
    const seam = Math.min(this.#seam, length)
    for (let i = 0; i < seam; i++) {
      const share = rise(i, seam)
      const late = held[end - seam + i] as number
      const early = held[start - seam + i] as number
      this.#period[length - seam + i] = late * (1 - share) + early * share
    }
    this.#beside = (held[end - 1] as number) - (held[start - 1] as number)
    this.#loudest = 0
    for (let i = first; i < end; i++) this.#loudest = Math.max(this.#loudest, Math.abs(held[i] as number))
    this.#length = length
    this.#at = 0
    this.#count = 0
  }

  /** As before the first sound: silence. */
  reset(): void {
    this.#count = this.#fade
  }

  /** The next sample. */
  next(): number {
    const n = this.#count
    if (n >= this.#fade) return 0
    const value = (this.#period[this.#at] as number) + this.#beside * (1 - rise(n, this.#seam))
    if (++this.#at === this.#length) this.#at = 0
    this.#count = n + 1
    // Where no period fits, the way from one to the other would go beyond both.
    return Math.min(this.#loudest, Math.max(-this.#loudest, value)) * (1 - rise(n, this.#fade))
  }
}
