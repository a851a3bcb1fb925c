/**
 * The direct service: puts together who is registered (registrar.ts), who rings whom (switchboard.ts) and whose key is
 * whose (keys.ts), and is what main and the doors know of it. Source: the reference document "SecureCall Signaling
 * Protocol Reference", and design.md section 5 for what it leaves open. Deliberately not here: WebSocket and HTTP (the
 * doors), SQL (the store), signatures and TURN (auth), what a call is (core).
 */
import type { Heartbeat, Session, TextEndpoint } from '../../core/door.ts'
import type { CallId, Millis } from '../../core/ids.ts'
import { Limiter } from '../../core/limiter.ts'
import type {
  CallLog,
  Clock,
  Directory,
  Log,
  Metrics,
  Snapshots,
  Turn,
  TurnCredentials,
} from '../../core/ports.ts'
import { codes, fail } from '../../protocol/codes.ts'
import { DIRECT_PATH, type DirectDown, type DirectRead, directCodec } from '../../protocol/direct.ts'
import { Clients } from './clients.ts'
import type { Device } from './device.ts'
import { Keys } from './keys.ts'
import { checkId, Registrar } from './registrar.ts'
import { DirectSession, type Reception } from './session.ts'
import { Switchboard, type Waking } from './switchboard.ts'
import type { DirectTokens, IdentityMode, Proofs } from './trust.ts'

export type { Waking } from './switchboard.ts'

/** What the operator set. Spans in milliseconds. */
export interface DirectTerms {
  readonly identity: IdentityMode
  /** Names that proofs may be made for: what clients connect to, as `URL.host` writes it. The first is the one told. */
  readonly hosts: readonly string[]
  readonly ringTimeout: Millis
  readonly grace: Millis
}

export interface DirectDeps {
  readonly terms: DirectTerms
  readonly clock: Clock
  readonly callLog: CallLog
  readonly snapshots: Snapshots
  readonly directory: Directory
  readonly proofs: Proofs
  readonly tokens: DirectTokens
  readonly turn: Turn
  /** Null: who has no connection is offline. */
  readonly waking: Waking | null
  readonly metrics: Metrics
  readonly log: Log
  /** A random UUID. */
  readonly newId: () => string
  /** SHA-256 of a text, base64url. */
  readonly digest: (text: string) => string
}

/** "Max payload size 64 KB". */
export const PAYLOAD_BYTES = 64 * 1024
/** "must send a REGISTER message within 60 seconds". */
const REGISTER_TIMEOUT: Millis = 60_000
/** "Heartbeat interval 30 seconds", "Connection timeout 60 seconds (no heartbeat)". */
const HEARTBEAT: Heartbeat = { interval: 30_000, timeout: 60_000 }
/** TURN credentials that one client may ask for: twelve at once, and twelve a minute. */
const REFRESHES = 12
const MINUTE: Millis = 60_000

export class Directs {
  readonly #deps: DirectDeps
  readonly #clients = new Clients()
  readonly #keys: Keys
  readonly #registrar: Registrar
  readonly #switchboard: Switchboard
  readonly #refreshes: Limiter
  #draining = false
  #closed = false

