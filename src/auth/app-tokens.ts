/**
 * Tokens with which the app says who its user is (`DIRECT_IDENTITY=jwt`): JWT, RFC 7519, checked as RFC 8725 advises.
 * Either HS256 with a shared secret, or public keys from a JWKS; never both, and never `none`. `sub` is the client id;
 * `exp` must be there. Deliberately not here: making tokens, which is the app's.
 */
import type { Millis } from '../core/ids.ts'
import type { Log } from '../core/ports.ts'
import { RemoteKeys } from './remote-keys.ts'

export interface AppTokenSettings {
  /** Several secrets are good alike, so that one can be changed without a pause. */
  readonly keys: { readonly secrets: readonly string[] } | { readonly jwksUrl: string }
  /** What `aud` must hold and what `iss` must be; null: not checked. */
  readonly audience: string | null
  readonly issuer: string | null
  /** The wall clock. */
  readonly now: () => Millis
  readonly log: Log
}

const PUBLIC_KEY_ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
]
const LONGEST_TOKEN = 4096
/** How far the clocks of the app and of this server may be apart. */
const TOLERANCE_SECONDS = 10

/** Whether a token is the app's and for this id. Takes a second at most, and never rejects. */
export function appTokens(settings: AppTokenSettings): (token: string, clientId: string) => Promise<boolean> {
  const { keys, audience, issuer, now, log } = settings
  const secrets = 'secrets' in keys ? keys.secrets.map((secret) => new TextEncoder().encode(secret)) : null
  const remote = 'jwksUrl' in keys ? new RemoteKeys({ url: keys.jwksUrl, now, log }) : null

  return async (token, clientId) => {
    if (token.length > LONGEST_TOKEN) return false
    // Loaded by the first token, as most servers never see one.
    const { decodeProtectedHeader, jwtVerify } = await import('jose')
    try {
      const { alg = 'none', kid } = decodeProtectedHeader(token)
      const named = kid === undefined ? { alg } : { alg, kid }
      const candidates = secrets ?? (await remote?.matching(named)) ?? []
      let refused: unknown = new Error('no key fits')
      for (const key of candidates) {
        try {
          await jwtVerify(token, key, {
            algorithms: secrets === null ? PUBLIC_KEY_ALGORITHMS : ['HS256'],
            subject: clientId,
            requiredClaims: ['exp'],
            clockTolerance: TOLERANCE_SECONDS,
            currentDate: new Date(now()),
            ...(audience === null ? {} : { audience }),
            ...(issuer === null ? {} : { issuer }),
          })
          return true
        } catch (error) {
          refused = error
        }
      }
      throw refused
    } catch (error) {
      log.debug({ why: reason(error) }, "a token of the app's was refused")
      return false
    }
  }
}

/** Says nothing of what is in the token. */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  const { code, claim } = error as { code?: unknown; claim?: unknown }
  return `${code ?? error.name}${typeof claim === 'string' ? ` ${claim}` : ''}`
}
