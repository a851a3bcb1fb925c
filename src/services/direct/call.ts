/**
 * One direct call: the call as `core` steps it, the caller's device, and the callee's: those that ring, and the one
 * that accepted. Says the core's notices in the direct service's words. Deliberately not here: who may call whom, and
 * finding the call a message is about (directs.ts).
 */
import {
  type Call,
  type CallEvent,
  type Effect,
  type Live,
  type Notice,
  recover,
  step,
} from '../../core/call.ts'
import type { CallId, Millis, Side } from '../../core/ids.ts'
import type { Alarm, CallLog, Clock, Log, Metrics, Snapshots } from '../../core/ports.ts'
import { type EndReason, fail } from '../../protocol/codes.ts'
import type { DirectDown } from '../../protocol/direct.ts'
import { type Device, isKept, type KeptDevice } from './device.ts'

export const CALLER: Side = 0
export const CALLEE: Side = 1
const PARTIES = ['caller', 'callee'] as const

export interface CallWorld {
  /** The one call that a device is a leg of, ringing out or active. */
  readonly engaged: Map<Device, DirectCall>
  readonly clock: Clock
  readonly callLog: CallLog
  readonly snapshots: Snapshots
  readonly metrics: Metrics
  readonly log: Log
  /** The call is over and can be forgotten. */
  readonly ended: (call: DirectCall) => void
}

/** What is kept of an active call in its snapshot. Plain JSON. */
export interface DirectDetail {
  readonly devices: readonly [KeptDevice, KeptDevice]
  readonly startedAt: Millis
}

export class DirectCall {
  readonly id: CallId
  readonly callerId: string
  readonly calleeId: string
  /** Kept while it rings, for a device of the callee that registers meanwhile. */
  readonly offer: string
  /** When it stops ringing. */
  readonly expiresAt: Millis
  readonly #world: CallWorld
  readonly #startedAt: Millis
  #call: Call
  readonly #caller: Device
  /** The callee's device, once one accepted. */
  #callee: Device | null = null
  #ringing = new Set<Device>()
  /** Candidates that the caller sent while it rang, for a device that is rung later. */
  #early: string[] = []
  #alarm: Alarm | null = null

  constructor(
    call: Live,
    parties: { caller: Device; calleeId: string; offer: string; startedAt: Millis },
    world: CallWorld,
  ) {
    this.id = call.id
    this.callerId = parties.caller.clientId
    this.calleeId = parties.calleeId
    this.offer = parties.offer
    this.expiresAt = call.until ?? parties.startedAt
    this.#startedAt = parties.startedAt
    this.#call = call
    this.#caller = parties.caller
    this.#world = world
  }

  /** The caller is in, and its clock runs. */
  begin(): void {
    this.#world.engaged.set(this.#caller, this)
    this.apply({ is: 'join', side: CALLER })
    this.#setAlarm(this.#call.at === 'waiting' ? this.#call.until : null)
  }

