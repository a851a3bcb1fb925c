import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { TestClock } from '../../test/kit/clock.ts'
import { Limiter } from './limiter.ts'

const MINUTE = 60_000

function limiter(most = 10): { limiter: Limiter; clock: TestClock } {
  const clock = new TestClock()
  return { limiter: new Limiter(most, MINUTE, clock), clock }
}

describe('an address', () => {
  test('[WS-2] has so many attempts, and is told when the next one comes', () => {
    const { limiter: attempts, clock } = limiter(10)
    for (let i = 0; i < 10; i++) expect(attempts.take('a')).toBeNull()
    expect(attempts.take('a')).toBe(6_000)
    expect(attempts.take('b')).toBeNull()
    clock.leap(5_000)
    expect(attempts.take('a')).toBe(1_000)
    clock.leap(1_000)
    expect(attempts.take('a')).toBeNull()
    expect(attempts.take('a')).toBe(6_000)
  })

  test('[WS-2] that is given all back is not remembered', () => {
    const { limiter: attempts } = limiter(10)
    for (let i = 0; i < 5; i++) attempts.take('a')
    expect(attempts.size).toBe(1)
    for (let i = 0; i < 5; i++) attempts.giveBack('a')
    expect(attempts.size).toBe(0)
    attempts.giveBack('a')
    for (let i = 0; i < 10; i++) expect(attempts.take('a')).toBeNull()
    expect(attempts.take('a')).not.toBeNull()
  })

  test('has no limit where the limit is 0', () => {
    const { limiter: attempts } = limiter(0)
    for (let i = 0; i < 1_000; i++) expect(attempts.take('a')).toBeNull()
    expect(attempts.size).toBe(0)
  })
})

describe('what is remembered', () => {
  test('is let go of when it is full again', () => {
    const { limiter: attempts, clock } = limiter()
    for (let i = 0; i < 1_000; i++) attempts.take(`address ${i}`)
    for (let minute = 0; minute < 2; minute++) {
      clock.leap(MINUTE)
      attempts.take('another')
    }
    expect(attempts.size).toBe(1)
  })

  test('is bounded, and who keeps trying is not forgotten', () => {
    const { limiter: attempts } = limiter(1)
    attempts.take('stubborn')
    for (let i = 0; i < 250_000; i++) {
      attempts.take(`address ${i}`)
      if (i % 20_000 === 0) expect(attempts.take('stubborn')).not.toBeNull()
      if (attempts.size > 100_000) throw new Error(`${attempts.size} are remembered`)
    }
    expect(attempts.take('stubborn')).not.toBeNull()
  })
})

test('in no span of time does an address get more than its attempts and what came back meanwhile', () => {
  const action = fc.oneof(
    { weight: 5, arbitrary: fc.constant('take' as const) },
    { weight: 1, arbitrary: fc.constant('give back' as const) },
    { weight: 2, arbitrary: fc.nat(30_000) },
  )
  const bounded = fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
    const { limiter: attempts, clock } = limiter(10)
    const startedAt = clock.now()
    let got = 0
    for (const each of actions) {
      if (typeof each === 'number') clock.leap(each)
      else if (each === 'take') got += attempts.take('a') === null ? 1 : 0
      else if (got > 0) {
        attempts.giveBack('a')
        got--
      }
      const most = 10 + ((clock.now() - startedAt) * 10) / MINUTE
      if (got > most + 1e-6) throw new Error(`broken: ${got} attempts where ${most} were allowed`)
    }
  })
  fc.assert(bounded, { includeErrorInReport: true })
})
