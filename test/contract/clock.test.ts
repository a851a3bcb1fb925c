// The contract of Clock (src/core/ports.ts), for every implementation: the one of the process on real time, the one
// that tests wind, the one that runs fast, and the one that dies with its process.
import { afterEach, describe, expect, setSystemTime, test } from 'bun:test'
import { SystemClock } from '../../src/clock.ts'
import type { Millis } from '../../src/core/ids.ts'
import type { Alarm, Clock } from '../../src/core/ports.ts'
import { TICK } from '../../src/core/wheel.ts'
import { TestClock } from '../kit/clock.ts'
import { FastClock } from '../kit/fast-clock.ts'
import { ProcessClock } from '../kit/process-clock.ts'

interface Opened {
  readonly clock: Clock
  /** Lets at least so much of the clock's time pass. Resolves with how long, at most, nothing could run meanwhile. */
  pass(span: Millis): Promise<Millis>
  /** What alarms threw. */
  readonly failures: unknown[]
  /** Rings no more. */
  close(): void
}

const SPEED = 10

const implementations: Record<string, () => Opened> = {
  'the clock of the process': () => {
    const failures: unknown[] = []
    const clock = new SystemClock((error) => failures.push(error))
    return { clock, failures, pass: (span) => elapse(clock, span), close: () => clock.close() }
  },
  'a clock that runs fast': () => {
    const failures: unknown[] = []
    const clock = new FastClock(SPEED, (error) => failures.push(error))
    return { clock, failures, pass: (span) => elapse(clock, span), close: () => clock.close() }
  },
  'a clock that is wound': () => {
    const failures: unknown[] = []
    const clock = new TestClock(1_234_567)
    return { clock, failures, pass: (span) => wind(clock, span, failures), close: () => {} }
  },
  'a clock that dies with its process': () => {
    const failures: unknown[] = []
    const wound = new TestClock(1_234_567)
    const clock = new ProcessClock(wound)
    return { clock, failures, pass: (span) => wind(wound, span, failures), close: () => clock.kill() }
  },
}

/** Lets real time pass, and watches how long this process was held up: nobody can ring on time then. */
async function elapse(clock: Clock, span: Millis): Promise<Millis> {
  const until = clock.now() + span
  let held = 0
  for (let last = clock.now(); last < until; ) {
    await Bun.sleep(1)
    const now = clock.now()
    held = Math.max(held, now - last)
    last = now
  }
  return held
}

/** One tick after another; what an alarm throws comes out here. */
async function wind(clock: TestClock, span: Millis, failures: unknown[]): Promise<Millis> {
  const until = clock.now() + span
  while (clock.now() < until) {
    try {
      await clock.wind(until - clock.now())
    } catch (error) {
      failures.push(error)
    }
  }
  return 0
}

/** Long enough for what is due within a tick to have rung. */
const SOON: Millis = 3 * TICK

