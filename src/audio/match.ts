/** Finding places in a sound that look alike, so that one can go on where the other ends. */

/**
 * The place from `first` to `last` whose `window` samples look most like those at `like`: the correlation, whatever the
 * loudness, less up to `bias` the further the place is from `last`. Looks at every `stride`-th place and sample, then
 * closely around the best. Silence is like nothing: then it is `last`. All must lie within `held`.
 */
export function bestMatch(
  held: Float32Array,
  like: number,
  window: number,
  first: number,
  last: number,
  stride: number,
  bias: number,
): number {
  const slope = bias / Math.max(1, last - first)
  let best = last
  let bestScore = Number.NEGATIVE_INFINITY
  for (let place = last; place >= first; place -= stride) {
    const score = likeness(held, like, place, window, stride) - slope * (last - place)
    if (score > bestScore) [best, bestScore] = [place, score]
  }
  if (stride === 1) return best
  const middle = best
  bestScore = Number.NEGATIVE_INFINITY
  const to = Math.min(last, middle + stride)
  for (let place = Math.max(first, middle - stride); place <= to; place++) {
    const score = likeness(held, like, place, window, 1)
    if (score > bestScore) [best, bestScore] = [place, score]
  }
  return best
}

/** From -1 to 1; 0 where one of them is silent. */
function likeness(held: Float32Array, a: number, b: number, window: number, stride: number): number {
  let [product, left, right] = [0, 0, 0]
  for (let i = 0; i < window; i += stride) {
    const x = held[a + i] as number
    const y = held[b + i] as number
    product += x * y
    left += x * x
    right += y * y
  }
  return left * right < 1e-20 ? 0 : product / Math.sqrt(left * right)
}

/** The sum of squares of `window` samples. */
export function energy(held: Float32Array, from: number, window: number): number {
  let sum = 0
  for (let i = from; i < from + window; i++) sum += (held[i] as number) ** 2
  return sum
}

/** From 0 to 1 without a corner: how much of the new is heard at step `i` of `count`. */
export function rise(i: number, count: number): number {
  return i >= count ? 1 : 0.5 - 0.5 * Math.cos((Math.PI * (i + 0.5)) / count)
}
