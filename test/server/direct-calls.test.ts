import { afterEach, describe, expect, test } from 'bun:test'
import { closeServers, startServer } from '../kit/server.ts'
import { answeredCall, registered, ringingCall, SignalPeer } from '../kit/signal.ts'

afterEach(closeServers)

const SDP = 'v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\na=ice-ufrag:é"\\\u2028\r\n'

describe('registering', () => {
  test('[DIRECT-1] the document’s own flow, byte for byte where it shows the bytes', async () => {
    const server = await startServer()
    const peer = await SignalPeer.open(server)
    peer.raw.send('{ "type": "REGISTER", "payload": { "clientId": "abc123" } }')
    expect(await peer.next()).toEqual({
      type: 'REGISTERED',
      payload: { clientId: 'abc123', resumeToken: expect.any(String), iceServers: [], iceExpiresAt: null },
    })
  })

  test('[DIRECT-1] who does not register within 60 s is told so and closed', async () => {
    const server = await startServer()
    const peer = await SignalPeer.open(server)
    await server.clock.wind(59_000)
    expect(peer.raw.isClosed).toBe(false)
    await server.clock.wind(1_100)
    expect(await peer.error()).toBe('REGISTER_TIMEOUT')
    expect((await peer.raw.closed()).code).toBe(4401)
  })

  test.each(['', 'x'.repeat(65), 'a b', 'a/b', 'a.b', 'abc\n', 'a\u0000', 'а', '__proto__\n'])(
    '[DIRECT-2] %j is no client id',
    async (clientId) => {
      const server = await startServer()
      const peer = await SignalPeer.open(server)
      peer.say('REGISTER', { clientId })
      expect(await peer.error()).toBe('INVALID_CLIENT_ID')
      await peer.register('fine')
    },
  )

  test('[DIRECT-2] ids of 64 characters, and those that objects have, are ids', async () => {
    const server = await startServer()
    for (const clientId of ['x'.repeat(64), '__proto__', 'constructor', '-', '_', 'A0-_']) {
      await registered(server, clientId)
    }
  })

  test('[DIRECT-2] nothing comes before REGISTER, and REGISTER once', async () => {
    const server = await startServer()
    const peer = await SignalPeer.open(server)
    const early: [string, object][] = [
      ['CALL_INITIATE', { targetId: 'bob', sdpOffer: 'x' }],
      ['CALL_ACCEPT', { callId: '1', sdpAnswer: 'x' }],
      ['CALL_END', { callId: '1' }],
      ['ICE_CANDIDATE', { callId: '1', candidate: 'x' }],
      ['PKD_LOOKUP', { clientId: 'bob' }],
    ]
    for (const [type, payload] of early) {
      peer.say(type, payload)
      expect([type, await peer.error()]).toEqual([type, 'NOT_REGISTERED'])
    }
    await peer.register('alice')
    for (const clientId of ['alice', 'other']) {
      peer.say('REGISTER', { clientId })
      expect(await peer.error()).toBe('ALREADY_REGISTERED')
    }
  })

  test('[DIRECT-3] an id that is there and alive is taken; a dead one makes room', async () => {
    const server = await startServer()
    await registered(server, 'alice')
    const second = await SignalPeer.open(server)
    second.say('REGISTER', { clientId: 'alice' })
    expect(await second.error()).toBe('CLIENT_ID_TAKEN')
    await registered(server, 'ghost', { pong: false })
    const back = await SignalPeer.open(server)
    back.say('REGISTER', { clientId: 'ghost' })
    await back.raw.settle()
    await server.clock.wind(2_100)
    await back.hear('REGISTERED')
  })

  test('[DIRECT-3] who lost its connection registers again at once, as clients of the document do', async () => {
    const server = await startServer()
    const first = await registered(server, 'alice')
    first.raw.drop()
    await first.raw.ended()
    await server.clock.wind(100)
    await registered(server, 'alice')
  })
})

