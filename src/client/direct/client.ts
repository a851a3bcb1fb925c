/**
 * A messenger's end of `/signal`: one id, its calls, its key and what it knows of other people's keys. Puts together
 * signalling, key book and calls; draws nothing.
 */
import type { DirectDown, DirectUp, KeyChange } from '../../protocol/direct.ts'
import { Emitter } from '../events.ts'
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
import { DirectCall, type DirectLine, type Incoming } from './call.ts'
import type { Identity } from './identity.ts'
import { KeyBook, type KeyMemory, keysInMemory, type PeerKey, type ShownKey } from './keys.ts'
import { Questions, Refused } from './questions.ts'
import {
  type DirectMessage,
  type DirectRefusal,
  type DirectSignal,
  DirectSignalling,
  type Ice,
} from './signalling.ts'

export interface DirectClientOptions {
  /** The server's WebSocket address, such as `wss://calls.example.org/signal`. */
  readonly url: string
  readonly clientId: string
  /** What proves that the id is ours. Without one it stays open, where the server lets it. */
  readonly identity?: Identity | undefined
  /** A token of the app's, for a server that wants one. */
  readonly token?: (() => Promise<string>) | undefined
  /** What others find in the directory. Default: the identity's key, which also signs calls. Null: nothing. */
  readonly publicKey?: string | null | undefined
  /** Keeps what is known of keys. Default: as long as the client lives. */
  readonly keys?: KeyMemory | undefined
  /** `relay`: sound goes through TURN or not at all. */
  readonly iceTransportPolicy?: RTCIceTransportPolicy | undefined
  /** Asked for each call, and again when the microphone was pulled out. The call stops its tracks. */
  readonly microphone?: (() => Promise<MediaStream>) | undefined
  /** What the surroundings give. Default: the globals of this name. */
  readonly WebSocket?: WebSocketClass | undefined
  readonly openSocket?: OpenSocket | undefined
  readonly RTCPeerConnection?: (new (configuration: RTCConfiguration) => RTCPeerConnection) | undefined
  readonly AudioContext?: (new () => AudioContext) | undefined
  readonly timers?: Timers | undefined
  /** Milliseconds since 1970. */
  readonly wallNow?: (() => Millis) | undefined
  /** Uniform in [0, 1). */
  readonly random?: (() => number) | undefined
}

export type DirectClientState =
  | { at: 'idle' }
  | { at: 'connecting' }
  | { at: 'registered' }
  /** No way to the server; it is tried again at `next`. Calls that are on may go on. */
  | { at: 'reconnecting'; wasIn: boolean; next: Millis }
  /** Over for good. */
  | { at: 'closed'; reason: DirectRefusal | null }

export interface DirectClientEvents {
  state: DirectClientState
  /** Somebody calls. */
  incoming: DirectCall
  /** The directory has this key of ours now. */
  published: string
  /** A key that this client looked up is another one now, or the directory lies about it. */
  key: PeerKey
  /** Something went wrong without ending anything. For a log. */
  trouble: unknown
}

/** The server takes so long to ring at the most; more is a clock that is wrong. */
const LONGEST_RING: Millis = 185_000
/** TURN credentials are renewed when this part of their time is left, and not more often than this. */
const RENEW_AT = 0.2
const RENEW_EVERY: Millis = 10_000
/** A timer holds 31 bits of milliseconds. */
const LONGEST_TIMER: Millis = 2 ** 31 - 1

export class DirectClient {
  readonly clientId: string
  readonly keys: KeyBook
  readonly #options: DirectClientOptions
  readonly #timers: Timers
  readonly #wallNow: () => Millis
  readonly #events = new Emitter<DirectClientEvents>()
  readonly #signalling: DirectSignalling
  readonly #questions: Questions
  readonly #line: DirectLine
  #state: DirectClientState = { at: 'idle' }
  #wasIn = false
  /** Every call that is not over. */
  readonly #calls = new Set<DirectCall>()
  readonly #byId = new Map<string, DirectCall>()
  #ice: Ice = { iceServers: [], expiresAt: null }
  #renewal: Cancel | null = null
  /** What the directory has of us, once it said so. */
  #published: string | null = null
  #publishing: Promise<void> = Promise.resolve()
  #stopListening: Cancel = () => {}

