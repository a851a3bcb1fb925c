import type { CallId, Side } from '../../core/ids.ts'

/** The right to sit in a leg, proved. Made and checked by `auth`; nothing of it is stored. */
export interface RideTokens {
  /** The join token of a leg. Always the same for the same leg. */
  join(id: CallId, side: Side): string
  /** In constant time. */
  isJoin(token: string, id: CallId, side: Side): boolean
  /** The resume token of a leg that has come in `generation` times. */
  resume(id: CallId, side: Side, generation: number): string
  /** What a resume token says when it is one of ours, or null. */
  readResume(token: string): { id: CallId; side: Side; generation: number } | null
}
