/**
 * The text frames of one leg, numbered from 1 as both ends count them: the last ones that were sent, in case the
 * connection turns out to have lost them, and those that wait because the leg is not there. Bounded both ways. Frames
 * are the strings they came as; nothing is copied.
 */
import { BUFFER_CHARS, BUFFER_FRAMES } from '../protocol/limits.ts'

export interface Replay {
  /** What was missed, in order. */
  readonly frames: readonly string[]
  /** Some of what was missed is gone for good. */
  readonly gap: boolean
}

export class Outbox {
  // First what is touched for every frame that is sent, so that it lies together.

  /** A ring: what is kept begins at #first and goes round. Sent ones come first, then those that wait. */
  #ring: string[] = []
  #first = 0
  #kept = 0
  /** At least the characters of what is kept: a frame that goes is not looked at again, it left the caches long ago. */
  #keptChars = 0
  readonly #mostChars: number
  /** Number of the last frame sent; null when a restart of the server lost the count. */
  #sent: number | null = 0
  /** Number of the last frame that was sent when the last ping was. */
  #marked = 0
  /** How many at the end of what is kept wait. */
  #waiting = 0
  #waitingChars = 0
  /** Those that wait and are the server's own; made when there is one. */
  #notices: Set<string> | null = null
  /** A notice found no room. */
  #overflowed = false
  /** It was taken up, and the client has not been heard since: what the answer said of gaps, which may have been lost. */
  #unheard: { readonly gap: boolean } | null = null

  /** Keeps at most so many characters, sent and waiting. */
  constructor(mostChars = BUFFER_CHARS) {
    this.#mostChars = mostChars
  }

  /** A frame goes out now. */
  sent(text: string): void {
    if (this.#sent !== null) this.#sent++
    this.#keep(text)
  }

  /** A frame must wait. False when there is no room for it. */
  hold(text: string): boolean {
    if (this.#waiting === BUFFER_FRAMES || this.#waitingChars + text.length > this.#mostChars) return false
    this.#waiting++
    this.#waitingChars += text.length
    this.#keep(text)
    return true
  }

  /** A notice of the server's own must wait; when there is no room, the leg will be told that there is a gap. */
  holdNotice(text: string): void {
    if (!this.hold(text)) {
      this.#overflowed = true
      return
    }
    this.#notices ??= new Set()
    this.#notices.add(text)
  }

  /**
   * The leg comes in as a new client: the count starts again. Returns what waited, which is sent with `sent`. Without
   * the notices: they tell what happened to another client, and the new one is told how things are.
   */
  restart(): readonly string[] {
    const frames = this.#newest(this.#waiting).filter((text) => this.#notices?.has(text) !== true)
    this.#reset(0)
    this.#unheard = null
    return frames
  }

  /**
   * The leg comes back and has got `received` frames. Returns what it missed, which from now on counts as sent, or
   * null when it claims more than was sent.
   */
  resume(received: number): Replay | null {
    const base = this.#sent
    if (base !== null && received > base) return null
    const missed = base === null ? 0 : base - received
    const kept = this.#kept - this.#waiting
    const frames = this.#newest(Math.min(missed, kept) + this.#waiting)
    const gap = base === null || missed > kept || this.#overflowed || this.#unheard?.gap === true
    this.#reset(received)
    this.#unheard = { gap }
    for (const text of frames) this.sent(text)
    return { frames, gap }
  }

  /** The process that counted is gone; whatever the leg says it received is believed once. */
  forget(): void {
    this.#reset(0)
    this.#unheard = null
    this.#sent = null
  }

  /** The client has said something: the answer to its `resume` has arrived. */
  heard(): void {
    this.#unheard = null
  }

  /** Taken up, and not heard since. */
  get isUnheard(): boolean {
    return this.#unheard !== null
  }

  /** A ping follows the last frame sent. */
  mark(): void {
    this.#marked = this.#sent ?? 0
  }

  /** Its pong came: what was sent before the ping has arrived, because a connection keeps the order. */
  confirm(): void {
    const unconfirmed = (this.#sent ?? 0) - this.#marked
    const sentKept = this.#kept - this.#waiting
    for (let drop = sentKept - unconfirmed; drop > 0; drop--) this.#dropOldest()
  }

  get waiting(): number {
    return this.#waiting
  }

  /** On the hot path: nothing moves and nothing is made, whatever is dropped for it. */
  #keep(text: string): void {
    if (this.#kept === BUFFER_FRAMES) this.#dropOldest()
    this.#ring[(this.#first + this.#kept) % BUFFER_FRAMES] = text
    this.#kept++
    this.#keptChars += text.length
    if (this.#keptChars > this.#mostChars) this.#fit()
  }

  /** Counts what is kept, and drops the oldest until it is no more than may be. */
  #fit(): void {
    const frames = this.#newest(this.#kept)
    let chars = frames.reduce((sum, text) => sum + text.length, 0)
    for (const oldest of frames) {
      // A single frame larger than the bound is kept: it has just gone out or was let in by `hold`.
      if (chars <= this.#mostChars || this.#kept === 1) break
      chars -= oldest.length
      this.#dropOldest()
    }
    this.#keptChars = chars
  }

  #dropOldest(): void {
    this.#ring[this.#first] = ''
    this.#first = (this.#first + 1) % BUFFER_FRAMES
    this.#kept--
  }

  /** The last so many of what is kept, in order. */
  #newest(count: number): string[] {
    const from = this.#first + this.#kept - count
    return Array.from({ length: count }, (_, i) => this.#ring[(from + i) % BUFFER_FRAMES] ?? '')
  }

  #reset(sent: number): void {
    this.#ring = []
    this.#first = 0
    this.#kept = 0
    this.#keptChars = 0
    this.#waiting = 0
    this.#waitingChars = 0
    this.#sent = sent
    this.#marked = sent
    this.#overflowed = false
    this.#notices = null
  }
}
