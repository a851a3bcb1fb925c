/**
 * Who somebody is: registering, proving, resuming, and being gone. Deliberately not here: what a device does once it is
 * registered (switchboard.ts, keys.ts), and how a signature is checked (auth).
 */
import type { Millis } from '../../core/ids.ts'
import type {
  BoundIdentity,
  Clock,
  Directory,
  Log,
  Metrics,
  Peer,
  TurnCredentials,
} from '../../core/ports.ts'
import { codes, fail, NORMAL_CLOSE } from '../../protocol/codes.ts'
import { CLIENT_ID, type DirectDown, writeDirect } from '../../protocol/direct.ts'
import { type Clients, MOST_DEVICES } from './clients.ts'
import { Device, type KeptDevice } from './device.ts'
import { NOBODY } from './keys.ts'
import type { Challenge, Said } from './session.ts'
import { type DirectTokens, type IdentityMode, type Proofs, told } from './trust.ts'

export interface RegistrarDeps {
  readonly identity: IdentityMode
  /** Names that proofs may be made for: what clients connect to. The first is the one told. */
  readonly hosts: readonly string[]
  readonly grace: Millis
  readonly limits: (DirectDown & { type: 'WELCOME' })['payload']['limits']
  readonly clients: Clients
  readonly directory: Directory
  readonly proofs: Proofs
  readonly tokens: DirectTokens
  readonly clock: Clock
  readonly metrics: Metrics
  readonly log: Log
  /** A random UUID. */
  readonly newId: () => string
  /** TURN credentials for a client that is in no call yet. */
  readonly credentials: (clientId: string) => Promise<TurnCredentials>
  /** A device is registered, or is back. */
  readonly came: (device: Device, how: 'new' | 'back') => void
  /** A device's connection is lost and may come back; it said goodbye; it is gone for good. */
  readonly left: (device: Device, how: 'lost' | 'goodbye' | 'gone') => void
}

/** A nonce is good for so long. */
const NONCE_GOOD: Millis = 30_000
const FEATURES = ['resume', 'negotiate', 'identity', 'history', 'turn']

/** What a REGISTER proves, checked and not yet written down. */
type Proof =
  | { is: 'none' }
  | { is: 'token' }
  /** By this key; the id is bound to it already, or is to be bound; and then to the next one. */
  | { is: 'key'; key: string; bound: boolean; next: string | null }

export class Registrar {
  readonly #deps: RegistrarDeps

  constructor(deps: RegistrarDeps) {
    this.#deps = deps
  }

  hello(): [Challenge, DirectDown] {
    const { proofs, clock, limits } = this.#deps
    const nonce = proofs.nonce()
    const welcome: DirectDown = { type: 'WELCOME', payload: { nonce, features: [...FEATURES], limits } }
    return [{ nonce, expiresAt: clock.now() + NONCE_GOOD }, welcome]
  }

