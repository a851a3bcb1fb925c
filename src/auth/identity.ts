/**
 * Proofs of identity: signatures over what protocol/identity.ts says, and tokens of the app.
 *
 * The runtime's verification is too kind: it takes Ed25519 keys of small order, with which one signature fits nearly any
 * text; more than one encoding of a point; ECDSA signatures in both forms; and bytes after a key. So what is handed to
 * it is checked first. It does itself refuse an Ed25519 S that is not reduced, and a point that is not on the curve.
 */
import { createPublicKey, type KeyObject, randomBytes, verify } from 'node:crypto'
import { type IdentityClaim, identityText, type RotationClaim, rotationText } from '../protocol/identity.ts'

const NONCE_BYTES = 32

export interface Proofs {
  nonce(): string
  provesIdentity(key: string, signature: string, claim: IdentityClaim): boolean
  provesRotation(oldKey: string, signature: string, claim: RotationClaim): boolean
  checkToken(token: string, clientId: string): Promise<boolean>
}

/** `checkToken`: of apptokens.ts; null where no token is good. */
export function identityProofs(
  checkToken: ((token: string, clientId: string) => Promise<boolean>) | null,
): Proofs {
  return {
    nonce: () => randomBytes(NONCE_BYTES).toString('base64url'),
    provesIdentity: (key, signature, { host, clientId, nonce }) =>
      areLines(host, clientId, nonce) && signs(key, signature, identityText({ host, clientId, nonce })),
    provesRotation: (oldKey, signature, { host, clientId, newKey, nonce }) =>
      areLines(host, clientId, newKey, nonce) &&
      // Or the id would be nobody's from then on.
      readKey(newKey) !== null &&
      signs(oldKey, signature, rotationText({ host, clientId, newKey, nonce })),
    checkToken: checkToken ?? (async () => false),
  }
}

/** Visible ASCII, so that no field reaches into the next line. */
function areLines(...fields: string[]): boolean {
  return fields.every((field) => /^[\x21-\x7e]{1,512}$/.test(field))
}

function signs(keyText: string, signatureText: string, text: string): boolean {
  const key = readKey(keyText)
  const signature = decoded(signatureText)
  if (key === null || signature === null) return false
  try {
    return key.is === 'ed25519' ? signsEd25519(key, signature, text) : signsP256(key, signature, text)
  } catch {
    return false
  }
}

interface Key {
  readonly is: 'ed25519' | 'p256'
  readonly key: KeyObject
}

/** What stands before the point, byte for byte: RFC 8410 section 4, RFC 5480 section 2. */
const ED25519 = Buffer.from('302a300506032b6570032100', 'hex')
const P256 = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex')
const ED25519_POINT = 32
const P256_POINT = 64

function readKey(text: string): Key | null {
  const der = decoded(text)
  if (der === null) return null
  const begins = (prefix: Buffer, point: number) =>
    der.length === prefix.length + point && prefix.equals(der.subarray(0, prefix.length))
  const is = begins(ED25519, ED25519_POINT) ? 'ed25519' : begins(P256, P256_POINT) ? 'p256' : null
  if (is === null || (is === 'ed25519' && !isProperPoint(der.subarray(ED25519.length)))) return null
  try {
    return { is, key: createPublicKey({ key: der, format: 'der', type: 'spki' }) }
  } catch {
    return null
  }
}

/** Bytes of a base64url text that is written in the one proper way. */
function decoded(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : null
}

function signsEd25519({ key }: Key, signature: Buffer, text: string): boolean {
  if (signature.length !== 64 || !isProperPoint(signature.subarray(0, 32))) return false
  return verify(null, Buffer.from(text), key, signature)
}

/** y of the eight points whose order divides eight, in little-endian: 0, 1, -1, and the two of order eight. */
const SMALL_ORDER = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
]

/** Whether y is below 2^255 - 19 and the point not of small order; the runtime sees whether it is on the curve. */
function isProperPoint(encoded: Buffer): boolean {
  const y = Buffer.from(encoded)
  y[31] = (y[31] ?? 0) & 0x7f // The highest bit is the sign of x.
  const isReduced = y[31] !== 0x7f || !y.subarray(1, 31).every((byte) => byte === 0xff) || (y[0] ?? 0) < 0xed
  return isReduced && !SMALL_ORDER.includes(y.toString('hex'))
}

/** Order of the curve and its half, big-endian as r and s are. */
const ORDER = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex')
const HALF_ORDER = Buffer.from('7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8', 'hex')
const ZERO = Buffer.alloc(32)

function signsP256({ key }: Key, given: Buffer, text: string): boolean {
  const signature = given.length === 64 ? given : fromDer(given)
  if (signature === null) return false
  const [r, s] = [signature.subarray(0, 32), signature.subarray(32)]
  if (r.equals(ZERO) || r.compare(ORDER) >= 0 || s.equals(ZERO) || s.compare(HALF_ORDER) > 0) return false
  return verify('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }, signature)
}

/** r and s of 32 bytes each out of the DER that Java and Apple's Security framework make; null unless it is strict DER. */
function fromDer(der: Buffer): Buffer | null {
  if (der[0] !== 0x30 || der[1] !== der.length - 2) return null
  const r = readInteger(der, 2)
  const s = r && readInteger(der, r.end)
  return s?.end === der.length ? Buffer.concat([r?.value ?? ZERO, s.value]) : null
}

/** A positive integer of at most 32 bytes, written with as few as can be: X.690 section 8.3. */
function readInteger(der: Buffer, at: number): { value: Buffer; end: number } | null {
  const length = der[at + 1] ?? 0
  const bytes = der.subarray(at + 2, at + 2 + length)
  if (der[at] !== 0x02 || length === 0 || bytes.length !== length) return null
  const [first = 0, second = 0] = bytes
  const padded = first === 0 && length > 1
  if (first >= 0x80 || (padded && second < 0x80)) return null
  const magnitude = padded ? bytes.subarray(1) : bytes
  if (magnitude.length > 32) return null
  return { value: Buffer.concat([Buffer.alloc(32 - magnitude.length), magnitude]), end: at + 2 + length }
}
