// Attackers of direct calls on a whole server: what they try fails, costs little, and those who call each other notice
// nothing of it.
import { afterEach, describe, expect, test } from 'bun:test'
import { hostOf, nonceOf, proven, TestIdentity } from '../kit/identity.ts'
import { IN_REAL_TIME } from '../kit/real-time.ts'
import { ADMIN_KEY, closeServers, startServer, type TestServer } from '../kit/server.ts'
import { answeredCall, type Ringing, registered, ringingCall, SignalPeer } from '../kit/signal.ts'

afterEach(closeServers)

/** Frames pass both ways, once and as they were. */
async function unharmed({ caller, callee, callId }: Ringing): Promise<void> {
  for (const [from, to] of [
    [caller, callee],
    [callee, caller],
  ] as const) {
    const frame = `{"type":"ICE_CANDIDATE","payload":{"callId":"${callId}","candidate":"${crypto.randomUUID()}"}}`
    from.raw.send(frame)
    expect(await to.raw.nextText()).toBe(frame)
  }
}

function noErrors(server: TestServer): void {
  expect(server.logged.filter(({ level }) => level === 'error')).toEqual([])
}

async function gone(peer: SignalPeer): Promise<void> {
  peer.raw.close(1000)
  await peer.raw.ended()
}

describe('somebody else’s call', () => {
  const said: [string, object][] = [
    ['CALL_ACCEPT', { sdpAnswer: 'x' }],
    ['CALL_REJECT', {}],
    ['CALL_END', {}],
    ['ICE_CANDIDATE', { candidate: 'x' }],
    ['CALL_NEGOTIATE', { sdp: 'x' }],
  ]

  test('[DIRECT-19] [T-D6] answers a stranger, to whatever is said of it, as one that never was', async () => {
    const server = await startServer()
    for (const [state, call] of [
      ['ringing', await ringingCall(server)],
      ['active', await answeredCall(server, ['carol', 'dave'])],
    ] as const) {
      const mallory = await registered(server, `mallory-${state}`)
      const id = call.callId
      const ids = [
        id,
        crypto.randomUUID(),
        id.toUpperCase(),
        ` ${id}`,
        `${id}\u0000`,
        '__proto__',
        'x'.repeat(64),
      ]
      for (const [type, more] of said) {
        const answers = new Set<string>()
        for (const callId of ids) {
          mallory.say(type, { callId, ...more })
          answers.add(await mallory.raw.nextText())
          await server.clock.wind(1_500)
        }
        expect([state, type, answers.size]).toEqual([state, type, 1])
        expect(JSON.parse([...answers][0] as string).payload.code).toBe('CALL_NOT_FOUND')
      }
      for (const peer of [call.caller, call.callee]) expect(await peer.raw.settle()).toEqual([])
      expect((await server.ask('GET', `/calls?service=direct`)).body.calls.length).toBeGreaterThan(0)
      if (state === 'active') await unharmed(call)
    }
    noErrors(server)
  })

  test('[DIRECT-19] one’s own, from the wrong end: accepted by its caller, answered before it is accepted, after its end', async () => {
    const server = await startServer()
    const { caller, callee, callId } = await ringingCall(server)
    for (const type of ['CALL_ACCEPT', 'CALL_REJECT']) {
      caller.say(type, { callId, sdpAnswer: 'mine' })
      expect(await caller.error()).toBe('CALL_NOT_FOUND')
    }
    for (const type of ['ICE_CANDIDATE', 'CALL_NEGOTIATE']) {
      callee.say(type, { callId, candidate: 'x', sdp: 'x' })
      expect(await callee.error()).toBe('INVALID_MESSAGE')
    }
    expect(await caller.raw.settle()).toEqual([])
    caller.say('CALL_END', { callId })
    await callee.hear('CALL_ENDED')
    for (const [type, more] of said) {
      callee.say(type, { callId, ...more })
      expect(await callee.error()).toBe('CALL_NOT_FOUND')
    }
  })

  test('[T-D6] ids of calls and devices are not to be guessed', async () => {
    const server = await startServer()
    const ids = new Set<string>()
    for (let i = 0; i < 20; i++) {
      const { callId, caller, callee } = await ringingCall(server, [`a-${i}`, `b-${i}`])
      expect(callId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      for (const each of [callId, caller.resumeToken, callee.resumeToken]) ids.add(each)
    }
    expect(ids.size).toBe(60)
  })

  test('[DIRECT-9] resume tokens: right in all but one character, of another kind, cut, doubled', async () => {
    const server = await startServer()
    const call = await answeredCall(server)
    const right = call.caller.resumeToken
    const wrong = Array.from(
      right,
      (letter, at) => right.slice(0, at) + (letter === 'A' ? 'B' : 'A') + right.slice(at + 1),
    )
    const session = await server.createSession()
    const odd = [right + right, `${right}=`, `${right}A`, ` ${right}`, right.slice(1), right.slice(0, -1)]
    for (const resumeToken of [
      ...wrong,
      ...odd,
      session.join_tokens.driver,
      'null',
      '__proto__',
      '1.1',
      '\u0000',
    ]) {
      const peer = await SignalPeer.open(server)
      peer.say('RESUME', { resumeToken, received: 0 })
      expect([resumeToken, await peer.error()]).toEqual([resumeToken, 'RESUME_FAILED'])
      expect((await peer.raw.closed()).code).toBe(4401)
    }
    for (const received of [3.5, -1, 2 ** 53, '0', null]) {
      const peer = await SignalPeer.open(server)
      peer.say('RESUME', { resumeToken: right, received })
      expect(await peer.error()).toBe('INVALID_MESSAGE')
      peer.raw.drop()
    }
    const ahead = await SignalPeer.open(server)
    ahead.say('RESUME', { resumeToken: right, received: 2 ** 53 - 1 })
    expect(await ahead.error()).toBe('RESUME_FAILED')
    await unharmed(call)
  })
})

describe('ringing', () => {
  test('[DIRECT-30] [T-D6] of one target by 50 attackers is bounded, and somebody it knows still gets through', async () => {
    const server = await startServer()
    const bob = await registered(server, 'bob')
    const friend = await registered(server, 'friend')
    bob.say('CALL_INITIATE', { targetId: 'friend', sdpOffer: 'x' })
    const { callId } = await friend.hear('INCOMING_CALL')
    friend.say('CALL_ACCEPT', { callId, sdpAnswer: 'x' })
    await bob.hear('CALL_ACCEPTED')
    friend.say('CALL_END', { callId })
    await bob.hear('CALL_ENDED')
    const attackers: SignalPeer[] = []
    for (let i = 0; i < 50; i++) attackers.push(await registered(server, `attacker-${i}`))
    await server.clock.wind(60_000)
    await bob.raw.settle()
    let rings = 0
    const ringing = new Set<string>()
    for (let second = 0; second < 60; second++) {
      const attacker = attackers[second % 50] as SignalPeer
      for (let i = 0; i < 3; i++) attacker.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'x' })
      await attacker.raw.settle()
      // They hang up at once, to ring again.
      for (const text of attacker.raw.waiting.slice()) {
        const { type, payload } = JSON.parse(text)
        if (type === 'CALL_RINGING') attacker.say('CALL_END', { callId: payload.callId })
      }
      await bob.raw.settle()
      await server.clock.wind(1_000)
    }
    for (const text of await bob.raw.settle()) {
      const { type, payload } = JSON.parse(text)
      if (type === 'INCOMING_CALL') {
        rings++
        ringing.add(payload.callId)
      }
      if (type === 'CALL_ENDED') ringing.delete(payload.callId)
      expect(ringing.size).toBeLessThanOrEqual(3)
    }
    expect(rings).toBeGreaterThanOrEqual(12)
    expect(rings).toBeLessThanOrEqual(24)
    friend.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'x' })
    await friend.hear('CALL_RINGING')
    noErrors(server)
  }, 20_000)

  test('[DIRECT-15] [DIRECT-30] [T-D5] tells a caller six times a minute who is there, and of who is not nothing else', async () => {
    const server = await startServer()
    const gonePeer = await proven(server, 'bound', await TestIdentity.make())
    await gone(gonePeer)
    const mallory = await registered(server, 'mallory')
    const answers = new Set<string>()
    let told = 0
    for (let i = 0; i < 60; i++) {
      await server.clock.wind(2_000)
      mallory.say('CALL_INITIATE', { targetId: i === 0 ? 'bound' : `id-${i}`, sdpOffer: 'x' })
      const text = await mallory.raw.nextText()
      if (JSON.parse(text).payload.code === 'RATE_LIMITED') continue
      told++
      answers.add(text)
    }
    expect(answers.size).toBe(1)
    expect(told).toBeGreaterThanOrEqual(12)
    expect(told).toBeLessThanOrEqual(18)
    expect(JSON.parse([...answers][0] as string).payload.code).toBe('TARGET_OFFLINE')
  })

  test('[DIRECT-30] by many connections of one id is the ringing of one caller', async () => {
    const server = await startServer()
    const identity = await TestIdentity.make()
    let rings = 0
    for (let i = 0; i < 5; i++) {
      const device = await proven(server, 'mallory', identity)
      for (let j = 0; j < 4; j++) {
        device.say('CALL_INITIATE', { targetId: `target-${i}-${j}`, sdpOffer: 'x' })
        if ((await device.error()) === 'TARGET_OFFLINE') rings++
      }
      if (i % 2 === 0) await gone(device)
    }
    expect(rings).toBe(6)
  })
})

