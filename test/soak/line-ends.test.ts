import { heapStats } from 'bun:jsc'
import { expect, test } from 'bun:test'
import { PROFILES } from '../../src/web/line/messages.ts'
import { TestLine } from '../kit/line-ends.ts'

test('a hundred thousand frames leave nothing behind at either end', async () => {
  const line = new TestLine()
  line.relay.keeps = false
  const [a, b] = await line.call({ profile: PROFILES.quick })
  for (const end of [a, b]) {
    end.keeps = false
    end.signal = (sample) => 0.3 * Math.sin(sample / 20)
  }
  const objects = () => {
    Bun.gc(true)
    return heapStats().objectCount
  }
  // What is compiled, and kept for it, is there after a while.
  await line.run(100_000)
  const before = objects()
  await line.run(150_000)
  expect(objects() - before).toBeLessThan(200)
  expect(a.report.numbers.sent + b.report.numbers.sent).toBeGreaterThan(99_000)
  expect(a.report.numbers.lost + b.report.numbers.lost).toBe(0)
}, 600_000)
