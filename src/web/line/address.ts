/** The address of the page of a line: what stands in it for the server, and behind the hash for the other end only. */
import { GENERATE_LEAF, type Leaf, leafFromHash, leafToHash } from '../../audio/leaf.ts'
import type { Profile } from './messages.ts'
import type { LinkProblem } from './view.ts'

export function asksForLeaf(address: string): boolean {
  return new URL(address).hash === GENERATE_LEAF
}

export function leafIn(address: string): Leaf | LinkProblem {
  const { hash } = new URL(address)
  if (hash === '') return 'no_leaf'
  return leafFromHash(hash) ?? 'bad_leaf'
}

export function withLeaf(address: string, leaf: Leaf): string {
  const url = new URL(address)
  url.hash = leafToHash(leaf)
  return url.href
}

export function profileIn(address: string): Profile['name'] {
  const { searchParams } = new URL(address)
  if (searchParams.get('mobile') === '1') return 'mobile'
  return searchParams.get('quick') === '1' ? 'quick' : 'default'
}

/** The same address, beginning with this profile. The rest of it stays, in its order. */
export function withProfile(address: string, name: Profile['name']): string {
  if (profileIn(address) === name) return address
  const url = new URL(address)
  url.searchParams.delete('mobile')
  url.searchParams.delete('quick')
  if (name !== 'default') url.searchParams.set(name, '1')
  return url.href
}

/** Where the line connects to, on the server that served the page. Nothing goes with it but the API key. */
export function socketOf(address: string): string {
  const { protocol, searchParams } = new URL(address)
  const url = new URL('/line', address)
  url.protocol = protocol === 'https:' ? 'wss:' : 'ws:'
  const key = searchParams.get('apikey')
  if (key !== null) url.searchParams.set('apikey', key)
  return url.href
}
