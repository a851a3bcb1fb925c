/**
 * The direct service with everything around it made of memory: phones on wires that hold what is on its way and can be
 * cut, a directory, a log and snapshots that outlive a restart, a clock that is wound, and TURN credentials that can be
 * made to take their time. For tests of the service by itself.
 */
import type { Scheduler } from 'fast-check'
import { type CallId, callId } from '../../src/core/ids.ts'
import type {
  BoundIdentity,
  CallRecord,
  Directory,
  DirectoryKey,
  Log,
  Snapshot,
  TurnCredentials,
} from '../../src/core/ports.ts'
import type { EndReason } from '../../src/protocol/codes.ts'
import type { DirectRead } from '../../src/protocol/direct.ts'
import { Directs, type DirectTerms } from '../../src/services/direct/directs.ts'
import type { DirectTokens, Proofs } from '../../src/services/direct/trust.ts'
import { TestClock } from './clock.ts'
import { silentLog } from './log.ts'
import { uncounted } from './metrics.ts'
import { Phone } from './phone.ts'
import { ProcessClock } from './process-clock.ts'

export const HOST = 'calls.example.com'

const TERMS: DirectTerms = {
  identity: 'tofu',
  hosts: [HOST],
  ringTimeout: 60_000,
  grace: 15_000,
}

/** Tokens that a person can read. What is not one of ours reads as null. */
const tokens: DirectTokens = {
  resume: (device, generation) => `resume/${device}/${generation}`,
  readResume(token) {
    const [, device, generation] = /^resume\/([^/]+)\/(\d+)$/.exec(token) ?? []
    return device === undefined ? null : { device, generation: Number(generation) }
  },
  reject: (id) => `reject/${id}`,
  isReject: (token, id) => token === `reject/${id}`,
}

/** Signatures that a person can read, over everything that real ones are over. */
export const signed = {
  identity: (key: string, claim: { clientId: string; nonce: string; host: string }) =>
    `${key} signs ${claim.host} ${claim.clientId} ${claim.nonce}`,
  rotation: (key: string, claim: { clientId: string; newKey: string; nonce: string; host: string }) =>
    `${key} hands over ${claim.host} ${claim.clientId} ${claim.nonce} ${claim.newKey}`,
}

function proofs(): Proofs {
  let made = 0
  return {
    nonce: () => `nonce-${made++}`,
    provesIdentity: (key, signature, claim) => signature === signed.identity(key, claim),
    provesRotation: (key, signature, claim) => signature === signed.rotation(key, claim),
    checkToken: async (token, clientId) => token === `token of ${clientId}`,
  }
}

interface Entry {
  identity: BoundIdentity | null
  keys: DirectoryKey[]
}

/** A directory in memory. Each question is decided when it is asked, and answered when `gate` lets it. */
export class MemoryDirectory implements Directory {
  readonly #entries = new Map<string, Entry>()
  /** What an answer waits for. */
  gate: () => Promise<void> = async () => {}

  async find(clientId: string) {
    const { identity, keys } = this.#of(clientId)
    const found = { identity, key: keys.at(-1) ?? null }
    await this.gate()
    return found
  }

  async bind(clientId: string, before: string | null, next: BoundIdentity): Promise<boolean> {
    const entry = this.#of(clientId)
    const fits = (entry.identity?.publicKey ?? null) === before
    if (fits) entry.identity = next
    await this.gate()
    return fits
  }

  async put(clientId: string, key: DirectoryKey): Promise<boolean> {
    const { keys } = this.#of(clientId)
    const fits = key.version === keys.length + 1
    if (fits) keys.push(key)
    await this.gate()
    return fits
  }

  async history(clientId: string, after: number, limit: number): Promise<DirectoryKey[]> {
    const found = this.#of(clientId).keys.slice(after, after + limit)
    await this.gate()
    return found
  }

  async reset(clientId: string): Promise<boolean> {
    const entry = this.#of(clientId)
    const last = entry.keys.at(-1)
    const had = entry.identity !== null || (last !== undefined && last.owner !== '')
    entry.identity = null
    if (last !== undefined) entry.keys[entry.keys.length - 1] = { ...last, owner: '' }
    await this.gate()
    return had
  }

  #of(clientId: string): Entry {
    const entry = this.#entries.get(clientId) ?? { identity: null, keys: [] }
    this.#entries.set(clientId, entry)
    return entry
  }
}

