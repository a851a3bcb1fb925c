/**
 * Who rings whom: finds the call a message is about, checks that the device may say it, and keeps the rules that span
 * calls: busy, glare, several devices, floods of rings, wake-ups. One call is call.ts.
 */
import { open } from '../../core/call.ts'
import { type CallId, callId, type Millis } from '../../core/ids.ts'
import { Limiter } from '../../core/limiter.ts'
import type { CallLog, Clock, Log, Metrics, Snapshots, TurnCredentials } from '../../core/ports.ts'
import { type EndReason, fail } from '../../protocol/codes.ts'
import { CALLEE, CALLER, type CallWorld, DirectCall, isDetail } from './call.ts'
import type { Clients } from './clients.ts'
import type { Device, KeptDevice } from './device.ts'
import type { Keys } from './keys.ts'
import { checkId } from './registrar.ts'
import type { Said } from './session.ts'
import { type DirectTokens, told } from './trust.ts'

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

export interface SwitchboardDeps {
  readonly ringTimeout: Millis
  readonly grace: Millis
  readonly clients: Clients
  readonly keys: Keys
  readonly clock: Clock
  readonly callLog: CallLog
  readonly snapshots: Snapshots
  readonly tokens: DirectTokens
  /** Null: who has no connection is offline. */
  readonly waking: Waking | null
  readonly metrics: Metrics
  readonly log: Log
  readonly newId: () => string
  /** TURN credentials for a leg of a call, `callId.side`. */
  readonly credentials: (leg: string) => Promise<TurnCredentials>
}

/** Calls that one client may start: six at once, and six a minute. */
const RINGS_OUT = 6
/** Rings from strangers that one client may get: twelve at once, and twelve a minute; and so many at the same time. */
const RINGS_IN = 12
const PENDING_RINGS = 3
const MINUTE: Millis = 60_000
const MOST_ACQUAINTED = 100_000

export class Switchboard {
  readonly #deps: SwitchboardDeps
  readonly #world: CallWorld
  readonly #calls = new Map<string, DirectCall>()
  readonly #engaged = new Map<Device, DirectCall>()
  /** Calls that ring a client, by client id: also those that no device rings for yet. */
  readonly #incoming = new Map<string, Set<DirectCall>>()
  /** Calls that a wake-up was sent for. */
  readonly #woken = new Set<DirectCall>()
  /** Pairs of clients who have talked, the oldest first. */
  readonly #acquainted = new Set<string>()
  readonly #ringsOut: Limiter
  readonly #ringsIn: Limiter

  constructor(deps: SwitchboardDeps) {
    this.#deps = deps
    this.#ringsOut = new Limiter(RINGS_OUT, MINUTE, deps.clock)
    this.#ringsIn = new Limiter(RINGS_IN, MINUTE, deps.clock)
    this.#world = { ...deps, engaged: this.#engaged, ended: (call) => this.#forget(call) }
  }

