/**
 * Two ends of a line without a browser: the cores of two workers, a relay in memory between them, and one clock that is
 * wound. Keys and seals are real. Everything that crypto has begun is waited for at every step of the clock, so that runs
 * do not depend on the machine.
 */
import type { Bytes } from '../../src/audio/bytes.ts'
import { type Leaf, newLeaf } from '../../src/audio/leaf.ts'
import { Playout } from '../../src/audio/playout.ts'
import { HandClock } from '../../src/client/fakes.ts'
import { codes } from '../../src/protocol/codes.ts'
import { NOTICE_TYPE, readNotice, writeNotice } from '../../src/protocol/line.ts'
import { End } from '../../src/web/line/end.ts'
import {
  type Captured,
  type FromWorker,
  type Played,
  PROFILES,
  type Profile,
  type Report,
  type ToSpeaker,
  type ToWorker,
} from '../../src/web/line/messages.ts'
import type { BinarySocketEvents, ServerState } from '../../src/web/line/world.ts'
import { random } from './random.ts'

/** A step of the clock: what happens within one is not told apart. */
const STEP = 2.5
/** A piece of the capture worklet. */
const PIECE_MS = 5

/** WebCrypto that knows what it has not finished. */
export class CountedCrypto {
  #pending = 0
  readonly subtle: SubtleCrypto

