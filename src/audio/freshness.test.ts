import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { clockOf } from './acks.ts'
import { Freshness } from './freshness.ts'

test('[LINE-65] frames that are held back are found out, wherever the two clocks stand', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 4e8, noNaN: true }),
      fc.double({ min: 0, max: 4e8, noNaN: true }),
      (there, here) => {
        const freshness = new Freshness()
        for (let t = 0; t < 3_000; t += 10) {
          const jitter = (t * 7) % 30
          const delay = freshness.delayOf(clockOf(there + t), here + t + 50 + jitter)
          expect(delay).toBeWithin(-0.2, 30.2)
          expect(Freshness.isStale(delay)).toBe(false)
        }
        const late = freshness.delayOf(clockOf(there + 3_000), here + 3_000 + 50 + 1_000)
        expect(late).toBeWithin(999, 1_001)
        expect(Freshness.isStale(late)).toBe(true)
      },
    ),
    { numRuns: 50 },
  )
})

test('a link that gets slower for good is taken as it is after ten seconds', () => {
  const freshness = new Freshness()
  let delay = 0
  for (let t = 0; t < 20_000; t += 100) delay = freshness.delayOf(clockOf(t), t + (t < 5_000 ? 10 : 510))
  expect(delay).toBeLessThan(1)
})
