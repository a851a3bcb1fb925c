/** Spans of time as people read them. */

/** `m:ss`, or `h:mm:ss` from an hour on. Full seconds, rounded down. */
export function clockTime(millis: number): string {
  const seconds = Math.max(0, Math.floor(millis / 1000))
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60]
  const two = (n: number) => String(n).padStart(2, '0')
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`
}

/** Full seconds until something is due, rounded up, so that 0 is shown only when it is. */
export function secondsLeft(until: number, now: number): number {
  return Math.max(0, Math.ceil((until - now) / 1000))
}
