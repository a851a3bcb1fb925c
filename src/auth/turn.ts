/**
 * TURN and STUN servers for the phones of a call, with credentials that run out. Three providers: a server that shares a
 * secret with this one (coturn and most others), an account at Metered, and a server with one fixed user.
 *
 * Deliberately not here: how often somebody may ask (the services), and whom a TURN server relays to (deploy/coturn).
 */
import type { Millis } from '../core/ids.ts'
import type { Log, Turn, TurnCredentials } from '../core/ports.ts'
import type { IceServer } from '../protocol/ice.ts'
import { Metered } from './metered.ts'

export type TurnSettings =
  | { readonly provider: 'none' }
  | { readonly provider: 'static'; readonly urls: readonly string[]; readonly user: TurnUser | null }
  | {
      readonly provider: 'coturn'
      readonly urls: readonly string[]
      /** The first signs. */
      readonly secrets: readonly string[]
      readonly ttl: Millis
    }
  | {
      readonly provider: 'metered'
      /** Null: METERED_TURN. */
      readonly urls: readonly string[] | null
      /** Of the account: `https://yourapp.metered.live`. */
      readonly account: string
      readonly secretKey: string
      readonly ttl: Millis
    }

export interface TurnUser {
  readonly username: string
  readonly credential: string
}

/** The reference document's: over TCP on port 443, which most firewalls let through. */
export const METERED_TURN = ['turn:a.relay.metered.ca:443?transport=tcp']

/** Credentials live so much longer than the call, so that its end and clocks that differ a little cut nothing off. */
const MARGIN_SECONDS = 120

/** `now`: the wall clock, which the TURN server's is compared with. */
export function openTurn(settings: TurnSettings, { now, log }: { now: () => Millis; log: Log }): Turn {
  switch (settings.provider) {
    case 'none':
      return always({ iceServers: [], expiresAt: null })
    case 'static':
      return always({ iceServers: iceServers(sorted(settings.urls), settings.user), expiresAt: null })
    case 'coturn': {
      const { secrets, ttl } = settings
      const urls = sorted(settings.urls)
      const secret = Buffer.from(secrets[0] ?? '')
      return {
        credentials({ callId, seconds }) {
          const expires = Math.ceil(now() / 1000) + lifetime(seconds, ttl)
          const user = signedUser(secret, callId, expires)
          return Promise.resolve({ iceServers: iceServers(urls, user), expiresAt: expires * 1000 })
        },
      }
    }
    case 'metered': {
      const { account, secretKey, ttl } = settings
      const urls = sorted(settings.urls ?? METERED_TURN)
      const metered = new Metered({ account, secretKey, spare: ttl / 1000, now, log })
      return {
        async credentials({ seconds }) {
          const user = await metered.user(lifetime(seconds, ttl))
          return { iceServers: iceServers(urls, user), expiresAt: user?.expiresAt ?? null }
        },
      }
    }
  }
}

/** `seconds`: of the call; null where its end is not known. */
function lifetime(seconds: number | null, ttl: Millis): number {
  return seconds === null ? Math.ceil(ttl / 1000) : Math.ceil(seconds) + MARGIN_SECONDS
}

/**
 * The user of "A REST API For Access To TURN Services" (draft-uberti-behave-turn-rest-00 section 2.2), as coturn's
 * use-auth-secret checks it. Takes about half a microsecond.
 */
function signedUser(secret: Uint8Array, name: string, expires: number): TurnUser {
  const username = `${expires}:${name}`
  return { username, credential: new Bun.CryptoHasher('sha1', secret).update(username).digest('base64') }
}

/** STUN servers apart from the others: they take no credentials, and browsers refuse a TURN server without. */
interface Urls {
  readonly stun: string[]
  readonly turn: string[]
}

function sorted(urls: readonly string[]): Urls {
  return {
    stun: urls.filter((url) => url.startsWith('stun')),
    turn: urls.filter((url) => url.startsWith('turn')),
  }
}

function iceServers({ stun, turn }: Urls, user: TurnUser | null): IceServer[] {
  const servers: IceServer[] = stun.length > 0 ? [{ urls: stun }] : []
  if (user !== null && turn.length > 0) {
    servers.push({ urls: turn, username: user.username, credential: user.credential })
  }
  return servers
}

function always(credentials: TurnCredentials): Turn {
  const given = Promise.resolve(credentials)
  return { credentials: () => given }
}