export interface WorldOptions extends Partial<DirectTerms> {
  /** Who has no connection is woken. */
  readonly waking?: boolean
  readonly log?: Log
}

export class DirectWorld {
  readonly clock = new TestClock()
  /** Every record, in the order it was told. */
  readonly log: CallRecord[] = []
  readonly snapshots = new Map<CallId, string>()
  readonly directory = new MemoryDirectory()
  /** Wake-ups that were sent, and what was sent after them. */
  readonly woken: { id: CallId; targetId: string }[] = []
  readonly cancelled: { id: CallId; reason: EndReason | null }[] = []
  readonly #options: WorldOptions
  readonly #proofs = proofs()
  #made = 0
  #phones: Phone<DirectRead>[] = []
  #held: (() => void)[] | null = null
  #process: ProcessClock
  directs: Directs

  constructor(options: WorldOptions = {}) {
    this.#options = options
    this.#process = new ProcessClock(this.clock)
    this.directs = this.#start(this.#process)
  }

  /** The process ends, with or without a goodbye, and another takes up what was written. */
  async restart(how: 'closed' | 'killed', options: WorldOptions = {}): Promise<void> {
    if (how === 'closed') this.directs.close()
    else this.#process.kill()
    for (const phone of this.#phones) phone.end()
    this.#phones = []
    this.#process = new ProcessClock(this.clock)
    this.directs = this.#start(this.#process, options)
    this.directs.recover()
    this.#closeOrphans()
    await settle()
  }

  /** A connection that has said nothing yet. */
  connect(pongs = true): Phone<DirectRead> {
    const phone = new Phone(this.directs.endpoint(), this.#process, pongs)
    this.#phones.push(phone)
    return phone
  }

  /** From now on TURN credentials are not answered, until `releaseTurn`. */
  holdTurn(): void {
    this.#held ??= []
  }

  async releaseTurn(): Promise<void> {
    const held = this.#held ?? []
    this.#held = null
    for (const answer of held) answer()
    await settle()
  }

  /** The store does it at the start: calls that are open in the log and live no more. */
  #closeOrphans(): void {
    const live = new Set<string>(this.directs.liveIds())
    const ended = new Set(this.log.filter(({ is }) => is === 'ended').map(({ id }) => id))
    for (const { is, id } of [...this.log]) {
      if (is !== 'created' || live.has(id) || ended.has(id)) continue
      const at = this.clock.now()
      this.log.push({ is: 'ended', id, at, reason: 'server_restart', by: 'clock', detail: null })
    }
  }

  #start(clock: ProcessClock, more: WorldOptions = {}): Directs {
    const { log, snapshots, directory } = this
    const { waking = false, log: lines = silentLog, ...terms } = { ...this.#options, ...more }
    return new Directs({
      terms: { ...TERMS, ...terms },
      clock,
      callLog: {
        append: (record) => void log.push(record),
        synced: async () => {},
        retract: () => {},
      },
      snapshots: {
        // As text, so that a snapshot that is not plain JSON is found out.
        save: (snapshot) => void snapshots.set(snapshot.call.id, JSON.stringify(snapshot)),
        drop: (id) => void snapshots.delete(id),
        load: () => [...snapshots.values()].map((text) => JSON.parse(text) as Snapshot),
      },
      directory,
      proofs: this.#proofs,
      tokens,
      turn: { credentials: () => this.#credentials() },
      waking: waking
        ? {
            wake: ({ id, targetId }) => void this.woken.push({ id, targetId }),
            cancel: ({ id, reason }) => void this.cancelled.push({ id, reason }),
          }
        : null,
      metrics: uncounted,
      log: lines,
      newId: () => callId(`id-${this.#made++}`),
      digest: (text) => new Bun.CryptoHasher('sha256').update(text).digest('base64url'),
    })
  }

  async #credentials(): Promise<TurnCredentials> {
    const held = this.#held
    if (held !== null) await new Promise<void>((resolve) => held.push(resolve))
    return { iceServers: [], expiresAt: null }
  }
}

/** Everything that waits for nothing but its turn is done. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** A client of the service in a test: the phone, and what it takes to come in. */
export class Client {
  readonly world: DirectWorld
  readonly phone: Phone<DirectRead>
  resumeToken = ''
  /** Text frames got, as the protocol has them counted. */
  received = 0