describe('a call', () => {
  test('[DIRECT-10] [DIRECT-11] rings, is answered, and both descriptions arrive as they were', async () => {
    const server = await startServer()
    const alice = await registered(server, 'alice')
    const bob = await registered(server, 'bob')
    alice.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: SDP })
    const ringing = await alice.hear('CALL_RINGING')
    expect(ringing).toEqual({
      callId: expect.any(String),
      targetId: 'bob',
      expiresAt: server.clock.now() + 60_000,
      iceServers: [],
      iceExpiresAt: null,
    })
    const { callId, expiresAt } = ringing
    expect(await bob.hear('INCOMING_CALL')).toEqual({
      callId,
      callerId: 'alice',
      sdpOffer: SDP,
      expiresAt,
      iceServers: [],
      iceExpiresAt: null,
    })
    bob.say('CALL_ACCEPT', { callId, sdpAnswer: SDP })
    expect(await alice.next()).toEqual({ type: 'CALL_ACCEPTED', payload: { callId, sdpAnswer: SDP } })
    expect(await bob.raw.settle()).toEqual([])
  })

  test('[DIRECT-12] a rejected call ends for the caller, and the log says so', async () => {
    const server = await startServer()
    const { caller, callee, callId } = await ringingCall(server)
    callee.say('CALL_REJECT', { callId })
    expect(await caller.hear('CALL_REJECTED')).toEqual({ callId, reason: 'rejected' })
    const { body } = await server.ask('GET', '/calls?service=direct')
    expect(body.calls).toMatchObject([
      {
        session_id: callId,
        driver_id: 'alice',
        passenger_id: 'bob',
        end_reason: 'rejected',
        ended_by: 'callee',
      },
    ])
  })

  test('[DIRECT-13] either party ends an active call for both', async () => {
    const server = await startServer()
    for (const ender of ['caller', 'callee'] as const) {
      const call = await answeredCall(server, [`a-${ender}`, `b-${ender}`])
      call[ender].say('CALL_END', { callId: call.callId })
      for (const peer of [call.caller, call.callee]) {
        expect(await peer.hear('CALL_ENDED')).toEqual({ callId: call.callId, reason: 'ended' })
      }
      const { body } = await server.ask('GET', `/calls?user_id=a-${ender}`)
      expect(body.calls).toMatchObject([
        {
          service: 'direct',
          status: 'ended',
          end_reason: 'ended',
          ended_by: ender,
          initiated_by: `a-${ender}`,
        },
      ])
    }
  })

  test('[DIRECT-13] a caller that hangs up while it rings has cancelled', async () => {
    const server = await startServer()
    const { caller, callee, callId } = await ringingCall(server)
    caller.say('CALL_END', { callId })
    for (const peer of [caller, callee]) {
      expect(await peer.hear('CALL_ENDED')).toEqual({ callId, reason: 'cancelled' })
    }
    callee.say('CALL_ACCEPT', { callId, sdpAnswer: 'late' })
    expect(await callee.error()).toBe('CALL_NOT_FOUND')
  })

  test('[DIRECT-14] a call that nobody answers ends for both after its ring time', async () => {
    const server = await startServer()
    const { caller, callee, callId } = await ringingCall(server)
    await server.clock.wind(59_900)
    expect(await callee.raw.settle()).toEqual([])
    await server.clock.wind(200)
    for (const peer of [caller, callee]) {
      expect(await peer.hear('CALL_ENDED')).toEqual({ callId, reason: 'no_answer' })
    }
    caller.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'x', ringTimeout: 5 })
    await callee.hear('INCOMING_CALL')
    await server.clock.wind(5_100)
    expect(await caller.hear('CALL_ENDED')).toMatchObject({ reason: 'no_answer' })
  })

  test('[DIRECT-15] a target that is not there, whoever it is, is offline', async () => {
    const server = await startServer()
    const alice = await registered(server, 'alice')
    const gone = await registered(server, 'gone')
    gone.raw.close(1000)
    await gone.raw.ended()
    const answers: string[] = []
    for (const targetId of ['gone', 'never-was']) {
      alice.say('CALL_INITIATE', { targetId, sdpOffer: 'x' })
      answers.push(await alice.raw.nextText())
    }
    expect(answers[0]).toBe(answers[1] as string)
    expect(JSON.parse(answers[0] as string).payload.code).toBe('TARGET_OFFLINE')
  })

  test('[DIRECT-15] a target that is in a call, or ringing somebody, is busy', async () => {
    const server = await startServer()
    const { callId } = await answeredCall(server)
    const carol = await registered(server, 'carol')
    for (const targetId of ['alice', 'bob']) {
      carol.say('CALL_INITIATE', { targetId, sdpOffer: 'x' })
      const rejected = await carol.hear('CALL_REJECTED')
      expect(rejected).toEqual({ callId: expect.any(String), reason: 'busy' })
      expect(rejected.callId).not.toBe(callId)
    }
    await registered(server, 'dave')
    carol.say('CALL_INITIATE', { targetId: 'dave', sdpOffer: 'x' })
    await carol.hear('CALL_RINGING')
    const eve = await registered(server, 'eve')
    eve.say('CALL_INITIATE', { targetId: 'carol', sdpOffer: 'x' })
    expect(await eve.hear('CALL_REJECTED')).toMatchObject({ reason: 'busy' })
  })

  test('[DIRECT-16] of two that ring each other the first wins, and the second can accept it', async () => {
    const server = await startServer()
    const { caller, callee, callId } = await ringingCall(server)
    callee.say('CALL_INITIATE', { targetId: 'alice', sdpOffer: 'mine' })
    const { payload } = await callee.next()
    expect(payload).toMatchObject({ code: 'GLARE', callId })
    callee.say('CALL_ACCEPT', { callId, sdpAnswer: 'yes' })
    expect(await caller.hear('CALL_ACCEPTED')).toEqual({ callId, sdpAnswer: 'yes' })
  })

  test('[DIRECT-17] candidates go both ways as they came, and from the caller while it still rings', async () => {
    const server = await startServer()
    const { caller, callee, callId } = await ringingCall(server)
    const frame = (i: number, of: string) =>
      `{"payload":{"candidate":{"candidate":"${of} ${i}","sdpMid":"0"},  "callId":"${callId}"},"type":"ICE_CANDIDATE"}`
    for (let i = 0; i < 5; i++) caller.raw.send(frame(i, 'early'))
    for (let i = 0; i < 5; i++) expect(await callee.raw.nextText()).toBe(frame(i, 'early'))
    callee.say('ICE_CANDIDATE', { callId, candidate: 'too soon' })
    expect(await callee.error()).toBe('INVALID_MESSAGE')
    callee.say('CALL_ACCEPT', { callId, sdpAnswer: 'x' })
    await caller.hear('CALL_ACCEPTED')
    for (let i = 0; i < 20; i++) {
      caller.raw.send(frame(i, 'caller'))
      callee.raw.send(frame(i, 'callee'))
    }
    for (let i = 0; i < 20; i++) {
      expect(await callee.raw.nextText()).toBe(frame(i, 'caller'))
      expect(await caller.raw.nextText()).toBe(frame(i, 'callee'))
    }
    const renegotiation = `{"type":"CALL_NEGOTIATE","payload":{"callId":"${callId}","sdp":"new"}}`
    caller.raw.send(renegotiation)
    expect(await callee.raw.nextText()).toBe(renegotiation)
  })

  test('[DIRECT-19] foreign, unknown and ended calls answer alike, whatever is said of them', async () => {
    const server = await startServer()
    const { caller, callId } = await answeredCall(server)
    const stranger = await registered(server, 'mallory')
    caller.say('CALL_ACCEPT', { callId, sdpAnswer: 'my own' })
    expect(await caller.error()).toBe('CALL_NOT_FOUND')
    const said: [string, object][] = [
      ['CALL_ACCEPT', { sdpAnswer: 'x' }],
      ['CALL_REJECT', {}],
      ['CALL_END', {}],
      ['ICE_CANDIDATE', { candidate: 'x' }],
      ['CALL_NEGOTIATE', { sdp: 'x' }],
    ]
    for (const [type, payload] of said) {
      const answers = new Set<string>()
      for (const id of [callId, '00000000-0000-4000-8000-000000000000', 'x']) {
        stranger.say(type, { callId: id, ...payload })
        answers.add(await stranger.raw.nextText())
      }
      expect([type, answers.size]).toEqual([type, 1])
      expect([...answers][0]).toContain('CALL_NOT_FOUND')
      await server.clock.wind(11_000)
      await caller.raw.settle()
    }
    expect(await caller.raw.settle()).toEqual([])
  })

  test('[DIRECT-11] accepting twice, or rejecting after accepting, changes nothing', async () => {
    const server = await startServer()
    const { caller, callee, callId } = await answeredCall(server)
    callee.say('CALL_ACCEPT', { callId, sdpAnswer: 'again' })
    expect(await callee.error()).toBe('CALL_NOT_RINGING')
    callee.say('CALL_REJECT', { callId })
    expect(await callee.error()).toBe('CALL_NOT_RINGING')
    expect(await caller.raw.settle()).toEqual([])
  })

  test('[DIRECT-30] one that rings and rings is held up, and strangers cannot flood a target that talks', async () => {
    const server = await startServer()
    const bob = await registered(server, 'bob')
    const friend = await registered(server, 'friend')
    friend.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'x' })
    const { callId } = await bob.hear('INCOMING_CALL')
    bob.say('CALL_ACCEPT', { callId, sdpAnswer: 'x' })
    bob.say('CALL_END', { callId })
    await friend.hear('CALL_ENDED')
    for (let i = 0; i < 4; i++) {
      const stranger = await registered(server, `stranger-${i}`)
      stranger.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'x' })
      if (i < 3) await stranger.hear('CALL_RINGING')
      else
        expect((await stranger.next()).payload).toMatchObject({
          code: 'RATE_LIMITED',
          retryAfterMs: expect.any(Number),
        })
    }
    friend.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'x' })
    await friend.hear('CALL_RINGING')
    const restless = await registered(server, 'restless')
    for (let i = 0; i < 7; i++) {
      restless.say('CALL_INITIATE', { targetId: `nobody-${i}`, sdpOffer: 'x' })
      expect(await restless.error()).toBe(i < 6 ? 'TARGET_OFFLINE' : 'RATE_LIMITED')
    }
  })
})

