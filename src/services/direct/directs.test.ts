// The whole service against a model of it: whatever happens in whatever order, every device is told what the model says
// it is told, in that order and once, or that something is missing.
import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { Client, DirectWorld, settle } from '../../../test/kit/direct-world.ts'

const RING = 60_000
const GRACE = 15_000
const MOST_DEVICES = 5
const MOST_EARLY = 32
/** `dave` never proves anything. */
const NAMES = ['alice', 'bob', 'carol', 'dave'] as const
const UNPROVEN = 'dave'

type Name = (typeof NAMES)[number]

/** A registration and its resumes, as the model has it. */
interface Device {
  readonly number: number
  readonly name: Name
  /** Who speaks for it now, or did last. */
  client: Client
  at: 'here' | 'away' | 'gone'
  until: number
  byRestart: boolean
  /** It is rung; otherwise another device has its place. */
  seated: boolean
  /** What it is to be told of each call, and what it was. */
  readonly owed: Map<Call, string[]>
  readonly heard: Map<Call, string[]>
  /** The server said that something is missing here: how much of each call it had heard then. */
  readonly gaps: Map<Call, number>[]
  /** So many of the frames that follow may have something missing after them. */
  replayed: number
}

interface Call {
  id: string
  readonly caller: Device
  readonly target: Name
  readonly until: number
  /** `accepted`: by a device of the target, while the caller is away. */
  at: 'ringing' | 'accepted' | 'active' | 'ended'
  callee: Device | null
  ringing: Set<Device>
  early: string[]
  wasActive: boolean
  reason: string
}

type Move =
  | { is: 'register'; name: Name }
  | { is: 'resume'; device: number; stale: boolean }
  | { is: 'initiate'; device: number; target: Name }
  | { is: 'accept' | 'reject' | 'end'; device: number; call: number }
  | { is: 'relay'; device: number; call: number; count: number; type: 'ICE_CANDIDATE' | 'CALL_NEGOTIATE' }
  | { is: 'receive'; device: number; count: number }
  | { is: 'ping' | 'cut' | 'goodbye' | 'slow'; device: number }
  | { is: 'pass'; span: number }
  | { is: 'restart'; how: 'closed' | 'killed' }

class Schedule {
  readonly world: DirectWorld
  readonly #waking: boolean
  #devices: Device[] = []
  readonly #calls: Call[] = []
  readonly #byId = new Map<string, Call>()
  /** When somebody rang out, and was rung by whom. */
  #rungOut: { name: Name; at: number; limited: boolean }[] = []
  readonly #acquainted = new Set<string>()
  #frames = 0
  /** Calls that lived when the server went down without calling their wake-ups off. */
  readonly #uncancelled = new Set<string>()

  constructor(waking: boolean) {
    this.#waking = waking
    this.world = new DirectWorld({ waking })
  }

  async do(move: Move): Promise<void> {
    if (move.is === 'pass') return this.#pass(move.span)
    if (move.is === 'restart') return this.#restart(move.how)
    if (move.is === 'register') return this.#register(move.name)
    if (move.is === 'resume') return this.#resume(move.device, move.stale)
    const here = this.#devices.filter(({ at }) => at === 'here')
    const device = here[move.device % Math.max(1, here.length)]
    if (device === undefined) return
    switch (move.is) {
      case 'initiate':
        return this.#initiate(device, move.target)
      case 'accept':
      case 'reject':
      case 'end':
        return this.#settle(device, move.is, this.#call(device, move.call))
      case 'relay':
        return this.#relay(device, this.#call(device, move.call), move)
      case 'receive':
        return this.#hear(device, move.count)
      case 'ping':
        return device.client.phone.ping()
      case 'cut':
        device.client.phone.end()
        return this.#drop(device)
      case 'goodbye':
        device.client.phone.end(true)
        this.#leave(device, 'peer')
        return this.#gone(device)
      case 'slow':
        // The next frame finds out. The door closes, and the client is lost.
        device.client.phone.slow = true
        device.client.say('PING')
        device.client.phone.end()
        return this.#drop(device)
    }
  }

  // Coming in.

