/**
 * One connection on `/signal`: a stranger until REGISTER or RESUME, then a device. Decides what may be said when; the
 * service decides what it does. What takes time (the directory, proofs) answers when it is done; meanwhile the
 * connection is `asking`, and anything but a sign of life is refused.
 */
import type { Session } from '../../core/door.ts'
import type { Peer } from '../../core/ports.ts'
import { codes, Failure, fail } from '../../protocol/codes.ts'
import { type DirectDown, type DirectRead, writeDirect } from '../../protocol/direct.ts'
import type { Device } from './device.ts'

export type Said<T extends DirectRead['type']> = (DirectRead & { type: T })['payload']

/** A nonce that was handed out on this connection. Good once. */
export interface Challenge {
  readonly nonce: string
  readonly expiresAt: number
}

/** What a connection may ask of the service. */
export interface Reception {
  /** A new challenge, and the WELCOME that carries it. */
  hello(): [Challenge, DirectDown]
  register(said: Said<'REGISTER'>, challenge: Challenge | null, peer: Peer): Promise<Device>
  /** A registered device proves its identity after all. */
  prove(said: Said<'REGISTER'>, challenge: Challenge | null, device: Device): Promise<void>
  resume(said: Said<'RESUME'>, peer: Peer): Device
  initiate(device: Device, said: Said<'CALL_INITIATE'>): void
  accept(device: Device, said: Said<'CALL_ACCEPT'>): void
  reject(device: Device, callId: string): void
  end(device: Device, callId: string): void
  relay(device: Device, callId: string, text: string): void
  registerKey(device: Device, said: Said<'PKD_REGISTER'>): Promise<DirectDown>
  lookup(device: Device, clientId: string): Promise<DirectDown>
  history(device: Device, said: Said<'PKD_HISTORY'>): Promise<DirectDown>
  iceServers(device: Device): Promise<DirectDown>
  lost(device: Device, peer: Peer, goodbye: boolean): void
  /** Something that was asked failed, and not because of who asked. */
  failed(error: unknown): void
}

type State = { at: 'stranger' } | { at: 'asking' } | { at: 'registered'; device: Device } | { at: 'gone' }

const PONG = writeDirect({ type: 'PONG', payload: {} })

export class DirectSession implements Session<DirectRead> {
  readonly #peer: Peer
  readonly #reception: Reception
  #state: State = { at: 'stranger' }
  #challenge: Challenge | null = null
  /** Questions to the directory that are not answered yet. */
  #asked = 0
  /** REGISTERs that were refused. */
  #refused = 0
  /** It resumed, and has said nothing since. */
  #isUnheard = false

  constructor(peer: Peer, reception: Reception) {
    this.#peer = peer
    this.#reception = reception
  }

