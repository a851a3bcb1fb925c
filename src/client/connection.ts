/**
 * One WebSocket from opening to loss: gives up when it does not open, says a word when nothing was heard for a while,
 * and calls it lost when still nothing comes, since a dead network closes no socket. Deliberately not here: coming
 * back (each service's signalling does) and what the texts mean.
 */
import type { Cancel, Millis, OpenSocket, Socket, Timers } from './ports.ts'

/** A socket that is not open by then will not open. */
export const OPENS_WITHIN: Millis = 8_000
/** Nothing heard for so long: send a heartbeat. */
export const IDLE: Millis = 4_000
/** Nothing heard for so long, heartbeats notwithstanding: the connection is dead. */
export const DEAD: Millis = 11_000

export interface Rhythm {
  readonly idle: Millis
  readonly dead: Millis
}

/** Of a connection that somebody talks over. */
export const CLOSE_WATCH: Rhythm = { idle: IDLE, dead: DEAD }

const LOOKS_EVERY: Millis = 1_000

/** Close number of a connection that ended without a closing frame. RFC 6455 section 7.1.5. */
const ABNORMAL = 1006

export interface ConnectionEvents {
  opened(): void
  text(text: string): void
  /** The connection is lost; not told after `close`. */
  lost(code: number): void
}

export class Connection {
  readonly #timers: Timers
  readonly #heartbeat: string
  readonly #on: ConnectionEvents
  readonly #rhythm: () => Rhythm
  readonly #socket: Socket
  #at: 'opening' | 'open' | 'gone' = 'opening'
  #timer: Cancel
  #heard: Millis = 0
  #beat: Millis = 0
  /** The first heartbeat since something was heard. */
  #unanswered: Millis | null = null

  /**
   * `heartbeat` is a text that the server answers. `rhythm` is asked at every look, so that a connection can be watched
   * closely for a while. Throws what `openSocket` throws: an address that is none.
   */
  constructor(
    url: string,
    heartbeat: string,
    timers: Timers,
    openSocket: OpenSocket,
    on: ConnectionEvents,
    rhythm: () => Rhythm = () => CLOSE_WATCH,
  ) {
    this.#timers = timers
    this.#heartbeat = heartbeat
    this.#on = on
    this.#rhythm = rhythm
    this.#socket = openSocket(url, {
      opened: () => this.#opened(),
      text: (text) => this.#text(text),
      closed: (code) => this.#lose(code),
    })
    this.#timer = timers.after(OPENS_WITHIN, () => this.#lose(ABNORMAL))
  }

  /** False when the connection is not open. */
  send(text: string): boolean {
    if (this.#at !== 'open') return false
    this.#socket.send(text)
    return true
  }

  /** Closes after what was sent before. Nothing is told from here on. */
  close(code: number, reason: string): void {
    if (this.#at === 'gone') return
    this.#at = 'gone'
    this.#timer()
    this.#socket.close(code, reason)
  }

  #opened(): void {
    if (this.#at !== 'opening') return
    this.#at = 'open'
    this.#timer()
    this.#heard = this.#beat = this.#timers.now()
    this.#timer = this.#timers.after(LOOKS_EVERY, () => this.#look())
    this.#on.opened()
  }

  #text(text: string): void {
    if (this.#at !== 'open') return
    this.#heard = this.#timers.now()
    this.#unanswered = null
    this.#on.text(text)
  }

  #look(): void {
    const now = this.#timers.now()
    const { idle, dead } = this.#rhythm()
    // Counted from the first heartbeat that got no answer, which a calmer rhythm may have put off.
    if (this.#unanswered !== null && now - this.#unanswered >= dead - idle) return this.#lose(ABNORMAL)
    if (now - this.#heard >= idle && now - this.#beat >= idle) {
      this.#beat = now
      this.#unanswered ??= now
      this.#socket.send(this.#heartbeat)
    }
    this.#timer = this.#timers.after(LOOKS_EVERY, () => this.#look())
  }

  #lose(code: number): void {
    if (this.#at === 'gone') return
    this.#at = 'gone'
    this.#timer()
    // Not 1000, which would be a goodbye. A socket that is closed already takes no notice.
    this.#socket.close(4000, 'lost')
    this.#on.lost(code)
  }
}
