/**
 * Who is at the other end, and what goes to and fro: hellos, keys, check words, and frames sealed and opened in order.
 *
 *     absent ──▶ greeting ──▶ here ◀──▶ silent          `gone` and `absent`: the relay said that it left. A hint: a
 *                    └──▶ stranger                      frame that opens is proof, and brings `here` from everywhere.
 */
import { type Bytes, toBase64url } from '../../audio/bytes.ts'
import { type Control, readControl, writeControl } from '../../audio/control.ts'
import type { Head } from '../../audio/frame.ts'
import { readHello, writeHello } from '../../audio/hello.ts'
import { helloKeyOf, newPage, type Page, type Pair } from '../../audio/keys.ts'
import type { Leaf } from '../../audio/leaf.ts'
import { type Opened, Peers, type Refusal } from '../../audio/peers.ts'
import { CheckWords } from '../../audio/words.ts'
import type { Millis } from '../../client/ports.ts'
import { HELLO_TYPE, NOTICE_TYPE, type Notice, readNotice } from '../../protocol/line.ts'
import type { PeerState } from './messages.ts'
import type { World } from './world.ts'

/** Hellos are no closer together, whoever asks for them. */
const HELLO_APART: Millis = 100
/** While nobody is here, one goes out so often: the first may have been lost, and somebody may have come unsaid. */
const HELLO_EVERY: Millis = 2_000
const STRANGER_AFTER: Millis = 2_000
const SILENT_AFTER: Millis = 3_000
/** Frames that are being sealed: of sound, and of all. Sound beyond that is dropped before it has a counter. */
const MOST_SOUND_SEALING = 16
const MOST_SEALING = 64
/**
 * Control frames under keys that have just come go out as often as under the one talked under; after so long, one in so
 * many: the relay takes 40 a second.
 */
const NEW_KEY: Millis = 2_000
const SELDOM = 4
/** Messages that wait while a hello is being proved. */
const MOST_WAITING = 512
/** Peers whose check words are remembered, beside those that are tried. */
const MOST_WORDS = 64

export interface TalkEvents {
  /** Of the peer that is talked to, in order. `at`: when it came. */
  audio(head: Head & { readonly type: 'audio' }, plain: Bytes, at: Millis): void
  control(head: Head, control: Control, at: Millis): void
  /** Before the first frame of another peer. */
  peerChanged(): void
  /** Something that people must see at once. */
  changed(): void
  /** What must not happen: a part above threw. */
  failed(error: unknown): void
}

export interface TalkOptions {
  readonly world: Pick<World, 'timers' | 'subtle' | 'fill'>
  readonly leaf: Leaf
  /** To the relay; lost when there is no socket. */
  readonly send: (bytes: Bytes) => void
  readonly on: TalkEvents
}

export class Talk {
  readonly #options: TalkOptions
  readonly #page: Page
  readonly #helloKey: CryptoKey
  readonly #peers: Peers
  /** By the sid of the peer. They outlive the key object: one who comes back has kept its half too. */
  readonly #words = new Map<string, CheckWords>()
  readonly #refusedHellos: Record<string, number> = {}
  #state: PeerState = 'absent'
  #openedAt: Millis = 0
  /** Since when there have been hellos of somebody without the leaf, and nothing that opened. */
  #forgedAt: Millis | null = null
  #helloAt = Number.NEGATIVE_INFINITY
  #owesHello: 'nothing' | 'hello' | 'question' = 'nothing'
  #hadPeer = false
  #newestAt: Millis = 0
  #round = 0
  #isAnswered = false
  /** Messages that came after a hello that is being proved: they may be under its key. */
  #waiting: { bytes: Bytes; at: Millis }[] | null = null
  #opening: Promise<unknown> = Promise.resolve()
  #hearing: Promise<unknown> = Promise.resolve()
  #sent: Promise<unknown> = Promise.resolve()
  #soundSealing = 0
  #sealing = 0
  peerChanges = 0

  private constructor(options: TalkOptions, page: Page, helloKey: CryptoKey) {
    this.#options = options
    this.#page = page
    this.#helloKey = helloKey
    this.#peers = new Peers({ subtle: options.world.subtle, leaf: options.leaf, page })
  }

  static async begin(options: TalkOptions): Promise<Talk> {
    const { subtle, fill } = options.world
    const [page, helloKey] = await Promise.all([newPage(subtle, fill, 0), helloKeyOf(subtle, options.leaf)])
    return new Talk(options, page, helloKey)
  }

  get peer(): PeerState {
    return this.#state
  }