for (const [name, open] of Object.entries(implementations)) {
  describe(name, () => {
    const opened: Opened[] = []
    const start = () => {
      const it = open()
      opened.push(it)
      return it
    }
    afterEach(() => {
      setSystemTime()
      for (const it of opened.splice(0)) it.close()
    })

    test('tells whole numbers that never go back', async () => {
      const { clock, pass } = start()
      let last = clock.now()
      for (let i = 0; i < 5_000; i++) {
        if (i % 1_000 === 0) await pass(7)
        const now = clock.now()
        expect(Number.isInteger(now) && now >= last).toBe(true)
        last = now
      }
    })

    test('goes on as it did when somebody sets the wall clock', async () => {
      const { clock, pass } = start()
      const rang: string[] = []
      const before = clock.now()
      clock.alarm(before + 20, () => rang.push('near'))
      clock.alarm(before + 3600_000, () => rang.push('far'))
      for (const wall of [0, Date.UTC(2040, 0, 1)]) {
        setSystemTime(new Date(wall))
        await pass(SOON)
        expect(clock.now() - before).toBeWithin(0, 60_000)
      }
      expect(rang).toEqual(['near'])
    })

    test('rings once, never early and at most a tick late', async () => {
      // Begun at different moments, since a clock might look at its alarms in a rhythm of its own.
      const lates: Millis[] = []
      const rounds = Array.from({ length: 5 }, async (_, round) => {
        await Bun.sleep(11 * round)
        const { clock, pass, failures } = start()
        const from = clock.now()
        const rang = Array.from({ length: 50 }, () => 0)
        for (const i of rang.keys()) {
          const at = from + 5 * i
          clock.alarm(at, () => {
            rang[i] = (rang[i] ?? 0) + 1
            lates.push(clock.now() - at)
          })
        }
        const held = await pass(250 + SOON)
        expect([rang.every((times) => times === 1), failures]).toEqual([true, []])
        return held
      })
      const held = Math.max(...(await Promise.all(rounds)))
      expect(Math.min(...lates)).toBeGreaterThanOrEqual(0)
      expect(Math.max(...lates)).toBeLessThanOrEqual(TICK + 2 * held)
    })

    test('rings in the order of the instants, whatever the order they were set in', async () => {
      const { clock, pass } = start()
      const rang: number[] = []
      const spans = [90, 10, 51, 49, 50, 90, 10, 0]
      for (const span of spans) clock.alarm(clock.now() + span, () => rang.push(span))
      await pass(90 + SOON)
      expect(rang).toEqual(spans.toSorted((a, b) => a - b))
    })

    test('rings for an instant that is past soon, and never before the alarm is handed out', async () => {
      const { clock, pass } = start()
      const rang: string[] = []
      for (const ago of [0, 1, 3600_000]) {
        const alarm: Alarm = clock.alarm(clock.now() - ago, () => {
          alarm.cancel()
          rang.push(String(ago))
        })
      }
      expect(rang).toEqual([])
      await pass(SOON)
      expect(rang.toSorted()).toEqual(['0', '1', '3600000'])
    })

    test('does not ring for an alarm that was cancelled, also by one that rings before it', async () => {
      const { clock, pass } = start()
      const rang: string[] = []
      const now = clock.now()
      const cancelled = clock.alarm(now + 10, () => rang.push('cancelled'))
      cancelled.cancel()
      cancelled.cancel()
      let next: Alarm | null = null
      const first = clock.alarm(now + 20, () => {
        rang.push('first')
        next?.cancel()
      })
      next = clock.alarm(now + 21, () => rang.push('next'))
      await pass(SOON)
      expect(rang).toEqual(['first'])
      first.cancel()
      clock.alarm(clock.now(), () => rang.push('later'))
      await pass(SOON)
      expect(rang).toEqual(['first', 'later'])
    })

    test('lets an alarm set the next one, and is not kept busy by one that is always due', async () => {
      const { clock, pass } = start()
      let rang = 0
      const ring = () => {
        rang++
        clock.alarm(clock.now() - 1, ring)
      }
      ring()
      const from = clock.now()
      await pass(5 * TICK)
      expect(rang).toBeWithin(3, 3 + (clock.now() - from) / TICK)
    })

    test('goes on when an alarm throws, tells of it, and rings the others', async () => {
      const { clock, pass, failures } = start()
      const rang: string[] = []
      const now = clock.now()
      clock.alarm(now + 10, () => {
        throw new Error('broken')
      })
      clock.alarm(now + 10, () => rang.push('same instant'))
      clock.alarm(now + 200, () => rang.push('later'))
      await pass(200 + SOON)
      expect(rang).toEqual(['same instant', 'later'])
      expect(failures.map(String)).toEqual(['Error: broken'])
    })

    if (name !== 'a clock that is wound') {
      test('rings no more once it is closed, and can be closed again', async () => {
        const { clock, pass, close } = start()
        const rang: string[] = []
        clock.alarm(clock.now() + 10, () => rang.push('near'))
        close()
        close()
        await pass(SOON)
        expect(rang).toEqual([])
      })

      test('can be closed by an alarm', async () => {
        const { clock, pass, close } = start()
        const rang: string[] = []
        clock.alarm(clock.now() + 10, () => {
          rang.push('first')
          close()
        })
        clock.alarm(clock.now() + 2 * TICK, () => rang.push('second'))
        await pass(2 * TICK + SOON)
        expect(rang).toEqual(['first'])
      })
    }
  })
}
