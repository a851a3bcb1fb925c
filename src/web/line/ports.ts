/**
 * What the engine needs of the browser, so that its decisions can be tested without one. `browser.ts` has the real
 * ones. Where a method can fail it says so; everything else does nothing when it makes no sense.
 */
import type { Cancel, Millis, Timers } from '../../client/ports.ts'
import type { FromWorker, Source, ToWorker } from './messages.ts'
import type { LinkProblem } from './view.ts'

export interface Ports {
  readonly timers: Timers
  readonly page: Page
  readonly memory: Memory
  readonly microphones: Microphones
  /** A context at the device's rate. Rejects when there can be none. Only from a gesture, or it may be blocked. */
  openSound(): Promise<Sound>
  /** Whether sound is captured in the context (`Sound.listen` then needs it to run) or read by the worker itself. */
  readonly capturesInContext: boolean
  /** Whether people can choose where a context sounds. */
  readonly canChooseOutput: boolean
  /** The worker. `died` at most once, and never after `stop`. */
  openThread(on: ThreadEvents): Thread
  /** Keeps the screen on until it is released, by us or by the browser, which then calls `released`. May reject. */
  keepAwake(released: () => void): Promise<Cancel>
  /** 32 random bytes and the like. */
  fill(bytes: Uint8Array<ArrayBuffer>): unknown
  /** For the console. */
  complain(message: string): void
}

export type PageEvent = 'hashchange' | 'online' | 'visible' | 'leaving' | 'restored'

export interface Page {
  /** Why this browser, or this way to the server, cannot do it at all. */
  readonly problem: LinkProblem | null
  /** This very page was loaded again by whoever sits before it, rather than come to. */
  readonly isReload: boolean
  address(): string
  /** Puts another address in place of the one shown, without going there. */
  rewrite(address: string): void
  reload(): void
  /**
   * `leaving`: it goes away, or is put aside. `restored`: it was put aside, and is back as it was. `visible`: it is seen
   * again.
   */
  on(event: PageEvent, heard: () => void): void
}

/** What people had chosen on a page that is being loaded again. Never the leaf. */
export interface Kept {
  readonly muted: boolean
  readonly headphones: boolean
  readonly input: string | null
  readonly output: string | null
}

/** Of this tab only. */
export interface Memory {
  keep(kept: Kept): void
  /** What was kept, once. */
  take(): Kept | null
}

/** The part of a MediaStreamTrack that is used. */
export interface Track {
  enabled: boolean
  getSettings(): {
    readonly deviceId?: string | undefined
    readonly echoCancellation?: unknown
    /** In seconds. */
    readonly latency?: number | undefined
  }
  /** Chromium: what the browser itself has measured. */
  readonly stats?: { readonly latency: number } | undefined
  applyConstraints(constraints: MediaTrackConstraints): Promise<void>
  addEventListener(type: 'ended' | 'unmute', heard: () => void): void
  /** Calls back nobody. */
  stop(): void
}

export interface ListedDevice {
  readonly kind: string
  readonly deviceId: string
  readonly label: string
}

export interface Microphones {
  /** Rejects with what getUserMedia rejects with. */
  open(constraints: MediaTrackConstraints): Promise<Track>
  list(): Promise<readonly ListedDevice[]>
  onChange(heard: () => void): void
}

/** An AudioContext. */
export interface Sound {
  readonly rate: number
  readonly state: 'running' | 'suspended' | 'interrupted' | 'closed'
  /** From what is played to the ear; null where the browser cannot be asked. */
  readonly latency: Millis | null
  /** By how much the context's clock is behind the page's; null where that cannot be told. Its zero is arbitrary. */
  readonly lag: Millis | null
  onState(heard: () => void): void
  resume(): void
  /** A playout worklet, in place of the last: the worker's end of its channel. */
  speak(): MessagePort
  /** What the worker takes sound from, in place of the last. Throws when the context cannot take the track. */
  listen(track: Track): Source
  /** Null: the system's own choice. May reject. */
  useOutput(id: string | null): Promise<void>
  /** For good. */
  close(): void
}

export interface ThreadEvents {
  heard(message: FromWorker): void
  died(why: string): void
}

export interface Thread {
  /** Transfers what can be transferred. */
  post(message: ToWorker): void
  stop(): void
}