  async #register(name: Name): Promise<void> {
    const client = Client.on(this.world)
    const proof = name === UNPROVEN ? {} : await client.proof(name, `key of ${name}`)
    client.say('REGISTER', { clientId: name, ...proof })
    const most = name === UNPROVEN ? 1 : MOST_DEVICES
    const holders = this.#seated(name)
    // Those that are there are asked for a sign of life.
    for (let i = 0; i < MOST_DEVICES + 3; i++) {
      await settle()
      if (holders.length >= most)
        for (const each of holders) if (each.at === 'here') this.#hear(each, Infinity)
    }
    const away = holders.filter(({ at }) => at === 'away')
    const room = holders.length < most || away.length > 0
    const answer = client.phone.receive()
    must(answer.length > 0, 'a REGISTER is answered')
    const { type, payload } = JSON.parse(answer[0] as string)
    must((type === 'REGISTERED') === room, `registering ${name} answers ${type} ${payload.code}`)
    if (!room) return client.phone.end()
    // Of those that are away as many lose their place as must.
    for (const each of away.slice(0, Math.max(0, holders.length - most + 1))) each.seated = false
    client.resumeToken = payload.resumeToken
    client.received = 1
    const device: Device = {
      number: this.#devices.length,
      name,
      client,
      at: 'here',
      until: 0,
      byRestart: false,
      seated: true,
      owed: new Map(),
      heard: new Map(),
      gaps: [],
      replayed: 0,
    }
    this.#devices.push(device)
    for (const call of this.#live()) if (call.target === name) this.#ring(call, device)
    for (const text of answer.slice(1)) this.#arrived(device, text)
  }

  #resume(number: number, stale: boolean): void {
    const device = this.#devices[number % Math.max(1, this.#devices.length)]
    if (device === undefined) return
    const client = Client.on(this.world)
    const token = stale
      ? device.client.resumeToken.replace(/\d+$/, (last) => String(Number(last) - 2))
      : device.client.resumeToken
    const { received } = device.client
    client.say('RESUME', { resumeToken: token, received })
    const [first = '', ...rest] = client.phone.receive()
    const { type, payload } = JSON.parse(first)
    const good = device.at !== 'gone' && !stale
    must((type === 'RESUMED') === good, `resuming answers ${type} ${payload.code}`)
    if (!good) return client.phone.end()
    device.client.phone.end()
    client.resumeToken = payload.resumeToken
    client.received = received
    device.client = client
    if (payload.gap === true) device.gaps.push(lengths(device.heard))
    device.replayed = payload.gap === true ? payload.replayed : 0
    const wasAway = device.at === 'away'
    device.at = 'here'
    const others = this.#seated(device.name)
    if (!device.seated) device.seated = others.length < (device.name === UNPROVEN ? 1 : MOST_DEVICES)
    if (wasAway) this.#isBack(device)
    if (device.seated)
      for (const call of this.#live()) if (call.target === device.name) this.#ring(call, device)
    for (const text of rest) this.#arrived(device, text)
  }