  /** Whether something should be coming: of the peer, or as an answer of the relay, which gave one before. */
  get expects(): boolean {
    return this.#isAnswered || this.#state === 'here' || this.#state === 'silent'
  }

  get words(): readonly string[] | null {
    return this.#currentWords?.words ?? null
  }

  get areWordsBroken(): boolean {
    return this.#currentWords?.isBroken ?? false
  }

  /** What did not open and which hellos were not taken, by cause. */
  get refused(): Readonly<Record<string, number>> {
    return { ...this.#refusedHellos, ...this.#peers.refused }
  }

  /** There is a socket. Keys and counters go on. */
  linkOpened(): void {
    this.#helloAt = Number.NEGATIVE_INFINITY
    this.#sayHello('question')
  }

  /** Of each message, in order. Never throws, whatever the bytes. */
  receive(bytes: Bytes): void {
    const at = this.#now()
    if (this.#waiting === null) this.#take(bytes, at)
    else if (this.#waiting.length < MOST_WAITING) this.#waiting.push({ bytes, at })
    else this.#refuse('flooded')
  }

  /** To be called often: what is due by time. */
  look(now: Millis, isLinkOpen: boolean): void {
    if (this.#state === 'here' && now - this.#openedAt > SILENT_AFTER) this.#be('silent')
    if (this.#forgedAt !== null && now - this.#forgedAt >= STRANGER_AFTER) this.#be('stranger')
    if (!isLinkOpen) return
    if (this.#state !== 'here' && now - this.#helloAt >= HELLO_EVERY) this.#sayHello('question')
    else if (this.#owesHello !== 'nothing' && now - this.#helloAt >= HELLO_APART)
      this.#sayHello(this.#owesHello)
  }

  /** Under every key that is tried, unless nobody is there. */
  sendControl(head: Head & { readonly type: 'control' }, said: Omit<Control, 'commitment' | 'nonce'>): void {
    if (this.#state === 'absent' || this.#state === 'gone') return
    const { candidates, current } = this.#peers
    const newest = this.#now() - this.#newestAt < NEW_KEY ? candidates.at(-1) : null
    const isTurnOfAll = this.#round++ % SELDOM === 0
    for (const pair of candidates) {
      if (!isTurnOfAll && pair !== current && pair !== newest) continue
      const words = this.#words.get(idOf(pair))
      if (words === undefined || this.#sealing >= MOST_SEALING) continue
      const { commitment, nonce } = words
      this.#seal(pair, head, writeControl({ ...said, commitment, nonce }))
    }
  }

  /** Whether a frame of sound may be sealed now: not while the last ones still wait for it. */
  get canSeal(): boolean {
    return this.#soundSealing < MOST_SOUND_SEALING
  }

  /** To the peer that is talked to. `plain` may be used again at once. */
  sendAudio(head: Head & { readonly type: 'audio' }, plain: Bytes): void {
    const pair = this.#peers.current
    if (pair === null) return
    this.#soundSealing++
    this.#seal(pair, head, plain, () => this.#soundSealing--)
  }

  /** What was sealed first is sent first, whichever is done first: the other end takes counters upwards only. */
  #seal(pair: Pair, head: Head, plain: Bytes, done: () => void = () => {}): void {
    const before = this.#sent
    this.#sealing++
    const sealed = this.#peers.seal(pair, head, plain)
    const send = async () => {
      try {
        const frame = await sealed
        await before
        this.#options.send(frame)
      } finally {
        this.#sealing--
        done()
      }
    }
    this.#sent = send().catch(() => this.#refuse('unsealed'))
  }

  #take(bytes: Bytes, at: Millis): void {
    if (bytes[0] === NOTICE_TYPE) {
      const notice = readNotice(bytes)?.notice
      // After what was sent before it.
      if (notice !== undefined) this.#opening = this.#opening.then(() => this.#noticed(notice))
    } else if (bytes[0] === HELLO_TYPE) {
      this.#waiting = []
      void this.#hello(bytes)
        .catch((error) => this.#options.on.failed(error))
        .finally(() => this.#takeWaiting())
    } else this.#opening = this.#open(bytes, at)
  }

  #takeWaiting(): void {
    const waiting = this.#waiting ?? []
    this.#waiting = null
    // Another hello among them stops it again.
    for (const { bytes, at } of waiting) {
      if (this.#waiting === null) this.#take(bytes, at)
      else (this.#waiting as { bytes: Bytes; at: Millis }[]).push({ bytes, at })
    }
  }

  async #hello(bytes: Bytes): Promise<void> {
    const { world } = this.#options
    const hello = await readHello(world.subtle, this.#helloKey, bytes, this.#page.sid)
    if (typeof hello === 'string') {
      this.#refuse(`hello_${hello}`)
      if (hello === 'forged' && this.#state !== 'here') {
        this.#forgedAt ??= this.#now()
        if (this.#state === 'absent' || this.#state === 'gone') this.#be('greeting')
      }
      return
    }
    if (await this.#peers.add(hello)) {
      await this.#beginWords()
      this.#newestAt = this.#now()
    }
    // What it said before counts for nothing: this one has the leaf.
    this.#forgedAt = null
    if (this.#state === 'absent' || this.#state === 'gone' || this.#state === 'stranger') this.#be('greeting')
    if (hello.answerMe) this.#sayHello('hello')
  }

  async #beginWords(): Promise<void> {
    const { subtle, fill } = this.#options.world
    for (const pair of this.#peers.candidates) {
      const id = idOf(pair)
      if (!this.#words.has(id)) this.#words.set(id, await CheckWords.begin(subtle, pair, fill))
    }
    const tried = new Set(this.#peers.candidates.map(idOf))
    for (const id of this.#words.keys()) {
      if (this.#words.size <= MOST_WORDS) return
      if (!tried.has(id)) this.#words.delete(id)
    }
  }

  async #open(bytes: Bytes, at: Millis): Promise<void> {
    try {
      const opened = await this.#peers.open(bytes, at)
      if (typeof opened === 'string') this.#failed(opened)
      else this.#opened(opened, at)
    } catch (error) {
      this.#options.on.failed(error)
    }
  }

  #failed(refusal: Refusal): void {
    if ((refusal === 'forged' || refusal === 'unknown') && this.#peers.shouldHello) this.#sayHello('question')
  }

  #opened({ head, plain, pair, isNewPeer }: Opened, at: Millis): void {
    // The last frames of a peer that was followed by another one are not played.
    if (pair !== this.#peers.current) return
    if (isNewPeer) {
      if (this.#hadPeer) this.peerChanges++
      this.#hadPeer = true
      this.#options.on.peerChanged()
    }
    this.#openedAt = at
    this.#forgedAt = null
    this.#be('here')
    if (head.type === 'audio') return this.#options.on.audio(head, plain, at)
    const control = readControl(plain)
    if (control === null) return this.#refuse('control')
    this.#hear(pair, control)
    this.#options.on.control(head, control, at)
  }

  #hear(pair: Pair, { commitment, nonce }: Control): void {
    const words = this.#words.get(idOf(pair))
    if (words === undefined || (words.words !== null && !words.isBroken && nonce === null)) return
    this.#hearing = this.#hearing.then(async () => {
      const was = [words.words, words.isBroken]
      await words.hear(commitment, nonce)
      if (words.words !== was[0] || words.isBroken !== was[1]) this.#options.on.changed()
    })
  }

  #noticed(notice: Notice): void {
    const was = this.#state
    if (notice === 'here') this.#isAnswered = true
    else if (notice === 'joined') {
      this.#forgedAt = null
      if (was === 'absent' || was === 'gone' || was === 'stranger') this.#be('greeting')
      this.#sayHello('question')
    } else if (notice === 'left' || notice === 'away') {
      this.#forgedAt = null
      if (was === 'here' || was === 'silent') this.#be(notice === 'left' ? 'gone' : 'silent')
      else if (was !== 'gone') this.#be('absent')
    }
  }

  #sayHello(what: 'hello' | 'question'): void {
    const now = this.#now()
    if (now - this.#helloAt < HELLO_APART) {
      if (this.#owesHello !== 'question') this.#owesHello = what
      return
    }
    this.#helloAt = now
    this.#owesHello = 'nothing'
    const { world, send } = this.#options
    // Not in line with sealed frames: it has no counter.
    void writeHello(world.subtle, this.#helloKey, this.#page, what === 'question').then(send)
  }

  #be(state: PeerState): void {
    if (this.#state === state) return
    this.#state = state
    this.#options.on.changed()
  }

  #refuse(cause: string): void {
    this.#refusedHellos[cause] = (this.#refusedHellos[cause] ?? 0) + 1
  }

  get #currentWords(): CheckWords | undefined {
    const { current } = this.#peers
    return current === null ? undefined : this.#words.get(idOf(current))
  }

  #now(): Millis {
    return this.#options.world.timers.now()
  }
}

function idOf({ peer }: Pair): string {
  return toBase64url(peer)
}
