/** Chance that can be had again: the seed is printed when the test fails to say it otherwise. */
export function random(seed: number = Math.floor(Math.random() * 2 ** 31)): {
  seed: number
  below(most: number): number
} {
  let state = seed
  return {
    seed,
    /** A whole number from 0. Mulberry32. */
    below(most) {
      state = (state + 0x6d2b79f5) | 0
      let t = Math.imul(state ^ (state >>> 15), 1 | state)
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
      return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * most)
    },
  }
}