  /** Rejects with `invalid_client_id`, `client_id_taken`, `identity_required`, `identity_invalid`, `key_refused`. */
  async register(said: Said<'REGISTER'>, challenge: Challenge | null, peer: Peer): Promise<Device> {
    const { clients, directory, newId, came } = this.#deps
    const clientId = checkId(said.clientId)
    const proof = await this.#checkProof(said, challenge, null)
    const proven = proof.is !== 'none'
    // Whoever is there and alive stays, and then nothing is bound either; but who hands the id over comes in alone.
    if (!handsOver(proof)) await this.#makeRoom(clientId, proof)
    await this.#bind(clientId, proof, null)
    const credentials = await this.#deps.credentials(clientId)
    const { identity, key } = await directory.find(clientId)
    // No more waiting from here on, so that what is found now holds, and it is not rung before it is told.
    this.#checkStill(proof, identity)
    if (!this.#hasRoom(clientId, proven)) throw fail('client_id_taken')
    if (!peer.open) throw fail('not_registered')
    const id = newId()
    const device = new Device(
      // A registration begins a line of connections, which is named after it.
      { id, clientId, proven, identity: keyOf(proof), line: id },
      key,
      peer,
    )
    clients.add(device)
    peer.admit({ client: clientId }, device)
    this.#sayRegistered(device, credentials)
    came(device, 'new')
    return device
  }

  /** A registered device proves its identity after all. Rejects as `register` does. */
  async prove(said: Said<'REGISTER'>, challenge: Challenge | null, device: Device): Promise<void> {
    const proof = await this.#checkProof(said, challenge, device)
    await this.#bind(device.clientId, proof, device)
    device.proven = proof.is !== 'none'
    device.identity = keyOf(proof)
    this.#sayRegistered(device, await this.#deps.credentials(device.clientId))
  }

  /** Throws `resume_failed`. */
  resume({ resumeToken, received }: Said<'RESUME'>, peer: Peer): Device {
    const { tokens, metrics, came } = this.#deps
    const claim = tokens.readResume(resumeToken)
    const device = claim === null ? null : this.#stillThere(claim.device)
    const replay = device === null || claim === null ? null : device.back(peer, claim.generation, received)
    if (device === null || replay === null) throw fail('resume_failed')
    this.#seat(device)
    peer.admit({ client: device.clientId }, device)
    const { frames, gap } = replay
    const payload = { replayed: frames.length, resumeToken: tokens.resume(device.id, device.generation) }
    peer.send(writeDirect({ type: 'RESUMED', payload: gap ? { ...payload, gap } : payload }))
    for (const text of frames) peer.send(text)
    metrics.resumed('direct')
    came(device, 'back')
    return device
  }

  /** A device's connection is gone: for good, or until it comes back within the grace. */
  lost(device: Device, peer: Peer, goodbye: boolean): void {
    if (!device.lost(peer)) return
    this.#deps.left(device, goodbye ? 'goodbye' : 'lost')
    if (goodbye || this.#deps.grace <= 0) this.#drop(device)
    else this.#awaitBack(device)
  }

  /** The device of a call that outlived the last process: it may resume, and is not rung. */
  recover(kept: KeptDevice): Device {
    const { clients } = this.#deps
    const known = clients.byId(kept.id)
    if (known !== null) return known
    const device = new Device(kept, null, null)
    device.generation = kept.generation
    clients.keep(device)
    this.#awaitBack(device)
    void this.#recall(device)
    return device
  }

  /** An operator takes the binding of an id away, and frees its key; its devices are out. False when there is none. */
  async reset(clientId: string): Promise<boolean> {
    const { directory, clients, log } = this.#deps
    const found = await directory.reset(checkId(clientId))
    if (!found) return false
    // Whoever has the id would keep its owner out of it.
    for (const device of clients.everyOf(clientId)) this.#drop(device, codes.taken_over.close, 'taken_over')
    log.warn({ client: clientId }, 'identity reset by an operator')
    return true
  }

  /** Changes nothing: what is wrong is found before anything is written down. */
  async #checkProof(
    said: Said<'REGISTER'>,
    challenge: Challenge | null,
    device: Device | null,
  ): Promise<Proof> {
    const { identity: mode, proofs, directory, clients } = this.#deps
    if (mode === 'open') return { is: 'none' }
    if (mode === 'jwt') {
      if (said.token === undefined) throw fail('identity_required')
      if (!(await proofs.checkToken(said.token, said.clientId))) throw fail('identity_invalid')
      return { is: 'token' }
    }
    // Where nobody has to make room, it is enough to look when all else is done: `#checkStill`.
    const isAlone = device === null && clients.everyOf(said.clientId).length === 0
    if (said.identityKey === undefined && isAlone) return { is: 'none' }
    const { identity, key } = await directory.find(said.clientId)
    if (said.identityKey === undefined) {
      if (identity !== null) throw fail('identity_required')
      return { is: 'none' }
    }
    const next = this.#checkSignatures(said, challenge)
    if (identity !== null && identity.publicKey !== said.identityKey) throw fail('identity_invalid')
    // A key that somebody set is not handed over to whoever binds the id first.
    if (identity === null && key !== null && key.owner !== NOBODY && key.owner !== device?.line) {
      throw fail('key_refused', 'This id has a key; bind it from the connection that set it.')
    }
    return { is: 'key', key: said.identityKey, bound: identity !== null, next }
  }

  /** Returns the key that the id is handed over to, or null. */
  #checkSignatures(said: Said<'REGISTER'>, challenge: Challenge | null): string | null {
    const { proofs, hosts, clock } = this.#deps
    const { clientId, identityKey = '', signature = '', rotation } = said
    if (challenge === null || clock.now() > challenge.expiresAt) {
      throw fail('identity_invalid', 'Ask for a nonce with HELLO first; it is good once, for 30 s.')
    }
    const { nonce } = challenge
    const host = hosts.find((name) =>
      proofs.provesIdentity(identityKey, signature, { clientId, nonce, host: name }),
    )
    // A client that signs for another name than the operator set cannot find out otherwise.
    if (host === undefined) throw fail('identity_invalid', `The proof does not hold for ${hosts[0]}.`)
    if (rotation === undefined) return null
    const newKey = rotation.newIdentityKey
    const claim = { clientId, newKey, nonce, host }
    if (!proofs.provesRotation(identityKey, rotation.signature, claim)) throw fail('identity_invalid')
    return newKey
  }

  /** By now somebody else may have bound the id, or handed it over. */
  #checkStill(proof: Proof, identity: BoundIdentity | null): void {
    if (this.#deps.identity !== 'tofu') return
    if (proof.is === 'none' && identity !== null) throw fail('identity_required')
    if (proof.is === 'key' && identity?.publicKey !== keyOf(proof)) throw fail('identity_invalid')
  }

