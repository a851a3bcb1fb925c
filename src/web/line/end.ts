/**
 * One end of a line: the parts put together, and the one place that knows them all. What it needs of the world comes in;
 * `worker.ts` passes the real one.
 *
 *     intake ──▶ sender ──▶ talk ──▶ link ──▶ relay        talk: keys, seals, who is there
 *     speaker ◀── receiver ◀── talk ◀── link ◀── relay     link: the socket, whenever it is lost
 *
 * The leaf stays in here: it is in no message and in no error.
 */
import { CONTROL_EVERY, clockOf, LatePolicy } from '../../audio/acks.ts'
import { toBase64url } from '../../audio/bytes.ts'
import type { Control } from '../../audio/control.ts'
import { roomOf } from '../../audio/keys.ts'
import type { Leaf } from '../../audio/leaf.ts'
import { type Level, SILENCE_DB } from '../../audio/levels.ts'
import type { Cancel, Millis } from '../../client/ports.ts'
import { Link } from './link.ts'
import type { FromWorker, Played, Report, ToWorker } from './messages.ts'
import { Receiver } from './receiver.ts'
import { delayOf, levelByte, NOTHING_PLAYED, RoundTrip, Throughput } from './report.ts'
import { Sender } from './sender.ts'
import { Intake } from './source.ts'
import { Talk } from './talk.ts'
import type { World } from './world.ts'

const REPORT_EVERY: Millis = 1_000 / 15
/** Reports of what people must see at once are no closer together. */
const REPORTS_APART: Millis = 10
/** Browsers have no shorter one, and what is left by rounding is none. */
const SHORTEST_WAIT: Millis = 1
/** An offer stands for so long after the link was last too thin. */
const OFFER_FOR: Millis = 30_000
/** The goodbye may take so long. */
const GOODBYE_WITHIN: Millis = 500
const SEAT_SIZE = 16
const SILENCE: Level = { rms: SILENCE_DB, peak: SILENCE_DB }

type Start = ToWorker & { readonly type: 'start' }

export class End {
  readonly #world: World
  readonly #post: (message: FromWorker) => void
  #call: Call | null = null
  #isOver = false

  constructor(world: World, post: (message: FromWorker) => void) {
    this.#world = world
    this.#post = post
  }

