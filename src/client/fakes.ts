/**
 * For unit tests: a clock that is wound by hand, sockets whose far end the test plays, and an RTCPeerConnection that
 * keeps the rules of negotiation (W3C WebRTC 1.0, section 4.3) and carries no sound.
 */
import type { Millis, OpenSocket, SocketEvents, Timers } from './ports.ts'

export class HandClock implements Timers {
  #now: Millis = 0
  #alarms: { at: Millis; ring: () => void }[] = []

  now(): Millis {
    return this.#now
  }

  after(span: Millis, ring: () => void): () => void {
    const alarm = { at: this.#now + span, ring }
    this.#alarms.push(alarm)
    return () => {
      this.#alarms = this.#alarms.filter((other) => other !== alarm)
    }
  }

  /** Winds on, ringing what is due, in the order it is due. */
  wind(span: Millis): void {
    const until = this.#now + span
    for (;;) {
      const due = this.#alarms.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0]
      if (due === undefined) break
      this.#alarms = this.#alarms.filter((alarm) => alarm !== due)
      this.#now = Math.max(this.#now, due.at)
      due.ring()
    }
    this.#now = until
  }

  /** Alarms that are set. A part that was closed leaves none. */
  get pending(): number {
    return this.#alarms.length
  }
}

/** The far end of one fake socket. */
export class FakeSocket {
  readonly url: string
  readonly sent: string[] = []
  closedWith: { code: number; reason: string } | null = null
  readonly #on: SocketEvents

  constructor(url: string, on: SocketEvents) {
    this.url = url
    this.#on = on
  }

  open(): this {
    this.#on.opened()
    return this
  }

  say(message: object): this {
    this.#on.text(JSON.stringify(message))
    return this
  }

  /** The network or the server closes. */
  end(code: number): void {
    this.#on.closed(code, '')
  }

  /** What the client sent, parsed, and forgets it. */
  heard(): Record<string, unknown>[] {
    return this.sent.splice(0).map((text) => JSON.parse(text) as Record<string, unknown>)
  }
}

export class FakeNetwork {
  readonly sockets: FakeSocket[] = []

  readonly open: OpenSocket = (url, on) => {
    const socket = new FakeSocket(url, on)
    this.sockets.push(socket)
    return {
      send: (text) => socket.sent.push(text),
      close(code, reason) {
        socket.closedWith ??= { code, reason }
      },
    }
  }

  /** The socket opened last. */
  get last(): FakeSocket {
    const socket = this.sockets.at(-1)
    if (socket === undefined) throw new Error('no socket was opened')
    return socket
  }
}

/** Keys, signatures and digests that threads of the runtime are at work on. */
const threads = { atWork: 0 }
type Work = (...args: unknown[]) => Promise<unknown>
for (const name of ['digest', 'sign', 'verify', 'generateKey', 'importKey', 'exportKey'] as const) {
  const methods = Object.getPrototypeOf(crypto.subtle) as Record<string, Work>
  const work = methods[name] as Work
  methods[name] = function (this: SubtleCrypto, ...args) {
    threads.atWork++
    return work.apply(this, args).finally(() => threads.atWork--)
  }
}

/** Lets everything happen that waits on promises and on signatures alone. */
export async function settle(): Promise<void> {
  do await new Promise((done) => setTimeout(done, 0))
  while (threads.atWork > 0)
}

export class FakeTrack {
  enabled = true
  stopped = false
  onended: (() => void) | null = null

  stop(): void {
    this.stopped = true
  }
}

export function fakeStream(track = new FakeTrack()): MediaStream & { track: FakeTrack } {
  return { track, getTracks: () => [track], getAudioTracks: () => [track] } as never
}

type Description = { type: 'offer' | 'answer'; sdp: string }

export class FakePeerConnection {
  static #made = 0
  readonly id = ++FakePeerConnection.#made
  signalingState: RTCSignalingState = 'stable'
  connectionState: RTCPeerConnectionState = 'new'
  localDescription: Description | null = null
  remoteDescription: Description | null = null
  onnegotiationneeded: (() => void) | null = null
  onicecandidate: ((event: { candidate: { toJSON(): RTCIceCandidateInit } | null }) => void) | null = null
  ontrack: ((event: { streams: MediaStream[] }) => void) | null = null
  onconnectionstatechange: (() => void) | null = null
  readonly added: RTCIceCandidateInit[] = []
  closed = false
  #stable: { local: Description | null; remote: Description | null } = { local: null, remote: null }
  #version = 0
  #ufrag = 0
  #tracks = 0
  #negotiated = 0
  #restart = false

