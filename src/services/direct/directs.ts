/**
 * The direct service: who is registered, who rings whom, whose key is whose. Source: the reference document "SecureCall
 * Signaling Protocol Reference", and design.md section 5 for what it leaves open. Deliberately not here: WebSocket and
 * HTTP (the doors), SQL (the store), signatures and TURN (auth), what a call is (core).
 */
import { open } from '../../core/call.ts'
import type { Endpoint, Session } from '../../core/door.ts'
import { type CallId, callId, type Millis } from '../../core/ids.ts'
import { Limiter } from '../../core/limiter.ts'
import type { CallLog, Clock, Directory, Log, Metrics, Peer, Snapshots } from '../../core/ports.ts'
import { codes, type EndReason, fail, NORMAL_CLOSE } from '../../protocol/codes.ts'
import { CLIENT_ID, type DirectDown, type DirectUp, directCodec, writeDirect } from '../../protocol/direct.ts'
import { CALLEE, type CallWorld, DirectCall, type DirectDetail, type KeptDevice } from './call.ts'
import { Clients, MOST_DEVICES } from './clients.ts'
import { Device } from './device.ts'
import { Keys } from './keys.ts'
import { type Challenge, DirectSession, type Reception, type Said } from './session.ts'
import type { DirectTokens, IdentityMode, Proofs, Turn } from './trust.ts'

/** What the operator set. Spans in milliseconds. */
export interface DirectTerms {
  readonly identity: IdentityMode
  /** The name that proofs are made for: what the client connected to. */
  readonly host: string
  readonly ringTimeout: Millis
  readonly grace: Millis
  readonly heartbeat: { readonly interval: Millis; readonly timeout: Millis }
}

/** Sends word to an app's backend that somebody without a connection is rung. */
export interface Waking {
  wake(call: {
    readonly id: CallId
    readonly callerId: string
    readonly targetId: string
    readonly expiresAt: Millis
    readonly rejectToken: string
  }): void
  cancel(call: { readonly id: CallId; readonly targetId: string; readonly reason: EndReason | null }): void
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
  readonly digest: (text: string) => string
}

export const SIGNAL_PATH = '/signal'
/** "Max payload size 64 KB". */
export const PAYLOAD_BYTES = 64 * 1024
/** "must send a REGISTER message within 60 seconds". */
const REGISTER_TIMEOUT: Millis = 60_000
/** A nonce is good for so long. */
const NONCE_GOOD: Millis = 30_000
/** Calls that one client may start: six at once, and six a minute. */
const RINGS_OUT = 6
/** Rings that one client may get: twelve at once, and twelve a minute; and so many at the same time. */
const RINGS_IN = 12
const PENDING_RINGS = 3
const MINUTE: Millis = 60_000
const MOST_ACQUAINTED = 100_000
/** TURN credentials outlive a call by this, in seconds; a call without a limit is taken to last this long. */
const TURN_SECONDS = 4 * 3600
const FEATURES = ['resume', 'negotiate', 'identity', 'history', 'turn'] as const

export class Directs {
  readonly #deps: DirectDeps
  readonly #clients = new Clients()
  readonly #keys: Keys
  readonly #world: CallWorld
  readonly #calls = new Map<string, DirectCall>()
  /** Calls that ring a client, by client id: also those that no device rings for yet. */
  readonly #incoming = new Map<string, Set<DirectCall>>()
  /** Calls that a wake-up was sent for. */
  readonly #woken = new Set<DirectCall>()
  /** Pairs of clients who have talked, the oldest first. */
  readonly #acquainted = new Set<string>()
  readonly #ringsOut: Limiter
  readonly #ringsIn: Limiter
  #draining = false

  constructor(deps: DirectDeps) {
    this.#deps = deps
    const { directory, clock, digest } = deps
    this.#keys = new Keys({ directory, clients: this.#clients, clock, digest })
    this.#ringsOut = new Limiter(RINGS_OUT, MINUTE, clock)
    this.#ringsIn = new Limiter(RINGS_IN, MINUTE, clock)
    this.#world = { ...deps, ended: (call) => this.#forget(call) }
  }

