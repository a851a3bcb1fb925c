/**
 * What a ride call is at one end, worked out from three facts that change on their own: the way to the server, the
 * other party as the server sees it, and the sound between the two.
 *
 *   idle ─▶ connecting ─▶ waiting ─▶ joining ─▶ connected ─▶ ended
 *                            ▲          ▲           ▲
 *                            └──────────┴───────────┴──▶ reconnecting (self, other, media)
 */
import type { EndReason } from '../../protocol/codes.ts'
import type { MediaState } from '../media.ts'
import type { MicrophoneTrouble } from '../microphone.ts'
import type { Millis } from '../ports.ts'
import type { SignallingEnd } from './signalling.ts'

/** The server's reasons, and those that only one end knows of. */
export type RideEnd =
  | EndReason
  | SignallingEnd
  | MicrophoneTrouble
  /** No way for the sound was found between the two. */
  | 'no_media'
  /** This browser or device cannot make calls. */
  | 'unsupported'

/** Instants are those of the call's timers. */
export type RideCallState =
  | { at: 'idle' }
  | { at: 'connecting'; to: 'microphone' | 'server' }
  /** In; the other party is not. */
  | { at: 'waiting' }
  /** Both are in; the sound is on its way. */
  | { at: 'joining' }
  /** Sound goes both ways; `since` its first moment. */
  | { at: 'connected'; since: Millis }
  /**
   * Something broke and is being mended. `self`: our way to the server; `other`: theirs; `media`: the sound between.
   * `until`: when it is given up, where that is known. Sound may go on meanwhile, except for `media`.
   */
  | { at: 'reconnecting'; who: 'self' | 'other' | 'media'; since: Millis | null; until: Millis | null }
  /** `by`: which end hung up, where that is known. `lasted`: from the first sound, or null without any. */
  | { at: 'ended'; reason: RideEnd; by: 'self' | 'other' | null; lasted: Millis | null }

export interface Facts {
  readonly link: { at: 'up' } | { at: 'lost'; until: Millis }
  readonly other: { at: 'absent' } | { at: 'present' } | { at: 'away'; until: Millis }
  readonly media: MediaState
  /** First sound. */
  readonly since: Millis | null
}

/** The state of a call that is neither before its first connection nor over. */
export function stateOf({ link, other, media, since }: Facts): RideCallState {
  if (link.at === 'lost') return { at: 'reconnecting', who: 'self', since, until: link.until }
  if (other.at === 'absent') return { at: 'waiting' }
  if (other.at === 'away') return { at: 'reconnecting', who: 'other', since, until: other.until }
  if (since === null) return { at: 'joining' }
  if (media === 'connected') return { at: 'connected', since }
  return { at: 'reconnecting', who: 'media', since, until: null }
}
