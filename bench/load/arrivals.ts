/**
 * Open-loop arrivals: when each event is due is drawn beforehand, at random with the given mean rate (Poisson), and
 * does not wait for earlier ones to be finished. What is due is let go on a tick of one millisecond, so a server that
 * falls behind gets no relief. The same seed gives the same arrivals.
 */
export interface Arrivals {
  /** How late events were let go, in ms, worst one: a sign that the generator was too busy. */
  worstLagMs: number
  count: number
}

/** A small generator of random numbers in [0, 1) that can be repeated (mulberry32). */
export function random(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

export function arrive(
  perSecond: number,
  seconds: number,
  seed: number,
  event: () => void,
): Promise<Arrivals> {
  const draw = random(seed)
  const gap = () => (-Math.log(1 - draw()) * 1000) / perSecond
  const from = performance.now()
  const until = from + seconds * 1000
  const result: Arrivals = { worstLagMs: 0, count: 0 }
  let due = from + gap()
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      let now = performance.now()
      // A tick that takes too long lets the answers in before it goes on.
      const enough = now + 4
      while (due <= now && due < until && now < enough) {
        if (now - due > result.worstLagMs) result.worstLagMs = now - due
        result.count++
        due += gap()
        event()
        now = performance.now()
      }
      if (due < until) return
      clearInterval(timer)
      resolve(result)
    }, 1)
  })
}
