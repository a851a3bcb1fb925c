/**
 * Who is let in: addresses, origins, keys and rates, checked before a route or an upgrade sees the request. A refusal
 * is counted by its cause and says nothing that would help the next try.
 */
import { Limiter } from '../core/limiter.ts'
import type { Clock, Metrics } from '../core/ports.ts'
import { fail } from '../protocol/codes.ts'
import { ClientAddresses, limitKey } from './address.ts'
import type { Access } from './route.ts'

export interface GateDeps {
  readonly trustedProxies: readonly string[]
  readonly allowedOrigins: readonly string[]
  /** Connection attempts of one address in a minute; 0: no limit. */
  readonly ratePerMinute: number
  readonly isApiKey: (presented: string) => boolean
  readonly isAdminKey: (presented: string) => boolean
  readonly isLineKey: (presented: string) => boolean
  /** Who may try a call without a key. */
  readonly trial: 'nobody' | 'this machine' | 'anybody'
  readonly digest: (text: string) => string
  /** The server speaks TLS itself. */
  readonly tls: boolean
  readonly clock: Clock
  readonly metrics: Metrics
}

/** Where a request can show a key. */
export interface Shown {
  readonly headers: Headers
  readonly query: URLSearchParams
}

/** Wrong keys that one address may show in half an hour before it is not listened to. */
const KEY_FAILURES = 10
const KEY_WINDOW = 30 * 60_000

export class Gate {
  readonly #deps: GateDeps
  readonly #addresses: ClientAddresses
  readonly #attempts: Limiter
  readonly #keyFailures: Limiter

  constructor(deps: GateDeps) {
    this.#deps = deps
    this.#addresses = new ClientAddresses(deps.trustedProxies)
    this.#attempts = new Limiter(deps.ratePerMinute, 60_000, deps.clock)
    this.#keyFailures = new Limiter(KEY_FAILURES, KEY_WINDOW, deps.clock)
  }

  client(socket: string, headers: Headers): string {
    return this.#addresses.of(socket, headers)
  }

  /** Scheme and host as the client wrote them, as far as we can know: `https://calls.example.com`. */
  siteOf(request: Request, socket: string): string {
    const forwarded = this.#addresses.trusts(socket) ? request.headers.get('x-forwarded-proto') : null
    const scheme =
      forwarded === 'https' || forwarded === 'http' ? forwarded : this.#deps.tls ? 'https' : 'http'
    return `${scheme}://${request.headers.get('host') ?? ''}`
  }

  /**
   * Lets a request to a route in, or throws. Returns the digest of the API key that was shown. `not_found` for a
   * route that is not for this client, `invalid_api_key` for a wrong key, `rate_limited` after too many wrong ones.
   */
  admit(access: Access, { headers, query }: Shown, client: string): string {
    switch (access) {
      case 'anybody':
        return ''
      case 'backend':
        return this.#checkKey(headers.get('x-api-key') ?? '', client, this.#deps.isApiKey)
      case 'operator':
        if (isLoopback(client) && !wasForwarded(headers)) return ''
        return this.#checkKey(bearer(headers), client, this.#deps.isAdminKey)
      case 'trial': {
        const { trial } = this.#deps
        if (trial === 'anybody' || (trial === 'this machine' && isLoopback(client))) return ''
        throw fail('not_found')
      }
      case 'line': {
        const keys = query.getAll('apikey')
        return this.#checkKey(keys.length === 1 ? (keys[0] ?? '') : '', client, this.#deps.isLineKey)
      }
    }
  }

  /**
   * Lets a connection attempt in, or throws `rate_limited` or `origin_not_allowed`. Returns how to give the attempt
   * back once the client has said who it is.
   */
  admitConnection(headers: Headers, client: string, site: string): () => void {
    const key = limitKey(client)
    const wait = this.#attempts.take(key)
    if (wait !== null)
      throw this.#counted(fail('rate_limited', 'Too many connection attempts.', { retryAfter: wait }))
    const origin = headers.get('origin')
    // Apps send no Origin; browsers always do. RFC 6455 section 10.2.
    if (origin !== null && origin !== site && !this.#deps.allowedOrigins.includes(origin)) {
      throw this.#counted(fail('origin_not_allowed'))
    }
    return () => this.#attempts.giveBack(key)
  }

  #checkKey(presented: string, client: string, isKey: (presented: string) => boolean): string {
    const account = limitKey(client)
    if (isKey(presented)) return this.#deps.digest(presented)
    const wait = this.#keyFailures.take(account)
    if (wait !== null) throw this.#counted(fail('rate_limited', 'Too many wrong keys.', { retryAfter: wait }))
    throw this.#counted(fail('invalid_api_key'))
  }

  #counted(failure: ReturnType<typeof fail>): ReturnType<typeof fail> {
    this.#deps.metrics.rejected(failure.code)
    return failure
  }
}

/** A proxy on this machine that is set up carelessly must not make all the world an operator. */
function wasForwarded(headers: Headers): boolean {
  return ['x-forwarded-for', 'x-real-ip', 'forwarded'].some((name) => headers.has(name))
}

/** `Authorization: Bearer KEY`, RFC 6750 section 2.1, or `X-Admin-Key`. */
function bearer(headers: Headers): string {
  return headers.get('x-admin-key') ?? /^Bearer (.+)$/i.exec(headers.get('authorization') ?? '')?.[1] ?? ''
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}
