/** The least of the last ten seconds, by the second. Times in ms. */
const SECONDS = 10

export class Least {
  #seconds: { readonly second: number; least: number }[] = []

  add(value: number, now: number): void {
    const second = Math.floor(now / 1_000)
    const last = this.#seconds.at(-1)
    if (last?.second === second) last.least = Math.min(last.least, value)
    else {
      this.#seconds = this.#seconds.filter((kept) => second - kept.second < SECONDS)
      this.#seconds.push({ second, least: value })
    }
  }

  /** Null before the first. */
  get value(): number | null {
    return this.#seconds.length === 0 ? null : Math.min(...this.#seconds.map(({ least }) => least))
  }

  clear(): void {
    this.#seconds = []
  }
}
