/** One connection on `/line`: waits for a seat or sits, and has what it sends carried to who sits opposite. */
import type { BytesSession, Handled } from '../../core/door.ts'
import type { Millis } from '../../core/ids.ts'
import type { BytesPeer, DropCause, Metrics } from '../../core/ports.ts'
import { readNotice, soundOf, writeNotice } from '../../protocol/line.ts'
import type { Line, Seat } from './line.ts'

export class LineSession implements BytesSession {
  readonly #peer: BytesPeer
  readonly #metrics: Metrics
  /** Where it waits for a seat. */
  #line: Line | null
  #seat: Seat | null = null

  constructor(peer: BytesPeer, line: Line, metrics: Metrics) {
    this.#peer = peer
    this.#line = line
    this.#metrics = metrics
  }

  sit(seat: Seat): void {
    this.#line = null
    this.#seat = seat
  }

  frame(bytes: Uint8Array, now: Millis): Handled {
    const seat = this.#seat
    const sound = soundOf(bytes)
    if (sound < 0) return this.#odd(bytes, now)
    if (seat === null) return this.#drop('alone')
    if (sound > 0) {
      if (!seat.pace.takeSound(sound, now)) return this.#drop('rate')
    } else if (!seat.pace.takeWord(now)) return 'too much'
    const facing = seat.line.facing(seat)
    if (facing === null || facing.peer === null) return this.#drop('alone')
    if (sound > 0) return facing.hear(bytes) ? 'relayed' : this.#drop('slow_reader')
    return facing.peer.send(bytes) ? 'relayed' : this.#drop('slow_reader')
  }

  closed(goodbye: boolean): void {
    this.#line?.tiredOfWaiting(this.#peer)
    this.#line = null
    const seat = this.#seat
    this.#seat = null
    seat?.line.left(seat, this.#peer, goodbye)
  }

  /** No frame for the other end: the question whether the relay is there, or nothing that there is. */
  #odd(bytes: Uint8Array, now: Millis): Handled {
    if (readNotice(bytes)?.notice !== 'here') {
      this.#drop('wrong')
      return 'wrong'
    }
    if (this.#seat?.pace.takeWord(now) === false) return 'too much'
    this.#peer.send(writeNotice('here'))
    return 'answered'
  }

  #drop(cause: DropCause): Handled {
    this.#metrics.dropped(cause)
    return 'dropped'
  }
}