describe('losing each other', () => {
  test('[DIRECT-20] a lost device has the grace to come back, then the call is over', async () => {
    const server = await startServer()
    const { caller, callee, callId } = await answeredCall(server)
    caller.raw.drop()
    expect(await callee.hear('PEER_RECONNECTING')).toEqual({ callId, graceMs: 15_000 })
    await server.clock.wind(15_100)
    expect(await callee.hear('CALL_ENDED')).toEqual({ callId, reason: 'disconnect_caller' })
  })

  test('[DIRECT-20] closing with 1000 is leaving', async () => {
    const server = await startServer()
    const { caller, callee, callId } = await answeredCall(server)
    callee.raw.close(1000)
    expect(await caller.hear('CALL_ENDED')).toEqual({ callId, reason: 'disconnect_callee' })
  })

  test('[DIRECT-9] [DIRECT-20] RESUME gives what was missed, and the peer is told', async () => {
    const server = await startServer()
    const { caller, callee, callId } = await answeredCall(server)
    caller.raw.drop()
    await callee.hear('PEER_RECONNECTING')
    const frame = `{"type":"ICE_CANDIDATE","payload":{"callId":"${callId}","candidate":"while you were away"}}`
    callee.raw.send(frame)
    await callee.raw.settle()
    const back = await SignalPeer.open(server)
    // REGISTERED, CALL_RINGING and CALL_ACCEPTED were received.
    back.say('RESUME', { resumeToken: caller.resumeToken, received: 3 })
    expect(await back.next()).toEqual({
      type: 'RESUMED',
      payload: { replayed: 1, resumeToken: expect.any(String) },
    })
    expect(await back.raw.nextText()).toBe(frame)
    expect(await callee.hear('PEER_RESUMED')).toEqual({ callId })
    back.say('CALL_END', { callId })
    expect(await callee.hear('CALL_ENDED')).toMatchObject({ reason: 'ended' })
  })

  test('[DIRECT-9] a token is good until the connection it took up has said something', async () => {
    const server = await startServer()
    const alice = await registered(server, 'alice')
    alice.raw.drop()
    await alice.raw.ended()
    const resume = async (resumeToken: string, received: number) => {
      const peer = await SignalPeer.open(server)
      peer.say('RESUME', { resumeToken, received })
      const answer = await peer.next()
      if (answer.type === 'RESUMED') peer.say('PING')
      return answer
    }
    expect(await resume(alice.resumeToken, 2)).toMatchObject({ payload: { code: 'RESUME_FAILED' } })
    expect(await resume(alice.resumeToken, 1)).toMatchObject({ type: 'RESUMED' })
    expect(await resume(alice.resumeToken, 1)).toMatchObject({ payload: { code: 'RESUME_FAILED' } })
    expect(await resume('x'.repeat(60), 1)).toMatchObject({ payload: { code: 'RESUME_FAILED' } })
  })

  test('[DIRECT-9] a call that came while the device was away rings it when it is back', async () => {
    const server = await startServer()
    const alice = await registered(server, 'alice')
    const bob = await registered(server, 'bob')
    bob.raw.drop()
    await bob.raw.ended()
    await server.clock.wind(100)
    alice.say('CALL_INITIATE', { targetId: 'bob', sdpOffer: 'x' })
    const { callId } = await alice.hear('CALL_RINGING')
    const back = await SignalPeer.open(server)
    back.say('RESUME', { resumeToken: bob.resumeToken, received: 1 })
    expect(await back.hear('INCOMING_CALL')).toMatchObject({ callId, callerId: 'alice' })
    back.say('CALL_ACCEPT', { callId, sdpAnswer: 'here' })
    expect(await alice.hear('CALL_ACCEPTED')).toMatchObject({ sdpAnswer: 'here' })
  })

  test('[DIRECT-20] a caller that is lost while it rings is accepted when it is back', async () => {
    const server = await startServer()
    const { caller, callee, callId } = await ringingCall(server)
    caller.raw.drop()
    await caller.raw.ended()
    await server.clock.wind(100)
    callee.say('CALL_ACCEPT', { callId, sdpAnswer: 'hello?' })
    await callee.raw.settle()
    const back = await SignalPeer.open(server)
    back.say('RESUME', { resumeToken: caller.resumeToken, received: 2 })
    expect(await back.hear('CALL_ACCEPTED')).toEqual({ callId, sdpAnswer: 'hello?' })
  })

  test('[DIRECT-21] an active call outlives the server, one that rings does not', async () => {
    const server = await startServer()
    const { caller, callee, callId } = await answeredCall(server)
    const ringing = await ringingCall(server, ['carol', 'dave'])
    const after = await server.again()
    const back: SignalPeer[] = []
    for (const { resumeToken } of [caller, callee]) {
      const peer = await SignalPeer.open(after)
      peer.say('RESUME', { resumeToken, received: 3 })
      expect(await peer.hear('RESUMED')).toMatchObject({ gap: true })
      back.push(peer)
    }
    back[0]?.say('CALL_END', { callId })
    expect(await back[1]?.hear('CALL_ENDED')).toMatchObject({ reason: 'ended' })
    const { body } = await after.ask('GET', '/calls?user_id=carol')
    expect(body.calls).toMatchObject([{ session_id: ringing.callId, end_reason: 'server_restart' }])
  })
})

