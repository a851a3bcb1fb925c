import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import type { Phone } from '../../../test/kit/phone.ts'
import { RideWorld } from '../../../test/kit/ride-world.ts'
import { callId, type Side } from '../../core/ids.ts'
import type { RideRead } from '../../protocol/ride.ts'

const USERS = ['driver', 'passenger'] as const

/** One who holds a place in a call, over all the connections it had, from one `authenticated` to the next. */
interface Life {
  readonly side: Side
  token: string
  /** Text frames got, as the protocol has them counted. */
  received: number
  /** Numbers of the other party's frames, in the order they came. */
  readonly heard: number[]
  /** Positions in `heard` before which the server has said that something is gone. */
  readonly gaps: number[]
  ended: number
}

interface Line {
  readonly phone: Phone<RideRead>
  readonly call: number
  readonly side: Side
  life: Life | null
  /** The life of an earlier line that this one asks to take up. */
  readonly resuming: Life | null
  /** The phone has given this line up for another, and reads it no more. */
  abandoned: boolean
  /** The server may have heard something on it since it was taken up. */
  isHeard: boolean
  /** Number of the next frame when the server let it in. */
  seatedAt: number | null
  /** Numbers of the frames that waited for it then. */
  owed: readonly number[]
}

type Move =
  | { is: 'authenticate'; call: number; side: Side; withToken: boolean; pongs: boolean }
  | { is: 'resume'; call: number; side: Side; stale: boolean }
  | { is: 'relay'; line: number; count: number }
  | { is: 'say'; line: number; what: 'heartbeat' | 'authenticate' | 'end_call' }
  | { is: 'receive'; line: number; count: number }
  | { is: 'ping' | 'cut' | 'goodbye' | 'slow'; line: number }
  | { is: 'pass'; span: number }
  | { is: 'backend'; call: number; does: 'end' | 'extend' | 'shorten' }
  | { is: 'restart'; how: 'closed' | 'killed' }

const CALLS = 2

/** The rules of the whole service, held against whatever happens to it. */
class Schedule {
  readonly world = new RideWorld()
  readonly #ids: string[] = []
  readonly #lines: Line[] = []
  /** Last life of each leg. */
  readonly #lives = new Map<string, Life>()
  /** Numbers of the frames that the server took for each leg, without a word of refusal. */
  readonly #taken = new Map<string, number[]>()
  /** Those of them that wait for a leg because nobody sits in it. */
  readonly #held = new Map<string, number[]>()
  /** Who was let in last. */
  readonly #seated = new Map<string, Line>()
  #number = 0

  async create(): Promise<void> {
    for (let call = 0; call < CALLS; call++) {
      const request = {
        ride_id: `ride ${call}`,
        driver_id: `driver ${call}`,
        passenger_id: `passenger ${call}`,
      }
      this.#ids.push((await this.world.rides.create(request, null)).session_id)
    }
  }

