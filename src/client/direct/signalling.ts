/**
 * A client's side of `/signal`: gets in, proves who it is, stays in, comes back. What is lost with a connection is
 * counted and asked for again, so its owner sees one unbroken row of messages. A messenger is there all day, so it
 * never gives up by itself.
 *
 *   idle ──▶ opening ──REGISTERED / RESUMED──▶ in
 *              ▲  │                            │
 *              │  └────── lost ──▶ between ◀───┘ lost
 *              └────── wait over ────┘            any ──closed, refused for good──▶ over
 *
 * Deliberately not here: what the messages mean.
 */
import { codes } from '../../protocol/codes.ts'
import type { DirectDown, DirectError, DirectUp } from '../../protocol/direct.ts'
import { identityText, rotationText } from '../../protocol/identity.ts'
import { PATIENT, wait } from '../backoff.ts'
import { CLOSE_WATCH, Connection, type Rhythm } from '../connection.ts'
import type { Cancel, Millis, OpenSocket, Timers } from '../ports.ts'
import type { Identity } from './identity.ts'

/** Why there is no way back in. */
export type DirectRefusal = DirectError | 'TAKEN_OVER' | 'TOO_MANY_ERRORS'

/** A message for the owner. What is signalling's own business is not passed on. */
export type DirectMessage = Exclude<DirectDown, { type: 'WELCOME' | 'REGISTERED' | 'RESUMED' | 'PONG' }>

export interface Ice {
  readonly iceServers: RTCIceServer[]
  /** Milliseconds since 1970; null: they do not run out. */
  readonly expiresAt: Millis | null
}

export type DirectSignal =
  /** In as a new device: calls of an earlier connection are over. */
  | { is: 'in'; again: boolean; ice: Ice }
  /** In as the device that was lost. `gap`: some messages are gone for good. */
  | { is: 'back'; gap: boolean }
  | { is: 'message'; message: DirectMessage }
  /** There is no connection; the next try is at `next`. */
  | { is: 'lost'; next: Millis }
  /** Last one. */
  | { is: 'over'; reason: DirectRefusal }

export interface DirectSignallingOptions {
  readonly url: string
  readonly clientId: string
  /** Without one the id stays open, where the server lets it. */
  readonly identity?: Identity | undefined
  /** A token of the app's, for a server that wants one; asked for at every registration. */
  readonly token?: (() => Promise<string>) | undefined
  readonly openSocket: OpenSocket
  readonly timers: Timers
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** A call is on: a dead connection must be noticed soon. */
  readonly isBusy: () => boolean
  readonly tell: (signal: DirectSignal) => void
}

type State =
  | { at: 'idle' }
  | { at: 'opening'; connection: Connection }
  | { at: 'in'; connection: Connection }
  | { at: 'between'; cancel: Cancel }
  | { at: 'over' }

const PING = write({ type: 'PING', payload: {} })
/** The reference document: the server hangs up after 60 s of silence. Phones sleep better with fewer words. */
const CALM: Rhythm = { idle: 20_000, dead: 32_000 }
/** Where back-off begins when the server asked for a pause rather than went away. */
const PAUSE_ATTEMPT = 3

/** What a REGISTER may be answered with that trying again would not change. */
const FINAL: readonly string[] = [
  'INVALID_MESSAGE',
  'INVALID_CLIENT_ID',
  'CLIENT_ID_TAKEN',
  'IDENTITY_REQUIRED',
  'IDENTITY_INVALID',
  'KEY_REFUSED',
] satisfies DirectError[]

/** Close numbers after which coming back would only repeat what happened. */
const FINAL_CLOSES = new Map<number, DirectRefusal>([
  [codes.taken_over.close, 'TAKEN_OVER'],
  [codes.too_many_errors.close, 'TOO_MANY_ERRORS'],
])

export class DirectSignalling {
  readonly #options: DirectSignallingOptions
  #state: State = { at: 'idle' }
  #identity: Identity | null
  /** The identity that the id is being handed over to. `said`: the server was told, and may have done it. */
  #rotation: { readonly next: Identity; said: boolean } | null = null
  #resumption: { readonly token: string; received: number } | null = null
  #wasIn = false
  #attempt = 0
  #pause: Millis | null = null