  message(message: DirectRead, text: string): boolean {
    const state = this.#state
    if (state.at !== 'registered') {
      this.#introduce(message)
      return false
    }
    const { device } = state
    if (this.#isUnheard) this.#heard(device)
    const reception = this.#reception
    switch (message.type) {
      case 'ICE_CANDIDATE':
      case 'CALL_NEGOTIATE':
        reception.relay(device, message.payload.callId, text)
        return true
      case 'CALL_INITIATE':
        reception.initiate(device, message.payload)
        return false
      case 'CALL_ACCEPT':
        reception.accept(device, message.payload)
        return false
      case 'CALL_REJECT':
        reception.reject(device, message.payload.callId)
        return false
      case 'CALL_END':
        reception.end(device, message.payload.callId)
        return false
      case 'PKD_REGISTER':
        this.#answer(device, () => reception.registerKey(device, message.payload))
        return false
      case 'PKD_LOOKUP':
        this.#answer(device, () => reception.lookup(device, message.payload.clientId))
        return false
      case 'PKD_HISTORY':
        this.#answer(device, () => reception.history(device, message.payload))
        return false
      case 'TURN_REFRESH':
        this.#answer(device, () => reception.iceServers(device))
        return false
      case 'PING':
        device.pass(PONG)
        return false
      case 'HELLO':
        this.#hello()
        return false
      case 'REGISTER':
        this.#registerAgain(device, message.payload)
        return false
      case 'RESUME':
        throw fail('already_registered')
    }
  }

  closed(goodbye: boolean): void {
    const state = this.#state
    this.#state = { at: 'gone' }
    if (state.at === 'registered') this.#reception.lost(state.device, this.#peer, goodbye)
  }

  pinged(): void {
    if (this.#state.at === 'registered') this.#state.device.pinged()
  }

  ponged(): void {
    if (this.#state.at !== 'registered') return
    const { device } = this.#state
    if (this.#isUnheard) this.#heard(device)
    device.ponged()
  }

  #introduce(message: DirectRead): void {
    if (message.type === 'PING') {
      this.#peer.send(PONG)
    } else if (this.#state.at !== 'stranger') {
      throw fail('not_registered', 'REGISTER is being answered.')
    } else if (message.type === 'HELLO') {
      this.#hello()
    } else if (message.type === 'RESUME') {
      this.#state = { at: 'registered', device: this.#reception.resume(message.payload, this.#peer) }
      this.#isUnheard = true
    } else if (message.type === 'REGISTER') {
      this.#register(message.payload)
    } else {
      throw fail('not_registered')
    }
  }

  #heard(device: Device): void {
    this.#isUnheard = false
    device.heard(this.#peer)
  }

  #hello(): void {
    const [challenge, welcome] = this.#reception.hello()
    this.#challenge = challenge
    if (this.#state.at === 'registered') this.#state.device.say(welcome)
    else this.#peer.send(writeDirect(welcome))
  }

  #register(said: Said<'REGISTER'>): void {
    this.#state = { at: 'asking' }
    this.#reception.register(said, this.#takeChallenge(), this.#peer).then(
      (device) => {
        if (this.#state.at === 'asking') this.#state = { at: 'registered', device }
        else this.#reception.lost(device, this.#peer, false)
      },
      (error: unknown) => {
        if (this.#state.at === 'asking') this.#state = { at: 'stranger' }
        this.#refuseProof(error)
      },
    )
  }

  #registerAgain(device: Device, said: Said<'REGISTER'>): void {
    if (said.clientId !== device.clientId || said.identityKey === undefined || device.proven) {
      throw fail('already_registered')
    }
    const challenge = this.#takeChallenge()
    this.#ask(() => this.#reception.prove(said, challenge, device)).catch((error) => this.#refuseProof(error))
  }

  /** A nonce is good for one attempt, whatever comes of it. */
  #takeChallenge(): Challenge | null {
    const challenge = this.#challenge
    this.#challenge = null
    return challenge
  }

  #answer(device: Device, ask: () => Promise<DirectDown>): void {
    this.#ask(ask).then(
      (message) => device.say(message),
      (error) => this.#refuse(error),
    )
  }

  /** Throws at once when too much is asked already. */
  #ask<T>(ask: () => Promise<T>): Promise<T> {
    if (this.#asked >= MOST_ASKED)
      throw fail('rate_limited', 'Too many questions at once.', { retryAfter: 1_000 })
    this.#asked++
    return ask().finally(() => {
      this.#asked--
    })
  }

  /** Who keeps guessing is cut off: the answers tell which ids there are. */
  #refuseProof(error: unknown): void {
    this.#refuse(error)
    if (++this.#refused >= MOST_REFUSED) this.#peer.close(codes.too_many_errors.close, 'too_many_errors')
  }

  #refuse(error: unknown): void {
    if (!(error instanceof Failure)) this.#reception.failed(error)
    this.#peer.refuse(error instanceof Failure ? error : fail('internal'))
  }
}

/** Questions of one connection that may be open at once. */
const MOST_ASKED = 16
/** REGISTERs of one connection that may be refused. */
const MOST_REFUSED = 8