  /** Takes up the active calls that outlived the last process. `device` makes or finds the device of a leg. */
  recover(device: (kept: KeptDevice) => Device): void {
    for (const { call, detail } of this.#deps.snapshots.load('direct')) {
      if (call.at !== 'active') continue
      if (!isDetail(detail)) {
        this.#deps.log.error({ call: call.id }, 'the snapshot of this call cannot be taken up')
        continue
      }
      const { devices, startedAt } = detail
      const [caller, callee] = [device(devices[0]), device(devices[1])]
      const parties = { caller, calleeId: callee.clientId, offer: '', startedAt }
      const taken = new DirectCall(call, parties, this.#world)
      this.#calls.set(taken.id, taken)
      taken.recover(callee)
    }
  }

  initiate(device: Device, said: Said<'CALL_INITIATE'>): void {
    const targetId = checkId(said.targetId)
    const { clientId } = device
    if (targetId === clientId)
      throw fail('invalid_field', 'targetId must be somebody else', { field: 'targetId' })
    if (this.#engaged.has(device)) throw fail('invalid_message', 'This device is in a call already.')
    this.#checkRate(clientId, targetId)
    const glare = [...this.#ringing(clientId)].find((call) => call.callerId === targetId)
    if (glare !== undefined) throw fail('glare', undefined, { callId: glare.id })
    const targets = this.#deps.clients.of(targetId)
    const waking = this.#deps.waking !== null && targets.every((target) => target.peer === null)
    if (targets.length === 0 && !waking) throw fail('target_offline')
    const call = this.#open(device, targetId, said)
    if (this.#isBusy(targetId)) return call.apply({ is: 'end', reason: 'busy', by: CALLEE })
    this.#incoming.set(targetId, new Set(this.#ringing(targetId)).add(call))
    if (waking) this.#wake(call)
    this.#tellRinging(call, waking)
  }

  accept(device: Device, { callId: id, sdpAnswer }: Said<'CALL_ACCEPT'>): void {
    const call = this.#callOfCallee(device, id)
    const engaged = this.#engaged.get(device)
    if (engaged !== undefined && engaged !== call)
      throw fail('invalid_message', 'This device is in another call.')
    call.accept(device, sdpAnswer)
    this.#settled(call)
    this.#acquaint(call)
    // In a call now: whoever else rings is told that the line is busy.
    for (const other of [...this.#ringing(device.clientId)]) {
      other.apply({ is: 'end', reason: 'busy', by: CALLEE })
    }
  }

  reject(device: Device, id: string): void {
    this.#callOfCallee(device, id).decline()
  }

  /** Declines a call for a client without a connection, with the token of its wake-up. */
  rejectByToken(id: string, token: string): void {
    // The token first, so that the time it takes does not tell which calls there are.
    const good = this.#deps.tokens.isReject(token, id)
    const call = this.#live(id)
    if (call === undefined || !good) throw fail('call_not_found')
    call.decline()
  }

  end(device: Device, id: string): void {
    const call = this.#live(id)
    const side = call?.sideOf(device) ?? null
    if (call !== undefined && side !== null) return call.apply({ is: 'hangUp', side })
    if (call?.rings(device) === true) return call.decline()
    throw fail('call_not_found')
  }

  /** Forwards a frame of a call as it came. The hot path. */
  relay(device: Device, id: string, text: string): void {
    const call = this.#calls.get(id)
    const side = call?.sideOf(device) ?? null
    if (call !== undefined && side !== null) return call.relay(side, text)
    if (call?.rings(device) === true) throw fail('invalid_message', 'Accept the call first.')
    throw fail('call_not_found')
  }

  /** A device is registered, or is back: whoever rings its client rings it as well. */
  came(device: Device, how: 'new' | 'back'): void {
    const call = this.#engaged.get(device)
    const side = call?.sideOf(device) ?? null
    if (how === 'back' && call !== undefined && side !== null) {
      call.apply({ is: 'resume', side })
      call.save()
    }
    if (!this.#deps.clients.of(device.clientId).includes(device)) return
    for (const ringing of this.#ringing(device.clientId)) this.#ring(ringing, device)
  }

  left(device: Device, how: 'lost' | 'goodbye' | 'gone'): void {
    const call = this.#engaged.get(device)
    const side = call?.sideOf(device) ?? null
    if (call !== undefined && side !== null) call.apply({ is: how === 'lost' ? 'drop' : 'leave', side })
    if (how === 'gone') for (const ringing of this.#ringing(device.clientId)) ringing.unring(device)
  }

  /** The leg that a device is, as `callId.side`, or null. */
  legOf(device: Device): string | null {
    const call = this.#engaged.get(device)
    const side = call?.sideOf(device) ?? null
    return call === undefined || side === null ? null : `${call.id}.${side}`
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

  /** Lets go of every alarm; active calls stay as snapshots, and phones that were woken are told not to ring. */
  close(): void {
    for (const call of this.#calls.values()) call.suspend()
    for (const { id, calleeId, state } of this.#woken) {
      if (state !== 'active') this.#deps.waking?.cancel({ id, targetId: calleeId, reason: 'server_restart' })
    }
    this.#woken.clear()
    this.#calls.clear()
  }

  /** Somebody whom the target has talked to before is not held up by strangers who flood it. */
  #checkRate(callerId: string, targetId: string): void {
    const out = this.#ringsOut.take(callerId)
    if (out !== null) throw fail('rate_limited', 'Too many calls.', { retryAfter: out })
    if (this.#acquainted.has(pair(callerId, targetId))) return
    const full = this.#ringing(targetId).size >= PENDING_RINGS
    const wait = full ? this.#deps.ringTimeout : this.#ringsIn.take(targetId)
    if (wait !== null) throw fail('rate_limited', 'Too many calls.', { retryAfter: wait })
  }

  #acquaint(call: DirectCall): void {
    this.#acquainted.add(pair(call.callerId, call.calleeId))
    if (this.#acquainted.size <= MOST_ACQUAINTED) return
    const [oldest] = this.#acquainted
    if (oldest !== undefined) this.#acquainted.delete(oldest)
  }

  #open(device: Device, targetId: string, said: Said<'CALL_INITIATE'>): DirectCall {
    const { clock, callLog, metrics, ringTimeout, grace, newId } = this.#deps
    const now = clock.now()
    const id = callId(newId())
    const { clientId } = device
    const window = said.ringTimeout === undefined ? ringTimeout : said.ringTimeout * 1000
    const parties = { caller: device, calleeId: targetId, offer: said.sdpOffer, startedAt: now }
    const call = new DirectCall(
      open(id, { kind: 'direct', limit: null, grace }, window, now),
      parties,
      this.#world,
    )
    const both = [clientId, targetId] as const
    callLog.append({
      is: 'created',
      id,
      at: now,
      kind: 'direct',
      subject: null,
      parties: both,
      metadata: null,
    })
    callLog.append({ is: 'initiated', id, by: clientId })
    metrics.callOpened('direct')
    this.#calls.set(id, call)
    call.begin()
    return call
  }

  /** A device of the client is in a call, or ringing somebody. */
  #isBusy(clientId: string): boolean {
    return this.#deps.clients.of(clientId).some((device) => this.#engaged.has(device))
  }

  #ringing(clientId: string): ReadonlySet<DirectCall> {
    return this.#incoming.get(clientId) ?? NONE
  }

  #wake(call: DirectCall): void {
    this.#woken.add(call)
    const { id, callerId, calleeId: targetId, expiresAt } = call
    this.#deps.waking?.wake({ id, callerId, targetId, expiresAt, rejectToken: this.#deps.tokens.reject(id) })
  }

  /** The caller is told at once, so that it can cancel; then every device of the callee rings. */
  #tellRinging(call: DirectCall, waking: boolean): void {
    void this.#deps.credentials(`${call.id}.${CALLER}`).then((turn) => {
      if (call.state !== 'waiting') return
      const { id, calleeId, expiresAt, caller } = call
      const payload = { callId: id, targetId: calleeId, expiresAt, ...told(turn) }
      caller.say({ type: 'CALL_RINGING', payload: waking ? { ...payload, state: 'waking' } : payload })
      for (const device of this.#deps.clients.of(calleeId)) this.#ring(call, device)
    })
  }

  #ring(call: DirectCall, device: Device): void {
    const { id, callerId, offer, expiresAt, caller } = call
    const callerKey = this.#deps.keys.atRing(caller)
    void this.#deps.credentials(`${id}.${CALLEE}`).then((turn) => {
      const payload = { callId: id, callerId, sdpOffer: offer, expiresAt, ...told(turn) }
      call.ring(device, {
        type: 'INCOMING_CALL',
        payload: callerKey === null ? payload : { ...payload, callerKey },
      })
    })
  }

  /** A call in which the device is, or could have been, the callee's. */
  #callOfCallee(device: Device, id: string): DirectCall {
    const call = this.#live(id)
    if (call === undefined || call.calleeId !== device.clientId) throw fail('call_not_found')
    return call
  }

  /** A call that lives. One whose time is over ends now, though its alarm has not rung yet. */
  #live(id: string): DirectCall | undefined {
    this.#calls.get(id)?.settle()
    return this.#calls.get(id)
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
    if (!this.#woken.delete(call)) return
    this.#deps.waking?.cancel({ id: call.id, targetId: call.calleeId, reason: call.reason })
  }
}

const NONE: ReadonlySet<DirectCall> = new Set()

/** The same for both directions. */
function pair(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`
}
