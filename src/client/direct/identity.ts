/**
 * A key that a client proves itself with. The library is handed an `Identity` and never sees how it is kept: a page
 * keeps a pair whose private half cannot be taken out, a phone has its own vault. What is signed is in
 * `protocol/identity.ts` and `protocol/media-proof.ts`.
 */
import { lowS } from '../../protocol/identity.ts'
import { fromBase64url, toBase64url, utf8 } from './bytes.ts'

export interface Identity {
  /** SubjectPublicKeyInfo in DER, base64url: Ed25519 or ECDSA P-256. */
  readonly publicKey: string
  /** Signature over the text as UTF-8, base64url; for ECDSA r and s of 32 bytes each, with the lower s. */
  sign(text: string): Promise<string>
}

const P256 = { name: 'ECDSA', namedCurve: 'P-256' } as const
const ED25519 = { name: 'Ed25519' } as const
const SHA256 = { name: 'ECDSA', hash: 'SHA-256' } as const

/** Lengths of the two kinds of key in DER. RFC 8410 section 4, RFC 5480 section 2. */
const ED25519_LENGTH = 44
const P256_LENGTH = 91

/** A new pair of ECDSA P-256 keys, which every browser has; the private one never leaves it. */
export async function makeKeyPair(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(P256, false, ['sign', 'verify'])
}

/** The identity of a pair made with WebCrypto: ECDSA P-256 or Ed25519. */
export async function identityOf({ publicKey, privateKey }: CryptoKeyPair): Promise<Identity> {
  const isEcdsa = publicKey.algorithm.name === 'ECDSA'
  return {
    publicKey: toBase64url(await crypto.subtle.exportKey('spki', publicKey)),
    async sign(text) {
      const signature = new Uint8Array(
        await crypto.subtle.sign(isEcdsa ? SHA256 : ED25519, privateKey, utf8(text)),
      )
      return toBase64url(isEcdsa ? lowS(signature) : signature)
    },
  }
}

/** Whether a key of the directory is one that can sign. Other clients may keep anything there. */
export function canSign(publicKey: string): boolean {
  return readKey(publicKey) !== null
}

/** Whether this is a signature by this key over this text. False for what is no key or no signature. Never rejects. */
export async function verifies(publicKey: string, signature: string, text: string): Promise<boolean> {
  const der = readKey(publicKey)
  if (der === null) return false
  const isEcdsa = der.length === P256_LENGTH
  try {
    const key = await crypto.subtle.importKey('spki', der, isEcdsa ? P256 : ED25519, false, ['verify'])
    return await crypto.subtle.verify(isEcdsa ? SHA256 : ED25519, key, fromBase64url(signature), utf8(text))
  } catch {
    return false
  }
}

function readKey(publicKey: string): Uint8Array<ArrayBuffer> | null {
  try {
    const der = fromBase64url(publicKey)
    return der.length === P256_LENGTH || der.length === ED25519_LENGTH ? der : null
  } catch {
    return null
  }
}
