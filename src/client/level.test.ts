import { expect, test } from 'bun:test'
import { levelOf } from './level.ts'

const sine = (amplitude: number) =>
  Float32Array.from({ length: 1024 }, (_, i) => amplitude * Math.sin((i * 2 * Math.PI) / 64))

test('silence is 0 and full scale is 1', () => {
  expect(levelOf(new Float32Array(1024))).toBe(0)
  expect(levelOf(sine(1))).toBe(1)
})

test('twice as loud is the same step up, wherever it starts', () => {
  const step = levelOf(sine(0.02)) - levelOf(sine(0.01))
  expect(step).toBeGreaterThan(0.1)
  expect(levelOf(sine(0.2)) - levelOf(sine(0.1))).toBeCloseTo(step, 5)
})
