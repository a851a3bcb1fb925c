import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { audio, control } from '../../../test/kit/line-callers.ts'
import { GRACE, LineWorld, type Page } from '../../../test/kit/line-world.ts'
import type { CallRecord } from '../../core/ports.ts'
import { PROBE_TIMEOUT } from '../../protocol/limits.ts'

const ROOMS = ['one', 'two']

type Move =
  | { is: 'connect'; room: number; seat: number; pongs: boolean }
  | { is: 'end'; room: number; seat: number; goodbye: boolean }
  | { is: 'say'; room: number; seat: number }
  | { is: 'wind'; by: number }
  | { is: 'restart'; how: 'closed' | 'killed' }

/** What a room should be: who holds its seats, whether both were in at once, and who waits. */
class Model {
  readonly holders = new Map<number, { present: boolean; alive: boolean; until: number }>()
  isActive = false
  /** Calls that both were in. */
  calls = 0

  /** What becomes of a caller; `waits` until it is known whether who sits is alive. */
  connect(seat: number, alive: boolean): 'sits' | 'busy' | 'waits' {
    const own = this.holders.get(seat)
    if (own === undefined && this.holders.size === 2) {
      const holders = [...this.holders.values()]
      if (holders.some(({ present }) => !present) || holders.every((it) => it.alive)) return 'busy'
      return 'waits'
    }
    this.holders.set(seat, { present: true, alive, until: 0 })
    this.#settle()
    return 'sits'
  }

  end(seat: number, goodbye: boolean, now: number): void {
    const holder = this.holders.get(seat)
    if (holder === undefined) return
    if (goodbye) this.#over(seat)
    else this.holders.set(seat, { ...holder, present: false, until: now + GRACE })
  }

  evict(seat: number): void {
    expect(this.holders.get(seat)?.alive).toBe(false)
    this.#over(seat)
  }

  wind(now: number): void {
    const due = [...this.holders].filter(([, { present, until }]) => !present && until <= now)
    const [first] = due.sort(([, a], [, b]) => a.until - b.until)
    if (first !== undefined) this.#over(first[0])
  }

  restart(now: number): void {
    for (const [seat, holder] of this.holders) {
      this.holders.set(seat, { ...holder, present: false, until: now + GRACE })
    }
  }

  /** A call ends with one of the two; who is not there then has no seat in the next. */
  #over(seat: number): void {
    this.holders.delete(seat)
    for (const [other, { present }] of this.holders) if (!present) this.holders.delete(other)
    this.isActive = false
  }

  #settle(): void {
    const isFull = [...this.holders.values()].filter(({ present }) => present).length === 2
    if (isFull && !this.isActive) this.calls++
    this.isActive ||= isFull
  }
}

const room = fc.nat(ROOMS.length - 1)
const seat = fc.nat(3)
const moves: fc.Arbitrary<Move[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        is: fc.constant('connect' as const),
        room,
        seat,
        pongs: fc.boolean(),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ is: fc.constant('end' as const), room, seat, goodbye: fc.boolean() }),
    },
    { weight: 3, arbitrary: fc.record({ is: fc.constant('say' as const), room, seat }) },
    {
      weight: 2,
      arbitrary: fc.record({
        is: fc.constant('wind' as const),
        by: fc.constantFrom(50, 5_000, 14_950, 30_000),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        is: fc.constant('restart' as const),
        how: fc.constantFrom('closed' as const, 'killed' as const),
      }),
    },
  ),
  { maxLength: 60 },
)

/** The world, beside what it should be. */
class Beside {
  readonly world = new LineWorld()
  readonly models = ROOMS.map(() => new Model())
  #sitting = new Map<string, Page>()

  do(move: Move): void {
    const { world } = this
    switch (move.is) {
      case 'connect':
        return this.#connect(move.room, move.seat, move.pongs)
      case 'end': {
        const page = this.#sitting.get(`${move.room} ${move.seat}`)
        if (page === undefined) return
        page.end(move.goodbye)
        world.flush()
        this.#sitting.delete(`${move.room} ${move.seat}`)
        return this.models[move.room]?.end(move.seat, move.goodbye, world.clock.now())
      }
      case 'say':
        return this.#say(move.room, move.seat)
      case 'wind':
        return this.#wind(move.by)
      case 'restart':
        world.restart(move.how)
        this.#sitting.clear()
        for (const model of this.models) model.restart(world.clock.now())
    }
  }