  /** Takes an active call up after a restart; both devices have yet to come back. */
  recover(callee: Device): void {
    if (this.#call.at === 'ended') return
    this.#callee = callee
    for (const device of [this.#caller, callee]) this.#world.engaged.set(device, this)
    const [next, effects] = recover(this.#call, this.#world.clock.now())
    this.#become(next, effects)
  }

  /** Made when there is something to say. */
  get #log(): Log {
    return this.#world.log.child({ call: this.id })
  }

  get state(): Call['at'] {
    return this.#call.at
  }

  /** Why it ended, or null. */
  get reason(): EndReason | null {
    return this.#call.at === 'ended' ? this.#call.reason : null
  }

  get caller(): Device {
    return this.#caller
  }

  /** Which leg a device is, or null. */
  sideOf(device: Device): Side | null {
    if (this.#caller === device) return CALLER
    return this.#callee === device ? CALLEE : null
  }

  /** Lets a device of the callee ring. It is told with `incoming`, and then what the caller sent meanwhile. */
  ring(device: Device, incoming: DirectDown): void {
    if (this.#call.at !== 'waiting' || this.#callee !== null || this.#ringing.has(device)) return
    this.#ringing.add(device)
    device.say(incoming)
    for (const text of this.#early) device.pass(text)
  }

  rings(device: Device): boolean {
    return this.#ringing.has(device)
  }

  /** A device is gone for good while it rang. */
  unring(device: Device): void {
    this.#ringing.delete(device)
  }

  /** The first device to accept is the callee's leg. Throws `call_not_ringing` for the others. The call is settled. */
  accept(device: Device, answer: string): void {
    if (this.#call.at !== 'waiting' || this.#callee !== null) throw fail('call_not_ringing')
    this.#callee = device
    this.#world.engaged.set(device, this)
    const others = [...this.#ringing].filter((each) => each !== device)
    this.#stopRinging()
    for (const other of others) other.say(endOf(this.id, 'answered_elsewhere'))
    this.#early = []
    this.apply({ is: 'join', side: CALLEE })
    // Also when the caller is away and the call not active yet: what the callee sends now must not come before it.
    this.#caller.say({ type: 'CALL_ACCEPTED', payload: { callId: this.id, sdpAnswer: answer } })
  }

  decline(): void {
    if (this.#call.at !== 'waiting' || this.#callee !== null) throw fail('call_not_ringing')
    this.apply({ is: 'decline', side: CALLEE })
  }

  /** Forwards a frame as it came. Throws `buffer_full`. The hot path. */
  relay(from: Side, text: string): void {
    const device = from === CALLER ? this.#callee : this.#caller
    if (device !== null) {
      if (!device.relay(text)) throw fail('buffer_full')
      return
    }
    if (this.#early.length === MOST_EARLY) throw fail('buffer_full')
    this.#early.push(text)
    for (const ringing of this.#ringing) ringing.pass(text)
  }

  apply(event: CallEvent): void {
    const [next, effects] = step(this.#call, event, this.#world.clock.now())
    this.#become(next, effects)
  }

  /** Lets happen what is due, though the alarm has not rung yet. */
  settle(): void {
    this.apply({ is: 'tick' })
  }

  /** Lets go of the alarm; the call lives on as its snapshot. */
  suspend(): void {
    this.#alarm?.cancel()
  }

  #become(next: Call, effects: Effect[]): void {
    const before = this.#call
    this.#call = next
    for (const effect of effects) this.#do(effect)
    if (next !== before) this.save()
    if (next.at === 'ended' && before.at !== 'ended') this.#finish()
  }

  #do(effect: Effect): void {
    switch (effect.do) {
      case 'tell':
        return this.#tell(effect.side, effect.notice)
      case 'alarm':
        return this.#setAlarm(effect.at)
      case 'record':
        return this.#record(effect.what, effect.at)
    }
  }

  #tell(side: Side, notice: Notice): void {
    const device = side === CALLER ? this.#caller : this.#callee
    if (device === null) return
    const message = this.#words(side, notice)
    if (message !== null) device.say(message)
  }

  /** A notice of the core in the words of `/signal`; null where the leg needs none. */
  #words(side: Side, notice: Notice): DirectDown | null {
    const callId = this.id
    switch (notice.is) {
      case 'away':
        return { type: 'PEER_RECONNECTING', payload: { callId, graceMs: notice.grace } }
      case 'back':
        return { type: 'PEER_RESUMED', payload: { callId } }
      // The callee knows that it accepted, and the caller was told then.
      case 'joined':
      case 'left':
      case 'warning':
        return null
      case 'ended':
        if (side === CALLER && (notice.reason === 'rejected' || notice.reason === 'busy')) {
          return { type: 'CALL_REJECTED', payload: { callId, reason: notice.reason } }
        }
        return endOf(callId, notice.reason)
    }
  }

  #record(what: 'active' | 'ended', at: Millis): void {
    const { callLog, metrics } = this.#world
    const call = this.#call
    if (call.at === 'ended' && what === 'ended') {
      callLog.append({ is: 'ended', id: this.id, at, reason: call.reason, by: call.by, detail: null })
      metrics.callEnded('direct', call.reason)
      const by = typeof call.by === 'number' ? PARTIES[call.by] : call.by
      this.#log.info({ reason: call.reason, by }, 'call ended')
    } else {
      callLog.append({ is: 'active', id: this.id, at })
      metrics.callConnected('direct', at - this.#startedAt)
      this.#log.info({}, 'call active')
    }
  }

  /** The call is over. The legs have been told; devices that still ring are told now. */
  #finish(): void {
    const call = this.#call
    const { engaged } = this.#world
    this.#alarm?.cancel()
    const stillRinging = [...this.#ringing]
    this.#stopRinging()
    for (const device of [this.#caller, this.#callee]) {
      if (device !== null && engaged.get(device) === this) engaged.delete(device)
    }
    this.#early = []
    if (call.at === 'ended') for (const device of stillRinging) device.say(endOf(this.id, call.reason))
    this.#world.ended(this)
  }

  #stopRinging(): void {
    this.#ringing = new Set()
  }

  /** Only an active call is taken up after a restart: an offer is not kept on disk, it tells where people are. */
  save(): void {
    const callee = this.#callee
    if (this.#call.at === 'active' && callee !== null) {
      const detail: DirectDetail = { devices: [kept(this.#caller), kept(callee)], startedAt: this.#startedAt }
      this.#world.snapshots.save({ call: this.#call, detail })
    } else if (this.#call.at === 'ended') {
      this.#world.snapshots.drop(this.id)
    }
  }

  #setAlarm(at: Millis | null): void {
    this.#alarm?.cancel()
    this.#alarm = at === null ? null : this.#world.clock.alarm(at, () => this.apply({ is: 'tick' }))
  }
}

/** What a snapshot holds was written by another version of the server, perhaps. */
export function isDetail(value: unknown): value is DirectDetail {
  if (typeof value !== 'object' || value === null) return false
  const { devices, startedAt } = value as Partial<DirectDetail>
  return (
    typeof startedAt === 'number' && Array.isArray(devices) && devices.length === 2 && devices.every(isKept)
  )
}

/** Candidates of the caller that are kept for a device that is rung later. */
const MOST_EARLY = 32

function kept({ id, clientId, proven, identity, line, generation }: Device): KeptDevice {
  return { id, clientId, proven, identity, line, generation }
}

function endOf(callId: string, reason: string): DirectDown {
  return { type: 'CALL_ENDED', payload: { callId, reason } }
}
