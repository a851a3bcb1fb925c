/**
 * A client's side of `/ws`: gets in, stays in, comes back. What is lost with a connection is counted and asked for
 * again, so its owner sees one unbroken row of messages.
 *
 *   idle ──▶ opening ──authenticated / resumed──▶ in
 *              ▲  │                               │
 *              │  └──────── lost ──▶ between ◀────┘ lost
 *              └─────── wait over ─────┘            any ──closed, refused, patience over──▶ over
 *
 * Deliberately not here: what the messages mean for the call and its sound.
 */
import type { CodeName } from '../../protocol/codes.ts'
import type { IceServer } from '../../protocol/ice.ts'
import type { RideDown, RideUp } from '../../protocol/ride.ts'
import { wait } from '../backoff.ts'
import { Connection } from '../connection.ts'
import type { Cancel, Millis, OpenSocket, Timers } from '../ports.ts'
import { verdictOn } from '../verdict.ts'

/** Which seat in which ride. Without a `joinToken` both ids are the right to sit there, where the server allows it. */
export interface Seat {
  readonly sessionId: string
  readonly userId: string
  readonly joinToken?: string | undefined
}

/** The right to take this connection's place, once; plain JSON, so that a page can keep it over a reload. */
export interface Resumption {
  readonly token: string
  /** Text frames got in this session, as the server counts them. */
  readonly received: number
}

/** Why there is no way back: a code of the server's, or what this end found. */
export type SignallingEnd =
  | CodeName
  /** The server said goodbye without a reason. */
  | 'closed'
  /** Never got in within the patience. */
  | 'unreachable'
  /** Was in, and did not come back within the patience. */
  | 'connection_lost'
  /** Was in, and the call was over when it came back. */
  | 'over_meanwhile'

/** A message for the owner. What is signalling's own business is not passed on. */
export type RideMessage = Exclude<RideDown, { type: 'authenticated' | 'resumed' | 'pong' | 'unauthorized' }>

export type RideSignal =
  /**
   * In as a new client; the messages that follow tell everything from the start. `again`: was in before. `iceServers`:
   * the server's, if it has any.
   */
  | { is: 'in'; again: boolean; iceServers: readonly IceServer[] }
  /** In as the one that was lost. `gap`: some messages are gone for good. */
  | { is: 'back'; gap: boolean }
  | { is: 'message'; message: RideMessage }
  /** The connection is lost; coming back is tried until then. */
  | { is: 'lost'; until: Millis }
  /** Last one. */
  | { is: 'over'; reason: SignallingEnd }

export interface RideSignallingOptions {
  readonly url: string
  readonly seat: Seat
  /** Takes up a connection of an earlier page. */
  readonly resume?: Resumption | undefined
  readonly openSocket: OpenSocket
  readonly timers: Timers
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** How long to try to get in, and to come back. */
  readonly patience: { readonly first: Millis; readonly lost: Millis }
  readonly tell: (signal: RideSignal) => void
}

type State =
  | { at: 'idle' }
  | { at: 'opening'; connection: Connection }
  | { at: 'in'; connection: Connection }
  | { at: 'between'; cancel: Cancel }
  | { at: 'over' }

const HEARTBEAT = write({ type: 'heartbeat' })
/** Where back-off begins when the server asked for a pause rather than went away. */
const PAUSE_ATTEMPT = 3

export class RideSignalling {
  readonly #options: RideSignallingOptions
  #state: State = { at: 'idle' }
  #resumption: Resumption | null
  #wasIn = false
  #attempt = 0
  #lastError: string | null = null
  /** Set while not in. */
  #giveUp: Cancel | null = null

  constructor(options: RideSignallingOptions) {
    this.#options = options
    this.#resumption = options.resume ?? null
    this.#wasIn = this.#resumption !== null
  }