describe('floods', () => {
  test('[WS-11] [DIRECT-18] payloads of 64 KB at who does not read: bounded, it is closed and may resume, nobody else notices', async () => {
    const server = await startServer({ BYTES_PER_MINUTE: '1000000000', MESSAGES_PER_SECOND: '10000' })
    const call = await answeredCall(server)
    const bystanders = await answeredCall(server, ['carol', 'dave'])
    call.callee.raw.socket.pause()
    const frame = (i: number) => {
      const head = `{"type":"CALL_NEGOTIATE","payload":{"callId":"${call.callId}","sdp":"${i} `
      return `${head}${'x'.repeat(65_536 - head.length - 3)}"}}`
    }
    const isFull = () => call.caller.raw.waiting.some((text) => text.includes('BUFFER_FULL'))
    let sent = 0
    // It is full while the kernel still takes for both sockets: the server holds no more than it was sent, 38 MB at most.
    for (; sent < 600 && !isFull(); sent++) {
      call.caller.raw.send(frame(sent))
      if (sent % 5 === 4) await call.caller.raw.settle()
      if (sent % 50 === 49) await unharmed(bystanders)
    }
    expect(isFull()).toBe(true)
    expect(call.caller.raw.isClosed).toBe(false)
    expect(await call.caller.hear('PEER_RECONNECTING')).toMatchObject({ callId: call.callId })
    call.callee.raw.socket.resume()
    expect((await call.callee.raw.closed()).code).toBe(4101)
    const back = await SignalPeer.open(server)
    back.say('RESUME', { resumeToken: call.callee.resumeToken, received: 2 })
    expect(await back.hear('RESUMED')).toMatchObject({ gap: true })
    expect(await call.caller.hear('PEER_RESUMED')).toEqual({ callId: call.callId })
    noErrors(server)
  }, 20_000)

  test('[WS-11] of bytes and messages are cut by the rate of the client, over all its connections', async () => {
    const server = await startServer()
    const call = await answeredCall(server)
    const bystanders = await answeredCall(server, ['carol', 'dave'])
    const frame = `{"type":"CALL_NEGOTIATE","payload":{"callId":"${call.callId}","sdp":"${'x'.repeat(60_000)}"}}`
    for (let i = 0; i < 40; i++) call.caller.raw.send(frame)
    expect((await call.caller.raw.closed()).code).toBe(4129)
    await call.callee.hear('PEER_RECONNECTING')
    await unharmed(bystanders)
  })

  test('[DIRECT-4] of HELLO and REGISTER before anybody is registered cost little, and one nonce is good', async () => {
    const server = await startServer()
    const bystanders = await answeredCall(server)
    const peer = await SignalPeer.open(server)
    let nonce = ''
    for (let i = 0; i < 60; i++) nonce = await nonceOf(peer)
    expect(nonce.length).toBe(43)
    // Only one REGISTER is answered at a time.
    for (let i = 0; i < 4; i++) peer.say('REGISTER', { clientId: `id-${i}` })
    const [first, ...others] = [await peer.next(), await peer.next(), await peer.next(), await peer.next()]
      .map(({ type, payload }) => payload.code ?? `${type} ${payload.clientId}`)
      .sort()
      .reverse()
    expect([first, new Set(others).size]).toEqual(['REGISTERED id-0', 1])
    const flood = await SignalPeer.open(server)
    for (let i = 0; i < 400; i++) flood.say('HELLO')
    expect((await flood.raw.closed()).code).toBe(4129)
    await unharmed(bystanders)
    noErrors(server)
  })

  test('[DIRECT-23] of PKD_ and TURN_REFRESH are answered sixteen at a time, or refused', async () => {
    const server = await startServer()
    const bystanders = await answeredCall(server)
    const mallory = await registered(server, 'mallory')
    for (let i = 0; i < 40; i++) {
      const type = ['PKD_REGISTER', 'PKD_LOOKUP', 'PKD_HISTORY', 'TURN_REFRESH'][i % 4] as string
      mallory.say(type, { clientId: 'mallory', publicKey: `key ${i}` })
    }
    const answers: string[] = []
    while (answers.length < 40 && !mallory.raw.isClosed) {
      const { type, payload } = await mallory.next()
      answers.push(payload.code ?? type)
    }
    expect(new Set(answers)).not.toContain('INTERNAL_ERROR')
    await unharmed(bystanders)
    noErrors(server)
  })

  test('[T-D2] of watchers: a key that changes often is told to each of them a bounded number of times', async () => {
    const server = await startServer()
    const mallory = await proven(server, 'mallory', await TestIdentity.make())
    const victim = await registered(server, 'victim')
    victim.say('PKD_LOOKUP', { clientId: 'mallory' })
    await victim.error()
    for (let i = 0; i < 60; i++) {
      mallory.say('PKD_REGISTER', { clientId: 'mallory', publicKey: `key ${i}` })
      await mallory.next()
      if (i % 5 === 4) await server.clock.wind(2_000)
    }
    expect((await victim.raw.settle()).length).toBeLessThanOrEqual(22)
  })
})

