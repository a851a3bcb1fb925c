/**
 * One end of a direct call: the other's key, the microphone, ringing, the sound, and one state made of them. Made by a
 * DirectClient, which hands it what the server says of this call. Deliberately not here: the connection, other calls,
 * and anything that is drawn.
 */
import type { EndReason } from '../../protocol/codes.ts'
import type { DirectDown, DirectUp } from '../../protocol/direct.ts'
import { Emitter } from '../events.ts'
import { type DescriptionSignal, Media, type MediaState, type Signal } from '../media.ts'
import { MicrophoneError } from '../microphone.ts'
import type { Cancel, Millis, Timers } from '../ports.ts'
import { Voice, type VoiceOptions } from '../voice.ts'
import type { Identity } from './identity.ts'
import type { KeyBook, PeerKey } from './keys.ts'
import { Refused } from './questions.ts'
import { Security } from './security.ts'
import {
  type CallSecurity,
  type DirectCallState,
  type DirectEnd,
  type DirectFacts,
  stateOfAnswered,
} from './state.ts'

type Said<T extends DirectDown['type']> = (DirectDown & { type: T })['payload']
export type Incoming = Said<'INCOMING_CALL'>

/** What a call needs of the client it belongs to. */
export interface DirectLine {
  readonly clientId: string
  readonly timers: Timers
  readonly keys: KeyBook
  readonly signer: () => Promise<Identity | null>
  readonly iceServers: () => RTCIceServer[]
  readonly iceTransportPolicy: RTCIceTransportPolicy | undefined
  readonly RTCPeerConnection: (new (configuration: RTCConfiguration) => RTCPeerConnection) | undefined
  readonly microphone: VoiceOptions['microphone']
  readonly AudioContext: VoiceOptions['AudioContext']
  readonly isIn: () => boolean
  readonly send: (message: DirectUp) => boolean
  /** Calls `rang` of the call when it rings. Rejects with a Refused, also when the connection is lost meanwhile. */
  readonly initiate: (
    call: DirectCall,
    payload: (DirectUp & { type: 'CALL_INITIATE' })['payload'],
  ) => Promise<void>
  /** An instant of `timers` for one of the server's, or null when the clocks cannot be right. */
  readonly instantOf: (expiresAt: number) => Millis | null
  /** The call has the id from now on; it is over. */
  readonly named: (call: DirectCall) => void
  readonly ended: (call: DirectCall) => void
}

export interface DirectCallEvents {
  state: DirectCallState
  security: CallSecurity
  /** The microphone was switched off or on. */
  muted: boolean
  /** The other party's sound, to be played; null when there is none (any more). */
  remote: MediaStream | null
  /** Something went wrong without ending the call. For a log. */
  trouble: unknown
}

/** Answered, and no sound for so long: there is no way between the two. */
export const NO_MEDIA_AFTER: Millis = 30_000
/** How long a call waits for our own way to the server to come back. */
export const LOST_PATIENCE: Millis = 30_000
/** Candidates that the server keeps for a device that is rung later are 32. */
const EARLY_CANDIDATES = 24
/** The call that a GLARE names has been announced, or will be at once. */
const RIVAL_WITHIN: Millis = 5_000
/** The server ends what rings; this is for when it cannot. */
const RINGS_AT_MOST: Millis = 185_000
const RING_MARGIN: Millis = 3_000
/** A call that rang an earlier connection is announced again at once, if it still rings. */
const CONFIRMED_WITHIN: Millis = 3_000