  /** Takes up the calls that outlived the last process. Once, before the doors open. */
  recover(): void {
    for (const { call, detail } of this.#deps.snapshots.load('direct')) {
      if (call.at !== 'active') continue
      const { devices, startedAt } = detail as DirectDetail
      const [caller, callee] = devices.map((kept) => this.#recoverDevice(kept)) as [Device, Device]
      const parties = { caller, calleeId: callee.clientId, offer: '', startedAt }
      const taken = new DirectCall(call, parties, this.#world)
      this.#calls.set(taken.id, taken)
      taken.recover(callee)
    }
  }

  /** What clients connect to. */
  endpoint(): Endpoint<DirectUp> {
    const reception: Reception = {
      hello: () => this.#hello(),
      register: (said, challenge, peer) => this.#register(said, challenge, peer),
      prove: (said, challenge, device) => this.#prove(said, challenge, device),
      resume: (said, peer) => this.#resume(said, peer),
      initiate: (device, said) => this.#initiate(device, said),
      accept: (device, said) => this.#accept(device, said),
      reject: (device, id) => this.#reject(device, id),
      end: (device, id) => this.#end(device, id),
      relay: (device, id, text) => this.#relay(device, id, text),
      registerKey: (device, said) => this.#keys.register(device, checkId(said.clientId), said.publicKey),
      lookup: (device, clientId) => this.#keys.lookup(device, checkId(clientId)),
      history: (device, { clientId, after }) => this.#keys.history(device, checkId(clientId), after ?? 0),
      iceServers: (device) => this.#freshIceServers(device),
      lost: (device, peer, goodbye) => this.#lost(device, peer, goodbye),
    }
    return {
      kind: 'direct',
      path: SIGNAL_PATH,
      codec: directCodec,
      maxBytes: PAYLOAD_BYTES,
      firstWordWithin: REGISTER_TIMEOUT,
      tooLate: 'register_timeout',
      open: (peer): Session<DirectUp> => new DirectSession(peer, reception),
    }
  }

  /** Calls that live, by state. */
  count(): { waiting: number; active: number } {
    let active = 0
    for (const call of this.#calls.values()) if (call.state === 'active') active++
    return { waiting: this.#calls.size - active, active }
  }

  liveIds(): CallId[] {
    return [...this.#calls.values()].map((call) => call.id)
  }

  /** Declines a call for a client without a connection, with the token of its wake-up. */
  rejectByToken(id: string, token: string): void {
    const call = this.#calls.get(id)
    if (call === undefined || !this.#deps.tokens.isReject(token, id)) throw fail('call_not_found')
    call.decline()
  }

  /** An operator takes the binding of an id away. False when there is none. */
  async reset(clientId: string): Promise<boolean> {
    const found = await this.#deps.directory.reset(checkId(clientId))
    for (const device of this.#clients.of(clientId)) {
      device.proven = false
      if (device.key !== null) device.key = { ...device.key, owner: '' }
    }
    if (found) this.#deps.log.warn({ client: clientId }, 'identity reset by an operator')
    return found
  }

  drain(): void {
    this.#draining = true
  }

  /** Lets go of every connection; active calls stay as snapshots. Twice is fine. */
  close(): void {
    this.#draining = true
    for (const call of this.#calls.values()) {
      call.suspend()
    }
    for (const device of this.#clients.all()) device.close(codes.draining.close, 'draining')
    this.#calls.clear()
  }

  #recoverDevice(kept: KeptDevice): Device {
    const known = this.#clients.byId(kept.id)
    if (known !== null) return known
    const device = new Device(kept, null, null)
    device.generation = kept.generation
    this.#clients.keep(device)
    this.#awaitBack(device)
    return device
  }

  // ─── who somebody is ───

  #hello(): [Challenge, DirectDown] {
    const nonce = this.#deps.proofs.nonce()
    const { heartbeat } = this.#deps.terms
    const limits = {
      payloadBytes: PAYLOAD_BYTES,
      heartbeatMs: heartbeat.interval,
      timeoutMs: heartbeat.timeout,
    }
    return [
      { nonce, expiresAt: this.#deps.clock.now() + NONCE_GOOD },
      { type: 'WELCOME', payload: { nonce, features: [...FEATURES], limits } },
    ]
  }

  async #register(said: Said<'REGISTER'>, challenge: Challenge | null, peer: Peer): Promise<Device> {
    if (this.#draining) throw fail('draining')
    const clientId = checkId(said.clientId)
    const proven = await this.#checkIdentity(said, challenge, null)
    const { key } = await this.#deps.directory.find(clientId)
    await this.#makeRoom(clientId, proven)
    if (!peer.open) throw fail('not_registered')
    const id = this.#deps.newId()
    const device = new Device({ id, clientId, proven, line: this.#deps.newId() }, key, peer)
    this.#clients.add(device)
    peer.admit({ client: clientId }, device)
    const { iceServers, expiresAt } = await this.#credentials('', TURN_SECONDS)
    const resumeToken = this.#deps.tokens.resume(device.id, device.generation)
    device.say({
      type: 'REGISTERED',
      payload: { clientId, resumeToken, iceServers, iceExpiresAt: expiresAt },
    })
    // Whoever rings this client already rings its new device as well.
    for (const call of this.#incoming.get(clientId) ?? []) this.#ring(call, device)
    return device
  }

  async #prove(said: Said<'REGISTER'>, challenge: Challenge | null, device: Device): Promise<void> {
    device.proven = await this.#checkIdentity(said, challenge, device)
    const resumeToken = this.#deps.tokens.resume(device.id, device.generation)
    const { iceServers, expiresAt } = await this.#credentials('', TURN_SECONDS)
    device.say({
      type: 'REGISTERED',
      payload: { clientId: device.clientId, resumeToken, iceServers, iceExpiresAt: expiresAt },
    })
  }

  /** Whether the client is proven to be who it says. Throws `identity_required`, `identity_invalid`, `key_refused`. */
  async #checkIdentity(
    said: Said<'REGISTER'>,
    challenge: Challenge | null,
    device: Device | null,
  ): Promise<boolean> {
    const { proofs, terms, directory } = this.#deps
    switch (terms.identity) {
      case 'open':
        return false
      case 'jwt':
        if (said.token === undefined) throw fail('identity_required')
        if (!(await proofs.checkToken(said.token, said.clientId))) throw fail('identity_invalid')
        return true
      case 'tofu': {
        const { identity, key } = await directory.find(said.clientId)
        if (said.identityKey === undefined) {
          if (identity !== null) throw fail('identity_required')
          return false
        }
        this.#checkProof(said, challenge)
        if (identity === null) {
          // A key that somebody set is not handed over to whoever binds the id first.
          const pinned = key !== null && key.owner !== '' && key.owner !== device?.line
          if (pinned) throw fail('key_refused', 'This id has a key; bind it from the connection that set it.')
        } else if (identity.publicKey !== said.identityKey) throw fail('identity_invalid')
        await this.#bind(said, challenge, identity?.publicKey ?? null)
        return true
      }
    }
  }

  #checkProof(said: Said<'REGISTER'>, challenge: Challenge | null): void {
    const { proofs, terms, clock } = this.#deps
    const { clientId, identityKey = '', signature = '' } = said
    if (challenge === null || clock.now() > challenge.expiresAt) {
      throw fail('identity_invalid', 'Ask for a nonce with HELLO first; it is good once, for 30 s.')
    }
    const claim = { clientId, nonce: challenge.nonce, host: terms.host }
    if (!proofs.provesIdentity(identityKey, signature, claim)) throw fail('identity_invalid')
  }

  async #bind(said: Said<'REGISTER'>, challenge: Challenge | null, bound: string | null): Promise<void> {
    const { proofs, terms, clock, directory } = this.#deps
    const { clientId, identityKey = '', rotation } = said
    const boundAt = clock.now()
    if (bound === null && !(await directory.bind(clientId, null, { publicKey: identityKey, boundAt }))) {
      throw fail('identity_invalid')
    }
    if (rotation === undefined) return
    const newKey = rotation.newIdentityKey
    const claim = { clientId, newKey, nonce: challenge?.nonce ?? '', host: terms.host }
    if (!proofs.provesRotation(identityKey, rotation.signature, claim)) throw fail('identity_invalid')
    if (!(await directory.bind(clientId, identityKey, { publicKey: newKey, boundAt })))
      throw fail('identity_invalid')
    this.#deps.log.info({ client: clientId }, 'identity rotated')
  }

  /**
   * Proven devices of one client live side by side, up to a number. Without proof a client id has one device, and a
   * living one stays: whoever comes second is told so, unless the first does not answer any more.
   */
  async #makeRoom(clientId: string, proven: boolean): Promise<void> {
    for (const holder of this.#clients.of(clientId)) {
      const together = proven && holder.proven
      if (together && this.#clients.of(clientId).length < MOST_DEVICES) continue
      const { peer } = holder
      if (peer === null) this.#clients.retire(holder)
      else if (await isAlive(peer)) throw fail('client_id_taken')
      else this.#drop(holder)
    }
    const left = this.#clients.of(clientId)
    if (left.length >= (proven ? MOST_DEVICES : 1)) throw fail('client_id_taken')
    if (left.some((holder) => !(proven && holder.proven))) throw fail('client_id_taken')
  }

  #resume({ resumeToken, received }: Said<'RESUME'>, peer: Peer): Device {
    const claim = this.#deps.tokens.readResume(resumeToken)
    const device = claim === null ? null : this.#clients.byId(claim.device)
    if (claim === null || device === null || device.generation !== claim.generation)
      throw fail('resume_failed')
    const replay = device.back(peer, received)
    if (replay === null) throw fail('resume_failed')
    peer.admit({ client: device.clientId }, device)
    const { frames, gap } = replay
    const payload = {
      replayed: frames.length,
      resumeToken: this.#deps.tokens.resume(device.id, device.generation),
    }
    peer.send(writeDirect({ type: 'RESUMED', payload: gap ? { ...payload, gap } : payload }))
    for (const text of frames) peer.send(text)
    this.#deps.metrics.resumed('direct')
    const { call } = device
    const side = call?.sideOf(device) ?? null
    if (call !== null && side !== null) {
      call.apply({ is: 'resume', side })
      call.save()
    }
    for (const ringing of this.#incoming.get(device.clientId) ?? []) this.#ring(ringing, device)
    return device
  }

  /** A device's connection is gone: for good, or until it comes back within the grace. */
  #lost(device: Device, peer: Peer, goodbye: boolean): void {
    if (!device.lost(peer)) return
    const { call } = device
    const side = call?.sideOf(device) ?? null
    const { grace } = this.#deps.terms
    if (call !== null && side !== null) call.apply({ is: goodbye ? 'leave' : 'drop', side })
    if (goodbye || grace <= 0) this.#drop(device)
    else this.#awaitBack(device)
  }

  #awaitBack(device: Device): void {
    const { clock, terms } = this.#deps
    device.grace = clock.alarm(clock.now() + terms.grace, () => this.#drop(device))
  }

  /** A device is gone for good. */
  #drop(device: Device): void {
    for (const ringing of device.ringing) ringing.unring(device)
    this.#clients.remove(device)
    const { call } = device
    const side = call?.sideOf(device) ?? null
    device.close(NORMAL_CLOSE, '')
    if (call !== null && side !== null) call.apply({ is: 'leave', side })
  }

  // ─── calls ───

  #initiate(device: Device, said: Said<'CALL_INITIATE'>): void {
    if (this.#draining) throw fail('draining')
    const targetId = checkId(said.targetId)
    const { clientId } = device
    if (targetId === clientId)
      throw fail('invalid_field', 'targetId must be somebody else', { field: 'targetId' })
    if (device.call !== null) throw fail('invalid_message', 'This device is in a call already.')
    this.#checkRate(clientId, targetId)
    const glare = [...(this.#incoming.get(clientId) ?? [])].find((call) => call.callerId === targetId)
    if (glare !== undefined) throw fail('glare', undefined, { callId: glare.id })
    const targets = this.#clients.of(targetId)
    const connected = targets.some((target) => target.peer !== null)
    if (targets.length === 0 && this.#deps.waking === null) throw fail('target_offline')
    const call = this.#open(device, targetId, said)
    if (this.#isBusy(targetId)) return call.apply({ is: 'end', reason: 'busy', by: CALLEE })
    this.#await(call, targetId)
    const waking = !connected && this.#deps.waking !== null
    if (waking) this.#wake(call)
    this.#tellRinging(call, device, waking)
  }

  /** Somebody whom the target has talked to before is not held up by strangers who flood it. */
  #checkRate(callerId: string, targetId: string): void {
    const out = this.#ringsOut.take(callerId)
    if (out !== null) throw fail('rate_limited', 'Too many calls.', { retryAfter: out })
    if (this.#acquainted.has(pair(callerId, targetId))) return
    const pending = this.#incoming.get(targetId)?.size ?? 0
    const wait = pending >= PENDING_RINGS ? this.#deps.terms.ringTimeout : this.#ringsIn.take(targetId)
    if (wait !== null) throw fail('rate_limited', 'Too many calls.', { retryAfter: wait })
  }

  #acquaint(call: DirectCall): void {
    this.#acquainted.add(pair(call.callerId, call.calleeId))
    if (this.#acquainted.size <= MOST_ACQUAINTED) return
    const [oldest] = this.#acquainted
    if (oldest !== undefined) this.#acquainted.delete(oldest)
  }

  #open(device: Device, targetId: string, said: Said<'CALL_INITIATE'>): DirectCall {
    const { clock, callLog, metrics, terms, newId } = this.#deps
    const now = clock.now()
    const id = callId(newId())
    const window = said.ringTimeout === undefined ? terms.ringTimeout : said.ringTimeout * 1000
    const parties = { caller: device, calleeId: targetId, offer: said.sdpOffer, startedAt: now }
    const call = new DirectCall(
      open(id, { kind: 'direct', limit: null, grace: terms.grace }, window, now),
      parties,
      this.#world,
    )
    const { clientId } = device
    callLog.append({
      is: 'created',
      id,
      at: now,
      kind: 'direct',
      subject: null,
      parties: [clientId, targetId],
      metadata: null,
    })
    callLog.append({ is: 'initiated', id, by: clientId })
    metrics.callOpened('direct')
    this.#calls.set(id, call)
    call.begin()
    return call
  }

  /** Busy: a device of the client is in a call, or ringing somebody. */
  #isBusy(clientId: string): boolean {
    return this.#clients.of(clientId).some((device) => device.call !== null)
  }

  #await(call: DirectCall, targetId: string): void {
    const incoming = this.#incoming.get(targetId) ?? new Set()
    this.#incoming.set(targetId, incoming.add(call))
  }

  #wake(call: DirectCall): void {
    this.#woken.add(call)
    const { id, callerId, calleeId: targetId, expiresAt } = call
    this.#deps.waking?.wake({ id, callerId, targetId, expiresAt, rejectToken: this.#deps.tokens.reject(id) })
  }

  /** The caller is told at once, so that it can cancel; then every device of the callee rings. */
  #tellRinging(call: DirectCall, caller: Device, waking: boolean): void {
    void this.#credentials(call.id, TURN_SECONDS).then(({ iceServers }) => {
      if (call.state !== 'waiting') return
      const payload = { callId: call.id, targetId: call.calleeId, expiresAt: call.expiresAt, iceServers }
      caller.say({ type: 'CALL_RINGING', payload: waking ? { ...payload, state: 'waking' } : payload })
      for (const device of this.#clients.of(call.calleeId)) this.#ring(call, device)
    })
  }

  #ring(call: DirectCall, device: Device): void {
    if (call.rings(device)) return
    const { id, callerId, offer, expiresAt } = call
    const callerKey = this.#keys.atRing(call.caller)
    void this.#credentials(id, TURN_SECONDS).then(({ iceServers }) => {
      const payload = { callId: id, callerId, sdpOffer: offer, expiresAt, iceServers }
      call.ring(device, {
        type: 'INCOMING_CALL',
        payload: callerKey === null ? payload : { ...payload, callerKey },
      })
    })
  }

  #accept(device: Device, { callId: id, sdpAnswer }: Said<'CALL_ACCEPT'>): void {
    const call = this.#calleeCall(device, id)
    if (device.call !== null && device.call !== call) {
      throw fail('invalid_message', 'This device is in another call.')
    }
    call.accept(device, sdpAnswer)
    this.#settled(call)
    this.#acquaint(call)
    // In a call now: whoever else rings is told that the line is busy.
    for (const other of this.#incoming.get(device.clientId) ?? []) {
      other.apply({ is: 'end', reason: 'busy', by: CALLEE })
    }
  }

  #reject(device: Device, id: string): void {
    this.#calleeCall(device, id).decline()
  }

  #end(device: Device, id: string): void {
    const call = this.#calls.get(id)
    const side = call?.sideOf(device) ?? null
    if (call !== undefined && side !== null) return call.apply({ is: 'hangUp', side })
    if (call?.rings(device) === true) return call.decline()
    throw fail('call_not_found')
  }

  #relay(device: Device, id: string, text: string): void {
    // Nearly always it is the call that the device is in.
    const call = device.call?.id === id ? device.call : this.#calls.get(id)
    const side = call?.sideOf(device) ?? null
    if (call !== undefined && side !== null) return call.relay(side, text)
    if (call?.rings(device) === true) throw fail('invalid_message', 'Accept the call first.')
    throw fail('call_not_found')
  }

  /** A call in which the device is, or could have been, the callee's. */
  #calleeCall(device: Device, id: string): DirectCall {
    const call = this.#calls.get(id)
    if (call === undefined || call.calleeId !== device.clientId) throw fail('call_not_found')
    return call
  }

  /** The call rings nobody any more. */
  #settled(call: DirectCall): void {
    const incoming = this.#incoming.get(call.calleeId)
    incoming?.delete(call)
    if (incoming?.size === 0) this.#incoming.delete(call.calleeId)
  }

  #forget(call: DirectCall): void {
    this.#calls.delete(call.id)
    this.#settled(call)
    if (this.#woken.delete(call)) {
      this.#deps.waking?.cancel({ id: call.id, targetId: call.calleeId, reason: call.reason })
    }
  }

  // ─── TURN ───

  async #credentials(id: string, seconds: number) {
    const { iceServers, expiresAt } = await this.#deps.turn.credentials({ callId: id, seconds })
    return { iceServers: [...iceServers], expiresAt }
  }

  async #freshIceServers(device: Device): Promise<DirectDown> {
    const { iceServers, expiresAt } = await this.#credentials(device.call?.id ?? '', TURN_SECONDS)
    return { type: 'ICE_SERVERS', payload: { iceServers, expiresAt } }
  }
}

function checkId(clientId: string): string {
  if (!CLIENT_ID.test(clientId)) throw fail('invalid_client_id')
  return clientId
}

/** The same for both directions. */
function pair(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`
}

function isAlive(peer: Peer): Promise<boolean> {
  return new Promise((resolve) => peer.probe(resolve))
}
