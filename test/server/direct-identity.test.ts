// Who may be whom on a whole server: signatures made by WebCrypto, tokens made by jose, a key set that is served.
import { afterEach, describe, expect, test } from 'bun:test'
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose'
import { identityText, rotationText } from '../../src/protocol/identity.ts'
import { asking, CURVES, hostOf, nonceOf, proven, TestIdentity } from '../kit/identity.ts'
import { IN_REAL_TIME } from '../kit/real-time.ts'
import { ADMIN_KEY, closeServers, startServer, type TestServer } from '../kit/server.ts'
import { registered, SignalPeer } from '../kit/signal.ts'

afterEach(closeServers)

/** Registers, and says what was answered: `REGISTERED`, or the code of the error. */
async function tried(server: TestServer, clientId: string, more: object = {}): Promise<string> {
  const peer = await SignalPeer.open(server)
  peer.say('REGISTER', { clientId, ...more })
  return answer(peer)
}

async function answer(peer: SignalPeer): Promise<string> {
  const { type, payload } = await peer.next()
  return type === 'ERROR' ? payload.code : type
}

describe('a bound id', () => {
  test.each(CURVES)(
    '[DIRECT-5] is bound by the first proof, of %s, and registered by it only',
    async (curve) => {
      const server = await startServer()
      const identity = await TestIdentity.make(curve)
      const first = await proven(server, 'alice', identity)
      first.raw.drop()
      await first.raw.ended()
      // Half of the signatures of WebCrypto on P-256 have the higher s.
      for (let i = 0; i < 8; i++) {
        const again = await proven(server, 'alice', identity)
        again.raw.close(1000)
        await again.raw.ended()
      }
      expect(await tried(server, 'alice')).toBe('IDENTITY_REQUIRED')
      const other = await TestIdentity.make(curve)
      expect(await answer(await asking(server, 'alice', other))).toBe('IDENTITY_INVALID')
      const after = await server.again()
      expect(await tried(after, 'alice')).toBe('IDENTITY_REQUIRED')
      await proven(after, 'alice', identity)
    },
  )

  test.each([
    'for another id',
    'for another server',
    'of an older nonce',
    'of a nonce that was used',
    'of a nonce of another connection',
    'of a nonce that is too old',
    'by a key of another curve',
    'by another key of the same curve',
    'over the nonce alone',
    'for handing over',
    'with a bit turned',
    'of no bytes',
  ])('[DIRECT-4] [T-D4] a proof %s is refused, and its nonce is used up', async (wrong) => {
    const server = await startServer()
    const identity = await TestIdentity.make('Ed25519')
    await (await proven(server, 'alice', identity)).raw.close(1000)
    const host = hostOf(server)
    const peer = await SignalPeer.open(server)
    let nonce = await nonceOf(peer)
    const good = (of: string) => identity.sign(identityText({ host, clientId: 'alice', nonce: of }))
    let { key } = identity
    let signature = await good(nonce)
    switch (wrong) {
      case 'for another id':
        signature = await identity.sign(identityText({ host, clientId: 'alice2', nonce }))
        break
      case 'for another server':
        signature = await identity.sign(identityText({ host: 'evil.example', clientId: 'alice', nonce }))
        break
      case 'of an older nonce':
        nonce = await nonceOf(peer)
        break
      case 'of a nonce that was used':
        peer.say('REGISTER', { clientId: 'alice' })
        expect(await answer(peer)).toBe('IDENTITY_REQUIRED')
        break
      case 'of a nonce of another connection':
        signature = await good(await nonceOf(await SignalPeer.open(server)))
        break
      case 'of a nonce that is too old':
        await server.clock.wind(30_001)
        break
      case 'by a key of another curve':
      case 'by another key of the same curve': {
        const other = await TestIdentity.make(wrong === 'by a key of another curve' ? 'P-256' : 'Ed25519')
        key = other.key
        signature = await other.sign(identityText({ host, clientId: 'alice', nonce }))
        break
      }
      case 'over the nonce alone':
        signature = await identity.sign(nonce)
        break
      case 'for handing over':
        signature = await identity.sign(rotationText({ host, clientId: 'alice', newKey: key, nonce }))
        break
      case 'with a bit turned':
        signature = (signature.startsWith('A') ? 'B' : 'A') + signature.slice(1)
        break
      case 'of no bytes':
        signature = '='
    }
    peer.say('REGISTER', { clientId: 'alice', identityKey: key, signature })
    expect(await answer(peer)).toBe('IDENTITY_INVALID')
    peer.say('REGISTER', { clientId: 'alice', identityKey: identity.key, signature: await good(nonce) })
    expect(await answer(peer)).toBe('IDENTITY_INVALID')
    peer.say('REGISTER', {
      clientId: 'alice',
      identityKey: identity.key,
      signature: await good(await nonceOf(peer)),
    })
    expect(await answer(peer)).toBe('REGISTERED')
  })

  test('[T-D4] a proof that was overheard is good nowhere else: not again, not on another connection or server', async () => {
    const [one, two] = [await startServer(), await startServer()]
    const identity = await TestIdentity.make()
    for (const server of [one, two]) await (await proven(server, 'alice', identity)).raw.close(1000)
    const victim = await SignalPeer.open(one)
    const nonce = await nonceOf(victim)
    const signature = await identity.sign(identityText({ host: hostOf(one), clientId: 'alice', nonce }))
    const overheard = { identityKey: identity.key, signature }
    for (const server of [one, two]) {
      const thief = await SignalPeer.open(server)
      await nonceOf(thief)
      thief.say('REGISTER', { clientId: 'alice', ...overheard })
      expect(await answer(thief)).toBe('IDENTITY_INVALID')
    }
    victim.say('REGISTER', { clientId: 'alice', ...overheard })
    expect(await answer(victim)).toBe('REGISTERED')
  })

  test('[T-D1] is never registered without its proof, however REGISTER is written', async () => {
    const server = await startServer()
    const identity = await TestIdentity.make()
    const mine = await TestIdentity.make()
    await (await proven(server, 'alice', identity)).raw.close(1000)
    const signature = await mine.sign(identityText({ host: hostOf(server), clientId: 'alice', nonce: 'x' }))
    const variants: object[] = [
      {},
      { identityKey: identity.key },
      { signature },
      { identityKey: identity.key, signature },
      { identityKey: identity.key, signature: 'A'.repeat(86) },
      { identityKey: mine.key, signature },
      { identityKey: '', signature },
      { identityKey: null, signature: null },
      { identityKey: [identity.key], signature },
      { identityKey: `${identity.key}=`, signature },
      { identityKey: `${identity.key}A`, signature },
      { identityKey: `MCowBQYDK2VwAyEA${'A'.repeat(43)}`, signature: 'A'.repeat(86) },
      { token: 'x' },
      { proven: true, identity: null, __proto__: { proven: true } },
      { resumeToken: 'x'.repeat(60) },
      { rotation: { newIdentityKey: mine.key, signature } },
      { identityKey: mine.key, signature, rotation: { newIdentityKey: mine.key, signature } },
    ]
    const answers = new Set<string>()
    for (const variant of variants) answers.add(await tried(server, 'alice', variant))
    expect([...answers].sort()).toEqual(['IDENTITY_INVALID', 'IDENTITY_REQUIRED', 'INVALID_MESSAGE'])
    const twice = await SignalPeer.open(server)
    twice.raw.send(`{"type":"REGISTER","payload":{"clientId":"mallory","clientId":"alice"}}`)
    expect(await answer(twice)).toBe('INVALID_MESSAGE')
    await proven(server, 'alice', identity)
  })

  test('[T-D5] guessing at ids on one connection ends it, and at those of an address by its rate', async () => {
    const server = await startServer({ RATE_LIMIT_PER_MIN: '3' })
    await (await proven(server, 'alice', await TestIdentity.make())).raw.close(1000)
    for (let i = 0; i < 3; i++) {
      const peer = await SignalPeer.open(server)
      for (let guess = 0; guess < 8; guess++) {
        peer.say('REGISTER', { clientId: 'alice' })
        expect(await answer(peer)).toBe('IDENTITY_REQUIRED')
      }
      expect((await peer.raw.closed()).code).toBe(4400)
    }
    await expect(SignalPeer.open(server)).rejects.toThrow('429')
  })
})