  do(move: Move): void {
    switch (move.is) {
      case 'authenticate':
        this.#authenticate(move)
        break
      case 'resume':
        this.#resume(move)
        break
      case 'pass':
        this.world.clock.leap(move.span)
        break
      case 'backend':
        this.#backend(move.call, move.does)
        break
      case 'restart':
        this.world.restart(move.how)
        for (const line of this.#lines) line.isHeard = true
        this.#held.clear()
        break
      default: {
        const lines = this.#lines.filter(({ phone }) => phone.connected)
        const line = lines[move.line % Math.max(1, lines.length)]
        if (line !== undefined) this.#on(line, move)
      }
    }
    this.check()
  }

  #on(line: Line, move: Move & { line: number }): void {
    const { phone } = line
    line.isHeard = true
    switch (move.is) {
      case 'relay':
        for (let i = 0; i < move.count; i++) this.#relay(line)
        return
      case 'say':
        if (move.what === 'authenticate') phone.say(this.#introduction(line.call, line.side, false))
        else phone.say({ type: move.what })
        return
      case 'receive':
        return this.#receive(line, move.count)
      case 'ping':
        return phone.ping()
      case 'cut':
        return phone.end()
      case 'goodbye':
        return phone.end(true)
      case 'slow':
        phone.slow = true
    }
  }

  #relay({ phone, life, call, side }: Line): void {
    if (life === null || !phone.open) return
    const number = this.#number++
    const failure = phone.say({ type: 'offer', sdp: `${call} ${side} ${number}` })
    if (failure !== null) return must(failure.code === 'buffer_full', `a frame is refused: ${failure.code}`)
    const to = leg(call, 1 - side)
    push(this.#taken, to, number)
    if (!this.#seated.get(to)?.phone.connected) push(this.#held, to, number)
  }

  #introduction(call: number, side: Side, withToken: boolean): object {
    const [session_id, user_id] = [this.#ids[call], `${USERS[side]} ${call}`]
    const claim = { type: 'authenticate', session_id, user_id }
    return withToken ? { ...claim, join_token: `join/${session_id}/${side}` } : claim
  }

  #authenticate(move: Move & { is: 'authenticate' }): void {
    const line = this.#connect(move.call, move.side, null, move.pongs)
    line.phone.say(this.#introduction(move.call, move.side, move.withToken))
  }

  #resume(move: Move & { is: 'resume' }): void {
    const life = this.#lives.get(leg(move.call, move.side))
    if (life === undefined) return
    for (const line of this.#lines) {
      if (line.life === life || line.resuming === life) line.abandoned = true
    }
    const line = this.#connect(move.call, move.side, life, true)
    // The last but one is still good where the answer that brought the last may have been lost.
    const token = move.stale ? life.token.replace(/\d+$/, (last) => String(Number(last) - 2)) : life.token
    const seated = this.#seated.get(leg(move.call, move.side))
    const last = seated?.life === life || (seated?.resuming === life && !seated.isHeard)
    const failure = line.phone.say({ type: 'resume', resume_token: token, received: life.received })
    // Asked afterwards: a call whose time is over ends when somebody comes, if its alarm has not rung yet.
    const lives = this.world.rides.view(this.#ids[move.call] ?? '') !== null
    if (move.stale) must(failure?.code === 'resume_failed', 'an old token is refused')
    else if (lives && last) must(failure === null, 'the last token is good while the call lives')
  }

  #connect(call: number, side: Side, resuming: Life | null, pongs: boolean): Line {
    const line: Line = {
      phone: this.world.connect(pongs),
      call,
      side,
      life: null,
      resuming,
      abandoned: false,
      isHeard: false,
      seatedAt: null,
      owed: [],
    }
    this.#lines.push(line)
    return line
  }

  #backend(call: number, does: 'end' | 'extend' | 'shorten'): void {
    const id = this.#ids[call] ?? ''
    if (does === 'end') this.world.rides.end(id)
    else this.world.rides.extend(id, does === 'extend' ? 600 : 5)
  }

