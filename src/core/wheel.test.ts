import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { IN_REAL_TIME } from '../../test/kit/real-time.ts'
import type { Millis } from './ids.ts'
import type { Alarm } from './ports.ts'
import { TICK, Wheel } from './wheel.ts'

/** Further than the wheel is round. */
const FAR = 1024 * TICK * 3

/** A wheel at instant 0 and the names of the alarms that rang, in order. */
function newWheel() {
  const wheel = new Wheel(0)
  const rang: string[] = []
  const set = (at: Millis, name: string) => wheel.set(at, () => rang.push(name))
  return { wheel, rang, set }
}

describe('an alarm', () => {
  test('rings once, not before its instant, and at most a tick after it', () => {
    const { wheel, rang, set } = newWheel()
    set(120, 'a')
    for (let now = 0; now < 120; now++) wheel.advance(now)
    expect(rang).toEqual([])
    wheel.advance(120 + TICK)
    expect(rang).toEqual(['a'])
    wheel.advance(FAR)
    expect(rang).toEqual(['a'])
  })

  test('does not ring when it was cancelled, and cancelling it again does nothing', () => {
    const { wheel, rang, set } = newWheel()
    const alarm = set(100, 'a')
    alarm.cancel()
    alarm.cancel()
    wheel.advance(FAR)
    expect(rang).toEqual([])
    expect(wheel.size).toBe(0)
  })

  test('further away than the wheel is round waits for its own round', () => {
    const { wheel, rang, set } = newWheel()
    set(FAR, 'far')
    set(100, 'near')
    for (let now = 0; now < FAR; now += TICK) wheel.advance(now)
    expect(rang).toEqual(['near'])
    wheel.advance(FAR)
    expect(rang).toEqual(['near', 'far'])
  })

  test('that is due already rings within a tick, also one due since long ago', () => {
    const { wheel, rang, set } = newWheel()
    wheel.advance(10_000)
    set(10_000, 'now')
    set(3, 'past')
    wheel.advance(10_000 + TICK)
    expect(rang).toEqual(['past', 'now'])
  })

  test('set while others ring waits for the next call, even if it is due', () => {
    const { wheel, rang, set } = newWheel()
    wheel.set(100, () => {
      rang.push('outer')
      set(100, 'inner')
    })
    wheel.advance(150)
    expect(rang).toEqual(['outer'])
    wheel.advance(200)
    expect(rang).toEqual(['outer', 'inner'])
  })

  test('can be cancelled by one that rings just before it', () => {
    const { wheel, rang, set } = newWheel()
    let second: Alarm | null = null
    wheel.set(100, () => second?.cancel())
    second = set(101, 'second')
    wheel.advance(1000)
    expect(rang).toEqual([])
  })

  test('that cancels itself while it rings does no harm', () => {
    const { wheel, rang } = newWheel()
    const alarm = wheel.set(100, () => {
      alarm.cancel()
      rang.push('a')
    })
    wheel.advance(1000)
    expect(rang).toEqual(['a'])
  })

  test('that throws does not stop the others, and is heard of', () => {
    const { wheel, rang, set } = newWheel()
    wheel.set(100, () => {
      throw new Error('first')
    })
    wheel.set(110, () => {
      throw new Error('second')
    })
    set(120, 'after')
    expect(() => wheel.advance(1000)).toThrow('first')
    expect(rang).toEqual(['after'])
    expect(wheel.size).toBe(0)
    expect(() => wheel.advance(2000)).not.toThrow()
  })
})

describe('a wheel', () => {
  test('rings in the order things were due after a sleep of many rounds', () => {
    const { wheel, rang, set } = newWheel()
    const instants = [FAR + 75, 60, 51_250, 1, 51_190, FAR - 1, 60, 1024 * TICK]
    for (const at of instants) set(at, String(at))
    wheel.advance(10 * FAR)
    expect(rang).toEqual(instants.sort((a, b) => a - b).map(String))
  })

  test('does nothing when the time stands still or goes back', () => {
    const { wheel, rang, set } = newWheel()
    wheel.advance(5000)
    set(5100, 'a')
    wheel.advance(5000)
    wheel.advance(0)
    expect(rang).toEqual([])
    wheel.advance(5150)
    expect(rang).toEqual(['a'])
  })

  test('counts the alarms that are set', () => {
    const { wheel, set } = newWheel()
    set(10, 'a')
    set(FAR, 'b').cancel()
    set(FAR, 'c')
    expect(wheel.size).toBe(2)
    wheel.advance(TICK)
    expect(wheel.size).toBe(1)
  })

  test('sets and cancels as fast with a hundred thousand alarms as with none', IN_REAL_TIME, () => {
    const setAndCancel = (wheel: Wheel) => {
      const start = performance.now()
      for (let i = 0; i < 20_000; i++) wheel.set(1000 + i, () => {}).cancel()
      return performance.now() - start
    }
    const empty = new Wheel(0)
    const full = new Wheel(0)
    for (let i = 0; i < 100_000; i++) full.set(60_000 + i, () => {})
    setAndCancel(empty)
    // A list would be a thousand times slower; a wheel is so within the noise of a busy machine.
    expect(setAndCancel(full)).toBeLessThan(50 + 20 * setAndCancel(empty))
  })
})