  /** `self`: the device that proves it, if it is one already. */
  async #bind(clientId: string, proof: Proof, self: Device | null): Promise<void> {
    if (proof.is !== 'key') return
    const { directory, clients, clock, log } = this.#deps
    const boundAt = clock.now()
    const { key, bound, next } = proof
    if (!bound && !(await directory.bind(clientId, null, { publicKey: key, boundAt })))
      throw fail('identity_invalid')
    if (next === null) return
    if (!(await directory.bind(clientId, key, { publicKey: next, boundAt }))) throw fail('identity_invalid')
    log.info({ client: clientId }, 'identity rotated')
    // Whoever came in by the old key is out: it may be a thief's.
    for (const other of clients.everyOf(clientId)) {
      if (other !== self) this.#drop(other, codes.taken_over.close, 'taken_over')
    }
  }

  /**
   * Proven devices of one client live side by side, up to a number. Without proof a client id has one device. A living
   * one stays, and whoever comes second is told so; one that does not answer any more makes room, and one that is there
   * without proof when the id has become somebody's.
   */
  async #makeRoom(clientId: string, proof: Proof): Promise<void> {
    const { clients } = this.#deps
    const proven = proof.is !== 'none'
    for (const holder of clients.of(clientId)) {
      if (isOwner(proof) && !holder.proven) {
        this.#drop(holder, codes.taken_over.close, 'taken_over')
        continue
      }
      const together = proven && holder.proven
      if (together && clients.of(clientId).length < MOST_DEVICES) continue
      const { peer } = holder
      if (peer !== null && !(await isAlive(peer)) && holder.peer === peer) {
        peer.close(codes.heartbeat_timeout.close, 'heartbeat_timeout')
        this.lost(holder, peer, false)
      }
      // Meanwhile it may also have been lost, gone, or back on another connection.
      if (holder.peer !== null) {
        if (!together) throw fail('client_id_taken')
      } else if (clients.byId(holder.id) === holder) clients.keep(holder)
    }
    if (!this.#hasRoom(clientId, proven)) throw fail('client_id_taken')
  }

  #hasRoom(clientId: string, proven: boolean): boolean {
    const holders = this.#deps.clients.of(clientId)
    const together = proven && holders.every((holder) => holder.proven)
    return holders.length < (together ? MOST_DEVICES : 1)
  }

  /** A device that has come back is rung again, unless somebody else has its place. */
  #seat(device: Device): void {
    const { clients } = this.#deps
    if (clients.of(device.clientId).includes(device)) return
    if (this.#hasRoom(device.clientId, device.proven)) clients.add(device)
  }

  /** The device, unless its grace is over, though the alarm has not rung yet. */
  #stillThere(id: string): Device | null {
    const { clients, clock } = this.#deps
    const device = clients.byId(id)
    if (device?.grace == null || device.grace.until > clock.now()) return device
    this.#drop(device)
    return null
  }

  /** What became of a device's key and identity; nobody could ask when it was taken up. */
  async #recall(device: Device): Promise<void> {
    const { directory, identity: mode } = this.#deps
    try {
      const { identity, key } = await directory.find(device.clientId)
      device.key ??= key
      if (mode !== 'tofu' || identity?.publicKey === device.identity) return
      device.proven = false
      device.identity = null
    } catch {} // Then it is not shown at the ring.
  }

  #sayRegistered(device: Device, turn: TurnCredentials): void {
    const { clientId, id, generation } = device
    const resumeToken = this.#deps.tokens.resume(id, generation)
    device.say({ type: 'REGISTERED', payload: { clientId, resumeToken, ...told(turn) } })
  }

  #awaitBack(device: Device): void {
    const { clock, grace } = this.#deps
    const until = clock.now() + grace
    device.grace = { until, alarm: clock.alarm(until, () => this.#drop(device)) }
  }

  /** A device is gone for good. One that was kept aside has its place now. */
  #drop(device: Device, code: number = NORMAL_CLOSE, reason = ''): void {
    const { clients, left, came } = this.#deps
    clients.remove(device)
    device.close(code, reason)
    left(device, 'gone')
    for (const other of clients.asideOf(device.clientId)) {
      if (other.peer === null || !this.#hasRoom(other.clientId, other.proven)) continue
      clients.add(other)
      came(other, 'back')
    }
  }
}

/** Throws `invalid_client_id`. */
export function checkId(clientId: string): string {
  if (!CLIENT_ID.test(clientId)) throw fail('invalid_client_id')
  return clientId
}

/** The key that the id is bound to when this proof is taken. */
function keyOf(proof: Proof): string | null {
  return proof.is === 'key' ? (proof.next ?? proof.key) : null
}

/** Of an id that was somebody's before. */
function isOwner(proof: Proof): boolean {
  return proof.is === 'token' || (proof.is === 'key' && proof.bound)
}

function handsOver(proof: Proof): boolean {
  return proof.is === 'key' && proof.bound && proof.next !== null
}

function isAlive(peer: Peer): Promise<boolean> {
  return new Promise((resolve) => peer.probe(resolve))
}
