/**
 * One end of a ride call: the microphone, the way to the server, the sound, and one state made of them. Deliberately
 * not here: anything that is drawn.
 */
import type { IceServer } from '../../protocol/ice.ts'
import type { Role } from '../../protocol/ride.ts'
import { Emitter } from '../events.ts'
import { LevelMeter } from '../level.ts'
import { Media, type MediaState } from '../media.ts'
import { MicrophoneError, openMicrophone } from '../microphone.ts'
import {
  type Cancel,
  type Millis,
  type OpenSocket,
  socketsOf,
  systemTimers,
  type Timers,
  type WebSocketClass,
  whenOnline,
} from '../ports.ts'
import { RideIce } from './ice.ts'
import {
  type Resumption,
  type RideMessage,
  type RideSignal,
  RideSignalling,
  type Seat,
} from './signalling.ts'
import { type Facts, type RideCallState, type RideEnd, stateOf } from './state.ts'

export interface RideCallOptions {
  /** The server's WebSocket address, such as `wss://calls.example.org/ws`. */
  readonly url: string
  readonly seat: Seat
  /** Our role, where it is known before the server says so. */
  readonly role?: Role | undefined
  /** Takes the place of an earlier page, as its `resumption` said. */
  readonly resume?: RideResumption | undefined
  /** Asked at the start, and again when the microphone was pulled out. The call stops its tracks. */
  readonly microphone?: (() => Promise<MediaStream>) | undefined
  /** Used besides those that the server tells of. */
  readonly iceServers?: RTCIceServer[] | undefined
  /** `relay`: sound goes through TURN or not at all. Default: `all`. */
  readonly iceTransportPolicy?: RTCIceTransportPolicy | undefined
  /** How long to try to get in, and to come back. Defaults: 10 s and 30 s. */
  readonly patience?: { readonly first: Millis; readonly lost: Millis } | undefined
  /** What the surroundings give. Default: the globals of this name. */
  readonly WebSocket?: WebSocketClass | undefined
  readonly openSocket?: OpenSocket | undefined
  readonly RTCPeerConnection?: (new (configuration: RTCConfiguration) => RTCPeerConnection) | undefined
  readonly AudioContext?: (new () => AudioContext) | undefined
  readonly timers?: Timers | undefined
  /** Uniform in [0, 1). */
  readonly random?: (() => number) | undefined
}

/** What the next page needs to go on with this call after a reload; plain JSON. */
export interface RideResumption extends Resumption {
  readonly role: Role | null
  /** The other party was there. */
  readonly met: boolean
  /** What the server told of; it tells those who authenticate only. */
  readonly iceServers?: readonly IceServer[]
}

export interface RideCallEvents {
  state: RideCallState
  /** The microphone was switched off or on. */
  muted: boolean
  /** The other party's sound, to be played; null when there is none (any more). */
  remote: MediaStream | null
  /** Our role is known. */
  role: Role
  /** The call's limit is near: it ends at this instant. */
  limit: Millis
  /** Something went wrong without ending the call. For a log. */
  trouble: unknown
}

const PATIENCE = { first: 10_000, lost: 30_000 }
/** Both there, and no sound for so long: there is no way between them. */
export const NO_MEDIA_AFTER: Millis = 30_000

export class RideCall {
  readonly #options: RideCallOptions
  readonly #timers: Timers
  readonly #events = new Emitter<RideCallEvents>()
  readonly #signalling: RideSignalling
  readonly #ice: RideIce
  #state: RideCallState = { at: 'idle' }
  #facts: Facts = { link: { at: 'up' }, other: { at: 'absent' }, media: 'connecting', since: null }
  #role: Role | null
  #muted = false
  #microphone: MediaStream | null = null
  #media: Media | null = null
  #remote: MediaStream | null = null
  #sound: AudioContext | null = null
  #meters: { self: LevelMeter | null; other: LevelMeter | null } = { self: null, other: null }
  #noMedia: Cancel | null = null
  #stopListening: Cancel = () => {}

