/**
 * What the page of the line shows, and what people can do on it. The engine makes it, the screens draw it.
 *
 * The address of the page: `/line.html?apikey=K[&mobile=1|&quick=1]#leaf_…`. `mobile=1` begins with the profile of that
 * name, `quick=1` with frames of 5 ms, which cost more and save 5 to 15 ms; both may be changed during a call.
 */
import type { Profile, Report } from './messages.ts'

/**
 * Why nothing can begin. `no_leaf`: the address has no key of the two ends behind its hash. `bad_leaf`: it has one, but
 * not whole. `insecure`: browsers give microphones and keys to pages over HTTPS and on localhost only. `unable`: the
 * browser has not what this needs.
 */
export type LinkProblem = 'no_leaf' | 'bad_leaf' | 'insecure' | 'unable'

/**
 * `ready`: nothing has been asked for; with `problem` null the link is good. `starting`: the microphone is asked for.
 * `on`: on the line. `ended`: over, because somebody said so or nothing more can be done; `report.link` or `trouble`
 * says why.
 */
export type Phase = 'ready' | 'starting' | 'on' | 'ended'

/**
 * `refused`: the person or the system said no. `none`: there is no microphone. `busy`: another program holds it. `lost`:
 * it was taken away.
 */
export type Microphone = 'unknown' | 'on' | 'refused' | 'none' | 'busy' | 'lost'

/** `blocked`: the browser wants a gesture first. `interrupted`: a phone call or Siri has the speaker (iOS). */
export type Speaker = 'off' | 'on' | 'blocked' | 'interrupted'

/**
 * What the page itself could not do. `restarted`: the thread that carries the sound died and was begun anew; the peer
 * sees another page. `broken`: it died again, or is not there; the call is over.
 */
export type Trouble = 'restarted' | 'broken'

export interface Device {
  readonly id: string
  readonly name: string
}

export interface View {
  readonly phase: Phase
  readonly problem: LinkProblem | null
  readonly trouble: Trouble | null
  /** For the other end, with the leaf; null while there is none. */
  readonly link: string | null
  readonly microphone: Microphone
  readonly speaker: Speaker
  readonly muted: boolean
  /** The other end comes out of headphones: nothing needs to be taken out of the microphone's sound. */
  readonly headphones: boolean
  /**
   * The sound goes to an output that the browser does not take out of the microphone's sound: without headphones the
   * other end hears itself.
   */
  readonly echoes: boolean
  readonly profile: Profile['name']
  readonly inputs: readonly Device[]
  /** Empty where the browser lets nobody choose. */
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
  /** From a gesture. Without a microphone the call goes on, listening only. Begins anew what is over. */
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