  constructor(options: DirectSignallingOptions) {
    this.#options = options
    this.#identity = options.identity ?? null
  }

  /** Whom this client proves to be now. */
  get identity(): Identity | null {
    return this.#identity
  }

  get isIn(): boolean {
    return this.#state.at === 'in'
  }

  /** Once. Throws when the address is none. */
  start(): void {
    if (this.#state.at === 'idle') this.#open()
  }

  /** False when it did not go out: there is no connection now. A frame that went out may still be lost with it. */
  send(message: DirectUp): boolean {
    return this.#state.at === 'in' && this.#state.connection.send(write(message))
  }

  /** Does not wait any longer before the next try: the network is said to be back. */
  tryNow(): void {
    if (this.#state.at !== 'between') return
    this.#state.cancel()
    this.#open()
  }

  /** Hands the id over to another key: registers anew, signed by both. False when there is nothing to hand over now. */
  rotate(next: Identity): boolean {
    if (this.#state.at !== 'in' || this.#identity === null) return false
    this.#rotation = { next, said: false }
    this.#resumption = null
    // A goodbye, so that the old device makes room.
    this.#state.connection.close(1000, '')
    this.#open()
    return true
  }

  /** Says goodbye. Nothing is told from here on. Twice is fine. */
  close(): void {
    const state = this.#state
    this.#state = { at: 'over' }
    this.#resumption = null
    if (state.at === 'between') state.cancel()
    if (state.at === 'opening' || state.at === 'in') state.connection.close(1000, '')
  }

  #open(): void {
    const { url, timers, openSocket, isBusy } = this.#options
    const connection: Connection = new Connection(
      url,
      PING,
      timers,
      openSocket,
      {
        opened: () => this.#opened(connection),
        text: (text) => this.#text(text),
        lost: (code) => this.#lost(code),
      },
      () => (isBusy() ? CLOSE_WATCH : CALM),
    )
    this.#state = { at: 'opening', connection }
  }

  #opened(connection: Connection): void {
    if (this.#resumption !== null) {
      const { token: resumeToken, received } = this.#resumption
      connection.send(write({ type: 'RESUME', payload: { resumeToken, received } }))
    } else if (this.#identity !== null) {
      connection.send(write({ type: 'HELLO', payload: {} }))
    } else {
      void this.#register(connection, null)
    }
  }

  async #register(connection: Connection, nonce: string | null): Promise<void> {
    const { clientId } = this.#options
    try {
      const token = await this.#options.token?.()
      const proof = nonce === null ? {} : await this.#prove(nonce)
      const payload = { clientId, ...proof, ...(token === undefined ? {} : { token }) }
      if (!this.#isOpening(connection)) return
      if (this.#rotation !== null && 'rotation' in payload) this.#rotation.said = true
      connection.send(write({ type: 'REGISTER', payload }))
    } catch {
      // The vault is locked or the app's backend does not answer: later.
      if (this.#isOpening(connection)) this.#again(connection, null)
    }
  }

  async #prove(nonce: string) {
    const identity = this.#identity
    if (identity === null) return {}
    const { clientId, url } = this.#options
    const claim = { clientId, nonce, host: new URL(url).host }
    const signature = await identity.sign(identityText(claim))
    const proof = { identityKey: identity.publicKey, signature }
    if (this.#rotation === null) return proof
    const newIdentityKey = this.#rotation.next.publicKey
    const handover = await identity.sign(rotationText({ ...claim, newKey: newIdentityKey }))
    return { ...proof, rotation: { newIdentityKey, signature: handover } }
  }

  #text(text: string): void {
    const state = this.#state
    const message = read(text)
    if (state.at === 'opening' && message !== null) this.#answered(message, state.connection)
    else if (state.at === 'in') {
      // An error answers something this connection said. It is owed to nobody after, so neither end counts it.
      if (message?.type !== 'ERROR' && this.#resumption !== null) this.#resumption.received++
      if (message !== null) this.#message(message)
    }
  }

  #answered(message: DirectDown, connection: Connection): void {
    switch (message.type) {
      case 'WELCOME':
        void this.#register(connection, message.payload.nonce)
        return
      case 'REGISTERED':
        return this.#registered(message.payload, connection)
      case 'RESUMED': {
        const { resumeToken: token, gap } = message.payload
        this.#resumption = { token, received: this.#resumption?.received ?? 0 }
        return this.#enter(connection, { is: 'back', gap: gap === true })
      }
      case 'ERROR':
        return this.#refused(message.payload, connection)
      default:
        return
    }
  }

  #registered(payload: (DirectDown & { type: 'REGISTERED' })['payload'], connection: Connection): void {
    if (this.#rotation?.said === true) {
      this.#identity = this.#rotation.next
      this.#rotation = null
    }
    // A server of the reference document says only the id.
    const { resumeToken, iceServers = [], iceExpiresAt = null } = payload as Partial<typeof payload>
    this.#resumption = resumeToken === undefined ? null : { token: resumeToken, received: 1 }
    this.#enter(connection, {
      is: 'in',
      again: this.#wasIn,
      ice: { iceServers: [...iceServers], expiresAt: iceExpiresAt },
    })
  }

  #enter(connection: Connection, signal: DirectSignal): void {
    this.#state = { at: 'in', connection }
    this.#wasIn = true
    this.#attempt = 0
    this.#options.tell(signal)
  }

  #refused(
    { code, retryAfterMs }: { code: DirectError; retryAfterMs?: number },
    connection: Connection,
  ): void {
    if (this.#resumption !== null) {
      // Too late, or another server: as a new device then.
      this.#resumption = null
      connection.close(4000, 'again')
      return this.#open()
    }
    if (code === 'IDENTITY_INVALID' && this.#rotation?.said === true) {
      // The answer to the handing over may have been lost: then the id is the next key's already.
      this.#identity = this.#rotation.next
      this.#rotation = null
      return this.#again(connection, 0)
    }
    if (FINAL.includes(code)) return this.#end(code)
    this.#again(connection, retryAfterMs ?? null)
  }

  #message(message: DirectDown): void {
    switch (message.type) {
      case 'WELCOME':
      case 'REGISTERED':
      case 'RESUMED':
      case 'PONG':
        return
      default:
        return this.#options.tell({ is: 'message', message })
    }
  }

  /** Not now: hangs up and comes back later. */
  #again(connection: Connection, pause: Millis | null): void {
    connection.close(4000, 'later')
    this.#pause = pause
    this.#wait()
  }

  #lost(code: number): void {
    const final = FINAL_CLOSES.get(code)
    if (final !== undefined) return this.#end(final)
    // Said goodbye to: somebody else has the place. As a new device, or not at all.
    if (code === 1000) this.#resumption = null
    if (code === codes.flooding.close) this.#attempt = Math.max(this.#attempt, PAUSE_ATTEMPT)
    this.#wait()
  }

  #wait(): void {
    const { timers, random } = this.#options
    const span = this.#pause ?? wait(this.#attempt++, random(), PATIENT)
    this.#pause = null
    this.#state = { at: 'between', cancel: timers.after(span, () => this.#open()) }
    this.#options.tell({ is: 'lost', next: timers.now() + span })
  }

  #end(reason: DirectRefusal): void {
    this.close()
    this.#options.tell({ is: 'over', reason })
  }

  #isOpening(connection: Connection): boolean {
    return this.#state.at === 'opening' && this.#state.connection === connection
  }
}

function write(message: DirectUp): string {
  return JSON.stringify(message)
}

/** What is no message is passed over. */
function read(text: string): DirectDown | null {
  try {
    const message = JSON.parse(text) as DirectDown | null
    const isMessage = typeof message?.type === 'string' && typeof message.payload === 'object'
    return isMessage && message.payload !== null ? message : null
  } catch {
    return null
  }
}
