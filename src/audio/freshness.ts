/**
 * How old a frame is beyond what the link needs, against the quickest of the last ten seconds: a relay that holds frames
 * back is found out though the clocks of the two pages have nothing to do with one another. Times in ms.
 */
const SECONDS = 10
const STALE = 400

export class Freshness {
  /** The least of arrival minus capture in each second, the newest last. */
  #seconds: { readonly second: number; least: number }[] = []
  #base: number | null = null

  /** Another page has another clock. */
  peerChanged(): void {
    this.#seconds = []
    this.#base = null
  }

  /** Of every frame that was opened. `clock` as in its header, 0.1 ms modulo 2^32. */
  delayOf(clock: number, now: number): number {
    this.#base ??= clock - now * 10
    // The difference wraps with the clock; it is taken from the first one, so that it stays small.
    const offset = -((clock - Math.round(now * 10 + this.#base)) | 0) / 10
    const second = Math.floor(now / 1_000)
    this.#seconds = this.#seconds.filter((kept) => second - kept.second < SECONDS)
    const last = this.#seconds.at(-1)
    if (last?.second === second) last.least = Math.min(last.least, offset)
    else this.#seconds.push({ second, least: offset })
    return offset - Math.min(...this.#seconds.map(({ least }) => least))
  }

  /** Not to be played. */
  static isStale(delay: number): boolean {
    return delay > STALE
  }
}
