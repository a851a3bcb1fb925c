import { afterEach, describe, expect, test } from 'bun:test'
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose'
import { silentLog } from '../../test/kit/log.ts'
import { IN_REAL_TIME } from '../../test/kit/real-time.ts'
import type { Log } from '../core/ports.ts'
import { type AppTokenSettings, appTokens } from './app-tokens.ts'

const SECRET = 'not-a-secret-of-anyone-0123456789'
const secret = (text: string) => new TextEncoder().encode(text)
const HOUR = 3600_000
let now = Date.UTC(2026, 0, 1)

let warnings: string[] = []
let closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing) close()
  closing = []
  warnings = []
})

function check(keys: AppTokenSettings['keys'], more: Partial<AppTokenSettings> = {}) {
  // Its own: a reading in the background may end after its test.
  const said = warnings
  const log: Log = {
    ...silentLog,
    warn: (context, message) => said.push(`${message} ${JSON.stringify(context)}`),
  }
  return appTokens({ keys, audience: null, issuer: null, now: () => now, log, ...more })
}

function claims(more: Record<string, unknown> = {}) {
  return { sub: 'alice', exp: now / 1000 + 60, ...more }
}

const hs256 = (payload: object, by = SECRET, alg = 'HS256') =>
  new SignJWT({ ...payload }).setProtectedHeader({ alg }).sign(secret(by))

describe('with a shared secret', () => {
  const good = check({ secrets: ['another-secret-0123456789-0123456789', SECRET] })

  test('a token for this id is good, by any of the secrets', async () => {
    expect(await good(await hs256(claims()), 'alice')).toBe(true)
    expect(await good(await hs256(claims(), 'another-secret-0123456789-0123456789'), 'alice')).toBe(true)
    expect(await good(await hs256(claims(), 'a-third-secret-0123456789-0123456789'), 'alice')).toBe(false)
  })

  test('a token for another id, without one, expired, without an end, not yet good, or changed is not', async () => {
    const token = await hs256(claims())
    const [head, body, mac] = token.split('.') as [string, string, string]
    const bad = [
      await hs256(claims({ sub: 'bob' })),
      await hs256(claims({ sub: undefined })),
      await hs256(claims({ sub: ['alice'] })),
      await hs256(claims({ exp: now / 1000 - 11 })),
      await hs256(claims({ exp: undefined })),
      await hs256(claims({ exp: '9999999999' })),
      await hs256(claims({ nbf: now / 1000 + 11 })),
      new UnsecuredJWT(claims()).encode(),
      `${Buffer.from('{"alg":"none"}').toString('base64url')}.${body}.`,
      `${Buffer.from('{"alg":"none"}').toString('base64url')}.${body}.${mac}`,
      `${head}.${Buffer.from(JSON.stringify(claims({ sub: 'alice', admin: 1 }))).toString('base64url')}.${mac}`,
      `${head}.${body}.`,
      `${head}.${body}`,
      `${token}x`,
      await hs256(claims(), `${SECRET}-0123456789-0123456789-0123456789`, 'HS512'),
      await hs256(claims({ filling: 'x'.repeat(4096) })),
      '',
      '..',
      'null',
    ]
    for (const it of bad) expect(await good(it, 'alice'), it.slice(0, 200)).toBe(false)
    expect(await good(token, 'alice')).toBe(true)
    expect(await good(token, 'Alice')).toBe(false)
    expect(await good(token, '')).toBe(false)
  })

  test('clocks may be ten seconds apart', async () => {
    expect(await good(await hs256(claims({ exp: now / 1000 - 9 })), 'alice')).toBe(true)
    expect(await good(await hs256(claims({ nbf: now / 1000 + 9 })), 'alice')).toBe(true)
  })

  test('audience and issuer are checked when they are set', async () => {
    const strict = check({ secrets: [SECRET] }, { audience: 'calls', issuer: 'https://app.example.com' })
    const iss = 'https://app.example.com'
    expect(await strict(await hs256(claims({ aud: 'calls', iss })), 'alice')).toBe(true)
    expect(await strict(await hs256(claims({ aud: ['web', 'calls'], iss })), 'alice')).toBe(true)
    for (const wrong of [{ iss }, { aud: 'calls' }, { aud: 'web', iss }, { aud: 'calls', iss: `${iss}/` }]) {
      expect(await strict(await hs256(claims(wrong)), 'alice')).toBe(false)
    }
  })
})

