import { expect, test } from 'bun:test'
import { random } from '../../test/kit/random.ts'
import { Conceal } from './conceal.ts'
import { Ring } from './ring.ts'

const RATE = 44_100

test('what is made up is never louder than what was heard, and goes on where it ended', () => {
  const chance = random()
  for (let run = 0; run < 50; run++) {
    // Pieces of tones that fit nowhere, as after many gaps.
    const ring = new Ring(RATE, 2_000)
    const from = ring.grow(4_000)
    let step = 0
    for (let i = 0; i < 4_000; i++) {
      if (chance.below(200) === 0) step = (chance.below(3_000) * 2 * Math.PI) / RATE
      ring.held[from + i] = 0.5 * Math.cos(step * i)
    }
    const conceal = new Conceal(RATE)
    conceal.begin(ring)
    const made = Array.from({ length: 1_000 }, () => conceal.next())
    expect(Math.max(...made.map(Math.abs)), `seed ${chance.seed}`).toBeLessThanOrEqual(0.5 + 1e-6)
    expect(made.slice(-100)).toEqual(new Array(100).fill(0))
  }
})