  constructor(options: RideCallOptions) {
    this.#options = options
    this.#timers = options.timers ?? systemTimers()
    this.#role = options.role ?? options.resume?.role ?? null
    this.#signalling = new RideSignalling({
      url: options.url,
      seat: options.seat,
      resume: options.resume,
      openSocket: options.openSocket ?? socketsOf(options.WebSocket ?? globalThis.WebSocket),
      timers: this.#timers,
      random: options.random ?? Math.random,
      patience: options.patience ?? PATIENCE,
      tell: (signal) => this.#signal(signal),
    })
    this.#ice = new RideIce({
      own: options.iceServers ?? [],
      told: options.resume?.iceServers ?? [],
      timers: this.#timers,
      ask: () => this.#signalling.send({ type: 'ice_servers' }),
    })
  }

  get state(): RideCallState {
    return this.#state
  }

  /** The clock that the instants of the states are read from. */
  get now(): Millis {
    return this.#timers.now()
  }

  get muted(): boolean {
    return this.#muted
  }

  get role(): Role | null {
    return this.#role
  }

  get remote(): MediaStream | null {
    return this.#remote
  }

  /** How loud each side is now, from 0 to 1. */
  get levels(): { self: number; other: number } {
    return { self: this.#meters.self?.read() ?? 0, other: this.#meters.other?.read() ?? 0 }
  }

  /** For a page about to be left that may come back; null when there is nothing to come back to. */
  get resumption(): RideResumption | null {
    const resumption = this.#signalling.resumption
    if (resumption === null) return null
    const met = this.#facts.other.at !== 'absent'
    return { ...resumption, role: this.#role, met, iceServers: this.#ice.told }
  }

  on<Name extends keyof RideCallEvents>(
    name: Name,
    listener: (value: RideCallEvents[Name]) => void,
  ): () => void {
    return this.#events.on(name, listener)
  }

  /** Asks for the microphone, then connects. Never rejects: what goes wrong is the state. Again does nothing. */
  async start(): Promise<void> {
    if (this.#state.at !== 'idle') return
    if ((this.#options.RTCPeerConnection ?? globalThis.RTCPeerConnection) === undefined) {
      return this.#end('unsupported', null)
    }
    this.#become({ at: 'connecting', to: 'microphone' })
    try {
      await this.#openMicrophone()
    } catch (error) {
      this.#events.emit('trouble', error)
      return this.#end(error instanceof MicrophoneError ? error.reason : 'microphone_refused', null)
    }
    if (this.#microphone === null) return
    this.#openSound(this.#microphone)
    this.#stopListening = whenOnline(() => this.#signalling.tryNow())
    this.#become({ at: 'connecting', to: 'server' })
    try {
      this.#signalling.start()
    } catch (error) {
      this.#events.emit('trouble', error)
      this.#end('unreachable', null)
    }
  }

  mute(muted: boolean): void {
    if (this.#muted === muted) return
    this.#muted = muted
    this.#applyMute()
    this.#events.emit('muted', muted)
  }

  /** Ends the call for both. */
  hangUp(): void {
    if (this.#state.at === 'ended') return
    // The goodbye that follows waits for it: a socket closes after what was sent.
    this.#signalling.send({ type: 'end_call' })
    this.#end('user_terminated', 'self')
  }

  /**
   * Lets go of everything at this end, leaving the call if it goes on. Nothing is told from here on. Twice is fine.
   * Not for a page that may come back: that one keeps `resumption` and is simply left.
   */
  close(): void {
    this.#events.close()
    if (this.#state.at !== 'ended') this.#end('closed', 'self')
  }

  #signal(signal: RideSignal): void {
    switch (signal.is) {
      case 'in':
        this.#takeIce(signal.iceServers)
        // What follows tells whether the other is there.
        return this.#change({ link: { at: 'up' }, other: { at: 'absent' } })
      case 'back':
        return this.#back(signal.gap)
      case 'message':
        return this.#message(signal.message)
      case 'lost':
        return this.#change({ link: { at: 'lost', until: signal.until } })
      case 'over':
        return this.#end(signal.reason, null)
    }
  }

  #back(gap: boolean): void {
    const { resume } = this.#options
    const isNewPage = this.#media === null && resume?.met === true && this.#facts.other.at === 'absent'
    if (!isNewPage) this.#change({ link: { at: 'up' } })
    if (isNewPage && this.#role !== null) {
      this.#meet(this.#role)
      // The other end has no reason to offer: for it, nothing happened.
      this.#media?.begin()
    }
    this.#media?.resync(gap)
  }

  #message(message: RideMessage): void {
    switch (message.type) {
      case 'participant_joined':
        return this.#joined(message.role === 'driver' ? 'passenger' : 'driver')
      case 'participant_reconnecting':
        return this.#change({ other: { at: 'away', until: this.now + message.grace_ms } })
      case 'participant_resumed':
        this.#change({ other: { at: 'present' } })
        this.#media?.resync(false)
        return
      case 'participant_left':
        this.#part()
        return this.#change({ other: { at: 'absent' } })
      case 'offer':
      case 'answer':
      case 'ice_candidate':
        return this.#media?.take(message)
      case 'ice_servers':
        return this.#takeIce(message.ice_servers)
      case 'call_warning':
        return this.#events.emit('limit', this.now + message.remaining_ms)
      case 'call_timeout':
        return this.#end(message.reason, null)
      case 'call_ended':
        return this.#end(message.reason as RideEnd, message.reason === 'user_terminated' ? 'other' : null)
      case 'error':
        return this.#events.emit('trouble', new Error(`${message.code}: ${message.message}`))
      case 'session_joined':
        return
    }
  }

  #joined(role: Role): void {
    if (this.#role !== role) {
      this.#role = role
      this.#events.emit('role', role)
    }
    // Told again of somebody who was there: it is a new client, which knows nothing of our connection.
    this.#media?.renew()
    this.#meet(role)
    if (role === 'driver') this.#media?.begin()
  }

  #meet(role: Role): void {
    if (this.#microphone === null) return
    this.#media ??= new Media({
      polite: role !== 'driver',
      microphone: this.#microphone,
      connect: (configuration) =>
        new (this.#options.RTCPeerConnection ?? globalThis.RTCPeerConnection)(configuration),
      iceServers: this.#ice.all,
      iceTransportPolicy: this.#options.iceTransportPolicy,
      freshen: () => this.#ice.freshen(),
      timers: this.#timers,
      send: (signal) => this.#signalling.send(signal),
      on: {
        state: (state) => this.#mediaIs(state),
        remote: (stream) => this.#hear(stream),
        trouble: (error) => this.#events.emit('trouble', error),
      },
    })
    this.#change({ link: { at: 'up' }, other: { at: 'present' } })
  }

  #takeIce(told: readonly IceServer[]): void {
    this.#ice.take(told)
    // Before those who wait for it go on.
    this.#media?.setIceServers(this.#ice.all)
  }

  #part(): void {
    this.#media?.close()
    this.#media = null
    this.#facts = { ...this.#facts, media: 'connecting', since: null }
    this.#hear(null)
  }

  #mediaIs(media: MediaState): void {
    const since = media === 'connected' ? (this.#facts.since ?? this.now) : this.#facts.since
    this.#change({ media, since })
  }

  #hear(stream: MediaStream | null): void {
    this.#meters.other?.close()
    this.#meters.other = stream && this.#sound && new LevelMeter(this.#sound, stream)
    this.#remote = stream
    this.#events.emit('remote', stream)
  }

  /** Leaves #microphone null when the call ended meanwhile. */
  async #openMicrophone(): Promise<void> {
    const microphone = await (this.#options.microphone ?? openMicrophone)()
    if (this.#isOver()) return stop(microphone)
    this.#microphone = microphone
    this.#applyMute()
    // Comes when the device is pulled out, not when we stop it.
    for (const track of microphone.getAudioTracks()) track.onended = () => void this.#replaceMicrophone()
  }

  async #replaceMicrophone(): Promise<void> {
    try {
      await this.#openMicrophone()
      const track = this.#microphone?.getAudioTracks()[0]
      if (this.#microphone === null || track === undefined) return
      this.#meters.self?.close()
      this.#meters.self = this.#sound && new LevelMeter(this.#sound, this.#microphone)
      await this.#media?.replaceMicrophone(track)
    } catch (error) {
      this.#events.emit('trouble', error)
    }
  }

  #isOver(): boolean {
    return this.#state.at === 'ended'
  }

  #openSound(microphone: MediaStream): void {
    const Sound = this.#options.AudioContext ?? globalThis.AudioContext
    if (Sound === undefined) return
    this.#sound = new Sound()
    // A context made without a touch sleeps; the meters then stand still until the page is touched.
    this.#sound.resume().catch((error: unknown) => this.#events.emit('trouble', error))
    this.#meters.self = new LevelMeter(this.#sound, microphone)
  }

  #applyMute(): void {
    for (const track of this.#microphone?.getAudioTracks() ?? []) track.enabled = !this.#muted
  }

  #change(facts: Partial<Facts>): void {
    this.#facts = { ...this.#facts, ...facts }
    this.#watchMedia()
    this.#become(stateOf(this.#facts))
  }

  /** Runs the patience with a sound that does not come, while nothing else is in its way. */
  #watchMedia(): void {
    const { link, other, media } = this.#facts
    const due = link.at === 'up' && other.at === 'present' && media !== 'connected'
    if (!due) {
      this.#noMedia?.()
      this.#noMedia = null
    } else {
      this.#noMedia ??= this.#timers.after(NO_MEDIA_AFTER, () => {
        this.#signalling.send({ type: 'end_call' })
        this.#end('no_media', 'self')
      })
    }
  }

  #end(reason: RideEnd, by: 'self' | 'other' | null): void {
    if (this.#state.at === 'ended') return
    const { since } = this.#facts
    const lasted = since === null ? null : this.now - since
    this.#release()
    this.#become({ at: 'ended', reason, by, lasted })
  }

  #release(): void {
    this.#stopListening()
    this.#noMedia?.()
    this.#signalling.close()
    this.#ice.close()
    this.#media?.close()
    this.#media = null
    if (this.#microphone !== null) stop(this.#microphone)
    this.#microphone = null
    this.#meters.self?.close()
    if (this.#remote !== null) this.#hear(null)
    this.#sound?.close().catch(() => {})
    this.#sound = null
  }

  #become(state: RideCallState): void {
    if (same(this.#state, state)) return
    this.#state = state
    this.#events.emit('state', state)
  }
}

function stop(microphone: MediaStream): void {
  for (const track of microphone.getTracks()) track.stop()
}

function same(a: RideCallState, b: RideCallState): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
