/**
 * The hello, 120 bytes: what a page says of itself, proved with the leaf. Sent when the socket opens, when the relay
 * says that a peer joined, and as an answer to one that asks. It may be a replay of an old one: it adds a key to try
 * (candidates.ts), and is never more than that.
 *
 *     0     type, 0x01              4-19   sid
 *     1     version, 1              20-84  public key, an uncompressed point of P-256
 *     2     flags: 1 = answer me    85-87  zero
 *     3     capabilities            88-119 HMAC-SHA-256 (hello key, bytes 0 to 87)
 */
import { HELLO_SIZE, HELLO_TYPE } from '../protocol/line.ts'
import { type Bytes, concat, same } from './bytes.ts'
import { type Face, faceBytes } from './keys.ts'

export { HELLO_SIZE, HELLO_TYPE }

const VERSION = 1
const ANSWER_ME = 1
const FACE = 3
const SID = 4
const POINT = 20
const ZERO = 85
const MAC = 88

export interface Hello extends Face {
  readonly answerMe: boolean
}

/** `malformed`: not 120 bytes of this version. `forged`: made without the leaf. `reflected`: one's own came back. */
export type HelloRefusal = 'malformed' | 'forged' | 'reflected'

export async function writeHello(
  subtle: SubtleCrypto,
  helloKey: CryptoKey,
  face: Face,
  answerMe: boolean,
): Promise<Bytes> {
  const head = Uint8Array.of(HELLO_TYPE, VERSION, answerMe ? ANSWER_ME : 0)
  const body = concat(head, faceBytes(face), new Uint8Array(MAC - ZERO))
  return concat(body, new Uint8Array(await subtle.sign('HMAC', helloKey, body)))
}

/** Never throws, whatever the bytes. `ownSid`: the one of this page. */
export async function readHello(
  subtle: SubtleCrypto,
  helloKey: CryptoKey,
  bytes: Uint8Array,
  ownSid: Uint8Array,
): Promise<Hello | HelloRefusal> {
  if (bytes.length !== HELLO_SIZE || bytes[0] !== HELLO_TYPE || bytes[1] !== VERSION) return 'malformed'
  const copy = concat(bytes)
  if (!(await subtle.verify('HMAC', helloKey, copy.subarray(MAC), copy.subarray(0, MAC)))) return 'forged'
  const sid = copy.slice(SID, POINT)
  if (same(sid, ownSid)) return 'reflected'
  return {
    sid,
    publicKey: copy.slice(POINT, ZERO),
    capabilities: copy[FACE] ?? 0,
    answerMe: ((copy[2] ?? 0) & ANSWER_ME) !== 0,
  }
}
