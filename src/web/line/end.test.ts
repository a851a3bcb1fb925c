import { expect, test } from 'bun:test'
import { TestLine } from '../../../test/kit/line-ends.ts'

test('two ends find each other, agree on words, and hear each other', async () => {
  const line = new TestLine()
  const [a, b] = await line.call()
  expect(line.clock.now()).toBeLessThan(300)
  await line.run(500)
  expect(a.report.words).toHaveLength(4)
  expect(b.report.words).toEqual(a.report.words)
  expect(a.report.numbers.received).toBeGreaterThan(30)
  expect(b.faults).toEqual([])
})
