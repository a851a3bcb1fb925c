/**
 * Where log lines leave the process. Writing a line never waits: lines are gathered for a moment and handed on
 * together, and while the reader is slower than we are they wait here, up to a bound.
 */
export interface Outlet {
  /** Hands text on. A promise when it could not all be taken at once; nothing more is handed on until it resolves. */
  write(text: string): Promise<unknown> | undefined
}

/** How long a line may be gathered for. */
const GATHER_MS = 20
/** Characters that may wait for a slow reader. What comes after them is lost, and counted. */
const MOST_WAITING = 4 * 1024 * 1024
/** How long closing waits for a slow reader. */
const CLOSE_MS = 1000

export class Lines {
  readonly #outlet: Outlet
  readonly #lost: (lines: number) => string
  #waiting: string[] = []
  #chars = 0
  #busy: Promise<unknown> | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  #dropped = 0

  /** `lost` makes the line that says so. */
  constructor(outlet: Outlet, lost: (lines: number) => string) {
    this.#outlet = outlet
    this.#lost = lost
  }

  /** Takes a line with its end. `soon`: hands it on now if it can be. */
  push(line: string, soon: boolean): void {
    if (this.#chars > MOST_WAITING) {
      this.#dropped++
      return
    }
    this.#waiting.push(line)
    this.#chars += line.length
    if (soon) this.flush()
    else this.#timer ??= setTimeout(() => this.flush(), GATHER_MS).unref()
  }

  /** Hands on what waits, as far as the reader takes it. Never waits itself. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#busy !== undefined || this.#waiting.length === 0) return
    if (this.#dropped > 0) this.#waiting.push(this.#lost(this.#dropped))
    const text = this.#waiting.join('')
    const count = this.#waiting.length
    this.#waiting = []
    this.#chars = 0
    this.#dropped = 0
    const failed = () => {
      this.#dropped += count
    }
    try {
      const taken = this.#outlet.write(text)
      if (taken === undefined) return
      const done = taken.catch(failed).then(() => {
        this.#busy = undefined
        this.flush()
      })
      this.#busy = done
    } catch {
      failed() // The disk is full or the reader has gone. There is nobody to tell.
    }
  }

  /** Hands on what waits, waiting for a slow reader a moment. Lines that come later are handed on as before. */
  async close(): Promise<void> {
    this.flush()
    const late = Bun.sleep(CLOSE_MS).then(() => true)
    while (this.#busy !== undefined) if ((await Promise.race([this.#busy, late])) === true) return
  }
}

/** Standard output. Takes at once what fits into a pipe or socket, and never blocks on a full one. */
export function standardOutput(): Outlet {
  // More than Lines hands on at once, so that nothing leaves before it is told to.
  const open = () => Bun.stdout.writer({ highWaterMark: 2 * MOST_WAITING })
  let writer: ReturnType<typeof open> | undefined
  return {
    write(text) {
      writer ??= open()
      try {
        writer.write(text)
        const taken = writer.flush()
        return typeof taken === 'number' ? undefined : taken
      } catch (error) {
        writer = undefined // It would keep what it could not write.
        throw error
      }
    },
  }
}
