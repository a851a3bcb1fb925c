// docs/asyncapi.json is held to the shape of its standard, and what goes over a real socket to it.
import { afterEach, describe, expect, test } from 'bun:test'
import { Compile } from 'typebox/schema'
import type { RawPeer } from '../kit/raw-peer.ts'
import { activeRide, closeServers, startServer } from '../kit/server.ts'
import { Document, expectSchema, type Json } from './document.ts'

afterEach(closeServers)

const document = new Document('asyncapi.json')
const channels: Record<string, Json> = document.json.channels
const components: Record<string, Json> = document.json.components.messages

type Way = 'fromClient' | 'toClient'

/** The messages that go this way on a channel, by type. */
function messagesOf(channel: string, way: Way): Map<string, Json> {
  const { messages } = document.json.operations[`${channel}.${way}`]
  return new Map(
    messages.map((each: Json) => {
      const message = document.resolve(each)
      return [message.name, message]
    }),
  )
}

/** The parts of AsyncAPI 3.0 that the document uses; its official schema is twenty times the size of this test. */
const text = { type: 'string', minLength: 1 }
const reference = object({ $ref: text })
const shape = object({
  asyncapi: { const: '3.0.0' },
  info: object({
    title: text,
    version: text,
    description: text,
    license: object({ name: text, url: text }),
  }),
  defaultContentType: { const: 'application/json' },
  servers: map(object({ host: text, protocol: text, description: text })),
  channels: map(
    object({
      address: text,
      title: text,
      description: text,
      messages: map(reference),
      bindings: object({ ws: object({ method: { enum: ['GET', 'POST'] } }) }),
      'x-close-codes': { type: 'array' },
    }),
  ),
  operations: map(
    object({
      action: { enum: ['send', 'receive'] },
      channel: reference,
      summary: text,
      messages: { type: 'array', items: reference, minItems: 1 },
    }),
  ),
  components: object({
    messages: map(
      object({
        name: text,
        description: text,
        payload: { type: 'object' },
        examples: { type: 'array', minItems: 1, items: object({ payload: { type: 'object' } }) },
      }),
    ),
  }),
})

function object(properties: Record<string, object>): object {
  return { type: 'object', properties, required: Object.keys(properties), additionalProperties: false }
}

function map(schema: object): object {
  return { type: 'object', patternProperties: { '^[A-Za-z0-9._-]+$': schema }, additionalProperties: false }
}

describe('asyncapi.json', () => {
  test('is an AsyncAPI 3.0 document in its outer shape', () => {
    const [fits, errors] = Compile(shape).Errors(document.json)
    expect(fits, JSON.stringify(errors)).toBe(true)
  })

  test('refers to nothing that is not there, and has every message in an operation of its channel', () => {
    for (const to of document.references) document.resolve({ $ref: to })
    const used = new Set<Json>()
    for (const [name, channel] of Object.entries(channels)) {
      const ways = (['fromClient', 'toClient'] as const).map(
        (way) => document.json.operations[`${name}.${way}`],
      )
      for (const { channel: to } of ways) expect(document.resolve(to)).toBe(channel)
      const said = new Set(ways.flatMap(({ messages }) => messages.map(document.resolve, document)))
      expect(said).toEqual(new Set(Object.values(channel.messages).map(document.resolve, document)))
      for (const message of said) used.add(message)
    }
    expect(Object.keys(document.json.operations).length).toBe(2 * Object.keys(channels).length)
    expect(used).toEqual(new Set(Object.values(components)))
  })

  test.each(Object.entries(components))(
    'has a schema and an example that fit each other: %s',
    (key, each) => {
      expectSchema(each.payload)
      for (const { payload } of each.examples) document.expectFits(each.payload, payload)
      expect(each.payload.properties.type.const).toBe(each.name)
      expect(key.split('.').at(-1)).toBe(each.name)
    },
  )

  test('tells what a type means up from what it means down', () => {
    const schemas = (channel: string, type: string) =>
      (['fromClient', 'toClient'] as const).map((way) => messagesOf(channel, way).get(type))
    for (const [channel, type] of [
      ['ride', 'ice_servers'],
      ['direct', 'PKD_HISTORY'],
    ] as const) {
      const [up, down] = schemas(channel, type)
      expect(up.payload).not.toEqual(down.payload)
    }
    const [up, down] = schemas('ride', 'offer')
    expect(up).toBe(down)
  })

  test('lists the close codes of a channel for it alone', () => {
    const reasons = (channel: string) =>
      channels[channel]['x-close-codes'].flatMap((each: Json) => Object.keys(each.reasons))
    expect(reasons('ride')).toContain('join_token_invalid')
    expect(reasons('ride')).not.toContain('register_timeout')
    expect(reasons('direct')).toContain('register_timeout')
    expect(reasons('direct')).not.toContain('authenticate_timeout')
    for (const channel of ['ride', 'direct']) expect(reasons(channel)).toContain('heartbeat_timeout')
  })
})

interface Message {
  readonly type: string
  readonly [field: string]: unknown
}

