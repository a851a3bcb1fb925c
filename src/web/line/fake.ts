/** A line that does what a test tells it to, and remembers what it was asked for. Used by tests only. */
import type { Numbers, Profile, Report } from './messages.ts'
import type { Line, View } from './view.ts'

export class FakeLine implements Line {
  #view: View = READY
  readonly #listeners = new Set<() => void>()
  /** What was called, in order. */
  readonly calls: string[] = []

  get view(): View {
    return this.#view
  }

  set(change: Partial<View>): void {
    this.#view = { ...this.#view, ...change }
    for (const changed of [...this.#listeners]) changed()
  }

  report(change: Partial<Report>): void {
    this.set({ report: { ...(this.#view.report ?? QUIET), ...change } })
  }

  subscribe(changed: () => void): () => void {
    this.#listeners.add(changed)
    return () => this.#listeners.delete(changed)
  }

  async join(): Promise<void> {
    this.calls.push('join')
    this.set({ phase: 'starting' })
  }

  leave(): void {
    this.calls.push('leave')
    this.report({ link: { at: 'closed', why: 'left' } })
    this.set({ phase: 'ended' })
  }

  mute(muted: boolean): void {
    this.calls.push(`mute ${muted}`)
    this.set({ muted })
  }

  useHeadphones(headphones: boolean): void {
    this.calls.push(`headphones ${headphones}`)
    this.set({ headphones })
  }

  useProfile(profile: Profile['name']): void {
    this.calls.push(`profile ${profile}`)
    this.set({ profile })
  }

  chooseInput(input: string): void {
    this.calls.push(`input ${input}`)
    this.set({ input })
  }

  chooseOutput(output: string): void {
    this.calls.push(`output ${output}`)
    this.set({ output })
  }

  retry(): void {
    this.calls.push('retry')
  }
}

const READY: View = {
  phase: 'ready',
  problem: null,
  trouble: null,
  link: null,
  microphone: 'unknown',
  speaker: 'off',
  muted: false,
  headphones: false,
  echoes: false,
  profile: 'default',
  inputs: [],
  outputs: [],
  input: null,
  output: null,
  since: null,
  awake: false,
  report: null,
}

const NUMBERS: Numbers = {
  profile: 'default',
  rates: { capture: 48_000, out: 200_000, in: 200_000, speaker: 44_100 },
  bucket: { out: 1374, in: 1374 },
  mbits: { out: 1.142, in: 1.139 },
  sent: 31_204,
  received: 31_180,
  droppedHere: 12,
  lost: 3,
  stale: 1,
  refused: { replayed: 2, forged: 1 },
  roundTrip: 24.4,
  jitter: 2.6,
  fill: 21.3,
  margin: 8.2,
  driftPpm: -12.4,
  ratio: 1.000012,
  underruns: 4,
  concealedMs: 18.5,
  cutMs: 40,
}

const QUIET: Report = {
  link: { at: 'connecting' },
  peer: 'absent',
  words: null,
  wordsBroken: false,
  peerChanges: 0,
  peerMuted: false,
  own: { rms: -96, peak: -96 },
  peerLevel: { rms: -96, peak: -96 },
  delay: null,
  offerMobile: false,
  sourceStalled: false,
  numbers: NUMBERS,
}
