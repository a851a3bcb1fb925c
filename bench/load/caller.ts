/** What all kinds of whole calls have alike: how many are under way, and what is counted of them. */
import { Samples } from '../measure.ts'

export interface Tally {
  begun: number
  done: number
  failed: number
  /** What went wrong, and how often. */
  faults: Map<string, number>
  /** From the first thing done for a call to the answer at the one who began it, in ms. */
  answered: Samples
  /** From the write of a message for the other party to its read, in ms. */
  relayed: Samples
}

/** One call. It says by itself when it is over, once, and counts itself. */
export interface Begun {
  begin(): void
  fail(why: string): void
}

export interface Caller {
  tally: Tally
  /** Begins one call; `over` is called when it is done or has failed. */
  call(over?: () => void): void
  /** Waits for the calls under way; those that take longer than `ms` fail. */
  settle(ms: number): Promise<void>
  close(): void
}

export function caller(
  make: (tally: Tally, over: (call: Begun) => void) => Begun,
  close: () => void = () => {},
): Caller {
  const live = new Set<Begun>()
  const tally: Tally = {
    begun: 0,
    done: 0,
    failed: 0,
    faults: new Map(),
    answered: new Samples(),
    relayed: new Samples(),
  }
  return {
    tally,
    call(over) {
      const call = make(tally, (done) => {
        live.delete(done)
        over?.()
      })
      live.add(call)
      call.begin()
    },
    async settle(ms) {
      const from = performance.now()
      while (live.size > 0 && performance.now() - from < ms) await Bun.sleep(5)
      for (const call of [...live]) call.fail(`not over after ${ms} ms`)
    },
    close,
  }
}
