/** What a call page keeps over a reload, in this tab only and only while it is being left. */
import type { RideResumption } from '../client/index.ts'
import type { Place } from './address.ts'
import type { Invite } from './parts/invite.tsx'

export interface Kept {
  readonly resumption: RideResumption
  readonly invite: Invite | null
}

const keyOf = ({ sessionId, userId }: Place) => `ringdown.call ${sessionId} ${userId}`

export function keep(place: Place, kept: Kept): void {
  try {
    sessionStorage.setItem(keyOf(place), JSON.stringify(kept))
  } catch {
    // Storage is off or full: the next page joins anew.
  }
}

/** What was kept, once: the right to resume is good for one page. */
export function takeKept(place: Place): Kept | null {
  try {
    const text = sessionStorage.getItem(keyOf(place))
    sessionStorage.removeItem(keyOf(place))
    return text === null ? null : (JSON.parse(text) as Kept)
  } catch {
    return null
  }
}
