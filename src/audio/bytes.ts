/** Bytes as WebCrypto takes them: never over shared memory. */
export type Bytes = Uint8Array<ArrayBuffer>

export function concat(...parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** Lengths are no secret here, and neither is what is compared: ids, never keys. */
export function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

/** As numbers, the first byte first: which of two ids is the lower one. */
export function isBelow(a: Uint8Array, b: Uint8Array): boolean {
  const at = a.findIndex((byte, i) => byte !== b[i])
  return at >= 0 && (a[at] ?? 0) < (b[at] ?? 0)
}

const encoder = new TextEncoder()

export function ascii(text: string): Bytes {
  return encoder.encode(text)
}

/** Base64url without padding. */
export function toBase64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replace(/=+$/, '')
}
