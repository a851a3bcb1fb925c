/** What a service offers the WebSocket door: one path, and one session for each connection on it. */
import type { CodeName, Failure } from '../protocol/codes.ts'
import type { Millis } from './ids.ts'
import type { Kind } from './kinds.ts'
import type { BytesPeer, Peer } from './ports.ts'

/** One that speaks in messages, or one that carries bytes as they are. A frame of the other sort is refused. */
export type Endpoint = TextEndpoint<unknown> | BytesEndpoint

interface Common {
  readonly kind: Kind
  readonly path: string
  /** Who may connect: anybody, or who shows an API key of the line as `?apikey=` before the upgrade. */
  readonly access: 'anybody' | 'line'
  /** Largest frame, in bytes. */
  readonly maxBytes: number
  readonly heartbeat: Heartbeat
}

export interface TextEndpoint<Up> extends Common {
  readonly speaks: 'text'
  readonly codec: {
    /** The text of one frame, checked. Throws a Failure. */
    read(text: string): Up
    /** What the peer is told about its mistake. */
    failure(failure: Failure): string
  }
  /** A connection that was not admitted after so long is told `tooLate` and closed. */
  readonly firstWordWithin: Millis
  readonly tooLate: CodeName
  open(peer: Peer): Session<Up>
}

/** Who connects says in the address what it wants: there is no first word. */
export interface BytesEndpoint extends Common {
  readonly speaks: 'bytes'
  /** What a connection may send, whatever it is; over it, it is closed. */
  readonly rates: Rates
  /** Whether the address says what it must, before the upgrade. Throws a Failure. */
  check(query: Query): void
  /** `query` has been checked. The session admits the peer, or closes it. */
  open(peer: BytesPeer, query: Query): BytesSession
}

/** The query of an address. */
export interface Query {
  get(name: string): string | null
}

/** `bytesAtOnce`: how many bytes of a minute may come at once; all, unless said otherwise. */
export interface Rates {
  readonly messagesPerSecond: number
  readonly bytesPerMinute: number
  readonly bytesAtOnce?: number
}

/** How often a connection is pinged, and after how long without a frame it is dead. */
export interface Heartbeat {
  readonly interval: Millis
  readonly timeout: Millis
}

/** One connection, as its service sees it. */
export interface Session<Up> {
  /**
   * A message with the text it came as. True when it was forwarded to the other party, false when it was for the
   * server. Throws a Failure when it is wrong; then it had no effect.
   */
  message(message: Up, text: string): boolean
  /** The connection is gone; `goodbye` when the peer closed it with 1000 or without a code. Called once, last. */
  closed(goodbye: boolean): void
  /** A ping went out after everything sent so far. */
  pinged(): void
  /** The pong to the last such ping came. */
  ponged(): void
}

/** `answered`: it was for the server. `wrong`: no frame of the protocol; many close the connection. `too much`: closes it. */
export type Handled = 'relayed' | 'answered' | 'dropped' | 'wrong' | 'too much'

export interface BytesSession {
  /** A frame as it came; it may be sent on, but not changed or kept. At most `maxBytes`. Called for every frame. */
  frame(bytes: Uint8Array, now: Millis): Handled
  /** The connection is gone; `goodbye` when the peer closed it with 1000, 1001 or without a code. Called once, last. */
  closed(goodbye: boolean): void
}
