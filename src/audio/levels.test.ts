import { expect, test } from 'bun:test'
import { Levels, SILENCE_DB } from './levels.ts'

test('a sine at full scale has its peak at 0 dB and 3 dB less on average', () => {
  const levels = new Levels()
  levels.add(Int16Array.from({ length: 2_000 }, (_, i) => 32_767 * Math.sin((2 * Math.PI * i) / 200)))
  const { rms, peak } = levels.take()
  expect(peak).toBeCloseTo(0, 2)
  expect(rms).toBeCloseTo(-3.01, 2)
})

test('frames add up until they are taken, and then it starts again', () => {
  const levels = new Levels()
  levels.add(new Int16Array(100).fill(-32_768))
  levels.add(new Int16Array(300))
  expect(levels.take().peak).toBe(0)
  expect(levels.take()).toEqual({ rms: SILENCE_DB, peak: SILENCE_DB })
  levels.add(new Int16Array(100).fill(-32_768))
  levels.add(new Int16Array(300))
  expect(levels.take().rms).toBeCloseTo(-6.02, 2)
})

test('silence and the weakest sample are told, not minus infinity', () => {
  const levels = new Levels()
  levels.add(new Int16Array(10))
  expect(levels.take()).toEqual({ rms: SILENCE_DB, peak: SILENCE_DB })
  levels.add(Int16Array.of(0, 1, 0, 0))
  expect(levels.take().peak).toBeCloseTo(-90.3, 1)
})