  #receive(line: Line, count: number): void {
    if (line.abandoned) return
    for (const text of line.phone.receive(count)) this.#arrived(line, JSON.parse(text))
  }

  // biome-ignore lint/suspicious/noExplicitAny: every message there is.
  #arrived(line: Line, message: any): void {
    if (message.type === 'authenticated') {
      const life = {
        side: line.side,
        token: message.resume_token,
        received: 0,
        heard: [],
        gaps: [],
        ended: 0,
      }
      line.life = life
      this.#lives.set(leg(line.call, line.side), life)
    }
    if (message.type === 'resumed') {
      const life = line.resuming
      if (life === null) throw new Error('broken: resumed without asking for it')
      line.life = life
      life.token = message.resume_token
      if (message.gap === true) life.gaps.push(life.heard.length)
      return
    }
    if (message.type === 'error' || message.type === 'unauthorized') return
    const { life } = line
    if (life === null) throw new Error(`broken: a stranger got ${message.type}`)
    life.received++
    must(life.ended === 0, 'nothing follows the end')
    if (message.type === 'call_ended' || message.type === 'call_timeout') life.ended++
    if (message.type === 'offer') this.#heard(line, life, message.sdp)
  }

  #heard(line: Line, life: Life, sdp: string): void {
    const [call, side, number] = sdp.split(' ').map(Number)
    must(call === line.call && side === 1 - line.side, 'a frame comes from the other leg of the same call')
    life.heard.push(number as number)
  }

  check(): void {
    for (const line of this.#lines) if (line.phone.admitted && line.seatedAt === null) this.#sits(line)
    for (let call = 0; call < CALLS; call++) {
      for (const side of [0, 1]) {
        const live = this.#lines.filter(
          (line) => line.call === call && line.side === side && line.phone.admitted && line.phone.open,
        )
        must(live.length <= 1, 'a leg has one live connection')
      }
    }
  }

  #sits(line: Line): void {
    const place = leg(line.call, line.side)
    line.seatedAt = this.#number
    line.owed = line.resuming === null ? (this.#held.get(place) ?? []) : []
    this.#held.delete(place)
    this.#seated.set(place, line)
  }

  /** Everybody reads what there is; then all time passes, or all is ended at once. */
  finish(how: 'in time' | 'at once'): void {
    for (const line of this.#lines) this.#receive(line, Number.POSITIVE_INFINITY)
    for (const line of this.#lines) this.#complete(line)
    if (how === 'at once') for (const id of this.#ids) this.world.rides.end(id)
    else for (let hour = 0; hour < 3; hour++) this.world.clock.leap(3_600_000)
    for (const line of this.#lines) {
      this.#receive(line, Number.POSITIVE_INFINITY)
      line.phone.end()
    }
    for (const line of this.#lines) this.#inOrder(line)
    this.#nothingLeft()
    for (const id of this.#ids) this.#logged(id)
  }

  /** Whoever is there at the end has got everything that was taken since it came in. */
  #complete({ phone, life, seatedAt, owed, call, side, abandoned }: Line): void {
    if (life === null || !phone.open || abandoned) return
    must(
      owed.every((number) => life.heard.includes(number)),
      'what waited arrives',
    )
    if (life.gaps.includes(life.heard.length)) return
    const last = Math.max(life.heard.at(-1) ?? -1, (seatedAt ?? 0) - 1)
    const taken = this.#taken.get(leg(call, side)) ?? []
    must(!taken.some((number) => number > last), 'what was taken arrives')
  }

  #inOrder({ life, call, side }: Line): void {
    if (life === null) return
    const taken = this.#taken.get(leg(call, side)) ?? []
    life.heard.forEach((number, i) => {
      const before = life.heard[i - 1]
      if (before === undefined) return
      must(number > before, 'frames come once and in order')
      const lost = taken.filter((other) => other > before && other < number)
      must(lost.length === 0 || life.gaps.includes(i), 'what is missing was said to be')
    })
  }

  #nothingLeft(): void {
    const { rides, clock, snapshots } = this.world
    const { waiting, active } = rides.count()
    must(waiting === 0 && active === 0, 'every call ends')
    must(snapshots.size === 0, 'no snapshot is left')
    must(clock.alarms === 0, 'no alarm is left')
  }

  #logged(id: string): void {
    const records = this.world.log.filter((record) => record.id === id)
    const told = records.map(({ is }) => is).join(' ')
    must(/^created( initiated)?( active)?( initiated)? ended$/.test(told), `the log is: ${told}`)
    must(told.split('initiated').length <= 2, 'one began')
    const instants = records.flatMap((record) => ('at' in record ? [record.at] : []))
    must(
      instants.every((at, i) => i === 0 || at >= (instants[i - 1] as number)),
      'the log goes forward',
    )
  }
}

function leg(call: number, side: number): string {
  return `${call} ${side}`
}

function push(map: Map<string, number[]>, key: string, number: number): void {
  map.set(key, [...(map.get(key) ?? []), number])
}

function must(holds: boolean, promise: string): void {
  if (!holds) throw new Error(`broken: ${promise}`)
}