describe('hostile fields', () => {
  test('[DIRECT-28] are refused by name or taken as data; nothing breaks, and nothing comes back unescaped', {
    ...IN_REAL_TIME,
    timeout: 20_000,
  }, async () => {
    const server = await startServer()
    const call = await answeredCall(server)
    const texts = [
      '{"type":"__proto__","payload":{}}',
      '{"type":"constructor","payload":{}}',
      '{"type":"REGISTER","payload":{"__proto__":{"clientId":"alice"}}}',
      '{"type":"CALL_INITIATE","payload":{"targetId":"bob","sdpOffer":"x","ringTimeout":1e999}}',
      '{"type":"CALL_INITIATE","payload":{"targetId":"bob","sdpOffer":"x","ringTimeout":-0}}',
      '{"type":"CALL_INITIATE","payload":{"targetId":{"toString":"bob"},"sdpOffer":"x"}}',
      '{"type":"CALL_INITIATE","payload":{"targetId":"bob","sdpOffer":""}}',
      '{"type":"PKD_HISTORY","payload":{"clientId":"bob","after":-1}}',
      '{"type":"PKD_HISTORY","payload":{"clientId":"bob","after":9007199254740993}}',
      '{"type":"ICE_CANDIDATE","payload":{"callId":"","candidate":"x"}}',
      `{"type":"ICE_CANDIDATE","payload":{"callId":"${'x'.repeat(65)}","candidate":"x"}}`,
      '{"type":"ICE_CANDIDATE","payload":{"callId":["x"],"candidate":"x"}}',
      '{"type":"ICE_CANDIDATE","payload":null}',
      '{"type":"ICE_CANDIDATE","payload":[]}',
      '[{"type":"PING","payload":{}}]',
      '{"type":"PING","payload":{},"type":"HELLO"}',
      `${'['.repeat(30_000)}${']'.repeat(30_000)}`,
      `{"type":"ICE_CANDIDATE","payload":{"callId":"x","candidate":${'{"a":'.repeat(8_000)}1${'}'.repeat(8_000)}}}`,
    ]
    const mallory = await registered(server, 'mallory', { pong: true })
    for (const text of texts) {
      const startedAt = performance.now()
      mallory.raw.send(text)
      const { type, payload } = await mallory.next()
      expect([text.slice(0, 100), type, payload.code]).toEqual([
        text.slice(0, 100),
        'ERROR',
        'INVALID_MESSAGE',
      ])
      expect(payload.message.length).toBeLessThan(200)
      expect(performance.now() - startedAt).toBeLessThan(250)
      await server.clock.wind(2_000)
    }
    for (const id of ['<script>', '../alice', "' OR 1=1 --", '\u202ealice', 'alice\r\n', '%00', 'é']) {
      for (const [type, payload] of [
        ['CALL_INITIATE', { targetId: id, sdpOffer: 'x' }],
        ['PKD_LOOKUP', { clientId: id }],
        ['PKD_HISTORY', { clientId: id }],
        ['PKD_REGISTER', { clientId: id, publicKey: 'x' }],
      ] as const) {
        mallory.say(type, payload)
        const text = await mallory.raw.nextText()
        expect(JSON.parse(text).payload.code).toBe('INVALID_CLIENT_ID')
        expect(text).not.toContain(id)
        await server.clock.wind(2_000)
      }
    }
    expect(({} as { clientId?: string }).clientId).toBeUndefined()
    await unharmed(call)
    noErrors(server)
  })

  test('[DIRECT-17] in what is relayed pass as they are: the server looks at the id and at nothing else', async () => {
    const server = await startServer()
    const { caller, callee, callId } = await answeredCall(server)
    const bodies = [
      '"candidate":{"__proto__":{"x":1},"constructor":null,"toString":"x"}',
      '"candidate":"\\u0000\\ud800\\u202e</script>\'; DROP TABLE direct_keys; --"',
      '"candidate":null,"extra":{"deep":[[[[[[]]]]]]}',
      `"candidate":"${'\\u00e9'.repeat(5_000)}"`,
    ]
    for (const body of bodies) {
      const frame = `{"payload":{"callId":"${callId}",${body}},"type":"ICE_CANDIDATE"}`
      caller.raw.send(frame)
      expect(await callee.raw.nextText()).toBe(frame)
    }
    noErrors(server)
  })
})