export class DirectCall {
  readonly peerId: string
  /** Where it began. In a glare, a call out becomes the other's call in. */
  readonly direction: 'out' | 'in'
  readonly #line: DirectLine
  readonly #events = new Emitter<DirectCallEvents>()
  readonly #voice: Voice
  readonly #security: Security
  readonly #ringTimeout: number | undefined
  #id: string | null = null
  #state: DirectCallState
  #facts: DirectFacts = {
    link: { at: 'up' },
    other: { at: 'present' },
    media: 'connecting',
    since: null,
  }
  #media: Media | null = null
  #microphone: MediaStream | null = null
  /** What the other offered, once we are the one who answers. */
  #incoming: Incoming | null = null
  /** A call of the other's to us, which came while ours was being placed. */
  #rival: Incoming | null = null
  #rivalId: string | null = null
  /** How far our first description is: the offer that rings, or the answer that accepts. */
  #first: 'unsaid' | 'saying' | 'said' = 'unsaid'
  #answered = false
  #accepting = false
  /** What waits for the person to be warned. */
  #releases: (() => void)[] = []
  #looked: Promise<void> = Promise.resolve()
  /** Candidates of ours that may not be sent yet, and of theirs that came before our media. */
  #held: Signal[] = []
  #sentEarly = 0
  #early: Signal[] = []
  /** A frame of ours that found no connection. */
  #unsent: DirectUp[] = []
  /** Taking and sending descriptions, one after another. */
  #taking: Promise<void> = Promise.resolve()
  #saying: Promise<void> = Promise.resolve()
  /** Something the server said is lost: the call may be over without our knowing. */
  #isDoubtful = false
  #expiry: Cancel | null = null
  #noMedia: Cancel | null = null
  #giveUp: Cancel | null = null

  /** `incoming`: the call that rings; without it, one that is placed to `peerId`. */
  constructor(line: DirectLine, peerId: string, incoming: Incoming | null, ringTimeout?: number) {
    this.#line = line
    this.peerId = peerId
    this.direction = incoming === null ? 'out' : 'in'
    this.#ringTimeout = ringTimeout
    this.#voice = new Voice({
      microphone: line.microphone,
      AudioContext: line.AudioContext,
      on: {
        replaced: (track) =>
          void this.#media?.replaceMicrophone(track).catch((error: unknown) => this.#trouble(error)),
        trouble: (error) => this.#trouble(error),
      },
    })
    this.#security = new Security({
      self: line.clientId,
      peer: peerId,
      keys: line.keys,
      signer: line.signer,
      changed: (security) => this.#judged(security),
    })
    if (incoming === null) {
      this.#state = { at: 'preparing', to: 'microphone' }
      void this.#dial()
    } else {
      this.#incoming = incoming
      this.#id = incoming.callId
      const until = line.instantOf(incoming.expiresAt)
      this.#state = { at: 'incoming', until }
      this.#expireAt(until)
      this.#looked = this.#security
        .lookUp()
        .then(async () => void (await this.#security.inspect(incoming.sdpOffer)))
        .catch((error: unknown) => this.#trouble(error))
    }
  }

  /** The server's name for it; null before it rings. */
  get id(): string | null {
    return this.#id
  }

  get state(): DirectCallState {
    return this.#state
  }

  get security(): CallSecurity {
    return this.#security.now
  }

  /** Of a call in: what the server said of the caller's key when it rang. To show at once, not to believe. */
  get callerKey(): Incoming['callerKey'] | null {
    return this.#incoming?.callerKey ?? null
  }

  /** The clock that the instants of the states are read from. */
  get now(): Millis {
    return this.#line.timers.now()
  }

  get muted(): boolean {
    return this.#voice.muted
  }

  get remote(): MediaStream | null {
    return this.#voice.remote
  }

  get levels(): { self: number; other: number } {
    return this.#voice.levels
  }

  /** Whether the sound goes directly or through a relay; null while it goes nowhere. */
  async route(): Promise<'direct' | 'relay' | null> {
    return (await this.#media?.route()) ?? null
  }

  on<Name extends keyof DirectCallEvents>(
    name: Name,
    listener: (value: DirectCallEvents[Name]) => void,
  ): () => void {
    return this.#events.on(name, listener)
  }

  /** Answers a call that rings. Never rejects: what goes wrong is the state. Again does nothing. */
  async accept(): Promise<void> {
    if (this.#state.at !== 'incoming' || this.#accepting) return
    this.#accepting = true
    this.#become({ at: 'preparing', to: 'microphone' })
    if (!(await this.#openMicrophone())) return
    this.#become({ at: 'preparing', to: 'key' })
    await this.#looked
    await this.#cleared()
    if (!this.#isOver()) this.#answer()
  }

  /** Declines a call that rings. */
  reject(): void {
    if (this.#isOver() || this.#id === null || this.direction !== 'in') return
    this.#line.send({ type: 'CALL_REJECT', payload: { callId: this.#id } })
    this.#end('rejected', 'self')
  }

  /** Ends the call; takes it back while it rings; declines one that comes in. */
  hangUp(): void {
    if (this.#isOver()) return
    if (this.direction === 'in' && !this.#answered) return this.reject()
    if (this.#id !== null) this.#line.send({ type: 'CALL_END', payload: { callId: this.#id } })
    this.#end(this.#answered ? 'ended' : 'cancelled', 'self')
  }

  mute(muted: boolean): void {
    if (this.#voice.muted === muted) return
    this.#voice.mute(muted)
    this.#events.emit('muted', muted)
  }

  /** Goes on although something speaks against the other's key. From now on it is the one to trust. */
  async trust(): Promise<void> {
    await this.#security.trust()
  }

  /** The two people compared their safety number, or are not sure of it any more. It is kept with the key. */
  async compared(isSame: boolean): Promise<void> {
    await this.#security.compared(isSame)
  }

  /** Lets go of everything at this end, leaving the call if it goes on. Nothing is told from here on. */
  close(): void {
    this.#events.close()
    this.hangUp()
  }

  // ─── what the client hands over ───

  /** The server says something about this call. */
  take(message: DirectDown): void {
    if (this.#isOver()) return
    if (message.type !== 'ICE_CANDIDATE') this.#isDoubtful = false
    switch (message.type) {
      case 'INCOMING_CALL':
        return this.#expireAt(this.#line.instantOf(message.payload.expiresAt))
      case 'CALL_ACCEPTED':
        return this.#accepted(message.payload.sdpAnswer)
      case 'CALL_REJECTED':
      case 'CALL_ENDED':
        return this.#overThere(message.payload.reason as EndReason | undefined)
      case 'CALL_NEGOTIATE':
        return this.#takeDescription(message.payload.sdp)
      case 'ICE_CANDIDATE':
        return this.#takeCandidate(message.payload.candidate)
      case 'PEER_RECONNECTING':
        return this.#change({ other: { at: 'away', until: this.now + message.payload.graceMs } })
      case 'PEER_RESUMED':
        this.#change({ other: { at: 'present' } })
        return this.#media?.resync(false)
      default:
        return
    }
  }

  /** It rings over there. */
  rang({ callId, expiresAt, state }: Said<'CALL_RINGING'>): void {
    if (this.#isOver()) {
      // Taken back before the server had given it a name.
      this.#line.send({ type: 'CALL_END', payload: { callId } })
      return
    }
    this.#id = callId
    this.#line.named(this)
    const until = this.#line.instantOf(expiresAt)
    this.#expireAt(until)
    this.#become({ at: 'ringing', waking: state === 'waking', until })
    this.#flush()
  }

  /** The other calls us while we call them: taken when the server says that theirs is the one. True: it does not ring. */
  meet(rival: Incoming): boolean {
    if (this.direction !== 'out' || this.#answered || this.#id !== null || this.#isOver()) return false
    this.#rival = rival
    if (this.#rivalId === rival.callId) this.#giveWay(rival)
    return true
  }

  /** The call of the other's that `meet` took is over before it was answered. */
  unmeet(callId: string): void {
    if (this.#rival?.callId !== callId) return
    this.#rival = null
    if (this.#rivalId === callId) this.#end('over_meanwhile', 'other')
  }

  /** The call that `meet` took and that is not answered yet. */
  get rival(): Incoming | null {
    return this.#rival
  }

  linkLost(): void {
    if (this.#isOver() || this.#state.at === 'incoming') return
    const until = this.now + LOST_PATIENCE
    this.#giveUp ??= this.#line.timers.after(LOST_PATIENCE, () => this.#end('connection_lost', null))
    this.#change({ link: { at: 'lost', until } })
  }

  /** The connection is back. `gap`: some of what the server said is gone. */
  linkBack(gap: boolean): void {
    if (this.#isOver()) return
    this.#linkIsUp()
    if (gap) this.#isDoubtful = true
    for (const message of this.#unsent.splice(0)) this.#send(message)
    this.#flush()
    if (this.#answered) this.#media?.resync(gap)
  }

  /** The client is in anew: what the server knew of its calls is over. */
  linkNew(): void {
    if (this.#isOver()) return
    this.#linkIsUp()
    if (this.#id === null) return
    if (this.#state.at !== 'incoming') return this.#end('over_meanwhile', null)
    this.#expireAt(this.now + CONFIRMED_WITHIN - RING_MARGIN)
  }

  keyChanged(key: PeerKey): void {
    if (!this.#isOver()) this.#security.keyChanged(key)
  }

  setIceServers(iceServers: RTCIceServer[]): void {
    this.#media?.setIceServers(iceServers)
  }

  /** The server knows nothing of a call we spoke of. */
  notFound(): void {
    if (this.#isDoubtful) this.#end('over_meanwhile', null)
  }

  // ─── placing a call ───

  async #dial(): Promise<void> {
    // So that whoever made the call can listen before anything happens to it.
    await Promise.resolve()
    if (this.#line.RTCPeerConnection === undefined) return this.#end('unsupported', null)
    this.#looked = this.#security.lookUp()
    if (!(await this.#openMicrophone())) return
    if (this.#security.now.isChecking) this.#become({ at: 'preparing', to: 'key' })
    await this.#looked
    await this.#cleared()
    if (this.#isOver()) return
    this.#become({ at: 'preparing', to: 'server' })
    if (this.#rival !== null) return this.#giveWay(this.#rival)
    if (!this.#line.isIn()) return this.#end('unreachable', null)
    this.#makeMedia(false)
    this.#media?.begin()
  }

  async #ring(sdpOffer: string): Promise<void> {
    const seconds = this.#ringTimeout
    const payload = {
      targetId: this.peerId,
      sdpOffer,
      ...(seconds === undefined ? {} : { ringTimeout: seconds }),
    }
    try {
      await this.#line.initiate(this, payload)
    } catch (error) {
      this.#refused(error)
    }
  }

  #refused(error: unknown): void {
    if (this.#isOver()) return
    const { code, callId } = error instanceof Refused ? error : new Refused('INTERNAL_ERROR')
    if (code === 'GLARE' && callId !== undefined) return this.#yieldTo(callId)
    this.#end(code.toLowerCase() as DirectEnd, null)
  }

  /** Ours came second: theirs is the one. It has been announced, or will be at once. */
  #yieldTo(callId: string): void {
    this.#rivalId = callId
    if (this.#rival?.callId === callId) return this.#giveWay(this.#rival)
    this.#expiry?.()
    this.#expiry = this.#line.timers.after(RIVAL_WITHIN, () => this.#end('glare', null))
  }

  /** Both want to talk, so what rings here is answered. */
  #giveWay(incoming: Incoming): void {
    this.#rival = null
    this.#rivalId = null
    this.#expiry?.()
    this.#expiry = null
    this.#media?.close()
    this.#media = null
    this.#held = []
    this.#incoming = incoming
    this.#id = incoming.callId
    this.#first = 'unsaid'
    this.#line.named(this)
    this.#become({ at: 'preparing', to: 'key' })
    void this.#inspect(incoming.sdpOffer)
      .then(() => this.#cleared())
      .then(() => {
        if (!this.#isOver()) this.#answer()
      })
  }

  #accepted(sdpAnswer: string): void {
    if (this.#answered) return
    this.#expiry?.()
    this.#take({ type: 'answer', sdp: sdpAnswer })
    this.#isAnswered()
  }

  // ─── answering one ───

  #answer(): void {
    const offer = this.#incoming?.sdpOffer
    if (offer === undefined) return
    this.#expiry?.()
    this.#makeMedia(true)
    this.#media?.take({ type: 'offer', sdp: offer })
    for (const early of this.#early.splice(0)) this.#media?.take(early)
  }

  #isAnswered(): void {
    this.#answered = true
    this.#change({})
    this.#flush()
  }

  // ─── the sound ───

  async #openMicrophone(): Promise<boolean> {
    try {
      this.#microphone = await this.#voice.open()
    } catch (error) {
      this.#trouble(error)
      const reason = error instanceof MicrophoneError ? error.reason : 'microphone_refused'
      if (!this.#isOver()) this.#fail(reason)
      return false
    }
    return this.#microphone !== null && !this.#isOver()
  }

  /** Ends a call that cannot be had at this end; who rings us goes on ringing our other devices. */
  #fail(reason: DirectEnd): void {
    this.#end(reason, 'self')
  }

  #makeMedia(polite: boolean): void {
    const { RTCPeerConnection: Connection, iceTransportPolicy, timers } = this.#line
    if (this.#microphone === null || Connection === undefined) return this.#fail('unsupported')
    const offered = this.#incoming?.iceServers ?? []
    this.#media = new Media({
      polite,
      rings: !polite,
      microphone: this.#microphone,
      connect: (configuration) => new Connection(configuration),
      iceServers: offered.length > 0 ? [...offered] : this.#line.iceServers(),
      iceTransportPolicy,
      timers,
      send: (signal) => this.#say(signal),
      on: {
        state: (state) => this.#mediaIs(state),
        remote: (stream) => this.#hear(stream),
        trouble: (error) => this.#trouble(error),
      },
    })
  }

  #say(signal: Signal): boolean {
    if (signal.type === 'ice_candidate') {
      this.#held.push(signal)
      this.#flush()
      return true
    }
    return this.#sayDescription(signal)
  }

  #sayDescription({ sdp }: DescriptionSignal): boolean {
    const isFirst = this.#first === 'unsaid'
    // What rings or is being said is not said again.
    if (!isFirst && !this.#answered) return true
    if (isFirst) this.#first = 'saying'
    const media = this.#media
    this.#saying = this.#saying
      .then(async () => {
        const signed = await this.#security.sign(sdp)
        if (this.#isOver() || this.#media !== media) return
        if (isFirst) return this.#sayFirst(signed)
        if (this.#id !== null) {
          this.#send({ type: 'CALL_NEGOTIATE', payload: { callId: this.#id, sdp: signed } })
        }
      })
      .catch((error: unknown) => this.#trouble(error))
    return true
  }

  #sayFirst(sdp: string): void {
    this.#first = 'said'
    if (this.#incoming === null) {
      void this.#ring(sdp)
      return
    }
    this.#send({ type: 'CALL_ACCEPT', payload: { callId: this.#incoming.callId, sdpAnswer: sdp } })
    this.#isAnswered()
  }

  /** Sends the candidates that wait, as far as the server takes them now. */
  #flush(): void {
    const callId = this.#id
    if (callId === null || this.#first !== 'said' || (this.#incoming !== null && !this.#answered)) return
    while (this.#held.length > 0) {
      if (!this.#answered && this.#sentEarly >= EARLY_CANDIDATES) return
      const next = this.#held[0]
      if (next?.type !== 'ice_candidate') return
      const { candidate } = next
      if (!this.#line.send({ type: 'ICE_CANDIDATE', payload: { callId, candidate: { ...candidate } } }))
        return
      this.#held.shift()
      if (!this.#answered) this.#sentEarly++
    }
  }

  /** Once more when the connection is back, if it is not there now. */
  #send(message: DirectUp): void {
    if (!this.#line.send(message)) this.#unsent.push(message)
  }

  #takeDescription(sdp: string): void {
    this.#take({ type: isOffer(sdp) ? 'offer' : 'answer', sdp })
  }

  /** Nothing reaches the media before it was looked at. */
  #take(signal: DescriptionSignal): void {
    this.#taking = this.#taking
      .then(async () => {
        await this.#inspect(signal.sdp)
        await this.#cleared()
        if (!this.#isOver()) this.#media?.take(signal)
      })
      .catch((error: unknown) => this.#trouble(error))
  }

  #takeCandidate(raw: Said<'ICE_CANDIDATE'>['candidate']): void {
    const candidate = readCandidate(raw)
    if (candidate === null) return
    const signal: Signal = { type: 'ice_candidate', candidate }
    if (this.#media === null || this.#rival !== null) this.#early.push(signal)
    else this.#media.take(signal)
  }

  async #inspect(sdp: string): Promise<boolean> {
    await this.#looked
    return this.#security.inspect(sdp)
  }

  #mediaIs(media: MediaState): void {
    const since = media === 'connected' ? (this.#facts.since ?? this.now) : this.#facts.since
    this.#change({ media, since })
  }

  #hear(stream: MediaStream | null): void {
    this.#voice.hear(stream)
    this.#events.emit('remote', stream)
  }

  // ─── whether the key is right ───

  #judged(security: CallSecurity): void {
    if (security.warning === null) for (const release of this.#releases.splice(0)) release()
    this.#events.emit('security', security)
  }

  /** Resolves when nothing speaks against the other's key (any more), or the call is over. */
  async #cleared(): Promise<void> {
    while (!this.#isOver()) {
      const { warning } = this.#security.now
      if (warning === null) return
      this.#become({ at: 'held', warning })
      await new Promise<void>((release) => {
        this.#releases.push(release)
      })
      this.#become(this.#answered ? stateOfAnswered(this.#facts) : { at: 'preparing', to: 'server' })
    }
  }

  // ─── what it all is ───

  #change(facts: Partial<DirectFacts>): void {
    this.#facts = { ...this.#facts, ...facts }
    if (!this.#answered) return
    this.#watchMedia()
    if (this.#security.now.warning === null || this.#facts.since !== null) {
      this.#become(stateOfAnswered(this.#facts))
    }
  }

  /** Runs the patience with a sound that does not come, while nothing else is in its way. */
  #watchMedia(): void {
    const { link, other, media } = this.#facts
    const isHeld = this.#security.now.warning !== null && this.#facts.since === null
    const due = link.at === 'up' && other.at === 'present' && media !== 'connected' && !isHeld
    if (!due) {
      this.#noMedia?.()
      this.#noMedia = null
      return
    }
    this.#noMedia ??= this.#line.timers.after(NO_MEDIA_AFTER, () => {
      if (this.#id !== null) this.#line.send({ type: 'CALL_END', payload: { callId: this.#id } })
      this.#end('no_media', 'self')
    })
  }

  #linkIsUp(): void {
    this.#giveUp?.()
    this.#giveUp = null
    this.#change({ link: { at: 'up' } })
  }

  /** Ends a call that should have stopped ringing, with some time for the server to say so itself. */
  #expireAt(until: Millis | null): void {
    this.#expiry?.()
    const span = until === null ? RINGS_AT_MOST : until - this.now + RING_MARGIN
    this.#expiry = this.#line.timers.after(Math.max(0, span), () => this.#end('no_answer', null))
  }

  #overThere(reason: EndReason | undefined): void {
    // A server of the reference document gives no reason.
    this.#end(reason ?? 'ended', reason === 'ended' || reason === 'cancelled' ? 'other' : null)
  }

  #isOver(): boolean {
    return this.#state.at === 'ended'
  }

  #end(reason: DirectEnd, by: 'self' | 'other' | null): void {
    if (this.#isOver()) return
    const { since } = this.#facts
    const lasted = since === null ? null : this.now - since
    this.#state = { at: 'ended', reason, by, lasted }
    this.#expiry?.()
    this.#noMedia?.()
    this.#giveUp?.()
    this.#media?.close()
    this.#media = null
    const heard = this.#voice.remote !== null
    this.#voice.close()
    for (const release of this.#releases.splice(0)) release()
    this.#line.ended(this)
    if (heard) this.#events.emit('remote', null)
    this.#events.emit('state', this.#state)
  }

  #become(state: DirectCallState): void {
    if (this.#isOver() || same(this.#state, state)) return
    this.#state = state
    this.#events.emit('state', state)
  }

  #trouble(error: unknown): void {
    this.#events.emit('trouble', error)
  }
}

/** An offer leaves open who begins with DTLS, an answer says it. RFC 9429 sections 5.2.1 and 5.3.1. */
function isOffer(sdp: string): boolean {
  return /^a=setup:actpass\r?$/m.test(sdp)
}

/** As other clients write them: the object of RTCIceCandidate.toJSON, that as text, or the bare line. */
function readCandidate(
  raw: Said<'ICE_CANDIDATE'>['candidate'],
): (RTCIceCandidateInit & { candidate: string }) | null {
  try {
    const value: unknown = typeof raw === 'string' && raw.startsWith('{') ? JSON.parse(raw) : raw
    if (typeof value === 'string') return value === '' ? null : { candidate: value, sdpMLineIndex: 0 }
    const { candidate } = (value ?? {}) as RTCIceCandidateInit
    // An empty one says that there are no more, which ICE finds out without being told.
    return typeof candidate === 'string' && candidate !== ''
      ? { ...(value as RTCIceCandidateInit), candidate }
      : null
  } catch {
    return null
  }
}

function same(a: DirectCallState, b: DirectCallState): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
