/** What the options come to for the rooms that main builds: plain values, one function for each room. */
import type { AppTokenSettings } from './auth/app-tokens.ts'
import type { CertificateFiles } from './auth/certificate.ts'
import type { Keys } from './auth/keys.ts'
import type { TurnSettings } from './auth/turn.ts'
import type { Config } from './config/options.ts'
import type { MysqlSettings } from './store/store.ts'

/** What must stand in no line of the log. */
export function secretsOf(config: Config, keys: Keys): string[] {
  const secret = Buffer.from(keys.secret)
  const { api, admin, line } = keys.effective
  const { DB_PASSWORD, JWT_SECRET, WEBHOOK_SECRET, TURN_SECRET, TURN_CREDENTIAL, METERED_SECRET_KEY } = config
  return [
    ...api,
    ...admin,
    ...line,
    secret.toString('base64url'),
    secret.toString('hex'),
    ...[JWT_SECRET, WEBHOOK_SECRET, TURN_SECRET].flatMap((several) => several ?? []),
    ...[DB_PASSWORD, TURN_CREDENTIAL, METERED_SECRET_KEY].filter((one) => one !== null),
  ]
}

/** Nobody has set a key, or this is a developer's machine. */
export function isTrial(config: Config): boolean {
  return config.API_KEY === null || config.ENVIRONMENT === 'development'
}

/** Null where TLS is left to a proxy. */
export function certificateFilesOf({
  TLS_CERT_FILE: cert,
  TLS_KEY_FILE: key,
}: Config): CertificateFiles | null {
  return cert === null || key === null ? null : { cert, key }
}

export function mysqlOf(config: Config): MysqlSettings | null {
  if (config.DB_USERNAME === null) return null
  return {
    host: config.DB_HOST,
    port: config.DB_PORT,
    database: config.DB_DATABASE,
    username: config.DB_USERNAME,
    password: config.DB_PASSWORD ?? '',
  }
}

/** How the app's own tokens are checked; null where they are not asked for. */
export function appTokensOf(config: Config): Omit<AppTokenSettings, 'now' | 'log'> | null {
  const { DIRECT_IDENTITY, JWT_SECRET, JWKS_URL } = config
  if (DIRECT_IDENTITY !== 'jwt') return null
  return {
    keys: JWKS_URL === null ? { secrets: JWT_SECRET ?? [] } : { jwksUrl: JWKS_URL },
    audience: config.JWT_AUDIENCE,
    issuer: config.JWT_ISSUER,
  }
}

/** What each provider needs is there: config/read.ts has seen to it. */
export function turnOf(config: Config): TurnSettings {
  const { TURN_PROVIDER: provider, TURN_URLS: urls, TURN_TTL: ttl } = config
  switch (provider) {
    case 'none':
      return { provider }
    case 'coturn':
      return { provider, urls: urls ?? [], secrets: config.TURN_SECRET ?? [], ttl }
    case 'metered':
      return {
        provider,
        urls,
        account: config.METERED_URL ?? '',
        secretKey: config.METERED_SECRET_KEY ?? '',
        ttl,
      }
    case 'static': {
      const { TURN_USERNAME: username, TURN_CREDENTIAL: credential } = config
      const user = username === null || credential === null ? null : { username, credential }
      return { provider, urls: urls ?? [], user }
    }
  }
}
