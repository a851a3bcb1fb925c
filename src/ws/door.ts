/**
 * The WebSocket door: bytes to messages and back. It bounds, beats and closes connections, and decides nothing about
 * calls. Who may come in (origin, rate, route) was decided by the HTTP door before the upgrade.
 */
import type { Server, WebSocketHandler } from 'bun'
import type { Endpoint, Query, Rates } from '../core/door.ts'
import type { Clock, Log, Metrics } from '../core/ports.ts'
import { codes } from '../protocol/codes.ts'
import { BytesConnection } from './bytes.ts'
import { type Arrival, type Connection, type ConnectionWorld, MAX_UNREAD } from './connection.ts'
import { TextConnection } from './text.ts'

/** Bytes over the largest message that are still read, to be answered. */
const NARROWLY = 8 * 1024

export interface WsDeps {
  readonly endpoints: readonly Endpoint[]
  /** What the operator lets every connection send in messages. */
  readonly rates: Rates
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

export class WsDoor {
  readonly #endpoints: ReadonlyMap<string, Endpoint>
  readonly #world: ConnectionWorld
  readonly #connections = new Set<Connection>()
  #whenEmpty: (() => void)[] = []

  constructor(deps: WsDeps) {
    this.#endpoints = new Map(deps.endpoints.map((endpoint) => [endpoint.path, endpoint]))
    this.#world = {
      rates: deps.rates,
      clock: deps.clock,
      log: deps.log,
      metrics: deps.metrics,
      allowances: new WeakMap(),
      gone: (connection) => {
        this.#connections.delete(connection)
        deps.metrics.socketClosed()
        if (this.#connections.size === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve()
      },
    }
  }

  /** Paths that take an upgrade. */
  get paths(): readonly string[] {
    return [...this.#endpoints.keys()]
  }

  /** Connections that are open or closing. */
  get size(): number {
    return this.#connections.size
  }

  /** Who may connect on a path. */
  accessOf(path: string): Endpoint['access'] {
    return this.#endpoints.get(path)?.access ?? 'anybody'
  }

  /** Whether the address says what its path wants. Throws a Failure. */
  check(path: string, query: Query): void {
    const endpoint = this.#endpoints.get(path)
    if (endpoint?.speaks === 'bytes') endpoint.check(query)
  }

  /** Answers a handshake on one of the paths; false when the runtime does not take it for one. */
  upgrade(request: Request, server: Server<Connection>, path: string, arrival: Arrival): boolean {
    const endpoint = this.#endpoints.get(path)
    if (endpoint === undefined) return false
    const data =
      endpoint.speaks === 'bytes'
        ? new BytesConnection(endpoint, arrival, this.#world)
        : new TextConnection(endpoint, arrival, this.#world)
    return server.upgrade(request, { data })
  }

  /** For the runtime's server. */
  handlers(): WebSocketHandler<Connection> {
    const largest = Math.max(...[...this.#endpoints.values()].map((endpoint) => endpoint.maxBytes))
    return {
      // Somewhat over the limit, so that a message that misses it narrowly is answered with the limit's name.
      maxPayloadLength: largest + NARROWLY,
      // Heartbeats are ours: the runtime's own would hide from us when a connection was last heard.
      idleTimeout: 0,
      sendPings: false,
      // Saves nothing on ciphertext and short messages, and costs memory for each connection.
      perMessageDeflate: false,
      // The connection closes before this, also when the largest message makes it too much; the runtime must never
      // drop a frame in silence, nor close while a service is in the middle of a change.
      backpressureLimit: 4 * MAX_UNREAD + 2 * largest,
      closeOnBackpressureLimit: true,
      open: (ws) => {
        this.#connections.add(ws.data)
        this.#world.metrics.socketOpened()
        ws.data.opened(ws)
      },
      message: (ws, data) => ws.data.received(data),
      ping: (ws) => ws.data.pinged(),
      pong: (ws, payload) => ws.data.ponged(payload),
      close: (ws, code) => ws.data.closed(code),
    }
  }

  /** Closes every connection that its service has not closed. Resolves when all are gone. Twice is fine. */
  async close(): Promise<void> {
    for (const connection of this.#connections) connection.close(codes.draining.close, 'draining')
    if (this.#connections.size > 0) await new Promise<void>((resolve) => this.#whenEmpty.push(resolve))
  }
}
