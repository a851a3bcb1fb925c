// The direct service over a whole server: one call from REGISTER to the row in the log, and waking somebody who has no
// connection. Its rules one by one are proved elsewhere.
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { identityText } from '../../src/protocol/identity.ts'
import { IN_REAL_TIME } from '../kit/real-time.ts'
import { ADMIN_KEY, closeServers, startServer, type TestServer } from '../kit/server.ts'
import { answeredCall, registered, ringingCall, SignalPeer } from '../kit/signal.ts'
import { until } from '../kit/until.ts'

afterEach(closeServers)

async function rowOf(server: TestServer, callId: string) {
  const { body } = await server.ask('GET', '/calls?service=direct')
  return body.calls.find((row: { session_id: string }) => row.session_id === callId)
}

interface Credentials {
  readonly iceServers: readonly { readonly username: string; readonly credential: string }[]
  readonly iceExpiresAt?: number
  readonly expiresAt?: number
}

describe('a call', () => {
  test('[DIRECT-17] goes from REGISTER to its end as the document shows, and is one row of the log', async () => {
    const server = await startServer()
    const alice = await registered(server, 'alice')
    const bob = await registered(server, 'bob')
    const sdpOffer = 'v=0\r\no=- "ünïcode" \\ 🎙'
    alice.say('CALL_INITIATE', { targetId: 'bob', sdpOffer })
    const { callId } = await alice.hear('CALL_RINGING')
    expect(await bob.hear('INCOMING_CALL')).toMatchObject({ callId, callerId: 'alice', sdpOffer })
    expect(await rowOf(server, callId)).toMatchObject({ status: 'created', connected_at: null })
    await server.clock.wind(2000)
    bob.say('CALL_ACCEPT', { callId, sdpAnswer: 'v=0 answer' })
    expect(await alice.hear('CALL_ACCEPTED')).toEqual({ callId, sdpAnswer: 'v=0 answer' })

    // As odd as JSON may be written: it must arrive as it came.
    const candidates = [
      `{"type":"ICE_CANDIDATE","payload":{"callId":"${callId}","candidate":"candidate:1 1 udp"}}`,
      `{ "payload" : {"candidate":{"sdpMid":"0","x":1.50,"\\u0063andidate":"\\ud83c\\udf99 "},\n "callId":"${callId}","more":[]}, "type":"ICE_CANDIDATE" }`,
    ]
    for (const text of candidates) {
      alice.raw.send(text)
      expect(await bob.raw.nextText()).toBe(text)
      bob.raw.send(text)
      expect(await alice.raw.nextText()).toBe(text)
    }

    await server.clock.wind(10_000)
    bob.say('CALL_END', { callId })
    for (const peer of [alice, bob])
      expect(await peer.hear('CALL_ENDED')).toEqual({ callId, reason: 'ended' })
    const row = await rowOf(server, callId)
    expect(row).toMatchObject({
      service: 'direct',
      ride_id: null,
      driver_id: 'alice',
      passenger_id: 'bob',
      initiated_by: 'alice',
      status: 'ended',
      end_reason: 'ended',
      ended_by: 'callee',
    })
    expect(Date.parse(row.connected_at) - Date.parse(row.created_at)).toBe(2000)
    expect(Date.parse(row.ended_at) - Date.parse(row.connected_at)).toBe(10_000)
    const metrics = await server.ask('GET', '/metrics', undefined, { 'x-admin-key': ADMIN_KEY })
    expect(metrics.text).toContain('ringdown_calls_ended_total{service="direct",reason="ended"} 1')
    expect(metrics.text).toContain('ringdown_relayed_frames_total{service="direct"} 4')
  })

  test('[DIRECT-21] outlives the server: both come back, and it goes on', async () => {
    const server = await startServer()
    const { caller, callee, callId } = await answeredCall(server)
    const again = await server.again()
    for (const [before, name] of [
      [caller, 'caller'],
      [callee, 'callee'],
    ] as const) {
      const peer = await SignalPeer.open(again)
      peer.say('RESUME', { resumeToken: before.resumeToken, received: 3 })
      expect([name, (await peer.hear('RESUMED')).gap]).toEqual([name, true])
      before.raw.drop()
      if (name === 'callee') {
        const text = `{"type":"ICE_CANDIDATE","payload":{"callId":"${callId}","candidate":null}}`
        peer.raw.send(text)
        peer.say('CALL_END', { callId })
        expect((await peer.hear('CALL_ENDED')).reason).toBe('ended')
      }
    }
    expect((await rowOf(again, callId)).end_reason).toBe('ended')
  })

  test('[DIRECT-21] that rings while the server goes down ends with server_restart', async () => {
    const server = await startServer()
    const { callId } = await ringingCall(server)
    const again = await server.again()
    expect(await rowOf(again, callId)).toMatchObject({ status: 'ended', end_reason: 'server_restart' })
  })

  test('[DIRECT-29] a connection on /signal is pinged every 30 s and dead after 60 s, one on /ws as its own options say', async () => {
    const server = await startServer({ HEARTBEAT_INTERVAL: '5s', HEARTBEAT_TIMEOUT: '7s' })
    const alive = await registered(server, 'alice')
    const deaf = await registered(server, 'bob', { pong: false })
    await server.clock.wind(29_000)
    expect([alive.raw.isClosed, deaf.raw.isClosed]).toEqual([false, false])
    await server.clock.wind(32_000)
    expect((await deaf.raw.closed()).code).toBe(4102)
    await server.clock.wind(120_000)
    alive.say('PING')
    await alive.hear('PONG')
  })
})

