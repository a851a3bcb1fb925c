/** What the page of the line shows, and what people can do on it. The engine makes it, the screens draw it. */
import type { Profile, Report } from './messages.ts'

/**
 * `ready`: the link is good, nothing has been asked for. `starting`: the microphone is asked for. `on`: on the line.
 * `ended`: over, because somebody said so or nothing more can be done; `report.link` says why.
 */
export type Phase = 'ready' | 'starting' | 'on' | 'ended'

/** `refused`: the person or the system said no. `none`: there is no microphone. `lost`: it was taken away. */
export type Microphone = 'unknown' | 'on' | 'refused' | 'none' | 'lost'

/** `blocked`: the browser wants a gesture first. `interrupted`: a phone call or Siri has the speaker (iOS). */
export type Speaker = 'off' | 'on' | 'blocked' | 'interrupted'

export interface Device {
  readonly id: string
  readonly name: string
}

export interface View {
  readonly phase: Phase
  readonly microphone: Microphone
  readonly speaker: Speaker
  readonly muted: boolean
  /** The other end comes out of headphones: nothing needs to be taken out of the microphone's sound. */
  readonly headphones: boolean
  readonly profile: Profile['name']
  readonly inputs: readonly Device[]
  readonly outputs: readonly Device[]
  readonly input: string | null
  readonly output: string | null
  /** Since when the peer has been here, by performance.now(); null while nobody was. */
  readonly since: number | null
  /** The page keeps the screen on. */
  readonly awake: boolean
  /** Null before the worker's first word. */
  readonly report: Report | null
}

/** A call on the line, as the screens know it. Everything may be called at any time; what makes no sense does nothing. */
export interface Line {
  readonly view: View
  /** Calls back after each change; returns what stops it. */
  subscribe(changed: () => void): () => void
  /** From a gesture. Without a microphone the call goes on, listening only. */
  join(): Promise<void>
  leave(): void
  mute(muted: boolean): void
  useHeadphones(headphones: boolean): void
  /** For the rest of the call; a new link with `mobile=1` belongs to it. */
  useProfile(name: Profile['name']): void
  chooseInput(id: string): void
  chooseOutput(id: string): void
  /** From a gesture: asks for the microphone again, or lets a blocked speaker sound. */
  retry(): void
}