/** Everything that went over the sockets of a channel in a test, as long as it is as written. */
class Heard {
  readonly #channel: string
  readonly #up: Map<string, Json>
  readonly #down: Map<string, Json>
  readonly #said = new Set<string>()
  readonly #heard = new Set<string>()

  constructor(channel: string) {
    this.#channel = channel
    this.#up = messagesOf(channel, 'fromClient')
    this.#down = messagesOf(channel, 'toClient')
  }

  say(peer: RawPeer, message: Message): void {
    document.expectFits(this.#up.get(message.type)?.payload, message)
    this.#said.add(message.type)
    peer.send(message)
  }

  /** The next message, which must be of this type. */
  async next(peer: RawPeer, type: string): Promise<Json> {
    const message = await peer.next()
    expect(message.type, JSON.stringify(message)).toBe(type)
    document.expectFits(this.#down.get(type)?.payload, message)
    this.#heard.add(type)
    return message
  }

  /** The number of a close, which must be written with its reason. */
  async closed(peer: RawPeer): Promise<number> {
    const { code, reason } = await peer.closed()
    const row = channels[this.#channel]['x-close-codes'].find((each: Json) => each.code === code)
    expect(Object.keys(row?.reasons ?? {})).toContain(reason)
    return code
  }

  expectAll(): void {
    expect([...this.#said].sort()).toEqual([...this.#up.keys()].sort())
    expect([...this.#heard].sort()).toEqual([...this.#down.keys()].sort())
  }
}

test('[RIDE-1] every message of a ride goes over a socket as it is written, and every close has its row', async () => {
  const heard = new Heard('ride')
  const server = await startServer()
  const connect = () => server.connect({ path: channels.ride.address })
  const join = async (session_id: string, user_id: string) => {
    const peer = await connect()
    heard.say(peer, { type: 'authenticate', session_id, user_id })
    const { resume_token } = await heard.next(peer, 'authenticated')
    await heard.next(peer, 'session_joined')
    return { peer, resume_token }
  }

  // A call with everything in it, up to its limit.
  const long = await server.createSession({ max_duration: 60 })
  const driver = await join(long.session_id, 'user_123')
  const passenger = await join(long.session_id, 'user_789')
  for (const { peer } of [driver, passenger]) await heard.next(peer, 'participant_joined')
  for (const type of ['offer', 'answer', 'ice_candidate']) {
    heard.say(driver.peer, messagesOf('ride', 'fromClient').get(type).examples[0].payload)
    await heard.next(passenger.peer, type)
  }
  heard.say(driver.peer, { type: 'heartbeat' })
  await heard.next(driver.peer, 'pong')
  driver.peer.send({ type: 'offer' })
  await heard.next(driver.peer, 'error')
  driver.peer.drop()
  await heard.next(passenger.peer, 'participant_reconnecting')
  const back = await connect()
  heard.say(back, { type: 'resume', resume_token: driver.resume_token, received: 4 })
  await heard.next(back, 'resumed')
  await heard.next(passenger.peer, 'participant_resumed')
  await server.clock.wind(61_000)
  for (const peer of [back, passenger.peer]) {
    await heard.next(peer, 'call_warning')
    await heard.next(peer, 'call_timeout')
    expect(await heard.closed(peer)).toBe(1000)
  }

  // One that a party leaves, and one that is hung up.
  const left = await activeRide(server)
  left.driver.peer.close(1000)
  await heard.next(left.passenger.peer, 'participant_left')
  await heard.next(left.passenger.peer, 'call_ended')
  expect(await heard.closed(left.passenger.peer)).toBe(1000)
  const hungUp = await activeRide(server)
  heard.say(hungUp.driver.peer, { type: 'ice_servers' })
  await heard.next(hungUp.driver.peer, 'ice_servers')
  heard.say(hungUp.driver.peer, { type: 'end_call' })
  await heard.next(hungUp.passenger.peer, 'call_ended')
  expect(await heard.closed(hungUp.passenger.peer)).toBe(1000)

  // Those who are not let in, or are put out.
  const stranger = await connect()
  heard.say(stranger, { type: 'authenticate', session_id: 'nothing', user_id: 'user_123' })
  await heard.next(stranger, 'unauthorized')
  expect(await heard.closed(stranger)).toBe(4401)
  const rude = await connect()
  for (let i = 0; i < 8; i++) {
    rude.send('{}')
    await heard.next(rude, 'error')
  }
  expect(await heard.closed(rude)).toBe(4400)
  const binary = await connect()
  binary.frame(2, 'x')
  await heard.next(binary, 'error')
  expect(await heard.closed(binary)).toBe(1003)
  const large = await connect()
  large.send({ type: 'offer', sdp: 'x'.repeat(5_000) })
  await heard.next(large, 'error')
  expect(await heard.closed(large)).toBe(1009)
  const taken = await activeRide(server)
  const newer = await connect()
  const { join_tokens, session_id } = taken.session
  const join_token = join_tokens.driver
  heard.say(newer, { type: 'authenticate', session_id, user_id: 'user_123', join_token })
  await heard.next(newer, 'authenticated')
  expect(await heard.closed(taken.driver.peer)).toBe(4409)

  heard.expectAll()
})

test('[DIRECT-1] every message of direct calls goes over a socket as it is written, and every close has its row', async () => {
  const heard = new Heard('direct')
  const server = await startServer()
  const connect = () => server.connect({ path: channels.direct.address })
  const register = async (clientId: string) => {
    const peer = await connect()
    heard.say(peer, { type: 'REGISTER', payload: { clientId } })
    const { payload } = await heard.next(peer, 'REGISTERED')
    return { peer, resumeToken: payload.resumeToken as string }
  }
  const ring = async (from: RawPeer, to: RawPeer, targetId: string) => {
    heard.say(from, { type: 'CALL_INITIATE', payload: { targetId, sdpOffer: 'v=0' } })
    const { payload } = await heard.next(from, 'CALL_RINGING')
    await heard.next(to, 'INCOMING_CALL')
    return payload.callId as string
  }

  const stranger = await connect()
  heard.say(stranger, { type: 'HELLO', payload: {} })
  await heard.next(stranger, 'WELCOME')
  heard.say(stranger, { type: 'CALL_END', payload: { callId: 'nothing' } })
  await heard.next(stranger, 'ERROR')
  const alice = await register('alice')
  const bob = await register('bob')
  heard.say(alice.peer, { type: 'PING', payload: {} })
  await heard.next(alice.peer, 'PONG')
  heard.say(alice.peer, { type: 'TURN_REFRESH', payload: {} })
  await heard.next(alice.peer, 'ICE_SERVERS')

  // A key that changes while somebody watches it.
  const ofBob = { clientId: 'bob' }
  for (const publicKey of ['first', 'second']) {
    heard.say(bob.peer, { type: 'PKD_REGISTER', payload: { ...ofBob, publicKey } })
    await heard.next(bob.peer, 'PKD_RESULT')
    heard.say(alice.peer, { type: 'PKD_LOOKUP', payload: ofBob })
    if (publicKey === 'second') await heard.next(alice.peer, 'PKD_CHANGED')
    await heard.next(alice.peer, 'PKD_RESULT')
  }
  heard.say(alice.peer, { type: 'PKD_HISTORY', payload: { ...ofBob, after: 0 } })
  expect((await heard.next(alice.peer, 'PKD_HISTORY')).payload.changes.length).toBe(2)

  // A call that is rejected, and one with everything in it. The callee has a key, so it is rung with it.
  const rejected = await ring(bob.peer, alice.peer, 'alice')
  heard.say(alice.peer, { type: 'CALL_REJECT', payload: { callId: rejected } })
  await heard.next(bob.peer, 'CALL_REJECTED')
  await heard.next(alice.peer, 'CALL_ENDED')
  const callId = await ring(alice.peer, bob.peer, 'bob')
  heard.say(bob.peer, { type: 'CALL_ACCEPT', payload: { callId, sdpAnswer: 'v=0' } })
  await heard.next(alice.peer, 'CALL_ACCEPTED')
  for (const message of [
    { type: 'ICE_CANDIDATE', payload: { callId, candidate: { candidate: '', sdpMid: '0' } } },
    { type: 'ICE_CANDIDATE', payload: { callId, candidate: 'candidate:1' } },
    { type: 'CALL_NEGOTIATE', payload: { callId, sdp: 'v=0' } },
  ]) {
    heard.say(alice.peer, message)
    await heard.next(bob.peer, message.type)
  }
  bob.peer.drop()
  await heard.next(alice.peer, 'PEER_RECONNECTING')
  const back = await connect()
  heard.say(back, { type: 'RESUME', payload: { resumeToken: bob.resumeToken, received: 9 } })
  expect((await heard.next(back, 'RESUMED')).payload).toMatchObject({ replayed: 0 })
  await heard.next(alice.peer, 'PEER_RESUMED')
  heard.say(back, { type: 'CALL_END', payload: { callId } })
  await heard.next(alice.peer, 'CALL_ENDED')

  // Those who are not let in, or are put out.
  const late = await connect()
  heard.say(late, { type: 'RESUME', payload: { resumeToken: bob.resumeToken, received: 9 } })
  await heard.next(late, 'ERROR')
  expect(await heard.closed(late)).toBe(4401)
  const rude = await connect()
  for (let i = 0; i < 8; i++) {
    rude.send('{}')
    await heard.next(rude, 'ERROR')
  }
  expect(await heard.closed(rude)).toBe(4400)
  const binary = await connect()
  binary.frame(2, 'x')
  await heard.next(binary, 'ERROR')
  expect(await heard.closed(binary)).toBe(1003)
  const large = await connect()
  large.send('x'.repeat(65_537))
  await heard.next(large, 'ERROR')
  expect(await heard.closed(large)).toBe(1009)
  const silent = await connect()
  await server.clock.wind(60_100)
  await heard.next(silent, 'ERROR')
  expect(await heard.closed(silent)).toBe(4401)

  heard.expectAll()
})
