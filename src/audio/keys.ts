/**
 * The keys of a line. From the leaf alone come the room and the key of the hellos; from the leaf and a key agreement of
 * both pages comes the key of the pair, and from that, for each direction, a key, a salt and an id. Every page load has
 * a new agreement key, so an old call opens under no later key, and whoever learns the leaf later hears no earlier call.
 *
 *     room      = HKDF(leaf, salt "line/1", info "room"), 16 bytes
 *     hello key = HKDF(leaf, salt "line/1", info "hello"), 32 bytes
 *     pair      = HKDF(leaf || Z, salt SHA-256(low || high)), Z = ECDH on P-256,
 *                 low, high = bytes 3 to 84 of both hellos, the lower sid first
 *     direction = pair, info "key" | "salt" | "kid" || sid of the sender || sid of the receiver; 32, 12, 4 bytes
 *
 * HKDF is RFC 5869 with SHA-256. All key objects refuse to be exported. Vectors: docs/line-vectors.json.
 */
import { ascii, type Bytes, concat, isBelow, toBase64url } from './bytes.ts'
import type { Leaf } from './leaf.ts'

const SALT = ascii('line/1')
const P256 = { name: 'ECDH', namedCurve: 'P-256' }

export const SID_SIZE = 16
/** An uncompressed point of P-256. */
export const POINT_SIZE = 65

/** What a page is on the line, from load to unload: it stays over reconnects, and ends with the page. */
export interface Page {
  readonly sid: Bytes
  readonly publicKey: Bytes
  readonly privateKey: CryptoKey
  /** What the page can do, as bits: byte 3 of its hello. */
  readonly capabilities: number
}

/** What a page says of itself in its hello. */
export type Face = Pick<Page, 'sid' | 'publicKey' | 'capabilities'>

/** The keys of one direction. */
export interface Direction {
  readonly key: CryptoKey
  readonly salt: Bytes
  /** Names the key in the headers of its frames. Not unique for sure: 4 bytes. */
  readonly kid: number
}

export interface Pair {
  readonly own: Bytes
  readonly peer: Bytes
  /** Seals only. */
  readonly out: Direction
  /** Opens only. */
  readonly in: Direction
  /** SHA-256 of what both said of themselves: the same at both ends, and another one if anybody changed it. */
  readonly transcript: Bytes
  /** More bytes that only the two have; `info` says what for. */
  readonly derive: (info: Uint8Array, size: number) => Promise<Bytes>
}

/** Where the relay seats the two, in base64url. Tells nothing of the leaf. */
export async function roomOf(subtle: SubtleCrypto, leaf: Leaf): Promise<string> {
  return toBase64url(await expand(subtle, await ikm(subtle, leaf), SALT, ascii('room'), 16))
}

/** Proves that a hello is from somebody with the leaf. */
export async function helloKeyOf(subtle: SubtleCrypto, leaf: Leaf): Promise<CryptoKey> {
  return await subtle.deriveKey(
    { name: 'HKDF', hash: 'SHA-256', salt: SALT, info: ascii('hello') },
    await ikm(subtle, leaf),
    { name: 'HMAC', hash: 'SHA-256', length: 256 },
    false,
    ['sign', 'verify'],
  )
}

/** `fill` as `crypto.getRandomValues`. */
export async function newPage(
  subtle: SubtleCrypto,
  fill: (bytes: Bytes) => unknown,
  capabilities: number,
): Promise<Page> {
  const sid = new Uint8Array(SID_SIZE)
  fill(sid)
  const { publicKey, privateKey } = await subtle.generateKey(P256, false, ['deriveBits'])
  return {
    sid,
    publicKey: new Uint8Array(await subtle.exportKey('raw', publicKey)),
    privateKey,
    capabilities,
  }
}

/**
 * The keys with the page behind a hello that has been proved. The same two pages have the same pair at every call of
 * this. Null when its public key is no point of the curve.
 */
export async function pairOf(subtle: SubtleCrypto, leaf: Leaf, page: Page, peer: Face): Promise<Pair | null> {
  let shared: Bytes
  try {
    const publicKey = await subtle.importKey('raw', peer.publicKey, P256, false, [])
    shared = new Uint8Array(
      await subtle.deriveBits({ name: 'ECDH', public: publicKey }, page.privateKey, 256),
    )
  } catch {
    return null
  }
  const [low, high] = isBelow(page.sid, peer.sid) ? [page, peer] : [peer, page]
  const both = concat(faceBytes(low), faceBytes(high))
  const transcript = new Uint8Array(await subtle.digest('SHA-256', both))
  const secret = concat(leaf, shared)
  const base = await ikm(subtle, secret)
  secret.fill(0)
  shared.fill(0)
  const direction = async (from: Bytes, to: Bytes, use: KeyUsage): Promise<Direction> => {
    const info = (name: string) => concat(ascii(name), from, to)
    const [key, salt, kid] = await Promise.all([
      subtle.deriveKey(
        { name: 'HKDF', hash: 'SHA-256', salt: transcript, info: info('key') },
        base,
        { name: 'AES-GCM', length: 256 },
        false,
        [use],
      ),
      expand(subtle, base, transcript, info('salt'), 12),
      expand(subtle, base, transcript, info('kid'), 4),
    ])
    return { key, salt, kid: new DataView(kid.buffer).getUint32(0) }
  }
  const [out, back] = await Promise.all([
    direction(page.sid, peer.sid, 'encrypt'),
    direction(peer.sid, page.sid, 'decrypt'),
  ])
  const derive = async (info: Uint8Array, size: number) =>
    await expand(subtle, base, transcript, concat(info), size)
  return { own: page.sid, peer: peer.sid, out, in: back, transcript, derive }
}

/** Bytes 3 to 84 of a hello. */
export function faceBytes(face: Face): Bytes {
  return concat(Uint8Array.of(face.capabilities), face.sid, face.publicKey)
}

async function ikm(subtle: SubtleCrypto, secret: Bytes): Promise<CryptoKey> {
  return await subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits', 'deriveKey'])
}

async function expand(
  subtle: SubtleCrypto,
  base: CryptoKey,
  salt: Bytes,
  info: Bytes,
  size: number,
): Promise<Bytes> {
  return new Uint8Array(
    await subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt, info }, base, size * 8),
  )
}