  constructor(subtle: SubtleCrypto = crypto.subtle) {
    this.subtle = new Proxy(subtle, {
      get: (target, name) => {
        const method = Reflect.get(target, name) as (...args: unknown[]) => Promise<unknown>
        return (...args: unknown[]) => {
          this.#pending++
          return method.apply(target, args).finally(() => this.#pending--)
        }
      },
    })
  }

  /** When nothing is under way, and what follows from it has been done. */
  async settled(): Promise<void> {
    do await new Promise((resolve) => setImmediate(resolve))
    while (this.#pending > 0)
  }
}

/** A socket of an end, as the relay has it. */
export interface Seat {
  readonly url: URL
  readonly seat: string
  readonly on: BinarySocketEvents
  isOpen: boolean
}

/** What the relay does with a message: nothing, or pass on what it likes. */
export type Meddler = (bytes: Bytes, pass: (bytes: Bytes) => void, from: string) => void

/** A relay of one line. `delay` in ms one way, `capacity` in bit/s each way. */
export class MemoryRelay {
  readonly #clock: HandClock
  #seats: Seat[] = []
  /** Of each direction, when the last message will have arrived. */
  readonly #free = new Map<string, number>()
  readonly #last = new Map<string, number>()
  /** Everything that ends sent, in order. */
  readonly wire: { readonly at: number; readonly seat: string; readonly bytes: Bytes }[] = []
  readonly urls: string[] = []
  meddler: Meddler = (bytes, pass) => pass(bytes)
  delay = 10
  capacity = Number.POSITIVE_INFINITY
  /** Before this time nothing arrives, from this seat or from any. */
  stalledUntil = 0
  /** What a new socket gets instead of being opened; `null`: it is opened. */
  refuses: (() => number | null) | null = null
  keeps = true
  /** Says who comes and goes. */
  tells = true
  /** Says that it is there when it is asked. */
  answers = true

  constructor(clock: HandClock) {
    this.#clock = clock
  }

  get open(): readonly Seat[] {
    return this.#seats
  }

  openSocket = (url: string, on: BinarySocketEvents) => {
    this.urls.push(url)
    const parsed = new URL(url)
    const seat: Seat = { url: parsed, seat: parsed.searchParams.get('seat') ?? '', on, isOpen: false }
    this.#clock.after(this.delay, () => this.#enter(seat))
    return {
      send: (bytes: Bytes) => {
        if (seat.isOpen) this.#came(seat, new Uint8Array(bytes))
      },
      close: (code: number) => {
        if (seat.isOpen) this.#leave(seat, code === 1000)
        seat.isOpen = false
        this.#clock.after(0, () => on.closed(code))
      },
    }
  }

  /** The server ends sockets. */
  end(code: number, which: (seat: Seat) => boolean = () => true): void {
    for (const seat of this.#seats.filter(which)) {
      this.#leave(seat, false)
      seat.isOpen = false
      seat.on.closed(code)
    }
  }

  /** To whoever sits there, as if it came from the other seat. */
  inject(bytes: Bytes, which: (seat: Seat) => boolean = () => true): void {
    for (const seat of this.#seats.filter(which)) this.#deliver(seat, bytes)
  }

  #enter(seat: Seat): void {
    const refusal = this.refuses?.() ?? null
    if (refusal !== null) return seat.on.closed(refusal)
    const replaced = this.#seats.find((other) => other.seat === seat.seat)
    this.#seats = this.#seats.filter((other) => other !== replaced)
    if (replaced !== undefined) {
      replaced.isOpen = false
      replaced.on.closed(codes.replaced.close)
    }
    seat.isOpen = true
    seat.on.opened()
    if (this.#seats.length >= 2) {
      seat.isOpen = false
      return seat.on.closed(codes.busy.close)
    }
    this.#seats.push(seat)
    if (this.tells && this.#seats.length === 2)
      for (const one of this.#seats) this.#deliver(one, writeNotice('joined'))
  }

  #leave(seat: Seat, isGoodbye: boolean): void {
    this.#seats = this.#seats.filter((other) => other !== seat)
    for (const other of this.tells ? this.#seats : [])
      this.#deliver(other, writeNotice(isGoodbye ? 'left' : 'away'))
  }

  #came(from: Seat, bytes: Bytes): void {
    if (this.keeps) this.wire.push({ at: this.#clock.now(), seat: from.seat, bytes })
    const to = this.#seats.find((other) => other !== from)
    if (readNotice(bytes)?.notice === 'here') {
      if (this.answers) this.#deliver(from, bytes)
    } else if (to !== undefined) this.meddler(bytes, (passed) => this.#deliver(to, passed), from.seat)
  }

  #deliver(to: Seat, bytes: Bytes): void {
    const now = this.#clock.now()
    const free = Math.max(now, this.#free.get(to.seat) ?? 0) + (bytes.length * 8_000) / this.capacity
    this.#free.set(to.seat, free)
    const at = Math.max(free + this.delay, this.stalledUntil, this.#last.get(to.seat) ?? 0)
    this.#last.set(to.seat, at)
    this.#clock.after(at - now, () => {
      if (to.isOpen) to.on.bytes(bytes)
    })
  }
}

export function isNotice(bytes: Uint8Array): boolean {
  return bytes[0] === NOTICE_TYPE
}

/** What a page and its worklets are to one end. */
export class TestEnd {
  readonly end: End
  readonly #clock: HandClock
  readonly rate: number
  #mic: ((data: Captured) => void) | null = null
  #said = 0
  #isOn = true
  #hear: (said: ToSpeaker) => void = () => {}
  #cancel: () => void = () => {}
  reports: Report[] = []
  readonly faults: string[] = []
  isEnded = false
  /** Of its last socket; null before the first. */
  seat: string | null = null
  /** Everything the speaker was told, the newest last. */
  heard: ToSpeaker[] = []
  /** Samples played, in order; kept only when `keeps`. */
  keeps = true
  playedSamples = 0
  #speaker: { onmessage: ((event: { data: Played }) => void) | null } | null = null
  signal: (sample: number) => number = () => 0

  constructor(
    line: {
      clock: HandClock
      crypto: CountedCrypto
      relay: MemoryRelay
      askServer: () => ServerState
      seed: number
    },
    { leaf, profile, rate }: { leaf: Leaf; profile: Profile; rate: number },
  ) {
    this.#clock = line.clock
    this.rate = rate
    const chance = random(line.seed)
    this.end = new End(
      {
        timers: line.clock,
        origin: 1e12,
        subtle: line.crypto.subtle,
        fill: (bytes) => crypto.getRandomValues(bytes),
        random: () => chance.below(1_000) / 1_000,
        openSocket: (url, on) => {
          this.seat = new URL(url).searchParams.get('seat')
          return line.relay.openSocket(url, on)
        },
        askServer: async () => line.askServer(),
      },
      (message) => this.#posted(message),
    )
    const socket = 'wss://example.test/line?apikey=secret'
    this.take({ type: 'start', socket, leaf: new Uint8Array(leaf), profile })
    this.useSpeaker(rate)
    this.useMicrophone()
  }

  take(message: ToWorker): void {
    this.end.take(message)
  }

  get report(): Report {
    const report = this.reports.at(-1)
    if (report === undefined) throw new Error('nothing was reported')
    return report
  }

  /** Of all sound that went to the speaker. */
  get sound(): Float32Array {
    const pieces = this.heard.flatMap((said) => (said.type === 'sound' ? [said.samples] : []))
    const whole = new Float32Array(pieces.reduce((sum, { length }) => sum + length, 0))
    let at = 0
    for (const piece of pieces) {
      whole.set(piece, at)
      at += piece.length
    }
    return whole
  }

  useSpeaker(rate: number): void {
    const port = {
      onmessage: null as ((event: { data: Played }) => void) | null,
      postMessage: (said: ToSpeaker) => {
        if (said.type === 'sound') this.playedSamples += said.samples.length
        if (this.keeps) this.heard.push(said)
        this.#hear(said)
      },
      close: () => {},
    }
    this.#speaker = port
    this.take({ type: 'speaker', port: port as unknown as MessagePort, rate })
  }

  /** The playout says what it does. */
  played(played: Partial<Played>): void {
    const nothing = { fill: 0, margin: 8, driftPpm: 0, ratio: 1, underruns: 0, concealedMs: 0, cutMs: 0 }
    this.#speaker?.onmessage?.({ data: { ...nothing, ...played } })
  }

  /**
   * The playout worklet itself, on a speaker that takes 2.5 ms at a time. `ear` gets each sample with the time at which it
   * is played.
   */
  listen(ear: (sample: number, at: number) => void): void {
    const playout = new Playout(this.rate)
    const out = new Float32Array((this.rate * STEP) / 1_000)
    let steps = 0
    this.#hear = (said) => {
      if (said.type === 'sound') playout.push(said.samples, said.missing)
      else playout.restart(said.mobile)
    }
    const render = () => {
      const now = this.#clock.now()
      playout.render(out, now)
      for (const [i, sample] of out.entries()) ear(sample, now + (i * 1_000) / this.rate)
      if (steps++ % 40 === 0) this.played(playout.numbers())
      this.#clock.after(STEP, render)
    }
    render()
  }

  /** The capture worklet, at any rate; begins at the next piece. */
  useMicrophone(rate = this.rate): void {
    this.#cancel()
    const port = {
      onmessage: null as ((event: { data: Captured }) => void) | null,
      close: () => {
        if (this.#mic === send) this.#mic = null
      },
    }
    const send = (data: Captured) => port.onmessage?.({ data })
    this.take({ type: 'source', source: { from: 'worklet', port: port as unknown as MessagePort, rate } })
    this.#mic = send
    const began = this.#clock.now()
    this.#said = 0
    let pieces = 0
    const tick = () => {
      this.#cancel = this.#clock.after(began + (pieces + 1) * PIECE_MS - this.#clock.now(), () => {
        const count = Math.floor(((pieces + 1) * PIECE_MS * rate) / 1_000) - this.#said
        const first = this.#said
        const samples = Float32Array.from({ length: count }, (_, i) => this.signal(first + i))
        this.#said += count
        pieces++
        if (this.#isOn) this.#mic?.({ samples, at: 5_000 + (first * 1_000) / rate })
        tick()
      })
    }
    tick()
  }

  /** The browser holds the microphone. */
  holdMicrophone(isHeld: boolean): void {
    this.#isOn = !isHeld
  }

  /** The tab is closed, without a word. */
  kill(): void {
    this.#cancel()
    this.end.take({ type: 'stop' })
  }

  #posted(message: FromWorker): void {
    if (message.type === 'report') this.reports = [...this.reports.slice(-200), message.report]
    else if (message.type === 'fault') this.faults.push(message.message)
    else this.isEnded = true
  }
}

/** A line, and whoever comes to it. */
export class TestLine {
  readonly clock = new HandClock()
  readonly crypto = new CountedCrypto()
  readonly relay = new MemoryRelay(this.clock)
  readonly leaf = newLeaf((bytes) => crypto.getRandomValues(bytes))
  server: ServerState = 'there'
  #seed = 1

  /** A page of this line, or of another leaf that came to the same room. */
  page(options: { leaf?: Leaf; profile?: Profile; rate?: number } = {}): TestEnd {
    const { leaf = this.leaf, profile = PROFILES.default, rate = 48_000 } = options
    const { clock, crypto, relay } = this
    return new TestEnd(
      { clock, crypto, relay, askServer: () => this.server, seed: this.#seed++ },
      { leaf, profile, rate },
    )
  }

  /** Two pages that hear each other. */
  async call(options: { profile?: Profile; rate?: number } = {}): Promise<[TestEnd, TestEnd]> {
    const pair: [TestEnd, TestEnd] = [this.page(options), this.page(options)]
    await this.until(() => pair.every((end) => end.reports.length > 0 && end.report.peer === 'here'))
    return pair
  }

  async run(ms: number): Promise<void> {
    await this.crypto.settled()
    for (let left = ms; left > 0; left -= STEP) {
      this.clock.wind(Math.min(STEP, left))
      await this.crypto.settled()
    }
  }

  /** Winds on until it is so. Throws when it is not within 30 s of the clock. */
  async until(isSo: () => boolean, within = 30_000): Promise<number> {
    const began = this.clock.now()
    while (!isSo()) {
      if (this.clock.now() - began > within) throw new Error('it did not come to that')
      await this.run(STEP)
    }
    return this.clock.now() - began
  }
}
