/**
 * Who may be at the other end, and what of it is believed. A hello adds a key to try, for it may be an old one replayed;
 * the page talks to the peer whose sealed frame opened last. At most three keys are tried at a time, and the one talked
 * under is never given up for a hello. Control frames go out under every key, audio under the one talked under.
 */
import { type Bytes, same, toBase64url } from './bytes.ts'
import { type Addressed, type FrameRefusal, type Head, open, readHeader, SealCounter, seal } from './frame.ts'
import type { Hello } from './hello.ts'
import { type Page, type Pair, pairOf } from './keys.ts'
import type { Leaf } from './leaf.ts'
import { ReplayGuard } from './replay.ts'

/** Keys that are tried at a time. */
const MOST_CANDIDATES = 3
/** After a change of peer, frames of the earlier one that are under way still count, for so many ms. */
const OLD_PEER_MS = 2_000
/** Every one of these is a page load of somebody with the leaf that was talked to: what was had of it stays known. */
const MOST_HEARD = 1_024
/** Frames that are being opened. More than a second of sound: then the link is flooded. */
const MOST_OPENING = 512
/** Frames in a row that did not open, until the keys are agreed on again. */
const FAILURES_UNTIL_HELLO = 50

/**
 * `unknown`: no key of that id. `reflected`: sealed by this page. `replayed`: had before. `forged`: did not open.
 * `retired`: of a peer that was followed by another one. `flooded`: too many at a time.
 */
export type Refusal = FrameRefusal | 'unknown' | 'reflected' | 'replayed' | 'forged' | 'retired' | 'flooded'

export interface Opened {
  readonly head: Head
  readonly plain: Bytes
  readonly pair: Pair
  /** The first frame of a peer that was not talked to just before. Its clocks and numbers begin anew. */
  readonly isNewPeer: boolean
}

interface Candidate {
  readonly pair: Pair
  readonly guard: ReplayGuard
  /** When the next peer took over. */
  retiredAt: number | null
}

export interface PeersParts {
  readonly subtle: SubtleCrypto
  readonly leaf: Leaf
  readonly page: Page
  /** Counters of late frames that are still taken; 0 where the link keeps the order. */
  readonly window?: number
}

export class Peers {
  readonly #parts: PeersParts
  readonly #counter = new SealCounter()
  /** Oldest first. */
  #candidates: Candidate[] = []
  #current: Candidate | null = null
  /** Of every peer that was ever talked to, by sid: a key that is found again does not forget what was had. */
  readonly #heard = new Map<string, ReplayGuard>()
  #opening = 0
  #before: Promise<unknown> = Promise.resolve()
  #failures = 0
  readonly refused: Partial<Record<Refusal, number>> = {}

  constructor(parts: PeersParts) {
    this.#parts = parts
  }

  /** The pair talked under; null while nobody has been heard. */
  get current(): Pair | null {
    return this.#current?.pair ?? null
  }

  /** The pairs that control frames go to. */
  get candidates(): readonly Pair[] {
    return this.#candidates.filter((candidate) => candidate.retiredAt === null).map(({ pair }) => pair)
  }

  /** So many frames in a row did not open that a new hello should go out, once for each so many. */
  get shouldHello(): boolean {
    return this.#failures > 0 && this.#failures % FAILURES_UNTIL_HELLO === 0
  }

  /** Of a hello that was proved. False when it was known, or has no key in it. */
  async add(hello: Hello): Promise<boolean> {
    const known = this.#candidates.find(
      ({ pair, retiredAt }) => retiredAt === null && same(pair.peer, hello.sid),
    )
    if (known !== undefined) return false
    const id = toBase64url(hello.sid)
    if (this.#heard.size >= MOST_HEARD && !this.#heard.has(id)) return false
    const { subtle, leaf, page, window } = this.#parts
    const pair = await pairOf(subtle, leaf, page, hello)
    // Asked again: another hello of the same page may have been at work.
    if (pair === null || this.candidates.some(({ peer }) => same(peer, hello.sid))) return false
    // What is still taken of it as of an earlier peer goes on as this one.
    this.#candidates = this.#candidates.filter(({ pair: { peer } }) => !same(peer, hello.sid))
    this.#candidates.push({ pair, guard: this.#heard.get(id) ?? new ReplayGuard(window), retiredAt: null })
    if (this.#candidates.length > MOST_CANDIDATES) {
      const given = this.#candidates.findIndex((candidate) => candidate !== this.#current)
      this.#candidates.splice(given, 1)
    }
    return true
  }

  async seal(pair: Pair, head: Head, plain: Bytes): Promise<Bytes> {
    return await seal(this.#parts.subtle, pair.out, this.#counter, head, plain)
  }

  /**
   * Answers come in the order of the calls. Never throws, whatever the bytes: what is refused is counted, and changes
   * nothing else. `now`: ms of any clock that only goes forward.
   */
  async open(frame: Bytes, now: number): Promise<Opened | Refusal> {
    if (this.#opening >= MOST_OPENING) return this.#refuse('flooded')
    this.#opening++
    const before = this.#before
    const work = this.#try(frame, now, before)
    this.#before = work
    try {
      return await work
    } finally {
      this.#opening--
    }
  }

  async #try(frame: Bytes, now: number, before: Promise<unknown>): Promise<Opened | Refusal> {
    const addressed = readHeader(frame)
    // Decrypted side by side, believed one after the other.
    const found = typeof addressed === 'string' ? addressed : await this.#decrypt(addressed, frame, now)
    await before
    if (typeof found === 'string' || typeof addressed === 'string') return this.#refuse(found as Refusal)
    const { candidate, plain } = found
    if (isOver(candidate, now)) return this.#refuse('retired')
    if (!candidate.guard.accept(addressed.counter)) return this.#refuse('replayed')
    this.#failures = 0
    return { head: addressed.head, plain, pair: candidate.pair, isNewPeer: this.#talkTo(candidate, now) }
  }

  async #decrypt(
    addressed: Addressed,
    frame: Bytes,
    now: number,
  ): Promise<{ candidate: Candidate; plain: Bytes } | Refusal> {
    const named = this.#candidates.filter(({ pair }) => pair.in.kid === addressed.kid)
    let refusal: Refusal = this.#candidates.some(({ pair }) => pair.out.kid === addressed.kid)
      ? 'reflected'
      : 'unknown'
    for (const candidate of named) {
      if (isOver(candidate, now)) refusal = 'retired'
      else if (!candidate.guard.isNew(addressed.counter)) refusal = 'replayed'
      else {
        const plain = await open(this.#parts.subtle, candidate.pair.in, addressed, frame)
        if (plain !== null) return { candidate, plain }
        refusal = 'forged'
      }
    }
    return refusal
  }

  /** True when the peer is another one than just before. */
  #talkTo(candidate: Candidate, now: number): boolean {
    const last = this.#current
    // An earlier peer's last frames do not bring it back; its next hello does.
    if (candidate === last || candidate.retiredAt !== null) return false
    if (last !== null) last.retiredAt = now
    this.#current = candidate
    this.#heard.set(toBase64url(candidate.pair.peer), candidate.guard)
    this.#candidates = this.#candidates.filter((other) => !isOver(other, now))
    return true
  }

  #refuse(refusal: Refusal): Refusal {
    this.refused[refusal] = (this.refused[refusal] ?? 0) + 1
    if (refusal === 'forged' || refusal === 'unknown') this.#failures++
    return refusal
  }
}

function isOver({ retiredAt }: Candidate, now: number): boolean {
  return retiredAt !== null && now - retiredAt > OLD_PEER_MS
}
