/**
 * Signs what is posted to the app's backend, as Standard Webhooks has it (standardwebhooks.com, symmetric signatures):
 * HMAC-SHA-256 over id, time and body, which the receiver checks with the same secret. Of several secrets each signs, so
 * that the two ends can change one without a pause.
 */

export interface Signable {
  /** The same for every try, so that the receiver knows one that it has. Without a full stop. */
  readonly id: string
  /** Seconds since 1970, of this try: the receiver refuses old ones. */
  readonly seconds: number
  readonly body: string
}

export function signatureHeaders(secrets: readonly string[], signable: Signable): Record<string, string> {
  const { id, seconds, body } = signable
  const signed = (secret: string) =>
    new Bun.CryptoHasher('sha256', keyOf(secret)).update(`${id}.${seconds}.${body}`).digest('base64')
  return {
    'webhook-id': id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': secrets.map((secret) => `v1,${signed(secret)}`).join(' '),
  }
}

/** What is written `whsec_…` is base64, as the specification's libraries have it; any other text is taken as it is. */
function keyOf(secret: string): Uint8Array {
  return secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : Buffer.from(secret)
}
