import { expect, test } from 'bun:test'
import { lineSim } from '../../test/kit/line-sim.ts'
import { CONTROL_EVERY, clockOf, Heard, isAfter, LatePolicy } from './acks.ts'

/** Offers frames every 10 ms from `from` to `to`; the numbers of those that went. */
function offer(policy: LatePolicy, from: number, to: number): number[] {
  const went: number[] = []
  for (let now = from; now < to; now += 10) if (policy.mayGo(now / 10, now)) went.push(now / 10)
  return went
}

/** An ack of `number` after a round trip. */
function ack(policy: LatePolicy, number: number, now: number, roundTrip = 20): void {
  const heard = { number, clock: 0, hold: 0 }
  policy.heard(clockOf(now), { heard, echo: { clock: clockOf(now - roundTrip), hold: 0 } }, now)
}

test('[LINE-68] frames go while acks come; when they are late only probes do, ten a second', () => {
  const policy = new LatePolicy()
  ack(policy, 0, 0)
  expect(offer(policy, 0, 120)).toHaveLength(12)
  expect(offer(policy, 120, 140)).toEqual([12])
  expect(offer(policy, 140, 320).length).toBeLessThanOrEqual(2)
  ack(policy, 31, 320)
  expect(policy.age(320)).toBe(0)
  expect(policy.mayGo(32, 320)).toBe(true)
})

test('deadlock: both ends stop sending sound, and the acks that it could carry with it', () => {
  // Both directions stall at once, longer than frames may wait. Acks have a timer of their own, so both go on.
  const ends = [0, 1].map(() => ({ policy: new LatePolicy(), heard: new Heard(), went: 0 }))
  const onTheWay: { to: number; at: number; carry: (now: number) => void }[] = []
  const arrival = (now: number) => (now >= 1_000 && now < 2_000 ? 2_000 : now) + 10
  let wentInStall = 0
  for (let now = 0; now < 4_000; now += 10) {
    for (const carried of onTheWay.filter(({ at }) => at <= now)) carried.carry(now)
    onTheWay.splice(0, onTheWay.length, ...onTheWay.filter(({ at }) => at > now))
    ends.forEach((end, i) => {
      const other = ends[1 - i] as (typeof ends)[0]
      const send = (carry: (at: number) => void) => onTheWay.push({ to: 1 - i, at: arrival(now), carry })
      if (end.policy.mayGo(now / 10, now)) {
        if (now >= 1_200 && now < 2_000) wentInStall++
        if (now >= 3_000) end.went++
        send((at) => other.heard.audio(now / 10, clockOf(now), at))
      }
      if (now % CONTROL_EVERY === 0) {
        const report = end.heard.report(now)
        send((at) => {
          other.policy.heard(clockOf(now), report, at)
          other.heard.control(clockOf(now), at)
        })
      }
    })
  }
  expect(wentInStall).toBeLessThan(20)
  expect(ends.map(({ went }) => went)).toEqual([100, 100])
})

test('deadlock: frames that were sent before the other end came are never acked', () => {
  const policy = new LatePolicy()
  ack(policy, 0, 0)
  offer(policy, 0, 1_000)
  // Told of a new peer, the list is cleared.
  policy.peerChanged()
  expect(policy.age(1_000)).toBe(0)
  expect(policy.mayGo(100, 1_000)).toBe(true)
  // Not told, or all frames but the last lost on the way: a probe comes through, and its ack clears the list.
  const untold = new LatePolicy()
  ack(untold, 0, 0)
  offer(untold, 0, 1_000)
  const [probe] = offer(untold, 1_000, 2_000)
  expect(probe).toBeDefined()
  ack(untold, probe as number, 2_000)
  expect(untold.age(2_000)).toBeLessThan(1_000)
  const next = offer(untold, 2_000, 3_100).at(-1) as number
  ack(untold, next, 3_100)
  expect(untold.mayGo(310, 3_100)).toBe(true)
})

