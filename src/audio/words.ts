/**
 * Four words that both ends show and people read to one another. They differ when anybody stands between, even one who
 * has the leaf: with words made of the keys alone, such a one would try keys until both sides show the same, which takes
 * 2^16 tries. So each end first commits itself to a random nonce, shows it only when it has the commitment of the
 * other, and the words come of the pair's keys and both nonces: one try, with a chance of 1 in 2^32.
 *
 *     commitment = SHA-256("words" || transcript of the pair || sid || nonce), the first 16 bytes
 *     words      = 4 bytes of the pair's keys, info "words" || nonce of the lower sid || nonce of the higher sid
 *
 * Both travel in the control frames (control.ts). A nonce serves one pair, once.
 */
import { ascii, type Bytes, concat, isBelow, same } from './bytes.ts'
import type { Pair } from './keys.ts'
import { WORDS } from './word-list.ts'

const SIZE = 16
const COUNT = 4
const LABEL = ascii('words')

export async function commitmentOf(
  subtle: SubtleCrypto,
  pair: Pick<Pair, 'transcript'>,
  sid: Uint8Array,
  nonce: Uint8Array,
): Promise<Bytes> {
  const hash = await subtle.digest('SHA-256', concat(LABEL, pair.transcript, sid, nonce))
  return new Uint8Array(hash).slice(0, SIZE)
}

export async function wordsOf(pair: Pair, ownNonce: Bytes, peerNonce: Bytes): Promise<readonly string[]> {
  const [low, high] = isBelow(pair.own, pair.peer) ? [ownNonce, peerNonce] : [peerNonce, ownNonce]
  const bytes = await pair.derive(concat(LABEL, low, high), COUNT)
  return Array.from(bytes, (byte) => WORDS[byte] ?? '')
}

/** What one end knows of the words of a pair. */
export class CheckWords {
  readonly #subtle: SubtleCrypto
  readonly #pair: Pair
  readonly #nonce: Bytes
  /** To be told in every control frame. */
  readonly commitment: Bytes
  #peerCommitment: Bytes | null = null
  #state: 'waiting' | 'agreed' | 'broken' = 'waiting'
  #words: readonly string[] | null = null

  private constructor(subtle: SubtleCrypto, pair: Pair, nonce: Bytes, commitment: Bytes) {
    this.#subtle = subtle
    this.#pair = pair
    this.#nonce = nonce
    this.commitment = commitment
  }

  /** `fill` as `crypto.getRandomValues`. */
  static async begin(subtle: SubtleCrypto, pair: Pair, fill: (bytes: Bytes) => unknown): Promise<CheckWords> {
    const nonce = new Uint8Array(SIZE)
    fill(nonce)
    return new CheckWords(subtle, pair, nonce, await commitmentOf(subtle, pair, pair.own, nonce))
  }

  /** To be told in the control frames when it is not null: from when the other end can no longer choose. */
  get nonce(): Bytes | null {
    return this.#peerCommitment === null ? null : this.#nonce
  }

  /** Null until both nonces are known. */
  get words(): readonly string[] | null {
    return this.#words
  }

  /** The other end did not keep to what it committed itself to. There will be no words: say so. */
  get isBroken(): boolean {
    return this.#state === 'broken'
  }

  /** Of every control frame of the pair, in order. */
  async hear(commitment: Bytes, nonce: Bytes | null): Promise<void> {
    this.#peerCommitment ??= commitment
    if (!same(this.#peerCommitment, commitment)) return this.#break()
    if (nonce === null || this.#state !== 'waiting') return
    const kept = await commitmentOf(this.#subtle, this.#pair, this.#pair.peer, nonce)
    if (!same(kept, this.#peerCommitment)) return this.#break()
    const words = await wordsOf(this.#pair, this.#nonce, nonce)
    if (this.#state !== 'waiting') return
    this.#words = words
    this.#state = 'agreed'
  }

  #break(): void {
    this.#state = 'broken'
    this.#words = null
  }
}