describe('an identity', () => {
  test('[DIRECT-5] [HTTP-14] is bound by the first proof, for the address the client connected to, and freed by an operator', async () => {
    const server = await startServer()
    const { host } = new URL(server.url)
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const identityKey = publicKey.export({ type: 'spki', format: 'der' }).toString('base64url')
    const register = async (signedHost: string) => {
      const peer = await SignalPeer.open(server)
      peer.say('HELLO')
      const { nonce } = await peer.hear('WELCOME')
      const text = identityText({ host: signedHost, clientId: 'alice', nonce })
      const signature = sign(null, Buffer.from(text), privateKey).toString('base64url')
      peer.say('REGISTER', { clientId: 'alice', identityKey, signature })
      const { type, payload } = await peer.next()
      peer.raw.drop()
      return type === 'ERROR' ? payload.code : type
    }
    expect(await register('elsewhere.example.com')).toBe('IDENTITY_INVALID')
    expect(await register(host)).toBe('REGISTERED')
    const stranger = await SignalPeer.open(server)
    stranger.say('REGISTER', { clientId: 'alice' })
    expect(await stranger.error()).toBe('IDENTITY_REQUIRED')
    const reset = () => server.ask('DELETE', '/identities/alice', undefined, { 'x-admin-key': ADMIN_KEY })
    expect((await reset()).status).toBe(200)
    expect((await reset()).status).toBe(404)
    const afar = { 'x-forwarded-for': '192.0.2.1' }
    expect((await server.ask('DELETE', '/identities/alice', undefined, afar)).status).toBe(401)
    await server.clock.wind(20_000)
    expect((await registered(server, 'alice')).resumeToken).not.toBe('')
  })
})