// T-D1: three modes, three grades of an id, and who holds it.
const MODES = ['open', 'tofu', 'jwt'] as const
const GRADES = ['bound', 'with a key', 'plain'] as const
const HOLDERS = ['alive', 'gone', 'dead'] as const
const SECRET = 's'.repeat(40)

describe('somebody else’s id', () => {
  for (const mode of MODES) {
    test(`[T-D1] [DIRECT-3] [DIRECT-5] [DIRECT-7] in ${mode} mode, bound, with a key or plain, its holder alive, gone or dead`, async () => {
      const before = await startServer()
      const identity = await TestIdentity.make()
      const idOf = (grade: string, holder: string) => `${grade}-${holder}`.replaceAll(' ', '-')
      for (const grade of GRADES) {
        for (const holder of HOLDERS) {
          const id = idOf(grade, holder)
          const owner = grade === 'bound' ? await proven(before, id, identity) : await registered(before, id)
          if (grade === 'plain') continue
          owner.say('PKD_REGISTER', { clientId: id, publicKey: 'its' })
          await owner.hear('PKD_RESULT')
        }
      }
      const server = await before.again({ DIRECT_IDENTITY: mode, JWT_SECRET: SECRET })
      const watcher = await enter(server, mode, 'watcher')
      const rows: Record<string, string> = {}
      for (const grade of GRADES) {
        for (const holder of HOLDERS) {
          const id = idOf(grade, holder)
          const options = { pong: holder !== 'dead' }
          const owner =
            mode === 'tofu' && grade === 'bound'
              ? await proven(server, id, identity, options)
              : await enter(server, mode, id, options)
          if (holder === 'gone') {
            owner.raw.drop()
            await owner.raw.ended()
          }
          const impostor = await SignalPeer.open(server)
          impostor.say('REGISTER', { clientId: id })
          await impostor.raw.settle()
          if (holder === 'dead') await server.clock.wind(2_100)
          const told = await answer(impostor)
          rows[id] = told
          if (told !== 'REGISTERED') continue
          impostor.say('PKD_REGISTER', { clientId: id, publicKey: 'swapped' })
          rows[id] += `, ${await answer(impostor)}`
          if (grade === 'plain') continue
          impostor.say('CALL_INITIATE', { targetId: 'watcher', sdpOffer: 'x' })
          const { callerKey, callId } = await watcher.hear('INCOMING_CALL')
          expect(callerKey).toMatchObject({ proven: false, version: 1 })
          impostor.say('CALL_END', { callId })
          await impostor.hear('CALL_ENDED')
          await server.clock.wind(10_000)
        }
      }
      const expected: Record<string, string> = {}
      for (const grade of GRADES) {
        for (const holder of HOLDERS) {
          const swap = grade === 'plain' ? 'PKD_RESULT' : 'KEY_REFUSED'
          const free = holder === 'alive' ? 'CLIENT_ID_TAKEN' : `REGISTERED, ${swap}`
          const needsProof = mode === 'jwt' || (mode === 'tofu' && grade === 'bound')
          expected[idOf(grade, holder)] = needsProof ? 'IDENTITY_REQUIRED' : free
        }
      }
      expect(rows).toEqual(expected)
    }, 20_000)
  }
})