  get ufrag(): string {
    return `u${this.id}.${this.#ufrag}`
  }

  addTrack(): void {
    this.#tracks++
    this.#negotiate()
  }

  restartIce(): void {
    this.#restart = true
    this.#negotiate()
  }

  getSenders(): never[] {
    return []
  }

  configuration: RTCConfiguration | null = null

  setConfiguration(configuration: RTCConfiguration): void {
    this.configuration = configuration
  }

  /** What `getStats` reports. */
  stats: Record<string, unknown>[] = []

  async getStats(): Promise<Map<string, Record<string, unknown>>> {
    return new Map(this.stats.map((entry) => [String(entry.id), entry]))
  }

  async setLocalDescription(): Promise<void> {
    const answers = this.signalingState === 'have-remote-offer'
    if (!answers && this.#restart) this.#ufrag++
    this.#restart = false
    this.#negotiated = this.#tracks
    this.localDescription = this.#describe(answers ? 'answer' : 'offer')
    this.signalingState = answers ? 'stable' : 'have-local-offer'
    await Promise.resolve()
    if (answers) this.#settled()
  }

  async setRemoteDescription(description: Description): Promise<void> {
    const takes =
      description.type === 'answer'
        ? this.signalingState === 'have-local-offer'
        : this.signalingState !== 'have-remote-offer'
    if (!takes) throw new Error(`${description.type} in ${this.signalingState}`)
    // An offer over our own offer takes that one back.
    if (description.type === 'offer' && this.signalingState === 'have-local-offer') {
      this.localDescription = this.#stable.local
    }
    this.remoteDescription = description
    this.signalingState = description.type === 'offer' ? 'have-remote-offer' : 'stable'
    await Promise.resolve()
    if (description.type === 'answer') this.#settled()
  }

  async addIceCandidate(candidate: RTCIceCandidateInit): Promise<void> {
    if (this.remoteDescription === null) throw new Error('no remote description')
    if (!this.remoteDescription.sdp.includes(`a=ice-ufrag:${candidate.usernameFragment}\r\n`)) {
      throw new Error('unknown fragment')
    }
    this.added.push(candidate)
  }

  close(): void {
    this.closed = true
  }

  /** ICE finds a candidate of ours. */
  gather(name: string): void {
    const json = { candidate: name, sdpMid: '0', sdpMLineIndex: 0, usernameFragment: this.ufrag }
    this.onicecandidate?.({ candidate: { toJSON: () => json } })
  }

  become(state: RTCPeerConnectionState): void {
    this.connectionState = state
    this.onconnectionstatechange?.()
  }

  #negotiate(): void {
    queueMicrotask(() => {
      const needed = this.#restart || this.#negotiated < this.#tracks
      if (needed && this.signalingState === 'stable' && !this.closed) this.onnegotiationneeded?.()
    })
  }

  #settled(): void {
    this.#stable = { local: this.localDescription, remote: this.remoteDescription }
    this.#negotiate()
  }

  #describe(type: 'offer' | 'answer'): Description {
    const origin = `o=- ${this.id} ${++this.#version} IN IP4 127.0.0.1`
    const candidate = 'a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\na=end-of-candidates'
    const setup = `a=setup:${type === 'offer' ? 'actpass' : 'active'}\r\na=fingerprint:sha-256 ${this.id}`
    return { type, sdp: `v=0\r\n${origin}\r\n${setup}\r\na=ice-ufrag:${this.ufrag}\r\n${candidate}\r\n` }
  }
}
