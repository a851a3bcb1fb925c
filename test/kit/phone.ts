/**
 * A connection made of memory, both ends of it: what a service holds as its `Peer`, and the phone at the other end. The
 * wire between them holds what is on its way until the test lets it arrive. Deliberately not here: the bounds of the
 * door, its heartbeats and its deadline for the first word; the test does what they would.
 */
import type { Session, TextEndpoint } from '../../src/core/door.ts'
import type { Alarm, Peer } from '../../src/core/ports.ts'
import { codes, Failure } from '../../src/protocol/codes.ts'
import { PROBE_TIMEOUT } from '../../src/protocol/limits.ts'
import type { ProcessClock } from './process-clock.ts'

/** Something on its way to the phone. A marked ping is one whose pong the session wants to hear of. */
type Thing = { is: 'text'; text: string } | { is: 'ping'; marked: boolean }

export class Phone<Up> implements Peer {
  static #made = 0
  readonly id = `phone-${Phone.#made++}`
  readonly #endpoint: TextEndpoint<Up>
  readonly #process: ProcessClock
  readonly #pongs: boolean
  readonly #session: Session<Up>
  #wire: Thing[] = []
  #open = true
  #gone = false
  #pongDue = false
  #probes: { verdict: (alive: boolean) => void; alarm: Alarm }[] = []
  /** What has arrived. */
  readonly got: string[] = []
  /** What the server closed with. */
  code: number | null = null
  reason: string | null = null
  admitted = false
  /** The server finds it slow with the next frame. */
  slow = false

  /** `pongs`: answers pings. */
  constructor(endpoint: TextEndpoint<Up>, process: ProcessClock, pongs = true) {
    this.#endpoint = endpoint
    this.#process = process
    this.#pongs = pongs
    this.#session = endpoint.open(this)
  }

  get open(): boolean {
    return this.#open
  }

  /** The wire is there; after a close of the server's, until the close has got through. */
  get connected(): boolean {
    return !this.#gone
  }

  send(text: string): boolean {
    if (!this.#open) return false
    if (this.slow) this.close(codes.slow_reader.close, 'slow_reader')
    else this.#wire.push({ is: 'text', text })
    return this.#open
  }

  refuse(failure: Failure): void {
    this.send(this.#endpoint.codec.failure(failure))
    const { close } = codes[failure.code]
    if (close !== null) this.close(close, failure.code)
  }

  close(code: number, reason: string): void {
    if (!this.#open) return
    this.#open = false
    this.code = code
    this.reason = reason
  }

  admit(): void {
    this.admitted = true
  }

  probe(verdict: (alive: boolean) => void): void {
    const alarm = this.#process.alarm(this.#process.now() + PROBE_TIMEOUT, () => this.#answer(false))
    this.#probes.push({ verdict, alarm })
    this.ping()
  }

  /** The door pings: at an interval, or to see whether there is life. */
  ping(): void {
    if (!this.#open) return
    const marked = !this.#pongDue
    this.#pongDue = true
    this.#wire.push({ is: 'ping', marked })
    if (marked) this.#session.pinged()
  }

  /** The phone says something. Whatever is wrong with it is answered as the door does. Null: it was well. */
  say(message: object): Failure | null {
    return this.sayText(JSON.stringify(message))
  }

  sayText(text: string): Failure | null {
    if (!this.#open) return null
    this.#answer(true)
    if (!this.#open) return null
    try {
      this.#session.message(this.#endpoint.codec.read(text), text)
      return null
    } catch (error) {
      // Anything else is our mistake, which the test should see.
      if (!(error instanceof Failure)) throw error
      this.refuse(error)
      return error
    }
  }

  /** So much of what is on the wire arrives. Pongs are back at once. Returns the texts. */
  receive(count = Number.POSITIVE_INFINITY): string[] {
    if (this.#gone) return []
    const arrived: string[] = []
    for (const thing of this.#wire.splice(0, count)) {
      if (thing.is === 'text') arrived.push(thing.text)
      else if (this.#pongs && this.#open) this.#ponged(thing.marked)
    }
    this.got.push(...arrived)
    return arrived
  }

  /** The wire is cut, or the close that the server began is through; or the phone says goodbye. */
  end(goodbye = false): void {
    if (this.#gone) return
    const said = goodbye && this.#open
    this.#gone = true
    this.#open = false
    this.#wire = []
    if (!this.#process.alive) return
    this.#answer(false)
    this.#session.closed(said)
  }

  #ponged(marked: boolean): void {
    this.#answer(true)
    if (!marked) return
    this.#pongDue = false
    this.#session.ponged()
  }

  #answer(alive: boolean): void {
    for (const { verdict, alarm } of this.#probes.splice(0)) {
      alarm.cancel()
      verdict(alive)
    }
  }
}
