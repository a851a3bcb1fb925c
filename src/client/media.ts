/**
 * The sound between two parties: one RTCPeerConnection, agreed on by perfect negotiation (W3C WebRTC 1.0, section
 * 10.7), trickled, mended when it breaks, built anew when the other end did. Deliberately not here: how signals travel,
 * and who may speak when.
 */
import type { Cancel, Millis, Timers } from './ports.ts'

export interface DescriptionSignal {
  readonly type: 'offer' | 'answer'
  readonly sdp: string
}
export interface CandidateSignal {
  readonly type: 'ice_candidate'
  readonly candidate: RTCIceCandidateInit & { candidate: string }
}
export type Signal = DescriptionSignal | CandidateSignal

export type MediaState =
  /** On the way to its first sound. */
  | 'connecting'
  | 'connected'
  /** Was connected; a new way is being looked for. */
  | 'broken'

export interface MediaOptions {
  /** The polite end gives way when both offer at once. One of the two must be. */
  readonly polite: boolean
  readonly microphone: MediaStream
  readonly connect: (configuration: RTCConfiguration) => RTCPeerConnection
  readonly iceServers: RTCIceServer[]
  /** `relay`: sound goes through a TURN server or not at all. Default: `all`. */
  readonly iceTransportPolicy?: RTCIceTransportPolicy | undefined
  /** Asked before a way is looked for anew, to call `setIceServers` until it resolves. Null: nothing is to come. */
  readonly freshen?: (() => Promise<void> | null) | undefined
  /** The first offer rings a person: until it is answered, nothing is repeated or mended. */
  readonly rings?: boolean | undefined
  readonly timers: Timers
  /** False when the signal did not go out; it is sent again by `repeat`. */
  readonly send: (signal: Signal) => boolean
  readonly on: {
    state(state: MediaState): void
    /** The other end's sound; null while there is none. */
    remote(stream: MediaStream | null): void
    /** Something the other end sent could not be used. The media goes on as it was. */
    trouble(error: unknown): void
  }
}

/** Without sound after so long, try from the start. Longer than ICE takes on a bad network. */
const FIRST_MEND: Millis = 7_000
const MEND_EVERY: Millis = 4_000
/** The polite end lets the other one go first. */
const POLITE_PAUSE: Millis = 1_500
/** A short `disconnected` mends itself. */
const DISCONNECTED_FOR: Millis = 2_000
const CANDIDATES_HELD = 64

export class Media {
  readonly #options: MediaOptions
  #connection: RTCPeerConnection
  #state: MediaState = 'connecting'
  #closed = false
  /** Signals are taken one after another. */
  #work: Promise<void> = Promise.resolve()
  #offering = false
  #attached = false
  /** Says which RTCPeerConnection of the other end we speak with; null before its first description. */
  #origin: string | null = null
  #early: CandidateSignal[] = []
  #said: DescriptionSignal | null = null
  #candidates: CandidateSignal[] = []
  #unsent = false
  #mend: Cancel
  #iceServers: RTCIceServer[]

  constructor(options: MediaOptions) {
    this.#options = options
    this.#iceServers = options.iceServers
    this.#connection = this.#build()
    this.#mend = options.rings === true ? () => {} : this.#mendAfter(FIRST_MEND)
  }

  get state(): MediaState {
    return this.#state
  }

  /** Makes the first offer. Again does nothing. */
  begin(): void {
    this.#attach()
  }