test('a link that gets longer for good is learned: after some seconds of probes all frames go again', () => {
  const policy = new LatePolicy()
  const sent: { at: number; number: number }[] = []
  let went = 0
  for (let now = 0; now < 30_000; now += 10) {
    const roundTrip = now < 5_000 ? 20 : 400
    const acked = sent.findLast(({ at }) => at + roundTrip <= now)
    if (now % CONTROL_EVERY === 0 && acked !== undefined) ack(policy, acked.number, now, roundTrip)
    if (!policy.mayGo(now / 10, now)) continue
    if (now >= 20_000) went++
    sent.push({ at: now, number: now / 10 })
  }
  expect(went).toBe(1_000)
  expect(policy.roundTrip).toBe(400)
})

test('numbers are compared past their end', () => {
  expect(isAfter(0, 2 ** 32 - 1)).toBe(true)
  expect(isAfter(2 ** 32 - 1, 0)).toBe(false)
  expect(isAfter(5, 5)).toBe(false)
})

test('acks that name no frame, or a time that was not, change nothing for the worse', () => {
  const policy = new LatePolicy()
  policy.heard(0, { heard: null, echo: { clock: 123, hold: 6_553 } }, 50)
  expect(policy.roundTrip).toBeNull()
  policy.heard(0, { heard: { number: 4_000_000_000, clock: 0, hold: 0 }, echo: null }, 60)
  expect(policy.mayGo(0, 60)).toBe(true)
})

test.each([
  ['88 %', 1_000_000, 200],
  ['70 %', 800_000, 200],
  ['44 %', 500_000, 250],
  ['44 %, 50 ms away', 500_000, 280],
])(
  'a link of %s of the need: the delay stays bounded, the call alive, the narrow profile is offered',
  (name, capacity, most) => {
    for (const seed of [1, 2, 3]) {
      const delay = name.includes('away') ? 50 : 10
      const run = lineSim({ seed, seconds: 60, capacity, delay, jitter: 5 })
      // The first seconds are worse: how thin the link is shows only once its queue is full.
      expect(run.delays(3_000).most).toBeLessThan(most)
      expect(run.delays(0, 3_000).most).toBeLessThan(500)
      expect(run.sent * 1_374 * 8).toBeGreaterThan(0.85 * capacity * 60)
      expect(run.offeredMobileAt).toBeLessThan(5_000)
    }
  },
)

test('on a link that suffices nothing is dropped and nothing offered, whatever its length and a fair jitter', () => {
  for (const delay of [1, 20, 75, 150, 300])
    for (const jitter of [0, 10, 30]) {
      const run = lineSim({ seconds: 30, delay, jitter })
      expect(run.policy.dropped).toBe(0)
      expect(run.offeredMobileAt).toBeNull()
    }
})

test('an ack that waited on its way back says nothing of the way there', () => {
  const droppedWith = (there: number, back: number) => {
    const policy = new LatePolicy()
    for (let now = 0; now < 10_000; now += 10) {
      policy.mayGo(now / 10, now)
      if (now % CONTROL_EVERY !== 0) continue
      // After a second of an empty link; what is heard was sent so long ago, and its ack as well.
      const [late, held] = now < 1_000 ? [10, 10] : [there, back]
      const number = Math.floor((now - late - held) / 10)
      const report = { heard: { number, clock: 0, hold: 0 }, echo: { clock: clockOf(now - 20), hold: 0 } }
      if (number >= 0) policy.heard(clockOf(now - held), report, now)
    }
    return policy.dropped
  }
  expect(droppedWith(10, 110)).toBe(0)
  expect(droppedWith(40, 110)).toBe(0)
  expect(droppedWith(110, 10)).toBeGreaterThan(100)
})

test('a way that delivers in bursts is no thin link: next to nothing is dropped, or made up', () => {
  for (const [jitter, delay] of [
    [80, 10],
    [80, 80],
    [100, 40],
    [120, 20],
  ] as const) {
    const run = lineSim({ seed: 4, seconds: 40, jitter, delay })
    expect(run.policy.dropped).toBeLessThan(run.sent * 0.02)
    expect(run.concealed).toBeLessThan(40_000 * 0.01)
    expect(run.delays(5_000).most).toBeLessThan(delay + jitter + 120)
  }
})

test('without the policy a thin link gets later and later', () => {
  expect(lineSim({ seconds: 30, capacity: 800_000, policy: false }).delays(25_000).p50).toBeGreaterThan(1_000)
})
