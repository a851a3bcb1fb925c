/** SHA-256 of a text in UTF-8, as base64url: 43 characters. FIPS 180-4. */
export function digest(text: string): string {
  return new Bun.CryptoHasher('sha256').update(text).digest('base64url')
}