describe('bounds', () => {
  test('[DIRECT-28] a payload of 64 KB passes, one byte more does not', async () => {
    const server = await startServer()
    const { caller, callee, callId } = await answeredCall(server)
    const frame = (bytes: number) => {
      const empty = `{"type":"CALL_NEGOTIATE","payload":{"callId":"${callId}","sdp":""}}`
      return empty.replace('"sdp":""', `"sdp":"${'x'.repeat(bytes - empty.length)}"`)
    }
    caller.raw.send(frame(65_536))
    expect((await callee.raw.nextText()).length).toBe(65_536)
    caller.raw.send(frame(65_537))
    expect(await caller.error()).toBe('PAYLOAD_TOO_LARGE')
    expect((await caller.raw.closed()).code).toBe(1009)
  })

  test('[DIRECT-28] what is no message is INVALID_MESSAGE, by the name of the field', async () => {
    const server = await startServer()
    const peer = await registered(server, 'alice')
    const wrong: [string, string][] = [
      ['{', 'JSON'],
      ['{"type":"CALL_INITIATE"}', 'payload'],
      ['{"type":"CALL_INITIATE","payload":{"targetId":"bob"}}', 'sdpOffer'],
      ['{"type":"CALL_INITIATE","payload":{"targetId":7,"sdpOffer":"x"}}', 'targetId'],
      ['{"type":"CALL_INITIATE","payload":{"targetId":"bob","sdpOffer":"x","ringTimeout":4}}', 'ringTimeout'],
      ['{"type":"register","payload":{}}', 'type'],
    ]
    for (const [text, names] of wrong) {
      peer.raw.send(text)
      const { type, payload } = await peer.next()
      expect([text, type, payload.code]).toEqual([text, 'ERROR', 'INVALID_MESSAGE'])
      expect(payload.message).toContain(names)
      await server.clock.wind(1_500)
    }
    peer.say('CALL_INITIATE', { targetId: 'alice', sdpOffer: 'x' })
    expect(await peer.error()).toBe('INVALID_MESSAGE')
  })

  test('[DIRECT-29] the server pings each 30 s and lets go after 60 s of silence; any frame is life', async () => {
    const server = await startServer()
    const silent = await registered(server, 'silent', { pong: false })
    const talking = await registered(server, 'talking', { pong: false })
    for (let second = 0; second < 59; second++) {
      await server.clock.wind(1_000)
      if (second % 8 === 0) talking.say('PING')
      await talking.raw.settle()
    }
    await silent.raw.nextPing()
    expect(silent.raw.isClosed).toBe(false)
    await server.clock.wind(1_200)
    expect((await silent.raw.closed()).code).toBe(4102)
    expect(await talking.hear('PONG')).toEqual({})
    expect(talking.raw.isClosed).toBe(false)
  })
})
