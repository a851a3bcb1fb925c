/**
 * The socket of a line, opened again whenever it is lost. A dead network closes no socket, so one that was not heard for
 * long is given up. Pings of the server are not seen by a page: where no frames come, it asks the relay for a sign.
 *
 *     connecting ──▶ open ──▶ reconnecting ──▶ open ...      busy, refused, replaced, left ──▶ closed
 */
import type { Bytes } from '../../audio/bytes.ts'
import type { Cancel, Millis } from '../../client/ports.ts'
import { writeNotice } from '../../protocol/line.ts'
import type { LinkTrouble, Link as State } from './messages.ts'
import { BUSY, LEAVING, REPLACED, RESTARTS } from './relay.ts'
import type { BinarySocket, World } from './world.ts'

/** The first wait is between half of this and this, each next one twice as long. */
const FIRST_WAIT: Millis = 250
const LONGEST_WAIT: Millis = 4_000
/** A socket that was open for so long was a good one: the next wait is the first again. */
const GOOD_AFTER: Millis = 1_000
/** A socket that is not open by then will not open. */
const OPENS_WITHIN: Millis = 6_000
const LOOKS_EVERY: Millis = 500
/** Nothing heard for so long: ask for a sign, so often. */
const ASK_AFTER: Millis = 2_000
const ASK_EVERY: Millis = 1_000
/** Nothing heard for so long: give up. Or after a nudge for so long, when the network may be another one. */
const DEAD_AFTER: Millis = 6_000
const DEAD_AFTER_NUDGE: Millis = 1_500
/** Where nothing tells whether a socket is dead, a nudge takes one of this age for it. */
const ANEW_AFTER: Millis = 10_000
/** The server may not have seen the end of this seat's last socket, or of the last page's: asked once more. */
const BUSY_RETRY: Millis = 1_000
/** Sockets in a row that did not open, until the server is asked why. */
const FAILURES_UNTIL_ASKED = 2

export interface LinkEvents {
  opened(): void
  bytes(bytes: Bytes): void
  /** The state is another one. */
  changed(): void
}

export interface LinkOptions {
  readonly world: Pick<World, 'timers' | 'origin' | 'random' | 'openSocket' | 'askServer'>
  readonly url: string
  readonly on: LinkEvents
  /** Whether something should be coming, so that nothing means that the socket is dead. */
  readonly expects: () => boolean
}

export class Link {
  readonly #options: LinkOptions
  #state: State = { at: 'connecting' }
  #socket: BinarySocket | null = null
  #alarm: Cancel = () => {}
  #tries = 0
  #failures = 0
  #wasBusy = false
  #openedAt = 0
  #heardAt = 0
  #lookedAt = 0
  #nudgedAt: Millis | null = null
  #askedAt: Millis = 0
  #left: () => void = () => {}

  constructor(options: LinkOptions) {
    this.#options = options
    this.#connect()
  }

  get state(): State {
    return this.#state
  }

  get isOpen(): boolean {
    return this.#state.at === 'open'
  }