/** Comes in as the mode wants it. */
async function enter(server: TestServer, mode: string, clientId: string, options = {}): Promise<SignalPeer> {
  const peer = await SignalPeer.open(server, options)
  return peer.register(clientId, mode === 'jwt' ? { token: await tokenOf(clientId) } : {})
}

function tokenOf(sub: string, secret = SECRET, more: (jwt: SignJWT) => SignJWT = (jwt) => jwt) {
  const jwt = new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setSubject(sub).setExpirationTime('5m')
  return more(jwt).sign(new TextEncoder().encode(secret))
}

describe('handing an id over', () => {
  test('[DIRECT-6] from a key of one curve to one of the other, and whoever came in by the old one is out', async () => {
    const server = await startServer()
    const [old, next] = [await TestIdentity.make('Ed25519'), await TestIdentity.make('P-256')]
    const thief = await proven(server, 'alice', old)
    const owner = await asking(server, 'alice', old, next)
    expect(await answer(owner)).toBe('REGISTERED')
    expect((await thief.raw.closed()).code).toBe(4409)
    expect(await answer(await asking(server, 'alice', old))).toBe('IDENTITY_INVALID')
    expect(await answer(await asking(server, 'alice', old, old))).toBe('IDENTITY_INVALID')
    const resume = await SignalPeer.open(server)
    resume.say('RESUME', { resumeToken: thief.resumeToken, received: 1 })
    expect(await answer(resume)).toBe('RESUME_FAILED')
    await proven(server, 'alice', next)
    const after = await server.again()
    expect(await answer(await asking(after, 'alice', old))).toBe('IDENTITY_INVALID')
    await proven(after, 'alice', next)
  })

  test('[DIRECT-6] not without the old key’s word for this key, this id, this nonce; nor to a key that is none', async () => {
    const server = await startServer()
    const [old, next] = [await TestIdentity.make(), await TestIdentity.make()]
    await (await proven(server, 'alice', old)).raw.close(1000)
    const host = hostOf(server)
    const claim = { host, clientId: 'alice', newKey: next.key }
    const attempts: ((nonce: string) => Promise<object>)[] = [
      async (nonce) => ({
        newIdentityKey: next.key,
        signature: await next.sign(rotationText({ ...claim, nonce })),
      }),
      async (nonce) => ({
        newIdentityKey: next.key,
        signature: await old.sign(rotationText({ ...claim, clientId: 'bob', nonce })),
      }),
      async (nonce) => ({
        newIdentityKey: old.key,
        signature: await old.sign(rotationText({ ...claim, nonce })),
      }),
      async () => ({
        newIdentityKey: next.key,
        signature: await old.sign(rotationText({ ...claim, nonce: 'another' })),
      }),
      async (nonce) => ({
        newIdentityKey: next.key,
        signature: await old.sign(identityText({ host, clientId: 'alice', nonce })),
      }),
      async (nonce) => ({
        newIdentityKey: 'nokey',
        signature: await old.sign(rotationText({ ...claim, newKey: 'nokey', nonce })),
      }),
    ]
    for (const attempt of attempts) {
      const peer = await SignalPeer.open(server)
      const nonce = await nonceOf(peer)
      const signature = await old.sign(identityText({ host, clientId: 'alice', nonce }))
      const rotation = await attempt(nonce)
      peer.say('REGISTER', { clientId: 'alice', identityKey: old.key, signature, rotation })
      expect(await answer(peer)).toBe('IDENTITY_INVALID')
    }
    await proven(server, 'alice', old)
  })

  test('[DIRECT-6] [HTTP-14] an operator frees an id, and its key, for whoever comes first', async () => {
    const server = await startServer()
    const [lost, next] = [await TestIdentity.make(), await TestIdentity.make()]
    const alice = await proven(server, 'alice', lost)
    alice.say('PKD_REGISTER', { clientId: 'alice', publicKey: 'old' })
    await alice.hear('PKD_RESULT')
    alice.raw.close(1000)
    await alice.raw.ended()
    const reset = (key: string) =>
      server.ask('DELETE', '/identities/alice', undefined, {
        'x-forwarded-for': '203.0.113.7',
        ...(key === '' ? {} : { 'x-admin-key': key }),
      })
    expect((await reset('')).status).toBe(401)
    expect((await reset('b'.repeat(40))).status).toBe(401)
    expect(await answer(await asking(server, 'alice', next))).toBe('IDENTITY_INVALID')
    expect((await reset(ADMIN_KEY)).status).toBe(200)
    const owner = await proven(server, 'alice', next)
    owner.say('PKD_REGISTER', { clientId: 'alice', publicKey: 'new' })
    expect(await owner.hear('PKD_RESULT')).toMatchObject({ version: 2 })
    expect(await answer(await asking(server, 'alice', lost))).toBe('IDENTITY_INVALID')
  })
})