  constructor(deps: DirectDeps) {
    const { terms, directory, clock, digest } = deps
    const { identity, grace, ringTimeout } = terms
    const clients = this.#clients
    this.#deps = deps
    this.#refreshes = new Limiter(REFRESHES, MINUTE, clock)
    this.#keys = new Keys({ directory, clients, clock, digest })
    this.#switchboard = new Switchboard({
      ...deps,
      ringTimeout,
      grace,
      clients,
      keys: this.#keys,
      credentials: (user) => this.#credentials(user),
    })
    this.#registrar = new Registrar({
      ...deps,
      identity,
      // Known for certain only once the server listens.
      get hosts() {
        return terms.hosts
      },
      grace,
      limits: { payloadBytes: PAYLOAD_BYTES, heartbeatMs: HEARTBEAT.interval, timeoutMs: HEARTBEAT.timeout },
      clients,
      credentials: (user) => this.#credentials(user),
      came: (device, how) => this.#switchboard.came(device, how),
      left: (device, how) => this.#switchboard.left(device, how),
    })
  }

  /** Takes up the calls that outlived the last process. Once, before the doors open. */
  recover(): void {
    this.#switchboard.recover((kept) => this.#registrar.recover(kept))
  }

  /** What clients connect to. */
  endpoint(): TextEndpoint<DirectRead> {
    const registrar = this.#registrar
    const switchboard = this.#switchboard
    const keys = this.#keys
    const reception: Reception = {
      hello: () => registrar.hello(),
      register: async (said, challenge, peer) => {
        if (this.#draining) throw fail('draining')
        return registrar.register(said, challenge, peer)
      },
      prove: (said, challenge, device) => registrar.prove(said, challenge, device),
      resume: (said, peer) => {
        if (this.#closed) throw fail('draining')
        return registrar.resume(said, peer)
      },
      lost: (device, peer, goodbye) => registrar.lost(device, peer, goodbye),
      initiate: (device, said) => {
        if (this.#draining) throw fail('draining')
        switchboard.initiate(device, said)
      },
      accept: (device, said) => switchboard.accept(device, said),
      reject: (device, id) => switchboard.reject(device, id),
      end: (device, id) => switchboard.end(device, id),
      relay: (device, id, text) => switchboard.relay(device, id, text),
      registerKey: async (device, said) => keys.register(device, checkId(said.clientId), said.publicKey),
      lookup: async (device, clientId) => keys.lookup(device, checkId(clientId)),
      history: async (device, { clientId, after }) => keys.history(device, checkId(clientId), after ?? 0),
      iceServers: (device) => this.#freshIceServers(device),
      failed: (error) => this.#deps.log.error({ err: error }, 'a question could not be answered'),
    }
    return {
      kind: 'direct',
      speaks: 'text',
      access: 'anybody',
      path: DIRECT_PATH,
      codec: directCodec,
      maxBytes: PAYLOAD_BYTES,
      firstWordWithin: REGISTER_TIMEOUT,
      tooLate: 'register_timeout',
      heartbeat: HEARTBEAT,
      open: (peer): Session<DirectRead> => new DirectSession(peer, reception),
    }
  }

  /** Calls that live, by state. */
  count(): { waiting: number; active: number } {
    return this.#switchboard.count()
  }

  liveIds(): CallId[] {
    return this.#switchboard.liveIds()
  }

  /** Declines a call for a client without a connection. Throws `call_not_found`, `call_not_ringing`. */
  rejectByToken(id: string, token: string): void {
    this.#switchboard.rejectByToken(id, token)
  }

  /** An operator takes the binding of an id away, and frees its key; its devices are out. False when there is none. */
  reset(clientId: string): Promise<boolean> {
    return this.#registrar.reset(clientId)
  }

  /** From now on nothing new begins; what lives goes on. */
  drain(): void {
    this.#draining = true
  }

  /** Lets go of every connection; active calls stay as snapshots, for the next process. Twice is fine. */
  close(): void {
    this.#draining = true
    this.#closed = true
    this.#switchboard.close()
    for (const device of this.#clients.all()) device.close(codes.draining.close, 'draining')
  }

  /** `user`: a leg of a call, or a client that is in none; quotas of the TURN server count by it. */
  #credentials(user: string): Promise<TurnCredentials> {
    return this.#deps.turn.credentials({ callId: user, seconds: null })
  }

  async #freshIceServers(device: Device): Promise<DirectDown> {
    const wait = this.#refreshes.take(device.clientId)
    if (wait !== null) throw fail('rate_limited', 'Too many TURN credentials.', { retryAfter: wait })
    const user = this.#switchboard.legOf(device) ?? device.clientId
    const { iceServers, expiresAt } = await this.#credentials(user)
    return { type: 'ICE_SERVERS', payload: { iceServers: [...iceServers], expiresAt } }
  }
}
