/**
 * The leaf: 32 random bytes that only the two ends know. It stands in the part of the address that browsers do not
 * send (`#leaf_…`), as 43 characters of base64url. Nothing here keeps it, and no error repeats it.
 */
import { type Bytes, toBase64url } from './bytes.ts'

export type Leaf = Bytes & { readonly leaf: unique symbol }

/** What asks the page to make a leaf. */
export const GENERATE_LEAF = '#generate_leaf'

const PREFIX = '#leaf_'
const SIZE = 32
/**
 * 43 characters hold 258 bits: the last one has two to spare, and they are zero. One leaf has one spelling, so that two
 * people who compare links compare leaves.
 */
const FORM = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/

/** `fill` as `crypto.getRandomValues`. */
export function newLeaf(fill: (bytes: Bytes) => unknown): Leaf {
  const bytes = new Uint8Array(SIZE)
  fill(bytes)
  return bytes as Leaf
}

/** Null when the text is no leaf. */
export function leafFromText(text: string): Leaf | null {
  if (text.length !== 43 || !FORM.test(text)) return null
  const binary = atob(`${text.replaceAll('-', '+').replaceAll('_', '/')}=`)
  return Uint8Array.from(binary, (char) => char.charCodeAt(0)) as Leaf
}

export function leafToText(leaf: Leaf): string {
  return toBase64url(leaf)
}

/** Of `location.hash`. Null when it holds none. */
export function leafFromHash(hash: string): Leaf | null {
  return hash.startsWith(PREFIX) ? leafFromText(hash.slice(PREFIX.length)) : null
}

export function leafToHash(leaf: Leaf): string {
  return PREFIX + leafToText(leaf)
}