// The model: a list. It is looked through from end to end, and knows nothing of slots and rounds.

type Command =
  /** An alarm so far from now; when it rings it may set another or cancel one. */
  { is: 'set'; in: Millis; next: Reaction } | { is: 'cancel'; which: number } | { is: 'advance'; by: Millis }
type Reaction = { is: 'nothing' } | { is: 'set'; in: Millis } | { is: 'cancel'; which: number }

interface Listed {
  readonly at: Millis
  /** It need not ring before it was set. */
  readonly setAt: Millis
  readonly alarm: Alarm
  state: 'set' | 'rang' | 'cancelled'
}

class Listing {
  readonly #wheel: Wheel
  readonly #list: Listed[] = []
  #now: Millis
  /** What has rung in this `advance`, and what was set when it began. */
  #rung: Listed[] = []
  #known = 0

  constructor(now: Millis) {
    this.#now = now
    this.#wheel = new Wheel(now)
  }

  do(command: Command): void {
    if (command.is === 'set') this.#set(this.#now + command.in, command.next)
    else if (command.is === 'cancel') this.#cancel(command.which)
    else this.#advance(command.by)
    const left = this.#list.filter(({ state }) => state === 'set').length
    must(this.#wheel.size === left, `${this.#wheel.size} alarms are set, the list has ${left}`)
  }

  #set(at: Millis, next: Reaction): void {
    const index = this.#list.length
    const alarm = this.#wheel.set(at, () => {
      const listed = this.#list[index] as Listed
      must(listed.state === 'set', `alarm ${index} rings though it ${listed.state}`)
      must(listed.at <= this.#now, `alarm ${index} rings ${listed.at - this.#now} ms early`)
      must(index < this.#known, `alarm ${index} rings in the call it was set in`)
      listed.state = 'rang'
      this.#rung.push(listed)
      if (next.is === 'set') this.#set(this.#now + next.in, { is: 'nothing' })
      if (next.is === 'cancel') this.#cancel(next.which)
    })
    this.#list.push({ at, setAt: this.#now, alarm, state: 'set' })
  }

  #cancel(which: number): void {
    const listed = this.#list[which % Math.max(this.#list.length, 1)]
    if (listed === undefined) return
    listed.alarm.cancel()
    if (listed.state === 'set') listed.state = 'cancelled'
  }

  #advance(by: Millis): void {
    this.#now += by
    this.#rung = []
    this.#known = this.#list.length
    this.#wheel.advance(this.#now)
    for (const [index, { at, setAt, state }] of this.#list.slice(0, this.#known).entries()) {
      const late = this.#now - Math.max(at, setAt)
      must(state !== 'set' || late < TICK, `alarm ${index} is ${late} ms late`)
    }
    const order = this.#rung.map((listed) => this.#list.indexOf(listed))
    const due = order.toSorted((a, b) => instant(this.#list[a]) - instant(this.#list[b]) || a - b)
    must(Bun.deepEquals(order, due), `rang in the order ${order}, were due as ${due}`)
  }
}

function instant(listed: Listed | undefined): Millis {
  return listed?.at ?? Number.NaN
}

function must(holds: boolean, promise: string): void {
  if (!holds) throw new Error(`broken: ${promise}`)
}

const span = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: -200, max: 400 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: FAR }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 50 }).map((ticks) => ticks * TICK) },
)
const which = fc.nat(60)
const reaction = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Reaction>({ is: 'nothing' }) },
  { weight: 1, arbitrary: span.map((delay): Reaction => ({ is: 'set', in: delay })) },
  { weight: 1, arbitrary: which.map((index): Reaction => ({ is: 'cancel', which: index })) },
)
const command = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.tuple(span, reaction).map(([delay, next]): Command => ({ is: 'set', in: delay, next })),
  },
  { weight: 1, arbitrary: which.map((index): Command => ({ is: 'cancel', which: index })) },
  { weight: 3, arbitrary: span.map((by): Command => ({ is: 'advance', by: Math.max(by, 0) })) },
)

test('a wheel rings what a list would ring, whatever is done to it', () => {
  const commands = fc.array(command, { maxLength: 60, size: 'max' })
  const begin = fc.integer({ min: 1_000_000, max: 1_000_000 + FAR })
  const lives = fc.property(begin, commands, (now, list) => {
    const listing = new Listing(now)
    for (const each of list) listing.do(each)
    listing.do({ is: 'advance', by: 2 * FAR })
  })
  fc.assert(lives, { numRuns: 2000, includeErrorInReport: true })
}, 120_000)