const call = fc.nat(CALLS - 1)
const side = fc.constantFrom<Side>(0, 1)
const line = fc.nat(40)
const move: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      is: fc.constant('authenticate' as const),
      call,
      side,
      withToken: fc.boolean(),
      pongs: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      is: fc.constant('resume' as const),
      call,
      side,
      stale: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({ is: fc.constant('relay' as const), line, count: fc.constantFrom(1, 2, 3, 70) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      is: fc.constant('say' as const),
      line,
      what: fc.constantFrom('heartbeat', 'heartbeat', 'authenticate', 'end_call'),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      is: fc.constant('receive' as const),
      line,
      count: fc.integer({ min: 1, max: 9 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ is: fc.constantFrom('ping', 'ping', 'cut', 'cut', 'goodbye', 'slow'), line }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      is: fc.constant('pass' as const),
      span: fc.constantFrom(10, 60, 100, 900, 2_000, 7_000, 14_990, 20_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      is: fc.constant('backend' as const),
      call,
      does: fc.constantFrom('end', 'extend', 'extend', 'shorten'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ is: fc.constant('restart' as const), how: fc.constantFrom('closed', 'killed') }),
  },
)

describe('whatever happens in whatever order', () => {
  test('each frame goes once, in order and to the other leg only, and nothing is left when all is over', async () => {
    const lives = fc.asyncProperty(fc.array(move, { maxLength: 150, size: 'max' }), async (moves) => {
      const schedule = new Schedule()
      await schedule.create()
      for (const each of moves) schedule.do(each)
      schedule.finish(moves.length % 2 === 0 ? 'in time' : 'at once')
    })
    await fc.assert(lives, { numRuns: Number(process.env.RUNS ?? 500), includeErrorInReport: true })
  }, 60_000)
})

const RIDE = { ride_id: 'ride', driver_id: 'driver', passenger_id: 'passenger' }

/** A ride of which so many are in. */
async function rideOf(count: 0 | 1 | 2, terms = {}) {
  const world = new RideWorld(terms)
  // Between two ticks of the wheel, so that alarms ring late.
  world.clock.leap(10)
  const { session_id } = await world.rides.create(RIDE, null)
  const enter = (user: string) => {
    const phone = world.connect()
    phone.say({ type: 'authenticate', session_id, user_id: user })
    return phone
  }
  const phones = USERS.slice(0, count).map(enter)
  return { world, session_id, enter, phones, resumeToken: `resume/${session_id}/0/1` }
}

describe('who comes when the time is over and the alarm has not rung yet', () => {
  test('[RIDE-2] finds no session, and the other is told why it ended', async () => {
    const { world, enter, phones } = await rideOf(1)
    world.clock.leap(59_000)
    world.clock.leap(1_010)
    const late = enter('passenger')
    expect(late.receive()).toEqual(['{"type":"unauthorized","reason":"session_not_found"}'])
    expect(phones[0]?.receive().at(-1)).toBe('{"type":"call_timeout","reason":"join_timeout"}')
  })

  test('[RIDE-17] cannot resume', async () => {
    const { world, phones, resumeToken } = await rideOf(2)
    phones[0]?.end()
    world.clock.leap(15_010)
    const late = world.connect()
    late.say({ type: 'resume', resume_token: resumeToken, received: 3 })
    expect(late.receive()).toEqual(['{"type":"unauthorized","reason":"resume_failed"}'])
    expect(phones[1]?.receive().at(-1)).toBe('{"type":"call_ended","reason":"disconnect_driver"}')
  })
})

test('[RIDE-19] who starts over in a call is told once of the other, however often that came and went meanwhile', async () => {
  const { phones, enter } = await rideOf(2)
  phones[0]?.end()
  for (let i = 0; i < 3; i++) {
    phones[1]?.end()
    phones[1] = enter('passenger')
  }
  phones[1]?.say({ type: 'offer', sdp: 'v=0' })
  expect(
    enter('driver')
      .receive()
      .map((text) => JSON.parse(text).type),
  ).toEqual(['authenticated', 'session_joined', 'participant_joined', 'offer'])
})

describe('a server that goes down', () => {
  test('[WS-14] tells nobody that a session is over which is only put away', async () => {
    const { world, session_id, enter, resumeToken } = await rideOf(2)
    world.rides.close()
    const anew = enter('driver')
    const back = world.connect()
    back.say({ type: 'resume', resume_token: resumeToken, received: 3 })
    for (const phone of [anew, back]) {
      expect(phone.receive().map((text) => JSON.parse(text).code)).toEqual(['draining'])
      expect(phone.code).toBe(4103)
    }
    expect(world.snapshots.has(callId(session_id))).toBe(true)
  })
})

test('[LOG-3] a snapshot that makes no sense is left out, and the others are taken up', async () => {
  const { world, session_id } = await rideOf(0)
  const other = await world.rides.create(RIDE, null)
  const { call } = JSON.parse(world.snapshots.get(callId(session_id)) ?? '')
  for (const detail of [null, {}, { rideId: 'ride', users: ['driver'], generations: [0, 0] }]) {
    world.snapshots.set(callId(session_id), JSON.stringify({ call, detail }))
    world.restart('killed')
    expect(world.rides.liveIds()).toEqual([callId(other.session_id)])
  }
})

describe('a session that could not be written down', () => {
  test('[HTTP-12] has never been, under an Idempotency-Key neither', async () => {
    const world = new RideWorld()
    world.diskFull = true
    for (const key of [null, 'key']) {
      await expect(world.rides.create(RIDE, key)).rejects.toThrow('disk full')
      expect(world.rides.count()).toEqual({ waiting: 0, active: 0 })
      expect([world.log.length, world.snapshots.size, world.receipts.size, world.clock.alarms]).toEqual([
        0, 0, 0, 0,
      ])
    }
    world.diskFull = false
    expect((await world.rides.create(RIDE, 'key')).session_id).toBe(world.rides.liveIds()[0] as string)
  })
})