describe('tokens of the app', () => {
  test('[DIRECT-7] by a shared secret: for this id, signed, in time, and nothing else', async () => {
    const other = 't'.repeat(40)
    const server = await startServer({
      DIRECT_IDENTITY: 'jwt',
      JWT_SECRET: `${SECRET},${other}`,
      JWT_AUDIENCE: 'calls',
    })
    const aud = (jwt: SignJWT) => jwt.setAudience('calls')
    const good = await tokenOf('alice', SECRET, aud)
    const wrong: [string, string][] = [
      ['of somebody else', await tokenOf('bob', SECRET, aud)],
      ['signed by another', await tokenOf('alice', 'u'.repeat(40), aud)],
      ['for another audience', await tokenOf('alice', SECRET, (jwt) => jwt.setAudience('mail'))],
      ['that has run out', await tokenOf('alice', SECRET, (jwt) => aud(jwt).setExpirationTime('-1m'))],
      ['that is not good yet', await tokenOf('alice', SECRET, (jwt) => aud(jwt).setNotBefore('5m'))],
      [
        'that is not signed',
        new UnsecuredJWT({ aud: 'calls' }).setSubject('alice').setExpirationTime('5m').encode(),
      ],
      ['that is no token', 'a.b.c'],
      ['of another case', await tokenOf('Alice', SECRET, aud)],
      ['with a letter changed', good.replace(/\.(.)/, (_, letter) => `.${letter === 'e' ? 'f' : 'e'}`)],
    ]
    for (const [what, token] of wrong) {
      expect([what, await tried(server, 'alice', { token })]).toEqual([what, 'IDENTITY_INVALID'])
    }
    expect(await tried(server, 'alice')).toBe('IDENTITY_REQUIRED')
    const identity = await TestIdentity.make()
    expect(await answer(await asking(server, 'alice', identity))).toBe('IDENTITY_REQUIRED')
    for (const secret of [SECRET, other]) {
      expect(await tried(server, 'alice', { token: await tokenOf('alice', secret, aud) })).toBe('REGISTERED')
    }
    const lines = JSON.stringify(server.logged)
    for (const [, token] of [['', good], ...wrong]) expect(lines).not.toContain(token)
  })

  test('[DIRECT-7] by the public keys that the app serves, and by no other', async () => {
    const pair = await generateKeyPair('ES256')
    const rogue = await generateKeyPair('ES256')
    const keys = [{ ...(await exportJWK(pair.publicKey)), kid: 'one', alg: 'ES256' }]
    let served = 0
    const app = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch: () => {
        served++
        return Response.json({ keys })
      },
    })
    try {
      const server = await startServer({
        DIRECT_IDENTITY: 'jwt',
        JWKS_URL: `http://127.0.0.1:${app.port}/keys`,
      })
      const sign = (by: CryptoKey, kid: string, sub = 'alice') =>
        new SignJWT({})
          .setProtectedHeader({ alg: 'ES256', kid })
          .setSubject(sub)
          .setExpirationTime('5m')
          .sign(by)
      expect(await tried(server, 'alice', { token: await sign(rogue.privateKey, 'one') })).toBe(
        'IDENTITY_INVALID',
      )
      expect(await tried(server, 'alice', { token: await sign(pair.privateKey, 'one', 'bob') })).toBe(
        'IDENTITY_INVALID',
      )
      // The public key as a shared secret: RFC 8725 section 3.1.
      const confused = await new SignJWT({})
        .setProtectedHeader({ alg: 'HS256', kid: 'one' })
        .setSubject('alice')
        .setExpirationTime('5m')
        .sign(new TextEncoder().encode(JSON.stringify(keys[0])))
      expect(await tried(server, 'alice', { token: confused })).toBe('IDENTITY_INVALID')
      expect(await tried(server, 'alice', { token: await sign(pair.privateKey, 'one') })).toBe('REGISTERED')
      // Made-up names of keys do not make it ask the app again and again.
      for (let i = 0; i < 10; i++) {
        expect(
          await tried(server, 'bob', { token: await sign(rogue.privateKey, `made-up-${i}`, 'bob') }),
        ).toBe('IDENTITY_INVALID')
      }
      expect(served).toBeLessThanOrEqual(2)
    } finally {
      await app.stop(true)
    }
  })

  test(
    '[DIRECT-7] an app that does not answer keeps nobody waiting, and lets nobody in',
    IN_REAL_TIME,
    async () => {
      const app = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Promise<Response>(() => {}) })
      try {
        const server = await startServer({
          DIRECT_IDENTITY: 'jwt',
          JWKS_URL: `http://127.0.0.1:${app.port}/keys`,
        })
        const startedAt = performance.now()
        expect(await tried(server, 'alice', { token: await tokenOf('alice') })).toBe('IDENTITY_INVALID')
        expect(performance.now() - startedAt).toBeLessThan(2_500)
      } finally {
        await app.stop(true)
      }
    },
  )
})
