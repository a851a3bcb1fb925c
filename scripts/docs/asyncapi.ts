/** `docs/asyncapi.json`: what is said on `/ws`, made from the messages and the codes. */
import type { TSchema } from 'typebox'
import { options } from '../../src/config/options.ts'
import { type Code, type CodeName, codes, endReasons, NORMAL_CLOSE } from '../../src/protocol/codes.ts'
import { down, RIDE_PATH, up } from '../../src/protocol/ride.ts'
import { PROTOCOL_VERSION } from '../../src/protocol/version.ts'
import { downMessages, upMessages } from './examples.ts'
import { type Json, plain } from './schema.ts'

export function asyncapi(): string {
  return `${JSON.stringify(document(), null, 2)}\n`
}

function document(): Json {
  const messages: Record<string, TSchema> = { ...up, ...down }
  const examples: Record<string, object> = { ...upMessages, ...downMessages }
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
    channels: {
      ride: {
        address: RIDE_PATH,
        title: 'A ride',
        description: `${HANDSHAKE}\n\n${CLOSES}`,
        messages: Object.fromEntries(
          Object.keys(messages).map((type) => [type, { $ref: `#/components/messages/${type}` }]),
        ),
        bindings: { ws: { method: 'GET' } },
        'x-close-codes': closeCodes(),
      },
    },
    operations: {
      fromClient: operation('receive', 'What a phone may say.', up),
      toClient: operation('send', 'What the server says.', down),
    },
    components: {
      messages: Object.fromEntries(
        Object.entries(messages).map(([type, schema]) => [type, message(type, schema, examples[type])]),
      ),
    },
  }
}

const ABOUT = [
  "The two phones of a ride meet here, after the app's backend opened a session for them over HTTP (`openapi.json`). Every message is one text frame with one flat JSON object, told apart by `type`. The rules are in `protocol.md`, all codes in `codes.md`.",
  'The first message is `authenticate`, or `resume` to take up a lost connection. `offer`, `answer` and `ice_candidate` reach the other party byte for byte.',
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
  'The server closes with a number from `x-close-codes`. 1000: the call is over. 41xx: connect again and resume. 44xx: final. Framing faults are closed as RFC 6455 says.'

/** By number: whether to come back, and what comes as the reason of the close. */
function closeCodes(): Json[] {
  const rows = (Object.entries(codes) as [CodeName, Code][]).filter(([, { close }]) => close !== null)
  const ends = Object.entries(endReasons).filter(([, { services }]) =>
    (services as readonly string[]).includes('ride'),
  )
  const byNumber = [...Map.groupBy(rows, ([, { close }]) => close)].sort(([a], [b]) => Number(a) - Number(b))
  return [
    { code: NORMAL_CLOSE, retry: 'no', reasons: Object.fromEntries(ends.map(meaning)) },
    ...byNumber.map(([code, alike]) => ({
      code,
      retry: alike[0]?.[1].retry,
      reasons: Object.fromEntries(alike.map(meaning)),
    })),
  ]
}

function meaning([name, { means }]: [string, { means: string }]): [string, string] {
  return [name, means]
}

/** `receive` and `send` are the server's. */
function operation(action: 'receive' | 'send', summary: string, messages: object): Json {
  return {
    action,
    channel: { $ref: '#/channels/ride' },
    summary,
    messages: Object.keys(messages).map((type) => ({ $ref: `#/channels/ride/messages/${type}` })),
  }
}

function message(type: string, schema: TSchema, example: object | undefined): Json {
  const { description, ...payload } = plain(schema)
  return { name: type, description, payload, examples: [{ payload: example }] }
}
