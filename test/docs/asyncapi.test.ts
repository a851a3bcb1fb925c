// docs/asyncapi.json is held to the shape of its standard, and what goes over a real socket to it.
import { afterEach, describe, expect, test } from 'bun:test'
import { Compile } from 'typebox/schema'
import type { RawPeer } from '../kit/raw-peer.ts'
import { activeRide, closeServers, startServer } from '../kit/server.ts'
import { Document, expectSchema, type Json } from './document.ts'

afterEach(closeServers)

const document = new Document('asyncapi.json')
const channel = document.json.channels.ride
const messages: Record<string, Json> = document.json.components.messages

/** Types of the messages that an operation names. */
function typesOf(operation: string): string[] {
  return document.json.operations[operation].messages.map((each: Json) => document.resolve(each).name)
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
  return { type: 'object', patternProperties: { '^[A-Za-z0-9_-]+$': schema }, additionalProperties: false }
}

describe('asyncapi.json', () => {
  test('is an AsyncAPI 3.0 document in its outer shape', () => {
    const [fits, errors] = Compile(shape).Errors(document.json)
    expect(fits, JSON.stringify(errors)).toBe(true)
  })

  test('refers to nothing that is not there, and has every message in an operation', () => {
    for (const to of document.references) document.resolve({ $ref: to })
    const used = new Set([...typesOf('fromClient'), ...typesOf('toClient')])
    expect([...used].sort()).toEqual(Object.keys(messages).sort())
    expect(Object.keys(channel.messages).sort()).toEqual(Object.keys(messages).sort())
  })

  test.each(Object.entries(messages))('has a schema and an example that fit each other: %s', (type, each) => {
    expectSchema(each.payload)
    for (const { payload } of each.examples) document.expectFits(each.payload, payload)
    expect(each.payload.properties.type.const).toBe(type)
  })
})

interface Message {
  readonly type: string
  readonly [field: string]: unknown
}

/** Everything that went over the sockets of a test, as long as it is as written. */
class Heard {
  readonly up = new Set<string>()
  readonly down = new Set<string>()

  say(peer: RawPeer, message: Message): void {
    expect(typesOf('fromClient')).toContain(message.type)
    document.expectFits(messages[message.type]?.payload, message)
    this.up.add(message.type)
    peer.send(message)
  }

  /** The next message, which must be of this type. */
  async next(peer: RawPeer, type: string): Promise<Json> {
    const message = await peer.next()
    expect(message.type).toBe(type)
    expect(typesOf('toClient')).toContain(type)
    document.expectFits(messages[type]?.payload, message)
    this.down.add(type)
    return message
  }

  /** The number of a close, which must be written with its reason. */
  async closed(peer: RawPeer): Promise<number> {
    const { code, reason } = await peer.closed()
    const row = channel['x-close-codes'].find((each: Json) => each.code === code)
    expect(Object.keys(row?.reasons ?? {})).toContain(reason)
    return code
  }
}

test('[RIDE-1] every message there is goes over a socket as it is written, and every close has its row', async () => {
  const heard = new Heard()
  const server = await startServer()
  const connect = () => server.connect({ path: channel.address })
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
    heard.say(driver.peer, messages[type]?.examples[0].payload)
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

  expect([...heard.up].sort()).toEqual(typesOf('fromClient').sort())
  expect([...heard.down].sort()).toEqual(typesOf('toClient').sort())
})
