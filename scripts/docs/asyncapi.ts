/**
 * `docs/asyncapi.json`: what is said on `/ws` and on `/signal`, made from the messages and the codes.
 *
 * A type may mean one thing up and another down, so messages go by channel and direction. One that is the same both
 * ways stands there once.
 */
import type { TSchema } from 'typebox'
import { options } from '../../src/config/options.ts'
import {
  type Service as AnyService,
  closesOf,
  codes,
  endReasons,
  NORMAL_CLOSE,
} from '../../src/protocol/codes.ts'
import { DIRECT_PATH, directDown, directUp } from '../../src/protocol/direct.ts'
import { down, RIDE_PATH, up } from '../../src/protocol/ride.ts'
import { PROTOCOL_VERSION } from '../../src/protocol/version.ts'
import { directDownExamples, directUpExamples, rideDown, rideUp } from './examples.ts'
import { type Json, plain } from './schema.ts'

/** The line has no messages, only frames: docs/protocol.md. */
type Service = Exclude<AnyService, 'line'>

interface Direction {
  /** `receive` and `send` are the server's. */
  readonly action: 'receive' | 'send'
  readonly summary: string
  readonly schemas: Readonly<Record<string, TSchema>>
  readonly examples: Readonly<Record<string, object>>
}

interface Channel {
  readonly address: string
  readonly title: string
  readonly about: string
  readonly fromClient: Direction
  readonly toClient: Direction
  /** What a close with 1000 may say. */
  readonly goodbyes: readonly string[]
}

const channels: Record<Service, Channel> = {
  ride: {
    address: RIDE_PATH,
    title: 'A ride',
    about:
      "The two phones of a ride meet here, after the app's backend opened a session for them over HTTP. Messages are flat: `{type, …}`. The first one is `authenticate`, or `resume` to take up a lost connection. `offer`, `answer` and `ice_candidate` reach the other party byte for byte.",
    fromClient: {
      action: 'receive',
      summary: 'What the phone of a ride may say.',
      schemas: up,
      examples: rideUp,
    },
    toClient: {
      action: 'send',
      summary: 'What the server says to the phone of a ride.',
      schemas: down,
      examples: rideDown,
    },
    goodbyes: Object.entries<{ services: readonly string[] }>(endReasons)
      .filter(([, { services }]) => services.includes('ride'))
      .map(([name]) => name),
  },
  direct: {
    address: DIRECT_PATH,
    title: 'Direct calls',
    about:
      'People who know each other by a client id ring each other here. Every message is `{type, payload}`. The first one is `REGISTER`, or `HELLO` to ask for something to sign, or `RESUME` to take up a lost connection; a connection outlives its calls. `ICE_CANDIDATE` and `CALL_NEGOTIATE` reach the peer byte for byte.',
    fromClient: {
      action: 'receive',
      summary: 'What the device of a person may say.',
      schemas: directUp,
      examples: directUpExamples,
    },
    toClient: {
      action: 'send',
      summary: 'What the server says to the device of a person.',
      schemas: directDown,
      examples: directDownExamples,
    },
    goodbyes: [],
  },
}

export function asyncapi(): string {
  return `${JSON.stringify(document(), null, 2)}\n`
}

function document(): Json {
  const all = Object.entries(channels) as [Service, Channel][]
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Ringdown over WebSocket',
      version: String(PROTOCOL_VERSION),
      description: ABOUT,
      license: { name: 'Apache License 2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
    defaultContentType: 'application/json',
    servers: {
      local: {
        host: options.SERVER_ADDR.default,
        protocol: 'ws',
        description: 'Where it listens unless it is told otherwise; `wss` behind a proxy with TLS.',
      },
    },
    channels: Object.fromEntries(all.map(([name, it]) => [name, channel(name, it)])),
    operations: Object.fromEntries(
      all.flatMap(([name, it]) => DIRECTIONS.map((way) => [`${name}.${way}`, operation(name, it, way)])),
    ),
    components: {
      messages: Object.fromEntries(
        all.flatMap(([name, it]) =>
          DIRECTIONS.flatMap((way) =>
            Object.entries(it[way].schemas).map(([type, schema]) => [
              `${name}.${keyOf(it, way, type)}`,
              message(type, schema, it[way].examples[type]),
            ]),
          ),
        ),
      ),
    },
  }
}

type Way = 'fromClient' | 'toClient'
const DIRECTIONS: readonly Way[] = ['fromClient', 'toClient']

/** In its channel; `components` has the channel's name before it. */
function keyOf({ fromClient, toClient }: Channel, way: Way, type: string): string {
  const isBoth = fromClient.schemas[type] === toClient.schemas[type]
  return isBoth ? type : `${way}.${type}`
}

function channel(name: Service, it: Channel): Json {
  const keys = DIRECTIONS.flatMap((way) => Object.keys(it[way].schemas).map((type) => keyOf(it, way, type)))
  return {
    address: it.address,
    title: it.title,
    description: `${it.about}\n\n${HANDSHAKE}\n\n${CLOSES}`,
    messages: Object.fromEntries(keys.map((key) => [key, { $ref: `#/components/messages/${name}.${key}` }])),
    bindings: { ws: { method: 'GET' } },
    'x-close-codes': closeCodes(name, it),
  }
}

function operation(name: Service, it: Channel, way: Way): Json {
  const { action, summary, schemas } = it[way]
  return {
    action,
    channel: { $ref: `#/channels/${name}` },
    summary,
    messages: Object.keys(schemas).map((type) => ({
      $ref: `#/channels/${name}/messages/${keyOf(it, way, type)}`,
    })),
  }
}

function message(type: string, schema: TSchema, example: object | undefined): Json {
  const { description, ...payload } = plain(schema)
  return { name: type, description, payload, examples: [{ payload: example }] }
}

const ABOUT = [
  'Two kinds of calls, each on a path of its own: `/ws` for rides, `/signal` for direct calls. Every message is one text frame with one JSON object, told apart by `type`. The rules are in `protocol.md`, all codes in `codes.md`, what is asked over HTTP in `openapi.json`.',
  'Messages may get more fields, and there may be more messages. Ignore what you do not know.',
].join('\n\n')

const HANDSHAKE = `WebSocket version 13, without compression. A handshake that is refused is answered as over HTTP: ${(
  [
    'bad_request',
    'origin_not_allowed',
    'method_not_allowed',
    'upgrade_required',
    'rate_limited',
    'internal',
    'overloaded',
  ] as const
)
  .map((name) => `${codes[name].http} \`${name}\``)
  .join(', ')}.`

const CLOSES =
  'The server closes with a number from `x-close-codes`. 1000, of a ride: the call is over. 41xx: connect again and resume. 44xx: final. Framing faults are closed as RFC 6455 says.'

/** By number: whether to come back, and what comes as the reason of the close. */
function closeCodes(name: Service, { goodbyes }: Channel): Json[] {
  const byNumber = [...Map.groupBy(closesOf(name), (code) => Number(codes[code].close))]
  const closes = byNumber.map(([code, alike]) => ({
    code,
    retry: alike.map((each) => codes[each].retry)[0],
    reasons: meanings(codes, alike),
  }))
  const goodbye = { code: NORMAL_CLOSE, retry: 'no', reasons: meanings(endReasons, goodbyes) }
  return [...(goodbyes.length > 0 ? [goodbye] : []), ...closes.sort((a, b) => a.code - b.code)]
}

function meanings(table: Record<string, { means: string }>, names: readonly string[]): Json {
  return Object.fromEntries(names.map((name) => [name, table[name]?.means]))
}