  /** False when there is no open socket: nothing is kept for later. */
  send(bytes: Bytes): boolean {
    if (!this.isOpen || this.#socket === null) return false
    this.#socket.send(bytes)
    return true
  }

  /** Connects now, if it would wait. An open socket has to show that it is alive, or is opened anew. */
  nudge(): void {
    if (this.#state.at === 'reconnecting' && this.#socket === null) this.#connect()
    else if (this.isOpen && this.#options.expects()) {
      this.#nudgedAt ??= this.#now()
      this.#ask()
    } else if (this.isOpen && this.#now() - this.#openedAt >= ANEW_AFTER) this.#connect()
  }

  /** Says goodbye, and calls back when the server had it, if it ever does. */
  close(done: () => void): void {
    if (this.#socket === null) done()
    this.#left = done
    this.#end('left', LEAVING)
  }

  #connect(): void {
    this.#alarm()
    const { world, url } = this.#options
    const mine = (socket: BinarySocket | null) => socket !== null && socket === this.#socket
    let socket: BinarySocket | null = null
    socket = world.openSocket(url, {
      opened: () => {
        if (mine(socket)) this.#opened()
      },
      bytes: (bytes) => {
        if (mine(socket)) this.#heard(bytes)
      },
      closed: (code) => {
        if (mine(socket)) this.#closed(code)
        else if (this.#state.at === 'closed') this.#left()
      },
    })
    this.#socket = socket
    this.#alarm = world.timers.after(OPENS_WITHIN, () => this.#failed())
  }

  #opened(): void {
    this.#alarm()
    const now = this.#now()
    this.#openedAt = this.#heardAt = this.#lookedAt = now
    this.#nudgedAt = null
    this.#failures = 0
    this.#set({ at: 'open' })
    this.#lookLater()
    this.#options.on.opened()
    this.#ask()
  }

  #heard(bytes: Bytes): void {
    this.#heardAt = this.#now()
    this.#nudgedAt = null
    this.#options.on.bytes(bytes)
  }

  #closed(code: number): void {
    const wasOpen = this.isOpen
    if (code === BUSY && this.#wasBusy) return this.#end('busy')
    if (code === REPLACED) return this.#end('replaced')
    if (code === BUSY) {
      this.#wasBusy = true
      return this.#lose('lost', BUSY_RETRY)
    }
    if (RESTARTS.includes(code)) return this.#lose('server_restart')
    if (!wasOpen) return this.#failed()
    this.#lose('lost')
  }

  /** It never opened. */
  #failed(): void {
    this.#failures++
    const { trouble } = this.#state.at === 'reconnecting' ? this.#state : { trouble: 'lost' as const }
    this.#lose(trouble)
    if (this.#failures >= FAILURES_UNTIL_ASKED) void this.#askWhy()
  }

  async #askWhy(): Promise<void> {
    const { world, url } = this.#options
    const asked = this.#failures
    const server = await world.askServer(url)
    if (this.#failures !== asked || this.#state.at !== 'reconnecting') return
    if (server === 'refused') return this.#end('refused')
    this.#set({ ...this.#state, trouble: server === 'offline' ? 'offline' : 'server_down' })
  }

  #lose(trouble: LinkTrouble, least: Millis = 0): void {
    const now = this.#now()
    const wasOpen = this.isOpen
    // A server that takes sockets and closes them is not asked more often for that.
    if (wasOpen && now - this.#openedAt >= GOOD_AFTER) {
      this.#tries = 0
      this.#wasBusy = false
    }
    this.#drop()
    const { origin, random, timers } = this.#options.world
    const wait = Math.max(
      least,
      Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#tries++) * (0.5 + random() / 2),
    )
    this.#alarm = timers.after(wait, () => this.#connect())
    this.#set({ at: 'reconnecting', trouble, retryAt: origin + now + wait })
  }

  #end(why: 'busy' | 'refused' | 'replaced' | 'left', code = LEAVING): void {
    if (this.#state.at === 'closed') return
    this.#drop(code)
    this.#set({ at: 'closed', why })
  }

  #drop(code = 4000): void {
    this.#alarm()
    const socket = this.#socket
    this.#socket = null
    socket?.close(code, '')
  }

  #lookLater(): void {
    this.#alarm = this.#options.world.timers.after(LOOKS_EVERY, () => this.#look())
  }

  #look(): void {
    const now = this.#now()
    // The whole thread slept: what came meanwhile has not been read yet.
    if (now - this.#lookedAt > 4 * LOOKS_EVERY) this.#heardAt = Math.max(this.#heardAt, now - ASK_AFTER)
    this.#lookedAt = now
    if (!this.#options.expects()) {
      this.#heardAt = now
      this.#nudgedAt = null
    }
    if (this.#nudgedAt !== null && now - this.#nudgedAt >= DEAD_AFTER_NUDGE) return this.#lose('lost')
    if (now - this.#heardAt >= DEAD_AFTER) return this.#lose('silent')
    if (now - this.#heardAt >= ASK_AFTER && now - this.#askedAt >= ASK_EVERY) this.#ask()
    this.#lookLater()
  }

  #ask(): void {
    this.#askedAt = this.#now()
    this.send(writeNotice('here'))
  }

  #set(state: State): void {
    this.#state = state
    this.#options.on.changed()
  }

  #now(): Millis {
    return this.#options.world.timers.now()
  }
}
