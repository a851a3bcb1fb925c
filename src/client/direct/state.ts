/**
 * What a direct call is at one end.
 *
 *   out:  preparing ─▶ ringing ──▶ joining ─▶ connected ─▶ ended
 *                ╲                ╱    ▲          ▲
 *                 ▶ held (a key) ▶     └──────────┴──▶ reconnecting (self, other, media)
 *                ╱                ╲
 *   in:   incoming ─▶ preparing ──▶ joining ─▶ …
 *
 * Every state may go to `ended`.
 */
import type { EndReason } from '../../protocol/codes.ts'
import type { DirectError } from '../../protocol/direct.ts'
import type { MediaState } from '../media.ts'
import type { MicrophoneTrouble } from '../microphone.ts'
import type { Millis } from '../ports.ts'
import type { KeyTrouble, PeerKey } from './keys.ts'

/** The server's reasons, its refusals in lower case, and those that only one end knows of. */
export type DirectEnd =
  | EndReason
  | Lowercase<DirectError>
  | MicrophoneTrouble
  /** The way to the server was lost for too long, or while the call was being placed. */
  | 'connection_lost'
  /** The call was over when this end came back. */
  | 'over_meanwhile'
  /** There was no way to the server. */
  | 'unreachable'
  /** No way for the sound was found between the two. */
  | 'no_media'
  /** This browser or device cannot make calls. */
  | 'unsupported'
  /** This end was closed. */
  | 'closed'

/** Instants are those of the client's timers. */
export type DirectCallState =
  | { at: 'preparing'; to: 'key' | 'microphone' | 'server' }
  /** Nothing goes on, and no sound flows, until `trust()` or `hangUp()`: see the call's `security`. */
  | { at: 'held'; warning: KeyWarning }
  /** `waking`: the other has no connection and was sent word. `until`: null where the clocks disagree. */
  | { at: 'ringing'; waking: boolean; until: Millis | null }
  | { at: 'incoming'; until: Millis | null }
  /** Answered; the sound is on its way. */
  | { at: 'joining' }
  /** Sound goes both ways; `since` its first moment. */
  | { at: 'connected'; since: Millis }
  /** As in a ride call: our way to the server, theirs, or the sound between. Sound may go on but for `media`. */
  | { at: 'reconnecting'; who: 'self' | 'other' | 'media'; since: Millis | null; until: Millis | null }
  /** `by`: which end, where that is known. `lasted`: from the first sound, or null without any. */
  | { at: 'ended'; reason: DirectEnd; by: 'self' | 'other' | null; lasted: Millis | null }

/** What speaks against the other's key. */
export type KeyWarning =
  /** It is not the key that was trusted. */
  | 'changed'
  /** The directory does not tell the truth about it. */
  | KeyTrouble
  /** Calls with this key were signed, and this one is not. */
  | 'unsigned'
  /** The call is signed, but not by this key: somebody may stand in between. */
  | 'forged'

/** How far the other is known to be the one they say. */
export interface CallSecurity {
  /** Still being looked at. */
  readonly isChecking: boolean
  /** The other's key; null when the directory has none, or could not be asked. */
  readonly key: PeerKey | null
  /** The sound is signed by that key. False for a client that does not sign. */
  readonly isSigned: boolean
  /** Null when nothing speaks against it, or the person chose to go on. */
  readonly warning: KeyWarning | null
}

/** Of a call that was answered. */
export interface DirectFacts {
  readonly link: { at: 'up' } | { at: 'lost'; until: Millis }
  readonly other: { at: 'present' } | { at: 'away'; until: Millis }
  readonly media: MediaState
  /** First sound. */
  readonly since: Millis | null
}

export function stateOfAnswered({ link, other, media, since }: DirectFacts): DirectCallState {
  if (link.at === 'lost') return { at: 'reconnecting', who: 'self', since, until: link.until }
  if (other.at === 'away') return { at: 'reconnecting', who: 'other', since, until: other.until }
  if (since === null) return { at: 'joining' }
  if (media === 'connected') return { at: 'connected', since }
  return { at: 'reconnecting', who: 'media', since, until: null }
}