  /** Once. Throws when the address is none. */
  start(): void {
    if (this.#state.at !== 'idle') return
    this.#beginPatience(this.#options.patience.first)
    this.#open()
  }

  /** False when it did not go out: there is no connection now. A frame that went out may still be lost with it. */
  send(message: RideUp): boolean {
    return this.#state.at === 'in' && this.#state.connection.send(write(message))
  }

  /** Does not wait any longer before the next try: the network is said to be back. */
  tryNow(): void {
    if (this.#state.at !== 'between') return
    this.#state.cancel()
    this.#open()
  }

  /** What another page needs to take this one's place, or null before it is in. */
  get resumption(): Resumption | null {
    return this.#resumption
  }

  /** Says goodbye. Nothing is told from here on. Twice is fine. */
  close(): void {
    if (this.#state.at === 'over') return
    this.#leave()
  }

  #open(): void {
    const { url, timers, openSocket } = this.#options
    this.#lastError = null
    const connection: Connection = new Connection(url, HEARTBEAT, timers, openSocket, {
      opened: () => connection.send(this.#hello()),
      text: (text) => this.#text(text),
      lost: (code) => this.#lost(code),
    })
    this.#state = { at: 'opening', connection }
  }

  #hello(): string {
    const { seat } = this.#options
    const resume = this.#resumption
    if (resume !== null)
      return write({ type: 'resume', resume_token: resume.token, received: resume.received })
    const hello = { type: 'authenticate', session_id: seat.sessionId, user_id: seat.userId } as const
    return write(seat.joinToken === undefined ? hello : { ...hello, join_token: seat.joinToken })
  }

  #text(text: string): void {
    const state = this.#state
    const message = read(text)
    if (state.at === 'opening') this.#answered(message, state.connection)
    else if (state.at === 'in') {
      // An error answers something this connection said. It is owed to nobody after, so neither end counts it.
      if (message?.type !== 'error') this.#count()
      if (message !== null) this.#message(message)
    }
  }

  #count(): void {
    if (this.#resumption === null) return
    this.#resumption = { ...this.#resumption, received: this.#resumption.received + 1 }
  }

  #answered(message: RideDown | null, connection: Connection): void {
    switch (message?.type) {
      case 'authenticated': {
        // A server of the reference document gives no resume token; then every return is a fresh one.
        const token: unknown = message.resume_token
        this.#resumption = typeof token === 'string' ? { token, received: 1 } : null
        const iceServers = message.ice_servers ?? []
        return this.#enter(connection, { is: 'in', again: this.#wasIn, iceServers })
      }
      case 'resumed': {
        const received = this.#resumption?.received ?? 0
        this.#resumption = { token: message.resume_token, received }
        return this.#enter(connection, { is: 'back', gap: message.gap === true })
      }
      case 'unauthorized':
        return this.#refused(message.reason, connection)
      case 'error':
        this.#lastError = message.code
        return
      default:
        return
    }
  }

  #enter(connection: Connection, signal: RideSignal): void {
    this.#state = { at: 'in', connection }
    this.#wasIn = true
    this.#attempt = 0
    this.#endPatience()
    this.#options.tell(signal)
  }

  #refused(reason: string, connection: Connection): void {
    if (reason === 'resume_failed' && this.#resumption !== null) {
      this.#resumption = null
      connection.close(4000, 'again')
      return this.#open()
    }
    this.#end(reason === 'session_not_found' && this.#wasIn ? 'over_meanwhile' : (reason as CodeName))
  }

  #message(message: RideDown): void {
    switch (message.type) {
      case 'authenticated':
      case 'resumed':
      case 'unauthorized':
      case 'pong':
        return
      case 'error':
        this.#lastError = message.code
        return this.#options.tell({ is: 'message', message })
      default:
        return this.#options.tell({ is: 'message', message })
    }
  }

  #lost(code: number): void {
    const wasIn = this.#state.at === 'in'
    const verdict = verdictOn(code, this.#lastError)
    if (verdict.is === 'final') return this.#end(verdict.code ?? 'closed')
    if (!verdict.soon) this.#attempt = Math.max(this.#attempt, PAUSE_ATTEMPT)
    const span = wait(this.#attempt++, this.#options.random())
    this.#state = { at: 'between', cancel: this.#options.timers.after(span, () => this.#open()) }
    if (!wasIn) return
    const until = this.#beginPatience(this.#options.patience.lost)
    this.#options.tell({ is: 'lost', until })
  }

  #beginPatience(span: Millis): Millis {
    const { timers } = this.#options
    this.#giveUp = timers.after(span, () => this.#end(this.#wasIn ? 'connection_lost' : 'unreachable'))
    return timers.now() + span
  }

  #endPatience(): void {
    this.#giveUp?.()
    this.#giveUp = null
  }

  #end(reason: SignallingEnd): void {
    this.#leave()
    this.#options.tell({ is: 'over', reason })
  }

  #leave(): void {
    const state = this.#state
    this.#state = { at: 'over' }
    this.#resumption = null
    this.#endPatience()
    if (state.at === 'between') state.cancel()
    if (state.at === 'opening' || state.at === 'in') state.connection.close(1000, '')
  }
}

function write(message: RideUp): string {
  return JSON.stringify(message)
}

/** The server is trusted to keep to its protocol; what cannot be read counts and is passed over. */
function read(text: string): RideDown | null {
  try {
    return JSON.parse(text) as RideDown
  } catch {
    return null
  }
}
