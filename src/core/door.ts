/** What a service offers the WebSocket door: one path, and one session for each connection on it. */
import type { CodeName, Failure } from '../protocol/codes.ts'
import type { Millis } from './ids.ts'
import type { Kind } from './kinds.ts'
import type { Peer } from './ports.ts'

export interface Endpoint<Up> {
  readonly kind: Kind
  readonly path: string
  readonly codec: {
    /** The text of one frame, checked. Throws a Failure. */
    read(text: string): Up
    /** What the peer is told about its mistake. */
    failure(failure: Failure): string
  }
  /** Largest frame, in bytes. */
  readonly maxBytes: number
  /** A connection that was not admitted after so long is told `tooLate` and closed. */
  readonly firstWordWithin: Millis
  readonly tooLate: CodeName
  readonly heartbeat: Heartbeat
  open(peer: Peer): Session<Up>
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
