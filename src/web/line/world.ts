/**
 * What the worker of a line needs of where it runs. The browser has all of it; tests pass in a clock that is wound, and
 * a relay in memory. Times in ms.
 */
import type { Bytes } from '../../audio/bytes.ts'
import type { Timers } from '../../client/ports.ts'

/** One WebSocket of binary messages. */
export interface BinarySocket {
  /** After those before it. Does nothing before `opened` and after `closed`. */
  send(bytes: Bytes): void
  /** Repeated calls do nothing. */
  close(code: number, reason: string): void
}

/** What a socket tells its owner: `opened` at most once, then messages in order, then `closed` once. */
export interface BinarySocketEvents {
  opened(): void
  bytes(bytes: Bytes): void
  closed(code: number): void
}

/** Throws when the address is none. */
export type OpenBinarySocket = (url: string, on: BinarySocketEvents) => BinarySocket

/** `refused`: the server does not take the key. `there`: it answers. `down`: it does not. `offline`: no network. */
export type ServerState = 'refused' | 'there' | 'down' | 'offline'

export interface World {
  readonly timers: Timers
  /** What is added to `timers.now()` so that another thread understands it: `performance.timeOrigin`. */
  readonly origin: number
  readonly subtle: SubtleCrypto
  /** As `crypto.getRandomValues`. */
  readonly fill: (bytes: Bytes) => unknown
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly openSocket: OpenBinarySocket
  /** Asks the server behind a socket's address for its page: a socket that is refused does not say why. Never rejects. */
  readonly askServer: (socket: string) => Promise<ServerState>
}