  constructor(options: DirectClientOptions) {
    this.#options = options
    this.clientId = options.clientId
    this.#timers = options.timers ?? systemTimers()
    this.#wallNow = options.wallNow ?? Date.now
    this.#signalling = new DirectSignalling({
      url: options.url,
      clientId: options.clientId,
      identity: options.identity,
      token: options.token,
      openSocket: options.openSocket ?? socketsOf(options.WebSocket ?? globalThis.WebSocket),
      timers: this.#timers,
      random: options.random ?? Math.random,
      isBusy: () => this.#calls.size > 0,
      tell: (signal) => this.#signal(signal),
    })
    this.#questions = new Questions(this.#timers, (message) => this.#signalling.send(message))
    this.keys = new KeyBook(
      { lookup: (id) => this.#lookup(id), history: (id, after) => this.#history(id, after) },
      options.keys ?? keysInMemory(),
    )
    this.#line = this.#makeLine()
  }

  get state(): DirectClientState {
    return this.#state
  }

  /** The clock that the instants of the states are read from. */
  get now(): Millis {
    return this.#timers.now()
  }

  /** Whom this client proves to be; another one after `rotate`. */
  get identity(): Identity | null {
    return this.#signalling.identity
  }

  /** Our key as the directory has it; null before it said so. */
  get publicKey(): string | null {
    return this.#published
  }

  /** Calls that are not over, oldest first. */
  get calls(): readonly DirectCall[] {
    return [...this.#calls]
  }

  on<Name extends keyof DirectClientEvents>(
    name: Name,
    listener: (value: DirectClientEvents[Name]) => void,
  ): () => void {
    return this.#events.on(name, listener)
  }

  /** Connects, registers, and stays registered. Again does nothing. */
  start(): void {
    if (this.#state.at !== 'idle') return
    this.#stopListening = whenOnline(() => this.#signalling.tryNow())
    this.#become({ at: 'connecting' })
    try {
      this.#signalling.start()
    } catch (error) {
      this.#events.emit('trouble', error)
      this.#become({ at: 'closed', reason: null })
    }
  }

  /**
   * Calls somebody. When they are calling us, answers that call instead. `ringTimeout` in seconds, 5 to 180. Never
   * throws: what goes wrong is the call's state.
   */
  call(peerId: string, { ringTimeout }: { readonly ringTimeout?: number } = {}): DirectCall {
    const ringing = this.calls.find((call) => call.peerId === peerId && call.state.at === 'incoming')
    if (ringing !== undefined) {
      void ringing.accept()
      return ringing
    }
    const call = new DirectCall(this.#line, peerId, null, ringTimeout)
    this.#calls.add(call)
    return call
  }

  /** Somebody's key, checked against what was seen before. Null: they have none. Rejects with a Refused. */
  lookUp(clientId: string): Promise<PeerKey | null> {
    return this.keys.check(clientId)
  }

  /**
   * Hands our id over to another key, and puts that one into the directory. Throws a Refused during a call, or without
   * a connection. `identity` and `publicKey` tell when it is done.
   */
  rotate(next: Identity): void {
    if (this.#calls.size > 0) throw new Refused('INVALID_MESSAGE', 'Not during a call.')
    if (!this.#signalling.rotate(next)) throw new Refused('UNREACHABLE')
    this.#questions.lost()
    this.#published = null
    this.#become({ at: 'connecting' })
  }

  /** Ends every call, says goodbye, lets go of everything. Nothing is told from here on. Twice is fine. */
  close(): void {
    this.#events.close()
    this.#end(null)
  }

  #makeLine(): DirectLine {
    const options = this.#options
    return {
      clientId: this.clientId,
      timers: this.#timers,
      keys: this.keys,
      signer: () => this.#signer(),
      iceServers: () => this.#ice.iceServers,
      iceTransportPolicy: options.iceTransportPolicy,
      RTCPeerConnection: options.RTCPeerConnection ?? globalThis.RTCPeerConnection,
      microphone: options.microphone,
      AudioContext: options.AudioContext,
      isIn: () => this.#signalling.isIn,
      send: (message) => this.#signalling.send(message),
      initiate: (call, payload) => this.#initiate(call, payload),
      instantOf: (expiresAt) => this.#instantOf(expiresAt),
      named: (call) => {
        if (call.id !== null) this.#byId.set(call.id, call)
      },
      ended: (call) => this.#ended(call),
    }
  }

  /** A call is signed by the key that others find in the directory, if it is ours to sign with. */
  async #signer(): Promise<Identity | null> {
    await this.#publishing
    const { identity } = this.#signalling
    return identity !== null && identity.publicKey === this.#wanted() ? identity : null
  }

  /** What the directory is to have of us. */
  #wanted(): string | null {
    const { publicKey = this.identity?.publicKey ?? null } = this.#options
    return publicKey
  }

  #signal(signal: DirectSignal): void {
    switch (signal.is) {
      case 'in':
        this.#wasIn = true
        this.#setIce(signal.ice)
        this.#become({ at: 'registered' })
        for (const call of this.calls) call.linkNew()
        this.#publishing = this.#publish()
        return
      case 'back':
        this.#become({ at: 'registered' })
        for (const call of this.calls) call.linkBack(signal.gap)
        if (this.#published === null) this.#publishing = this.#publish()
        return
      case 'message':
        return this.#safely(() => this.#message(signal.message))
      case 'lost':
        this.#questions.lost()
        this.#become({ at: 'reconnecting', wasIn: this.#wasIn, next: signal.next })
        for (const call of this.calls) call.linkLost()
        return
      case 'over':
        return this.#end(signal.reason)
    }
  }

  #message(message: DirectMessage): void {
    if (this.#questions.take(message)) return
    switch (message.type) {
      case 'INCOMING_CALL':
        return this.#incoming(message.payload)
      case 'CALL_RINGING':
        // Of a call that was given up while the connection was away.
        if (!this.#byId.has(message.payload.callId)) {
          this.#signalling.send({ type: 'CALL_END', payload: { callId: message.payload.callId } })
        }
        return
      case 'CALL_ACCEPTED':
      case 'CALL_REJECTED':
      case 'CALL_ENDED':
      case 'CALL_NEGOTIATE':
      case 'ICE_CANDIDATE':
      case 'PEER_RECONNECTING':
      case 'PEER_RESUMED':
        return this.#ofCall(message, message.payload.callId)
      case 'PKD_CHANGED':
        void this.#keyChanged(message.payload)
        return
      case 'ICE_SERVERS':
        return this.#setIce(iceOf(message.payload))
      case 'ERROR':
        if (message.payload.code === 'CALL_NOT_FOUND') for (const call of this.calls) call.notFound()
        return this.#events.emit('trouble', new Refused(message.payload.code, message.payload.message))
      case 'PKD_RESULT':
      case 'PKD_HISTORY':
        // The answer to something that was given up.
        return
    }
  }

  #ofCall(message: DirectDown, callId: string): void {
    const call = this.#byId.get(callId)
    if (call !== undefined) return call.take(message)
    const met = this.calls.find(({ rival }) => rival?.callId === callId)
    if (met === undefined) return
    if (message.type === 'CALL_ENDED' || message.type === 'CALL_REJECTED') met.unmeet(callId)
    else if (message.type === 'ICE_CANDIDATE') met.take(message)
  }

  #incoming(payload: Incoming): void {
    const known = this.#byId.get(payload.callId)
    if (known !== undefined) return known.take({ type: 'INCOMING_CALL', payload })
    if (this.calls.some((call) => call.peerId === payload.callerId && call.meet(payload))) return
    const call = new DirectCall(this.#line, payload.callerId, payload)
    this.#calls.add(call)
    this.#byId.set(payload.callId, call)
    this.#events.emit('incoming', call)
  }

  #initiate(call: DirectCall, payload: (DirectUp & { type: 'CALL_INITIATE' })['payload']): Promise<void> {
    return this.#questions.ask({ type: 'CALL_INITIATE', payload }, (message) => {
      if (message.type === 'CALL_RINGING' && message.payload.targetId === call.peerId) {
        call.rang(message.payload)
        return null
      }
      if (message.type === 'CALL_REJECTED' && !this.#byId.has(message.payload.callId)) {
        call.take(message)
        return null
      }
      return undefined
    }) as unknown as Promise<void>
  }

  #ended(call: DirectCall): void {
    this.#calls.delete(call)
    if (call.id !== null && this.#byId.get(call.id) === call) this.#byId.delete(call.id)
    // Somebody who called us while we called them still does.
    if (call.rival !== null && this.#signalling.isIn) this.#incoming(call.rival)
  }

  // ─── keys ───

  /** Never rejects. */
  async #publish(): Promise<void> {
    const wanted = this.#wanted()
    if (wanted === null) return
    const { clientId } = this
    try {
      await this.#questions
        .ask({ type: 'PKD_REGISTER', payload: { clientId, publicKey: wanted } }, (message) =>
          isResultOf(message, clientId) ? message.payload : undefined,
        )
        .catch((error: unknown) => {
          // It may be there already, set by an earlier registration that proved nothing.
          if (!(error instanceof Refused) || error.code !== 'KEY_REFUSED') throw error
        })
      // Our own story is watched like anybody's, so that it can be compared with what others are told.
      let key = await this.keys.check(clientId)
      if (key?.status === 'changed' && key.publicKey === wanted) key = await this.keys.trust(clientId)
      if (key?.publicKey === wanted && key.status !== 'lying') {
        this.#published = wanted
        this.#events.emit('published', wanted)
      } else if (key !== null) this.#events.emit('key', key)
    } catch (error) {
      this.#events.emit('trouble', error)
    }
  }

  #lookup(clientId: string): Promise<ShownKey | null> {
    return this.#questions
      .ask({ type: 'PKD_LOOKUP', payload: { clientId } }, (message) =>
        isResultOf(message, clientId) ? message.payload : undefined,
      )
      .catch((error: unknown) => {
        if (error instanceof Refused && error.code === 'KEY_NOT_FOUND') return null
        throw error
      })
  }

  async #history(clientId: string, after: number): Promise<KeyChange[]> {
    const all: KeyChange[] = []
    for (let more = true; more; ) {
      const page = await this.#questions
        .ask(
          { type: 'PKD_HISTORY', payload: { clientId, after: all.at(-1)?.version ?? after } },
          (message) =>
            message.type === 'PKD_HISTORY' && message.payload.clientId === clientId
              ? message.payload
              : undefined,
        )
        .catch((error: unknown) => {
          if (error instanceof Refused && error.code === 'KEY_NOT_FOUND') return { changes: [], more: false }
          throw error
        })
      all.push(...page.changes)
      // A server that says "more" and gives nothing would be asked for ever.
      more = page.more && page.changes.length > 0
    }
    return all
  }

  async #keyChanged(shown: ShownKey): Promise<void> {
    try {
      const key = await this.keys.changed(shown)
      if (key === null) return
      for (const call of this.calls) if (call.peerId === shown.clientId) call.keyChanged(key)
      this.#events.emit('key', key)
    } catch (error) {
      this.#events.emit('trouble', error)
    }
  }

  // ─── TURN ───

  #setIce(ice: Ice): void {
    this.#ice = ice
    for (const call of this.#calls) call.setIceServers(ice.iceServers)
    this.#renewal?.()
    this.#renewal = null
    if (ice.expiresAt === null) return
    const left = ice.expiresAt - this.#wallNow()
    const span = Math.min(Math.max(left * (1 - RENEW_AT), RENEW_EVERY), LONGEST_TIMER)
    this.#renewal = this.#timers.after(span, () => void this.#renew())
  }

  async #renew(): Promise<void> {
    try {
      const payload = await this.#questions.ask({ type: 'TURN_REFRESH', payload: {} }, (message) =>
        message.type === 'ICE_SERVERS' ? message.payload : undefined,
      )
      this.#setIce(iceOf(payload))
    } catch (error) {
      this.#events.emit('trouble', error)
      if (this.#state.at === 'closed') return
      this.#renewal = this.#timers.after(RENEW_EVERY, () => void this.#renew())
    }
  }

  /** The server speaks by its own clock. */
  #instantOf(expiresAt: number): Millis | null {
    const left = expiresAt - this.#wallNow()
    return left > 0 && left <= LONGEST_RING ? this.#timers.now() + left : null
  }

  #end(reason: DirectRefusal | null): void {
    if (this.#state.at === 'closed') return
    this.#stopListening()
    this.#renewal?.()
    // First, so that their goodbyes go out.
    for (const call of this.calls) call.hangUp()
    this.#signalling.close()
    this.#become({ at: 'closed', reason })
    this.#questions.lost()
  }

  #become(state: DirectClientState): void {
    this.#state = state
    this.#events.emit('state', state)
  }

  /** A message that is not as it should be harms nobody but itself. */
  #safely(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#events.emit('trouble', error)
    }
  }
}

function isResultOf(
  message: DirectMessage,
  clientId: string,
): message is DirectMessage & { type: 'PKD_RESULT' } {
  return message.type === 'PKD_RESULT' && message.payload.clientId === clientId
}

function iceOf({ iceServers, expiresAt }: (DirectDown & { type: 'ICE_SERVERS' })['payload']): Ice {
  return { iceServers: [...iceServers], expiresAt }
}
