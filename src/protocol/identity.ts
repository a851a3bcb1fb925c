/**
 * What is signed to prove who a client is. Both ends make the same bytes: the lines below in UTF-8, joined by one line
 * feed (0x0a) each, none at the end. No line can hold a line feed, so no two claims have the same bytes; the first line
 * keeps one kind of signature from standing for another, the host keeps one from being used at another server.
 *
 *     ringdown/identity/1            ringdown/identity-rotation/1
 *     host                           host
 *     clientId                       clientId
 *     nonce                          newKey
 *                                    nonce
 *
 * `host`: of the server's address as a browser shows it (`URL.host`): lower case, with the port unless it is the
 * scheme's own. `nonce`: as WELCOME had it. `newKey`: as REGISTER has it.
 *
 * Keys are SubjectPublicKeyInfo in DER, base64url without padding: Ed25519 (44 bytes) or an uncompressed point of P-256
 * (91 bytes). Signatures are base64url without padding: Ed25519 (RFC 8032), or ECDSA with SHA-256 as r and s of 32 bytes
 * each, with the lower s, or the same in DER.
 */

export interface IdentityClaim {
  readonly clientId: string
  readonly nonce: string
  readonly host: string
}

export interface RotationClaim extends IdentityClaim {
  readonly newKey: string
}

/** Signed by the holder of the identity, for REGISTER. */
export function identityText({ host, clientId, nonce }: IdentityClaim): string {
  return ['ringdown/identity/1', host, clientId, nonce].join('\n')
}

/** Signed by the holder of the old key, to hand the id over to the new one. */
export function rotationText({ host, clientId, newKey, nonce }: RotationClaim): string {
  return ['ringdown/identity-rotation/1', host, clientId, newKey, nonce].join('\n')
}

/** Order of P-256. FIPS 186-5, SP 800-186 section 3.2.1.3. */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n

/**
 * The lower of the two forms of an ECDSA P-256 signature of r and s, 64 bytes, as WebCrypto makes it: that makes the
 * higher one half of the time, and only the lower one is accepted.
 */
export function lowS(signature: Uint8Array): Uint8Array {
  const s = signature.subarray(32).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)
  if (signature.length !== 64 || s <= ORDER / 2n || s >= ORDER) return signature
  const low = signature.slice()
  let left = ORDER - s
  for (let i = 63; i >= 32; i--) {
    low[i] = Number(left & 255n)
    left >>= 8n
  }
  return low
}