  #isBack(device: Device): void {
    const call = this.#engaged(device)
    if (call === null) return
    const other = device === call.caller ? call.callee : call.caller
    if (call.at === 'active' && other !== null) this.#owe(other, call, 'PEER_RESUMED')
    if (call.at === 'accepted' && other?.at === 'here') this.#activate(call)
  }

  // Going.

  #drop(device: Device): void {
    device.at = 'away'
    device.until = this.#now + GRACE
    device.byRestart = false
    const call = this.#engaged(device)
    if (call?.at !== 'active') return
    const other = device === call.caller ? call.callee : call.caller
    if (other !== null) this.#owe(other, call, 'PEER_RECONNECTING')
  }

  /** Its part in a call is over. */
  #leave(device: Device, by: 'peer' | 'clock'): void {
    const call = this.#engaged(device)
    device.at = 'gone'
    if (call === null) return
    if (call.at === 'active') {
      const legs = [call.caller, call.callee]
      const nobody = by === 'clock' && legs.every((leg) => leg?.at !== 'here' && leg?.byRestart)
      const lost = device === call.caller ? 'disconnect_caller' : 'disconnect_callee'
      this.#end(call, nobody ? 'server_restart' : lost)
    } else if (device === call.caller) this.#end(call, 'cancelled')
  }

  #gone(device: Device): void {
    device.at = 'gone'
    for (const call of this.#live()) call.ringing.delete(device)
    // Its place is free for one that is there and has none.
    const most = device.name === UNPROVEN ? 1 : MOST_DEVICES
    for (const other of this.#devices) {
      if (other.name !== device.name || other.at !== 'here' || other.seated) continue
      if (this.#seated(device.name).length >= most) return
      other.seated = true
      for (const call of this.#live()) if (call.target === other.name) this.#ring(call, other)
    }
  }

  async #pass(span: number): Promise<void> {
    const until = this.#now + span
    this.world.clock.leap(span)
    for (;;) {
      const due = [
        ...this.#live().flatMap((call) =>
          call.at === 'active' ? [] : [{ at: call.until, call, device: null }],
        ),
        ...this.#devices.flatMap((device) =>
          device.at === 'away' ? [{ at: device.until, call: null, device }] : [],
        ),
      ].filter(({ at }) => at <= until)
      // At one instant: calls, then callers, then the others.
      const order = ({ call, device }: (typeof due)[number]) => {
        if (call !== null || device === null) return 0
        return this.#engaged(device)?.caller === device ? 1 : 2
      }
      due.sort((a, b) => a.at - b.at || order(a) - order(b))
      const [next] = due
      if (next === undefined) return settle()
      if (next.call !== null) this.#end(next.call, 'no_answer')
      else {
        this.#leave(next.device, 'clock')
        this.#gone(next.device)
      }
    }
  }

  async #restart(how: 'closed' | 'killed'): Promise<void> {
    for (const device of this.#devices) if (device.at === 'here') this.#hear(device, 3)
    await this.world.restart(how)
    this.#rungOut = []
    this.#acquainted.clear()
    for (const call of this.#live()) {
      if (how === 'killed' || call.at === 'active') this.#uncancelled.add(call.id)
      if (call.at === 'active') continue
      call.at = 'ended'
      call.reason = 'server_restart'
    }
    for (const device of this.#devices) {
      const call = this.#engaged(device)
      device.seated = false
      device.at = call === null ? 'gone' : 'away'
      device.until = this.#now + GRACE
      device.byRestart = true
    }
    for (const call of this.#live()) {
      for (const leg of [call.callee, call.caller])
        if (leg !== null) this.#owe(leg, call, 'PEER_RECONNECTING')
    }
  }

  // Calls.

  async #initiate(device: Device, target: Name): Promise<void> {
    const refused = device.client.say('CALL_INITIATE', { targetId: target, sdpOffer: 'offer' })
    const { name } = device
    const lately = (who: Name) =>
      this.#rungOut.filter(({ name, at }) => name === who && this.#now - at < RING)
    const ringing = this.#live().filter((call) => call.at === 'ringing' && call.target === target)
    if (target === name) return must(refused === 'invalid_field', 'nobody rings itself')
    if (this.#engaged(device) !== null) return must(refused === 'invalid_message', 'a device is in one call')
    const justified = lately(name).length >= 6 || ringing.length >= 3 || this.#rungOut.length >= 12
    const limited = refused === 'rate_limited'
    this.#rungOut.push({ name, at: this.#now, limited })
    if (limited) return must(justified, 'nobody is held up without a reason')
    const took = lately(name).filter(({ limited }) => !limited).length
    must(took <= 12, 'a caller rings six times at once and six times a minute')
    must(
      ringing.length < 3 || this.#acquainted.has([name, target].sort().join()),
      'strangers ring three at a time',
    )
    const glare = this.#live().find(
      (call) => call.at === 'ringing' && call.target === name && call.caller.name === target,
    )
    if (glare !== undefined) {
      this.#hear(device, Number.POSITIVE_INFINITY)
      const named = device.client.phone.got.at(-1)?.includes(`"${glare.id}"`) === true
      return must(refused === 'glare' && named, 'the first of two wins')
    }
    const targets = this.#seated(target)
    const waking = this.#waking && targets.every(({ at }) => at === 'away')
    if (targets.length === 0 && !waking) return must(refused === 'target_offline', 'nobody is there')
    must(refused === null, `it rings: ${refused}`)
    const call: Call = {
      id: this.world.log.findLast(({ is }) => is === 'created')?.id ?? '',
      caller: device,
      target,
      until: this.#now + RING,
      at: 'ringing',
      callee: null,
      ringing: new Set(),
      early: [],
      wasActive: false,
      reason: '',
    }
    this.#calls.push(call)
    this.#byId.set(call.id, call)
    if (targets.some((each) => this.#engaged(each) !== null)) this.#end(call, 'busy')
    else {
      this.#owe(device, call, 'CALL_RINGING')
      for (const each of targets) this.#ring(call, each)
    }
    await settle()
  }

  #ring(call: Call, device: Device): void {
    if (call.at !== 'ringing' || call.ringing.has(device)) return
    // A clock that leapt rings late: a device that is seated meanwhile finds a call whose time is over.
    if (call.until <= this.#now) return
    call.ringing.add(device)
    for (const text of ['INCOMING_CALL', ...call.early]) this.#owe(device, call, text)
  }

  #settle(device: Device, what: 'accept' | 'reject' | 'end', call: Call): void {
    const payload = { callId: call.id, ...(what === 'accept' ? { sdpAnswer: 'answer' } : {}) }
    const refused = device.client.say(`CALL_${what.toUpperCase()}`, payload)
    if (call.at === 'ended') return must(refused === 'call_not_found', `what is over is over: ${refused}`)
    const isLeg = call.caller === device || call.callee === device
    if (what === 'end' && isLeg) {
      must(refused === null, 'a leg ends its call')
      if (call.at === 'active') return this.#end(call, 'ended')
      return this.#end(call, device === call.caller ? 'cancelled' : 'rejected')
    }
    if (what === 'end' && !call.ringing.has(device)) return must(refused === 'call_not_found', 'not its call')
    if (device.name !== call.target) return must(refused === 'call_not_found', 'not its call')
    const engaged = this.#engaged(device)
    if (what === 'accept' && engaged !== null && engaged !== call) {
      return must(refused === 'invalid_message', 'a device is in one call')
    }
    if (call.at !== 'ringing') return must(refused === 'call_not_ringing', `the first wins: ${refused}`)
    must(refused === null, `it is answered: ${refused}`)
    if (what !== 'accept') return this.#end(call, 'rejected')
    call.callee = device
    call.at = 'accepted'
    this.#acquainted.add([call.caller.name, call.target].sort().join())
    for (const each of call.ringing)
      if (each !== device) this.#owe(each, call, 'CALL_ENDED answered_elsewhere')
    call.ringing = new Set()
    this.#owe(call.caller, call, 'CALL_ACCEPTED')
    if (call.caller.at === 'here') this.#activate(call)
    for (const other of this.#live()) {
      if (other.at === 'ringing' && other.target === device.name) this.#end(other, 'busy')
    }
  }

  #activate(call: Call): void {
    call.at = 'active'
    call.wasActive = true
  }

  #end(call: Call, reason: string): void {
    const rejected = reason === 'rejected' || reason === 'busy'
    this.#owe(call.caller, call, `${rejected ? 'CALL_REJECTED' : 'CALL_ENDED'} ${reason}`)
    for (const each of [call.callee, ...call.ringing])
      if (each !== null) this.#owe(each, call, `CALL_ENDED ${reason}`)
    call.ringing = new Set()
    call.at = 'ended'
    call.reason = reason
  }

  #relay(device: Device, call: Call, { count, type }: Move & { is: 'relay' }): void {
    for (let i = 0; i < count; i++) {
      const frame = `${type} ${this.#frames++}`
      const field = type === 'ICE_CANDIDATE' ? 'candidate' : 'sdp'
      const refused = device.client.say(type, { callId: call.id, [field]: frame })
      if (call.at === 'ended' || (!isLeg(call, device) && !call.ringing.has(device))) {
        return must(refused === 'call_not_found', `nobody else is heard: ${refused}`)
      }
      if (!isLeg(call, device)) return must(refused === 'invalid_message', 'it must accept first')
      const to = device === call.caller ? call.callee : call.caller
      if (refused === 'buffer_full') {
        return must(to === null ? call.early.length === MOST_EARLY : to.at !== 'here', 'there is room')
      }
      must(refused === null, `a leg is heard: ${refused}`)
      if (to !== null) this.#owe(to, call, frame)
      else {
        call.early.push(frame)
        for (const each of call.ringing) this.#owe(each, call, frame)
      }
    }
  }

  // What the model says, and what arrives.

  #owe(device: Device, call: Call, text: string): void {
    if (device.at === 'gone') return
    device.owed.set(call, [...(device.owed.get(call) ?? []), text])
  }

  #hear(device: Device, count: number): void {
    for (const text of device.client.phone.receive(count)) this.#arrived(device, text)
  }

  #arrived(device: Device, text: string): void {
    const { type, payload } = JSON.parse(text)
    if (type === 'ERROR') return
    device.client.received++
    device.replayed--
    if (payload.callId === undefined) return must(type === 'PONG', `nobody asked for ${type}`)
    const call = this.#byId.get(payload.callId)
    if (call === undefined) throw new Error(`broken: ${type} of a call that is none`)
    const more = payload.reason ?? null
    const word = payload.candidate ?? payload.sdp ?? (more === null ? type : `${type} ${more}`)
    device.heard.set(call, [...(device.heard.get(call) ?? []), word])
    if (device.replayed >= 0) device.gaps.push(lengths(device.heard))
  }

  #check(device: Device, complete: boolean): void {
    const calls = new Set([...device.owed.keys(), ...device.heard.keys()])
    for (const call of calls) {
      const owed = device.owed.get(call) ?? []
      const heard = device.heard.get(call) ?? []
      const told = `device ${device.number} of ${device.name} heard [${heard}] and was owed [${owed}]`
      const gaps = new Set(device.gaps.map((gap) => gap.get(call) ?? 0))
      must(isToldOf(heard, owed, gaps, complete), told)
    }
  }

  /** Everybody reads what there is; then all time passes, or all goes away at once. */
  async finish(how: 'in time' | 'at once'): Promise<void> {
    for (const device of this.#devices) {
      if (device.at === 'here') this.#hear(device, Number.POSITIVE_INFINITY)
      this.#check(device, device.at === 'here')
    }
    if (how === 'at once') {
      for (const device of this.#devices)
        if (device.at === 'here') await this.do({ is: 'goodbye', device: 0 })
    } else {
      for (const device of this.#devices) {
        if (device.at !== 'here') continue
        device.client.phone.end()
        this.#drop(device)
      }
    }
    await this.#pass(GRACE)
    await this.#pass(RING)
    for (const device of this.#devices) this.#check(device, false)
    for (const call of this.#calls) this.#logged(call)
    await this.#nothingLeft()
  }

  #logged(call: Call): void {
    const records = this.world.log.filter(({ id }) => id === call.id)
    const told = records.map((record) => (record.is === 'ended' ? record.reason : record.is)).join(' ')
    const expected = `created initiated${call.wasActive ? ' active' : ''} ${call.reason}`
    must(told === expected, `the log is "${told}", not "${expected}"`)
    const instants = records.flatMap((record) => ('at' in record ? [record.at] : []))
    must(
      instants.every((at, i) => i === 0 || at >= (instants[i - 1] as number)),
      'the log goes forward',
    )
  }

  async #nothingLeft(): Promise<void> {
    const { directs, clock, snapshots, woken, cancelled } = this.world
    const { waiting, active } = directs.count()
    must(waiting === 0 && active === 0, 'every call ends')
    must(snapshots.size === 0, 'no snapshot is left')
    must(clock.alarms === 0, `no alarm is left, not ${clock.alarms}`)
    const { length } = woken
    must(new Set(woken.map(({ id }) => id)).size === length, 'a call wakes somebody once')
    const owed = woken.flatMap(({ id }) => (this.#uncancelled.has(id) ? [] : [id]))
    must(`${cancelled.map(({ id }) => id).sort()}` === `${owed.sort()}`, 'each wake-up is called off once')
    // Nobody is busy, nobody rings: all can call all.
    clock.leap(10 * RING)
    for (const name of NAMES) await this.#register(name)
    for (const device of this.#devices.slice(-NAMES.length)) {
      for (const target of NAMES) {
        if (target === device.name) continue
        clock.leap(RING)
        await this.#initiate(device, target)
        const call = this.#calls.at(-1) as Call
        must(call.at === 'ringing' && call.ringing.size === 1, 'it rings one device')
        this.#settle(device, 'end', call)
      }
    }
  }

  get #now(): number {
    return this.world.clock.now()
  }

  #live(): Call[] {
    return this.#calls.filter(({ at }) => at !== 'ended')
  }

  #seated(name: Name): Device[] {
    return this.#devices.filter((each) => each.name === name && each.at !== 'gone' && each.seated)
  }

  /** The call that a device is a leg of. */
  #engaged(device: Device): Call | null {
    return this.#live().find((call) => isLeg(call, device)) ?? null
  }

  /** One of the last calls, rather its own; or none at all. */
  #call(device: Device, number: number): Call {
    const own = this.#live().filter((call) => isLeg(call, device) || call.target === device.name)
    const some = number % 4 === 0 || own.length === 0 ? this.#calls.slice(-6) : own
    return some[number % Math.max(1, some.length)] ?? NO_CALL
  }
}