  /** Of each message of the page, in order. Never throws. */
  take(message: ToWorker): void {
    if (this.#isOver) return
    try {
      if (message.type === 'start') this.#call ??= new Call(this.#world, message, (say) => this.#say(say))
      else if (this.#call !== null) this.#call.take(message)
      else if (message.type === 'stop') this.#say({ type: 'ended' })
    } catch (error) {
      this.#say(faultOf(message.type, error))
    }
  }

  #say(message: FromWorker): void {
    if (this.#isOver) return
    if (message.type === 'ended') this.#isOver = true
    this.#post(message)
  }
}

/** Says where, and what kind of error; not its text, which may repeat an address or whatever it was made with. */
export function faultOf(where: string, error: unknown): FromWorker {
  return { type: 'fault', message: `${where}: ${error instanceof Error ? error.name : 'error'}` }
}

class Call {
  readonly #world: World
  readonly #say: (message: FromWorker) => void
  readonly #policy = new LatePolicy()
  readonly #roundTrip = new RoundTrip()
  readonly #receiver = new Receiver()
  readonly #sender: Sender
  readonly #intake: Intake
  readonly #in: Throughput
  readonly #out: Throughput
  #talk: Talk | null = null
  #link: Link | null = null
  #speaker: MessagePort | null = null
  #played: Played = NOTHING_PLAYED
  #capture: Millis = 0
  #output: Millis = 0
  #peerCapture: Millis = 0
  #isPeerMuted = false
  #own: Level = SILENCE
  #offeredAt = Number.NEGATIVE_INFINITY
  #controlAt: Millis
  #reportAt: Millis
  #reportedAt = Number.NEGATIVE_INFINITY
  #alarm: Cancel = () => {}
  #isLeaving = false

  constructor(world: World, start: Start, say: (message: FromWorker) => void) {
    this.#world = world
    this.#say = say
    const now = world.timers.now()
    this.#controlAt = this.#reportAt = now
    this.#in = new Throughput(now)
    this.#out = new Throughput(now)
    this.#sender = new Sender({
      profile: start.profile,
      policy: this.#policy,
      isHeard: () => this.#talk?.peer === 'here' && this.#link?.isOpen === true,
      canSeal: () => this.#talk?.canSeal ?? false,
      send: (head, plain) => this.#talk?.sendAudio(head, plain),
    })
    this.#intake = new Intake({
      timers: world.timers,
      take: (samples, rate, at, then) => {
        this.#sender.take(samples, rate, at, then)
        this.#due(then)
      },
      changed: () => this.#reportSoon(),
    })
    this.#begin(start).catch((error) => say(faultOf('start', error)))
    this.#due(now)
    this.#wait()
  }

  take(message: Exclude<ToWorker, Start>): void {
    if (this.#isLeaving) return
    switch (message.type) {
      case 'source':
        return this.#intake.use(message.source)
      case 'speaker':
        return this.#useSpeaker(message.port, message.rate)
      case 'mute':
        this.#sender.isMuted = message.muted
        return
      case 'profile':
        this.#offeredAt = Number.NEGATIVE_INFINITY
        return this.#sender.useProfile(message.profile)
      case 'devices':
        this.#capture = message.capture
        this.#output = message.output
        return
      case 'nudge':
        return this.#link?.nudge()
      case 'stop':
        return this.#leave()
      default:
        return message satisfies never
    }
  }

  async #begin({ socket, leaf: bytes }: Start): Promise<void> {
    const world = this.#world
    const leaf = bytes as Leaf
    const seat = new Uint8Array(SEAT_SIZE)
    world.fill(seat)
    const [room, talk] = await Promise.all([
      roomOf(world.subtle, leaf),
      Talk.begin({
        world,
        leaf,
        send: (frame) => {
          if (this.#link?.send(frame)) this.#out.add(frame.length)
        },
        on: {
          audio: (head, plain, at) => this.#receiver.audio(head, plain, at),
          control: (head, control, at) => this.#heard(head.clock, control, at),
          peerChanged: () => this.#peerChanged(),
          changed: () => this.#reportSoon(),
          failed: (error) => this.#say(faultOf('frame', error)),
        },
      }),
    ])
    if (this.#isLeaving) return
    this.#talk = talk
    this.#link = new Link({
      world,
      url: `${socket}&room=${room}&seat=${toBase64url(seat)}`,
      on: {
        opened: () => {
          // What went into the last socket will not be acked.
          this.#policy.peerChanged()
          talk.linkOpened()
        },
        bytes: (frame) => {
          this.#in.add(frame.length)
          talk.receive(frame)
        },
        changed: () => this.#linkChanged(),
      },
      expects: () => talk.expects,
    })
  }

  #linkChanged(): void {
    if (this.#link?.state.at === 'closed' && !this.#isLeaving) return this.#finish()
    this.#reportSoon()
  }

  #useSpeaker(port: MessagePort, rate: number): void {
    this.#speaker?.close()
    this.#speaker = port
    this.#played = NOTHING_PLAYED
    port.onmessage = ({ data }: MessageEvent<Played>) => {
      this.#played = data
    }
    this.#receiver.useSpeaker(port, rate)
  }

  #peerChanged(): void {
    this.#policy.peerChanged()
    this.#roundTrip.clear()
    this.#receiver.peerChanged()
    this.#isPeerMuted = false
    this.#peerCapture = 0
  }

  #heard(clock: number, control: Control, at: Millis): void {
    this.#receiver.control(clock, at)
    this.#policy.heard(clock, control, at)
    this.#roundTrip.heard(control, at)
    this.#peerCapture = control.capture
    if (control.muted === this.#isPeerMuted) return
    this.#isPeerMuted = control.muted
    this.#reportSoon()
  }

  /** What is due by time. Called by an alarm, and whenever sound comes, which no browser holds back. */
  #due(now: Millis): void {
    if (now >= this.#controlAt) {
      this.#controlAt = nextAfter(this.#controlAt, CONTROL_EVERY, now)
      this.#talk?.look(now, this.#link?.isOpen ?? false)
      this.#sayControl(now)
    }
    if (now >= this.#reportAt) {
      this.#reportAt = nextAfter(this.#reportAt, REPORT_EVERY, now)
      this.#report(now)
    }
  }

  #wait(): void {
    const { timers } = this.#world
    const span = Math.max(SHORTEST_WAIT, Math.min(this.#controlAt, this.#reportAt) - timers.now())
    this.#alarm = timers.after(span, () => {
      this.#due(timers.now())
      if (!this.#isLeaving) this.#wait()
    })
  }

  #sayControl(now: Millis): void {
    if (!this.#link?.isOpen) return
    this.#talk?.sendControl(
      { type: 'control', number: this.#sender.number, clock: clockOf(now) },
      {
        ...this.#receiver.heard.report(now),
        muted: this.#sender.isMuted,
        level: levelByte(this.#own),
        jitter: this.#receiver.jitter,
        capture: this.#capture,
        output: this.#output,
        lost: this.#receiver.lost,
        underruns: this.#played.underruns,
      },
    )
  }

  #reportSoon(): void {
    if (this.#isLeaving) return
    const now = this.#world.timers.now()
    const at = Math.max(now, this.#reportedAt + REPORTS_APART)
    if (at >= this.#reportAt) return
    this.#reportAt = at
    this.#alarm()
    this.#wait()
  }

  #report(now: Millis): void {
    this.#reportedAt = now
    this.#own = this.#sender.takeLevel()
    this.#say({ type: 'report', report: this.#reportOf(now) })
  }

  #reportOf(now: Millis): Report {
    const [talk, receiver, sender, played] = [this.#talk, this.#receiver, this.#sender, this.#played]
    const roundTrip = this.#roundTrip.value
    const isHere = talk?.peer === 'here'
    if (this.#policy.shouldOfferMobile(now)) this.#offeredAt = now
    return {
      link: this.#link?.state ?? { at: 'connecting' },
      peer: talk?.peer ?? 'absent',
      words: talk?.words ?? null,
      wordsBroken: talk?.areWordsBroken ?? false,
      peerChanges: talk?.peerChanges ?? 0,
      peerMuted: this.#isPeerMuted,
      own: this.#own,
      peerLevel: receiver.takeLevel(),
      delay: isHere
        ? delayOf(receiver, played, { capture: this.#peerCapture, output: this.#output, roundTrip })
        : null,
      offerMobile: sender.profile.name !== 'mobile' && now - this.#offeredAt < OFFER_FOR,
      sourceStalled: this.#intake.isStalled,
      numbers: {
        profile: sender.profile.name,
        rates: {
          capture: this.#intake.rate,
          out: sender.rate,
          in: receiver.rates.wire,
          speaker: receiver.rates.speaker,
        },
        bucket: { out: sender.frameBytes, in: receiver.frameBytes },
        mbits: { out: this.#out.take(now), in: this.#in.take(now) },
        sent: sender.sent,
        received: receiver.received,
        droppedHere: sender.dropped,
        lost: receiver.lost,
        stale: receiver.stale,
        refused:
          receiver.broken === 0 ? (talk?.refused ?? {}) : { ...talk?.refused, broken: receiver.broken },
        roundTrip,
        jitter: receiver.jitter,
        ...played,
      },
    }
  }

  #leave(): void {
    this.#isLeaving = true
    this.#rest()
    const end = () => this.#say({ type: 'ended' })
    if (this.#link === null) return end()
    this.#world.timers.after(GOODBYE_WITHIN, end)
    this.#link.close(end)
  }

  /** Nothing can be done any more. */
  #finish(): void {
    this.#isLeaving = true
    this.#rest()
    this.#report(this.#world.timers.now())
    this.#say({ type: 'ended' })
  }

  #rest(): void {
    this.#alarm()
    this.#alarm = () => {}
    this.#intake.close()
    this.#speaker?.close()
  }
}

/** The next of the instants that are `every` apart; after a sleep those missed are left out. */
function nextAfter(last: Millis, every: Millis, now: Millis): Millis {
  return last + every > now ? last + every : now + every
}
