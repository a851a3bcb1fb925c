/**
 * One connection on `/ws`: a stranger until `authenticate` or `resume`, then a leg of a ride. Decides what may be said
 * when; the ride decides what it does.
 */
import type { Session } from '../../core/door.ts'
import type { Side } from '../../core/ids.ts'
import type { Peer } from '../../core/ports.ts'
import { fail } from '../../protocol/codes.ts'
import { type RideDown, type RideRead, write } from '../../protocol/ride.ts'
import type { Ride } from './ride.ts'

const PONG = write({ type: 'pong' })

/** Who a connection turned out to be. */
export interface Seated {
  readonly ride: Ride
  readonly side: Side
}

/** Lets a stranger in. `seated` is called once, at once or after the live holder of the leg was asked; or never. */
export interface Reception {
  authenticate(message: RideRead & { type: 'authenticate' }, peer: Peer, seated: (who: Seated) => void): void
  resume(message: RideRead & { type: 'resume' }, peer: Peer): Seated
  iceServers(who: Seated): Promise<RideDown>
}

type State = { at: 'stranger' } | { at: 'asking' } | ({ at: 'seated' } & Seated) | { at: 'gone' }

export class RideSession implements Session<RideRead> {
  readonly #peer: Peer
  readonly #reception: Reception
  #state: State = { at: 'stranger' }
  /** It resumed, and has said nothing since. */
  #isUnheard = false

  constructor(peer: Peer, reception: Reception) {
    this.#peer = peer
    this.#reception = reception
  }

  message(message: RideRead, text: string): boolean {
    const state = this.#state
    if (state.at !== 'seated') {
      this.#introduce(message)
      return false
    }
    const { ride, side } = state
    if (this.#isUnheard) this.#heard(state)
    switch (message.type) {
      case 'ice_candidate':
      case 'answer':
        ride.relay(side, text)
        return true
      case 'offer':
        ride.relay(side, text)
        ride.offered(side)
        return true
      case 'heartbeat':
        ride.answer(side, PONG)
        return false
      case 'ice_servers':
        this.#answer(state, this.#reception.iceServers(state))
        return false
      case 'end_call':
        ride.apply({ is: 'hangUp', side })
        return false
      case 'authenticate':
      case 'resume':
        throw fail('already_authenticated')
    }
  }

  closed(goodbye: boolean): void {
    const state = this.#state
    this.#state = { at: 'gone' }
    if (state.at === 'seated') state.ride.left(state.side, this.#peer, goodbye)
  }

  pinged(): void {
    if (this.#state.at === 'seated') this.#state.ride.pinged(this.#state.side)
  }

  ponged(): void {
    const state = this.#state
    if (state.at !== 'seated') return
    if (this.#isUnheard) this.#heard(state)
    state.ride.ponged(state.side)
  }

  #introduce(message: RideRead): void {
    if (this.#state.at !== 'stranger') throw fail('not_authenticated')
    if (message.type === 'resume') {
      this.#seat(this.#reception.resume(message, this.#peer))
      this.#isUnheard = true
    } else if (message.type === 'authenticate') {
      this.#state = { at: 'asking' }
      this.#reception.authenticate(message, this.#peer, (who) => this.#seat(who))
    } else {
      throw fail('not_authenticated')
    }
  }

  /** Answers a question that took time, if the connection is still the leg's. */
  #answer({ ride, side }: Seated, answer: Promise<RideDown>): void {
    void answer.then((message) => {
      if (this.#peer.open) ride.answer(side, write(message))
    })
  }

  #heard({ ride, side }: Seated): void {
    this.#isUnheard = false
    if (ride.peer(side) === this.#peer) ride.heard(side)
  }

  #seat({ ride, side }: Seated): void {
    // Written out, as a spread would put some of it into a second piece of memory.
    this.#state = { at: 'seated', ride, side }
  }
}