const NO_CALL = { id: 'no-such-call', at: 'ended' } as Call

function isLeg(call: Call, device: Device): boolean {
  return call.caller === device || call.callee === device
}

/** Whether this was heard of what was owed, in that order; where there is a gap any number may be missing. */
function isToldOf(
  heard: readonly string[],
  owed: readonly string[],
  gaps: ReadonlySet<number>,
  complete: boolean,
  from = 0,
): boolean {
  if (gaps.has(from) && owed.length > 0) {
    const rest = new Set(gaps)
    rest.delete(from)
    return owed.some((_, i) => isToldOf(heard, owed.slice(i), rest, complete, from)) || heard.length === from
  }
  if (heard.length === from) return owed.length === 0 || !complete
  return heard[from] === owed[0] && isToldOf(heard, owed.slice(1), gaps, complete, from + 1)
}

function lengths(heard: ReadonlyMap<Call, string[]>): Map<Call, number> {
  return new Map([...heard].map(([call, words]) => [call, words.length]))
}

function must(holds: boolean, promise: string): void {
  if (!holds) throw new Error(`broken: ${promise}`)
}

const device = fc.nat(11)
const number = fc.nat(11)
const name = fc.constantFrom<Name>(...NAMES, 'alice', 'bob')
const of = <const T extends string>(is: T) => fc.constant(is)
const move: fc.Arbitrary<Move> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ is: of('register'), name }) },
  {
    weight: 6,
    arbitrary: fc.record({ is: of('resume'), device, stale: fc.nat(9).map((n) => n === 0) }),
  },
  { weight: 10, arbitrary: fc.record({ is: of('initiate'), device, target: name }) },
  {
    weight: 8,
    arbitrary: fc.record({ is: fc.constantFrom('accept', 'accept', 'reject', 'end'), device, call: number }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      is: of('relay'),
      device,
      call: number,
      count: fc.constantFrom(1, 2, 3, 70),
      type: fc.constantFrom('ICE_CANDIDATE', 'CALL_NEGOTIATE'),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({ is: of('receive'), device, count: fc.integer({ min: 1, max: 9 }) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ is: fc.constantFrom('ping', 'ping', 'cut', 'cut', 'goodbye', 'slow'), device }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      is: of('pass'),
      span: fc.constantFrom(50, 1_000, 14_950, 15_000, 44_950, 60_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ is: of('restart'), how: fc.constantFrom('closed', 'killed') }) },
)

describe('whatever happens in whatever order', () => {
  test('everybody is told what the rules say, in order and once, and nothing is left when all is over', async () => {
    const lives = fc.asyncProperty(
      fc.array(move, { maxLength: 120, size: 'max' }),
      fc.boolean(),
      async (moves, waking) => {
        const schedule = new Schedule(waking)
        for (const each of moves) await schedule.do(each)
        await schedule.finish(moves.length % 2 === 0 ? 'in time' : 'at once')
      },
    )
    await fc.assert(lives, { numRuns: Number(process.env.RUNS ?? 500), includeErrorInReport: true })
    expect(true).toBe(true)
  }, 60_000)
})