describe('with a JWKS', () => {
  /** An app's server whose answer and keys a test changes. */
  async function app() {
    const pairs: Record<string, { privateKey: CryptoKey; jwk: object }> = {}
    const state = {
      reads: 0,
      answer: (): Response | Promise<Response> =>
        Response.json({ keys: Object.values(pairs).map((it) => it.jwk) }),
      async add(kid: string, alg: string, use: object = { kid }) {
        const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
        pairs[kid] = { privateKey, jwk: { ...(await exportJWK(publicKey)), ...use, alg } }
      },
      remove(kid: string) {
        delete pairs[kid]
      },
      sign(kid: string, alg: string, payload: object = claims(), header: object = { kid }) {
        const key = pairs[kid]?.privateKey as CryptoKey
        return new SignJWT({ ...payload }).setProtectedHeader({ alg, ...header }).sign(key)
      },
      url: '',
      jwks: () => Object.values(pairs).map((it) => it.jwk),
    }
    const server = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch: () => {
        state.reads++
        return state.answer()
      },
    })
    closing.push(() => void server.stop(true))
    state.url = `http://127.0.0.1:${server.port}/jwks`
    return state
  }

  test('tokens by any of its keys are good, and it is read once', async () => {
    const it = await app()
    const good = check({ jwksUrl: it.url })
    expect(it.reads).toBe(0)
    for (const alg of ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA']) await it.add(alg, alg)
    for (const alg of ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA']) {
      const token = await it.sign(alg, alg)
      expect(await good(token, 'alice'), alg).toBe(true)
      expect(await good(token, 'bob'), alg).toBe(false)
    }
    expect(it.reads).toBe(1)
  })

  test('a secret made of its public key signs nothing', async () => {
    const it = await app()
    await it.add('one', 'RS256')
    const good = check({ jwksUrl: it.url })
    const [jwk] = it.jwks() as [{ n: string }]
    for (const by of [jwk.n, JSON.stringify(jwk), SECRET]) {
      for (const alg of ['HS256', 'HS384', 'HS512'])
        expect(await good(await hs256(claims(), by.padEnd(64, '='), alg), 'alice')).toBe(false)
    }
    expect(await good(new UnsecuredJWT(claims()).encode(), 'alice')).toBe(false)
  })

  test('a token that names no key is tried with those that fit', async () => {
    const it = await app()
    await it.add('one', 'ES256', {})
    await it.add('two', 'ES256', {})
    const good = check({ jwksUrl: it.url })
    expect(await good(await it.sign('one', 'ES256', claims(), {}), 'alice')).toBe(true)
    expect(await good(await it.sign('two', 'ES256', claims(), {}), 'alice')).toBe(true)
    const stranger = await generateKeyPair('ES256')
    const forged = await new SignJWT(claims()).setProtectedHeader({ alg: 'ES256' }).sign(stranger.privateKey)
    expect(await good(forged, 'alice')).toBe(false)
  })

  test('a new key is found when a token names it, and unknown ones make no storm', async () => {
    const it = await app()
    await it.add('old', 'ES256')
    const good = check({ jwksUrl: it.url })
    expect(await good(await it.sign('old', 'ES256'), 'alice')).toBe(true)
    await it.add('new', 'ES256')
    now += 11_000
    expect(await good(await it.sign('new', 'ES256'), 'alice')).toBe(true)
    expect(it.reads).toBe(2)
    for (let i = 0; i < 50; i++) {
      expect(await good(await it.sign('new', 'ES256', claims(), { kid: `unknown-${i}` }), 'alice')).toBe(
        false,
      )
    }
    expect(it.reads).toBe(2)
    it.remove('old')
    now += 11 * 60_000
    expect(await good(await it.sign('new', 'ES256'), 'alice')).toBe(true)
  })

  test(
    'one that does not answer costs the first a second, nobody after it, and one warning a minute',
    IN_REAL_TIME,
    async () => {
      const it = await app()
      await it.add('one', 'ES256')
      it.answer = () => new Promise<Response>(() => {})
      const good = check({ jwksUrl: it.url })
      const token = await it.sign('one', 'ES256')
      const began = performance.now()
      expect(await Promise.all([good(token, 'alice'), good(token, 'alice')])).toEqual([false, false])
      expect(performance.now() - began).toBeLessThan(1500)
      const then = performance.now()
      expect(await good(token, 'alice')).toBe(false)
      expect(performance.now() - then).toBeLessThan(100)
      expect(it.reads).toBe(1)
      expect(warnings).toHaveLength(1)
      expect(warnings[0]).not.toContain(token)
    },
  )

  test('while one is down, keys that were read go on being good, for an hour', IN_REAL_TIME, async () => {
    const it = await app()
    await it.add('one', 'ES256')
    const good = check({ jwksUrl: it.url })
    expect(await good(await it.sign('one', 'ES256'), 'alice')).toBe(true)
    it.answer = () => new Response('no', { status: 500 })
    for (let minutes = 0; minutes < 55; minutes += 5) {
      now += 5 * 60_000
      expect(await good(await it.sign('one', 'ES256'), 'alice')).toBe(true)
    }
    now += HOUR
    expect(await good(await it.sign('one', 'ES256'), 'alice')).toBe(false)
    expect(warnings.length).toBeGreaterThan(1)
  })

  test('what is not a JWKS, and where it leads elsewhere, is none', async () => {
    for (const answer of [
      () => new Response('<html>'),
      () => Response.json({ keys: 'none' }),
      () => Response.json([]),
      () => Response.redirect('http://127.0.0.1:1/', 302),
      () => new Response(null, { status: 204 }),
    ]) {
      const it = await app()
      await it.add('one', 'ES256')
      it.answer = answer
      expect(await check({ jwksUrl: it.url })(await it.sign('one', 'ES256'), 'alice')).toBe(false)
    }
    const nobody = check({ jwksUrl: 'http://127.0.0.1:1/jwks' })
    const it = await app()
    await it.add('one', 'ES256')
    expect(await nobody(await it.sign('one', 'ES256'), 'alice')).toBe(false)
  })
})