describe('somebody without a connection', () => {
  const SECRET = 'signs-what-the-backend-gets-1234567890'
  let got: Record<string, string>[]
  let backend: ReturnType<typeof Bun.serve>

  beforeEach(() => {
    got = []
    backend = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      async fetch(request) {
        const body = await request.text()
        const header = (name: string) => request.headers.get(`webhook-${name}`)
        const signed = `${header('id')}.${header('timestamp')}.${body}`
        const mac = createHmac('sha256', SECRET).update(signed).digest('base64')
        expect(header('signature')).toBe(`v1,${mac}`)
        got.push(JSON.parse(body))
        return new Response()
      },
    })
  })
  afterEach(() => backend.stop(true))

  const start = () =>
    startServer({ WAKE_WEBHOOK_URL: `http://127.0.0.1:${backend.port}/wake`, WEBHOOK_SECRET: SECRET })

  async function ringAway(server: TestServer) {
    const caller = await registered(server, 'alice')
    caller.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'offer' })
    const ringing = await caller.hear('CALL_RINGING')
    await until(() => got.length === 1, 'the wake-up')
    return { caller, ringing, callId: ringing.callId as string, token: got[0]?.reject_token ?? '' }
  }

  test(
    '[DIRECT-15] without a webhook is offline, and the caller knows within 200 ms',
    IN_REAL_TIME,
    async () => {
      const caller = await registered(await startServer(), 'alice')
      const startedAt = performance.now()
      caller.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'offer' })
      expect(await caller.error()).toBe('TARGET_OFFLINE')
      expect(performance.now() - startedAt).toBeLessThan(200)
    },
  )

  test('[DIRECT-22] is woken by the app, registers, rings, answers; and the app hears when it is over', async () => {
    const server = await start()
    const { caller, ringing, callId } = await ringAway(server)
    expect(ringing).toMatchObject({ targetId: 'bob', state: 'waking' })
    expect(got[0]).toEqual({
      type: 'call.wake',
      call_id: callId,
      caller_id: 'alice',
      target_id: 'bob',
      expires_at: new Date(ringing.expiresAt).toISOString(),
      reject_token: expect.any(String),
    })
    const bob = await registered(server, 'bob')
    expect(await bob.hear('INCOMING_CALL')).toMatchObject({ callId, callerId: 'alice', sdpOffer: 'offer' })
    bob.say('CALL_ACCEPT', { callId, sdpAnswer: 'answer' })
    await caller.hear('CALL_ACCEPTED')
    caller.say('CALL_END', { callId })
    await until(() => got.length === 2, 'the cancellation')
    expect(got[1]).toEqual({ type: 'call.cancel', call_id: callId, target_id: 'bob', reason: 'ended' })
  })

  test('[HTTP-13] declines with the token of the wake-up, once, and nobody declines without it', async () => {
    const server = await start()
    const { caller, callId, token } = await ringAway(server)
    const reject = (id: string, given: unknown) => server.ask('POST', `/calls/${id}/reject`, { token: given })
    const wrong = await reject(callId, `${token.slice(0, -1)}x`)
    const unknown = await reject(crypto.randomUUID(), token)
    expect([wrong.status, wrong.body.error.code]).toEqual([404, 'call_not_found'])
    expect([unknown.status, unknown.text]).toEqual([404, wrong.text])
    const right = await reject(callId, token)
    expect([right.status, right.text]).toEqual([200, '{}'])
    expect(await caller.hear('CALL_REJECTED')).toEqual({ callId, reason: 'rejected' })
    expect((await reject(callId, token)).status).toBe(404)
    await until(() => got.length === 2, 'the cancellation')
    expect(got[1]).toMatchObject({ type: 'call.cancel', reason: 'rejected' })
    expect(await rowOf(server, callId)).toMatchObject({ end_reason: 'rejected', ended_by: 'callee' })
    expect(JSON.stringify(server.logged)).not.toContain(token)
  })

  test('[HTTP-11] the variable part of a path is one segment, and not an empty one', async () => {
    const server = await startServer()
    const paths = [
      '/calls//reject',
      '/calls/reject',
      '/calls/a/b/reject',
      '/calls/a/reject/',
      '/calls/:id',
      '/calls/a',
    ]
    for (const path of [
      ...paths,
      '/identities/',
      '/identities',
      '/identities/a/b',
      '/sessions/',
      '/sessions/a/b',
    ]) {
      const { status, body } = await server.ask('PUT', path)
      expect([path, status, body.error.code]).toEqual([path, 404, 'not_found'])
    }
    for (const path of ['/calls/:id/reject', '/identities/a%2Fb', '/sessions/:id']) {
      expect([path, (await server.ask('PUT', path)).status]).toEqual([path, 405])
    }
    // As text: %2F is part of the id, which is none then.
    const { body } = await server.ask('DELETE', '/identities/a%2Fb', undefined, { 'x-admin-key': ADMIN_KEY })
    expect(body.error.code).toBe('invalid_client_id')
  })

  test('[HTTP-13] who answered cannot be declined for any more', async () => {
    const server = await start()
    const { caller, callId, token } = await ringAway(server)
    const bob = await registered(server, 'bob')
    await bob.hear('INCOMING_CALL')
    bob.say('CALL_ACCEPT', { callId, sdpAnswer: 'answer' })
    await caller.hear('CALL_ACCEPTED')
    const { status, body } = await server.ask('POST', `/calls/${callId}/reject`, { token })
    expect([status, body.error.code]).toEqual([409, 'call_not_ringing'])
  })

  test('[HOOK-4] is not rung by its app any more when the server goes down', async () => {
    const server = await start()
    const { callId } = await ringAway(server)
    await server.close()
    expect(got[1]).toMatchObject({ type: 'call.cancel', call_id: callId, reason: 'server_restart' })
  })

  test('[HOOK-4] a call goes on as ever while the backend is gone', IN_REAL_TIME, async () => {
    const server = await start()
    await backend.stop(true)
    const caller = await registered(server, 'alice')
    const startedAt = performance.now()
    caller.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'offer' })
    const { callId } = await caller.hear('CALL_RINGING')
    expect(performance.now() - startedAt).toBeLessThan(200)
    const bob = await registered(server, 'bob')
    await bob.hear('INCOMING_CALL')
    bob.say('CALL_REJECT', { callId })
    await caller.hear('CALL_REJECTED')
  })
})

test('[DIRECT-31] TURN credentials come with REGISTERED, CALL_RINGING and INCOMING_CALL, and fresh on TURN_REFRESH', async () => {
  const secret = 'shared-with-coturn'
  const urls = ['stun:turn.example.com:3478', 'turn:turn.example.com:3478']
  const server = await startServer({ TURN_PROVIDER: 'coturn', TURN_URLS: urls.join(), TURN_SECRET: secret })
  const signed = ({ iceServers, iceExpiresAt, expiresAt }: Credentials) => {
    const { username, credential } = iceServers.find((each) => 'username' in each) ?? {
      username: '',
      credential: '',
    }
    expect(credential).toBe(new Bun.CryptoHasher('sha1', secret).update(username).digest('base64'))
    const until = iceExpiresAt ?? expiresAt ?? 0
    expect(Number(username.split(':')[0]) * 1000).toBe(until)
    expect(until).toBeGreaterThan(Date.now())
  }
  const [alice, bob] = [await SignalPeer.open(server), await SignalPeer.open(server)]
  for (const [peer, clientId] of [
    [alice, 'alice'],
    [bob, 'bob'],
  ] as const) {
    peer.say('REGISTER', { clientId })
    signed(await peer.hear('REGISTERED'))
  }
  alice.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'offer' })
  signed(await alice.hear('CALL_RINGING'))
  signed(await bob.hear('INCOMING_CALL'))
  bob.say('TURN_REFRESH')
  signed(await bob.hear('ICE_SERVERS'))
})