  constructor(world: DirectWorld, phone: Phone<DirectRead>) {
    this.world = world
    this.phone = phone
  }

  static on(world: DirectWorld, pongs = true): Client {
    return new Client(world, world.connect(pongs))
  }

  /** Says something; the name of the code when it was refused at once. */
  say(type: string, payload: object = {}): string | null {
    return this.phone.say({ type, payload })?.code ?? null
  }

  /** What has arrived since the last time. */
  // biome-ignore lint/suspicious/noExplicitAny: every message there is.
  hear(): any[] {
    const messages = this.phone.receive().map((text) => JSON.parse(text))
    for (const { type, payload } of messages) {
      if (type === 'REGISTERED') this.received = 0
      if (type === 'REGISTERED' || type === 'RESUMED') this.resumeToken = payload.resumeToken
      if (type !== 'RESUMED' && type !== 'ERROR') this.received++
    }
    return messages
  }

  /** Types of what has arrived, errors by their code, ends with their reason. */
  heard(): string[] {
    return this.hear().map(({ type, payload }) =>
      type === 'ERROR' ? payload.code : payload.reason === undefined ? type : `${type} ${payload.reason}`,
    )
  }

  /** What REGISTER needs to prove an id with a key. */
  async proof(clientId: string, key: string): Promise<{ identityKey: string; signature: string }> {
    this.say('HELLO')
    const nonce = this.hear().find(({ type }) => type === 'WELCOME')?.payload.nonce ?? ''
    return { identityKey: key, signature: signed.identity(key, { clientId, nonce, host: HOST }) }
  }

  /** Without a key it proves nothing. Throws when it is refused. */
  async register(clientId: string, key?: string): Promise<this> {
    this.say('REGISTER', { clientId, ...(key === undefined ? {} : await this.proof(clientId, key)) })
    await settle()
    const heard = this.hear()
    if (heard.at(0)?.type !== 'REGISTERED') throw new Error(`not registered: ${JSON.stringify(heard)}`)
    return this
  }

  /** Takes up the device of another connection. */
  resume(before: Client): this {
    this.received = before.received
    this.say('RESUME', { resumeToken: before.resumeToken, received: before.received })
    return this
  }
}

export async function registered(world: DirectWorld, clientId: string, key?: string): Promise<Client> {
  return Client.on(world).register(clientId, key)
}

/** A device of an id that is proved by the key of that id. */
export function proven(world: DirectWorld, clientId: string): Promise<Client> {
  return registered(world, clientId, `key of ${clientId}`)
}

export interface Ringing {
  readonly world: DirectWorld
  readonly caller: Client
  readonly callee: Client
  readonly callId: string
}

/** `alice` rings `bob`, both of them proven, and both have been told so. */
export async function ringing(options: WorldOptions = {}): Promise<Ringing> {
  const world = new DirectWorld(options)
  const caller = await proven(world, 'alice')
  const callee = await proven(world, 'bob')
  return { world, caller, callee, callId: await ring(caller, 'bob', [callee]) }
}

/** Rings, and lets everybody hear of it. The id of the call. */
export async function ring(caller: Client, targetId: string, callees: readonly Client[]): Promise<string> {
  const refused = caller.say('CALL_INITIATE', { targetId, sdpOffer: 'offer' })
  await settle()
  const rings = caller.hear().find(({ type }) => type === 'CALL_RINGING')
  if (rings === undefined) throw new Error(`it does not ring: ${refused}`)
  for (const callee of callees) callee.hear()
  return rings.payload.callId
}

/** `bob` has accepted the call of `alice`. */
export async function answered(options: WorldOptions = {}): Promise<Ringing> {
  const call = await ringing(options)
  call.callee.say('CALL_ACCEPT', { callId: call.callId, sdpAnswer: 'answer' })
  call.caller.hear()
  return call
}

/**
 * Answers all that waits in this scheduler, in the order it draws, and what follows from it. `between`: what phones do
 * meanwhile.
 */
export async function drain(scheduler: Scheduler, between = () => {}): Promise<void> {
  await settle()
  while (scheduler.count() > 0) {
    await scheduler.waitOne()
    await settle()
    between()
    await settle()
  }
}