  check(): void {
    const { world, models } = this
    const active = models.filter((model) => model.isActive).length
    const waiting = models.filter((model) => !model.isActive && model.holders.size > 0).length
    expect(world.lines.count()).toEqual({ waiting, active })
    expect(world.lines.liveIds()).toHaveLength(waiting + active)
    expect(world.snapshots.size).toBe(waiting + active)
    const records = (is: CallRecord['is']) => world.log.filter((record) => record.is === is)
    const calls = models.reduce((sum, { calls }) => sum + calls, 0)
    expect([records('created').length, records('active').length]).toEqual([calls, calls])
    expect(records('ended')).toHaveLength(calls - active)
    for (const page of this.#sitting.values()) expect([page.open, page.admitted]).toEqual([true, true])
  }

  #connect(room: number, seat: number, pongs: boolean): void {
    const { world } = this
    const model = this.models[room] as Model
    const name = `${room} ${seat}`
    const expected = model.connect(seat, pongs)
    const page = world.connect(ROOMS[room] as string, String(seat), pongs)
    world.flush()
    const before = this.#sitting.get(name)
    if (before !== undefined) expect(before.reason).toBe('replaced')
    if (expected === 'waits') {
      expect([page.open, page.admitted]).toEqual([true, false])
      // The first of those who do not answer goes; the rings of both come at the same instant.
      this.#wind(PROBE_TIMEOUT + 50)
      this.#gone(room)
      expect([page.open, page.admitted]).toEqual([true, true])
      model.connect(seat, pongs)
    }
    if (expected === 'busy') expect([page.admitted, page.reason]).toEqual([false, 'busy'])
    else this.#sitting.set(name, page)
  }

  /** Those who were put out for giving no sign of life. */
  #gone(room: number): void {
    const model = this.models[room] as Model
    for (const [name, page] of this.#sitting) {
      if (page.open || !name.startsWith(`${room} `)) continue
      expect(page.reason).toBe('heartbeat_timeout')
      this.#sitting.delete(name)
      model.evict(Number(name.split(' ')[1]))
    }
  }

  #say(room: number, seat: number): void {
    const page = this.#sitting.get(`${room} ${seat}`)
    if (page === undefined) return
    const others = [...this.#sitting].filter(
      ([name]) => name.startsWith(`${room} `) && name !== `${room} ${seat}`,
    )
    const bytes = control()
    expect(page.say(bytes)).toBe(others.length > 0 ? 'relayed' : 'dropped')
    for (const each of this.#sitting.values()) {
      expect(each.heard).toEqual(others.some(([, other]) => other === each) ? [bytes] : [])
      each.heard = []
    }
  }

  #wind(by: number): void {
    const { world } = this
    for (let left = by; left > 0; left -= 50) {
      world.clock.leap(50)
      world.flush()
      for (const model of this.models) model.wind(world.clock.now())
    }
  }
}

test('a line has the two seats it should have, whatever happens and in whatever order', () => {
  fc.assert(
    fc.property(moves, (all) => {
      const both = new Beside()
      for (const move of all) {
        both.do(move)
        both.check()
      }
    }),
    { numRuns: 400 },
  )
})

describe('a page that does not keep up', () => {
  function two() {
    const world = new LineWorld()
    const [first, second] = [world.connect('one', 'a'), world.connect('one', 'b')]
    second.notices.splice(0)
    return { world, first, second }
  }

  test('[LINE-10] is told once how much it missed, when it keeps up again and before it hears more', () => {
    const { first, second } = two()
    second.slow = true
    for (let i = 0; i < 7; i++) expect(first.say(audio())).toBe('dropped')
    expect(first.say(control())).toBe('relayed')
    expect([second.heard.length, second.notices]).toEqual([1, []])
    second.slow = false
    for (let i = 0; i < 3; i++) expect(first.say(audio())).toBe('relayed')
    expect([second.heard.length, second.notices]).toEqual([4, ['missed 7']])
  })

  test('[LINE-10] has missed nothing when it comes back on another connection', () => {
    const { world, first, second } = two()
    second.slow = true
    first.say(audio())
    const again = world.connect('one', 'b')
    first.say(audio())
    expect([again.heard.length, again.notices]).toEqual([1, ['joined']])
  })
})

test('[LINE-12] a snapshot that cannot be read is left out, and the line begins anew', () => {
  const world = new LineWorld()
  world.connect('one', 'a')
  world.connect('one', 'b')
  for (const [id, text] of world.snapshots) {
    world.snapshots.set(id, JSON.stringify({ ...JSON.parse(text), detail: { room: 'one', seats: ['a'] } }))
  }
  world.restart('killed')
  expect(world.lines.count()).toEqual({ waiting: 0, active: 0 })
  expect(world.connect('one', 'c').admitted).toBe(true)
})

test('[LINE-13] who waits for a day waits on, and leaves no row', () => {
  const world = new LineWorld()
  const page = world.connect('one', 'a')
  for (let hour = 0; hour < 50; hour++) world.clock.leap(3600_000)
  expect([page.open, world.lines.count(), world.log]).toEqual([true, { waiting: 1, active: 0 }, []])
  world.connect('one', 'b')
  expect(page.notices).toEqual(['joined'])
})

test('a line that nobody is on leaves nothing behind', () => {
  const world = new LineWorld()
  for (let i = 0; i < 100; i++) world.connect(`room-${i}`, 'a').end(i % 2 === 0)
  world.clock.leap(GRACE + 50)
  expect([world.lines.count(), world.snapshots.size, world.clock.alarms]).toEqual([
    { waiting: 0, active: 0 },
    0,
    0,
  ])
})