  /** Takes what the other end sent, after what it sent before. */
  take(signal: Signal): void {
    this.#work = this.#work
      .then(() =>
        signal.type === 'ice_candidate' ? this.#takeCandidate(signal) : this.#takeDescription(signal),
      )
      .catch((error: unknown) => this.#trouble(error))
  }

  /** The way to the other end was interrupted, and what was under way may be lost; `gap`: some of it is. */
  resync(gap: boolean): void {
    if (this.#closed) return
    if (this.#connection.signalingState === 'have-local-offer') this.#repeat()
    else if (gap && this.#attached) this.#restart()
    else if (this.#unsent || this.#state !== 'connected') this.#repeat()
  }

  /** Fresh credentials, for the next time a way is looked for. */
  setIceServers(iceServers: RTCIceServer[]): void {
    this.#iceServers = iceServers
    if (!this.#closed) this.#connection.setConfiguration(this.#configuration())
  }

  /** Whether the sound goes through a relay; null while it goes nowhere. */
  async route(): Promise<'direct' | 'relay' | null> {
    return this.#closed ? null : routeOf(await this.#connection.getStats())
  }

  /** The other end starts from nothing, so this one does. */
  renew(): void {
    if (this.#closed) return
    this.#dispose()
    this.#connection = this.#build()
    this.#attached = false
    this.#origin = null
    this.#early = []
    this.#said = null
    this.#candidates = []
    this.#unsent = false
    this.#options.on.remote(null)
    this.#become(this.#state === 'connecting' ? 'connecting' : 'broken')
    this.#rearm(FIRST_MEND)
  }

  /** Replaces the microphone without a new negotiation. */
  async replaceMicrophone(track: MediaStreamTrack): Promise<void> {
    await this.#connection.getSenders()[0]?.replaceTrack(track)
  }

  /** Twice is fine. The microphone is not stopped here. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#mend()
    this.#dispose()
  }

  #build(): RTCPeerConnection {
    const connection = this.#options.connect(this.#configuration())
    connection.onnegotiationneeded = () => {
      this.#offer(connection).catch((error: unknown) => this.#trouble(error))
    }
    connection.onicecandidate = ({ candidate }) => {
      // Null says that there are no more, which ICE finds out without being told.
      if (candidate !== null) this.#sendCandidate(candidate)
    }
    connection.ontrack = ({ streams, track }) =>
      this.#options.on.remote(streams[0] ?? new MediaStream([track]))
    connection.onconnectionstatechange = () => this.#look(connection.connectionState)
    return connection
  }

  #configuration(): RTCConfiguration {
    const { iceTransportPolicy } = this.#options
    const iceServers = this.#iceServers
    return iceTransportPolicy === undefined ? { iceServers } : { iceServers, iceTransportPolicy }
  }

  #dispose(): void {
    const connection = this.#connection
    connection.onnegotiationneeded = null
    connection.onicecandidate = null
    connection.ontrack = null
    connection.onconnectionstatechange = null
    connection.close()
  }

  #attach(): void {
    if (this.#attached || this.#closed) return
    this.#attached = true
    const { microphone } = this.#options
    // Wakes onnegotiationneeded, unless this is the answer to an offer.
    for (const track of microphone.getAudioTracks()) this.#connection.addTrack(track, microphone)
  }

  async #offer(connection: RTCPeerConnection): Promise<void> {
    this.#offering = true
    try {
      await connection.setLocalDescription()
    } finally {
      this.#offering = false
    }
    if (connection === this.#connection) this.#sendDescription()
  }

  async #takeDescription(signal: DescriptionSignal): Promise<void> {
    if (this.#closed) return
    const origin = originOf(signal.sdp)
    if (this.#origin !== null && this.#origin !== origin) {
      this.renew()
      // An answer to what is no longer there: ask again.
      if (signal.type === 'answer') return this.#attach()
    }
    const connection = this.#connection
    if (signal.type === 'answer') {
      // The answer to an offer that was repeated, or taken back.
      if (connection.signalingState !== 'have-local-offer') return
    } else if ((this.#offering || connection.signalingState !== 'stable') && !this.#options.polite) {
      return
    }
    await connection.setRemoteDescription(signal)
    if (this.#origin === null && this.#options.rings === true) this.#rearm(FIRST_MEND)
    this.#origin = origin
    for (const early of this.#early.splice(0)) await this.#takeCandidate(early)
    if (signal.type === 'answer' || connection !== this.#connection) return
    this.#attach()
    await connection.setLocalDescription()
    if (connection === this.#connection) this.#sendDescription()
  }

  async #takeCandidate(signal: CandidateSignal): Promise<void> {
    if (this.#closed) return
    if (this.#connection.remoteDescription === null) {
      if (this.#early.length < CANDIDATES_HELD) this.#early.push(signal)
      return
    }
    try {
      await this.#connection.addIceCandidate(signal.candidate)
    } catch {
      // It belongs to an offer we did not take, or to a connection that is no more: nothing is lost.
    }
  }

  #sendDescription(): void {
    const description = this.#connection.localDescription
    if (description === null || this.#closed) return
    const signal = { type: description.type as 'offer' | 'answer', sdp: withoutCandidates(description.sdp) }
    this.#candidates = this.#candidates.filter((candidate) => belongs(candidate, signal))
    this.#said = signal
    this.#send(signal)
  }

  #sendCandidate(candidate: RTCIceCandidate): void {
    const signal = { type: 'ice_candidate', candidate: candidate.toJSON() } as CandidateSignal
    this.#candidates.push(signal)
    this.#send(signal)
  }

  #send(signal: Signal): void {
    if (!this.#options.send(signal)) this.#unsent = true
  }

  /** Says the last description and its candidates again; whoever has them already is not harmed. */
  #repeat(): void {
    const said = this.#said
    if (said === null) return
    this.#unsent = false
    this.#send(said)
    for (const candidate of this.#candidates) if (belongs(candidate, said)) this.#send(candidate)
  }

  #look(state: RTCPeerConnectionState): void {
    switch (state) {
      case 'connected':
        this.#mend()
        return this.#become('connected')
      case 'disconnected':
        return this.#rearm(DISCONNECTED_FOR)
      case 'failed':
        return this.#mendNow()
      case 'new':
      case 'connecting':
      case 'closed':
        return
    }
  }

  #mendNow(): void {
    if (this.#state === 'connected') this.#become('broken')
    if (this.#connection.signalingState === 'have-local-offer') this.#repeat()
    else if (this.#attached) this.#restart()
    else this.#attach()
    this.#rearm(MEND_EVERY)
  }

  #restart(): void {
    const connection = this.#connection
    const fresh = this.#options.freshen?.() ?? null
    if (fresh === null) return connection.restartIce()
    const restart = () => {
      if (!this.#closed && connection === this.#connection) connection.restartIce()
    }
    fresh.then(restart).catch((error: unknown) => this.#trouble(error))
  }

  #rearm(span: Millis): void {
    this.#mend()
    this.#mend = this.#mendAfter(span)
  }

  #mendAfter(span: Millis): Cancel {
    return this.#options.timers.after(span + (this.#options.polite ? POLITE_PAUSE : 0), () => this.#mendNow())
  }

  #become(state: MediaState): void {
    if (this.#state === state) return
    this.#state = state
    this.#options.on.state(state)
  }

  #trouble(error: unknown): void {
    if (!this.#closed) this.#options.on.trouble(error)
  }
}

/** The pair of candidates that is in use: a relay at either end carries the sound. W3C WebRTC Statistics, section 8. */
function routeOf(stats: RTCStatsReport): 'direct' | 'relay' | null {
  // biome-ignore lint/suspicious/noExplicitAny: entries of a report have no common type.
  const entries = [...(stats as unknown as Map<string, any>).values()]
  const transport = entries.find(({ type, selectedCandidatePairId: id }) => type === 'transport' && id)
  const pair =
    entries.find(({ id }) => id === transport?.selectedCandidatePairId) ??
    entries.find(
      ({ type, state, nominated }) => type === 'candidate-pair' && nominated && state === 'succeeded',
    )
  if (pair === undefined) return null
  const ends = entries.filter(({ id }) => id === pair.localCandidateId || id === pair.remoteCandidateId)
  return ends.some(({ candidateType }) => candidateType === 'relay') ? 'relay' : 'direct'
}

/** Name and session id of the o= line, which stay for the life of an RTCPeerConnection. RFC 9429 section 5.2.1. */
function originOf(sdp: string): string {
  return /^o=(\S+ \S+)/m.exec(sdp)?.[1] ?? ''
}

/**
 * Every candidate also travels by itself, and a description that repeats all of them can outgrow what the server
 * takes in one message.
 */
function withoutCandidates(sdp: string): string {
  return sdp.replace(/^a=(candidate:.*|end-of-candidates)\r?\n/gm, '')
}

function belongs({ candidate }: CandidateSignal, { sdp }: DescriptionSignal): boolean {
  const fragment = candidate.usernameFragment
  return fragment == null || sdp.includes(`a=ice-ufrag:${fragment}\r\n`)
}