test('[LOG-1] [T-O1] secrets of direct calls are in no log line, no metric and no row', async () => {
  const server = await startServer({
    LOG_LEVEL: 'debug',
    TURN_PROVIDER: 'coturn',
    TURN_URLS: 'turn:turn.example.com:3478',
    TURN_SECRET: 'canary-turn-secret-0123456789',
    WAKE_WEBHOOK_URL: 'http://127.0.0.1:9/hook?key=canary-in-the-address',
    WEBHOOK_SECRET: 'canary-webhook-secret-0123456789abcdef',
  })
  const identity = await TestIdentity.make()
  const secrets = ['canary-']
  const { caller, callee, callId } = await ringingCall(server)
  secrets.push(caller.resumeToken, callee.resumeToken)
  callee.say('CALL_ACCEPT', { callId, sdpAnswer: 'canary-answer a=ice-pwd:canary-pwd' })
  await caller.hear('CALL_ACCEPTED')
  for (const [type, more] of [
    ['ICE_CANDIDATE', { candidate: 'canary-candidate 192.0.2.77' }],
    ['CALL_NEGOTIATE', { sdp: 'canary-offer' }],
    ['PKD_REGISTER', { clientId: 'alice', publicKey: 'canary-key' }],
    ['TURN_REFRESH', {}],
  ] as const) {
    caller.say(type, { callId, ...more })
  }
  const { iceServers } = await caller.hear('ICE_SERVERS')
  secrets.push(iceServers[0].credential)
  const peer = await SignalPeer.open(server)
  const nonce = await nonceOf(peer)
  const signature = await identity.sign(`canary ${hostOf(server)} ${nonce}`)
  secrets.push(nonce, signature)
  peer.say('REGISTER', { clientId: 'carol', identityKey: identity.key, signature })
  await peer.error()
  peer.say('REGISTER', { clientId: 'carol', token: 'canary-token' })
  await peer.hear('REGISTERED')
  peer.say('CALL_INITIATE', { targetId: 'asleep', sdpOffer: 'canary-offer' })
  await peer.hear('CALL_RINGING')
  peer.raw.send('{"type":"CALL_ACCEPT","payload":{"callId":"canary-call","sdpAnswer":7}}')
  await peer.error()
  peer.raw.send('canary-garbage')
  await peer.error()
  const resume = await SignalPeer.open(server)
  resume.say('RESUME', { resumeToken: 'canary-resume', received: 0 })
  await resume.error()
  await server.ask('POST', `/calls/${callId}/reject`, { token: 'canary-reject' })
  caller.raw.drop()
  await callee.hear('PEER_RECONNECTING')
  const back = await SignalPeer.open(server)
  back.say('RESUME', { resumeToken: caller.resumeToken, received: 3 })
  secrets.push((await back.hear('RESUMED')).resumeToken)
  back.say('CALL_END', { callId })
  await callee.hear('CALL_ENDED')
  await server.clock.wind(61_000)
  const metrics = await server.ask('GET', '/metrics', undefined, { 'x-admin-key': ADMIN_KEY })
  const calls = await server.ask('GET', '/calls')
  const places = { log: JSON.stringify(server.logged), metrics: metrics.text, calls: calls.text }
  expect(server.logged.length).toBeGreaterThan(5)
  for (const [place, text] of Object.entries(places)) {
    for (const secret of secrets)
      expect([place, secret, text.includes(secret)]).toEqual([place, secret, false])
  }
})
