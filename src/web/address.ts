/**
 * The link that opens one seat of a call. What is secret in it, the join token, stands behind the hash, which browsers
 * send to nobody.
 */
import type { Seat } from '../client/index.ts'
import type { Role } from '../protocol/ride.ts'

export interface Place extends Seat {
  readonly role: Role | null
}

/** The seat that a page's address names, or null. */
export function placeIn(address: string): Place | null {
  const { searchParams, hash } = new URL(address)
  const sessionId = searchParams.get('session')
  const userId = searchParams.get('user')
  if (!sessionId || !userId) return null
  const role = searchParams.get('role')
  const joinToken = new URLSearchParams(hash.slice(1)).get('token')
  return {
    sessionId,
    userId,
    role: role === 'driver' || role === 'passenger' ? role : null,
    joinToken: joinToken || undefined,
  }
}

/** The link to a seat, on the page that `address` is of. */
export function linkTo(place: Place, address: string): string {
  const url = new URL(address)
  url.search = ''
  url.hash = ''
  url.searchParams.set('session', place.sessionId)
  url.searchParams.set('user', place.userId)
  if (place.role !== null) url.searchParams.set('role', place.role)
  if (relayOnly(address)) url.searchParams.set('relay', '1')
  if (place.joinToken) url.hash = new URLSearchParams({ token: place.joinToken }).toString()
  return url.href
}

/** `?relay=1`: sound goes through a relay or not at all, to try one. Links of such a page ask for the same. */
export function relayOnly(address: string): boolean {
  return new URL(address).searchParams.get('relay') === '1'
}

/** Where calls of the server that served this page connect to. */
export function socketUrl(address: string): string {
  const url = new URL('/ws', address)
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  return url.href
}
