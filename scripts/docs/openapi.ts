/** `docs/openapi.json`: what the server answers over HTTP, made from its routes, their schemas and the codes. */
import type { TSchema } from 'typebox'
import { options } from '../../src/config/options.ts'
import type { Access, Route } from '../../src/http/route.ts'
import { allRoutes, type RoutesDeps } from '../../src/http/routes.ts'
import { type CodeName, codes } from '../../src/protocol/codes.ts'
import * as http from '../../src/protocol/http.ts'
import { PROTOCOL_VERSION } from '../../src/protocol/version.ts'
import { bodies } from './examples.ts'
import { type Json, plain } from './schema.ts'

/** Routes that are never asked for anything need nothing. */
const routes = allRoutes({} as RoutesDeps)

const named = Object.entries(http) as [keyof typeof http, TSchema][]

/** What the gate answers before a route is asked: `Gate.admit`. */
const atTheGate: Record<Access, CodeName[]> = {
  anybody: [],
  backend: ['invalid_api_key', 'rate_limited'],
  operator: ['invalid_api_key', 'rate_limited'],
  trial: ['not_found'],
  line: ['invalid_api_key', 'rate_limited'],
}

/** What reading a body answers: `readJson`. */
const atTheBody: CodeName[] = ['bad_request', 'invalid_message', 'body_too_large', 'unsupported_media_type']

/** Who may ask. An empty one stands for nothing to show. */
const security: Record<Access, Json[]> = {
  anybody: [],
  backend: [{ apiKey: [] }],
  operator: [{ adminBearer: [] }, { adminKey: [] }, {}],
  trial: [],
  line: [{ lineKey: [] }],
}

export function openapi(): string {
  return `${JSON.stringify(document(), null, 2)}\n`
}

function document(): Json {
  const paths: Record<string, Json> = {}
  for (const route of routes) {
    const path = route.path.replace(':id', '{id}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Ringdown over HTTP',
      version: String(PROTOCOL_VERSION),
      description: ABOUT,
      license: { name: 'Apache License 2.0', identifier: 'Apache-2.0' },
    },
    servers: [
      {
        url: `http://${options.SERVER_ADDR.default}`,
        description: 'Where it listens unless it is told otherwise.',
      },
    ],
    paths,
    components: {
      schemas: Object.fromEntries(named.map(([name, schema]) => [componentName(name), plain(schema)])),
      securitySchemes: {
        apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: "The app's backend." },
        adminBearer: { type: 'http', scheme: 'bearer', description: 'An operator: the admin key.' },
        lineKey: {
          type: 'apiKey',
          in: 'query',
          name: 'apikey',
          description: 'Whoever has the link of a line.',
        },
        adminKey: { type: 'apiKey', in: 'header', name: 'X-Admin-Key', description: 'The same, plainly.' },
      },
    },
  }
}

const ABOUT = [
  "The app's backend opens, looks at, extends and ends call sessions here, and reads the call log. Phones then connect to `/ws`, which `asyncapi.json` describes. The rules are in `protocol.md`, all codes in `codes.md`.",
  'What goes wrong answers `{"error": {"code", "message", "field"?}}`. ' +
    `Besides what stands at each operation, an unknown path answers ${inWords('not_found')}, and another method of a known path ${inWords('method_not_allowed')}, with \`Allow\`. HEAD is taken wherever GET is.`,
  'Answers may get more fields. Ignore those that you do not know.',
].join('\n\n')

function inWords(name: CodeName): string {
  return `${codes[name].http} \`${name}\``
}

function operation(route: Route): Json {
  const parameters = [
    ...(route.path.includes(':id') ? [idOf(route.path)] : []),
    ...listed('header', route.headers),
    ...listed('query', route.query),
  ]
  return {
    operationId: route.name,
    summary: route.about,
    security: security[route.access],
    ...(route.access === 'operator' ? { description: 'From the machine itself no key is needed.' } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(route.body === undefined ? {} : { requestBody: { required: true, content: json(route.body) } }),
    responses: { ...successes(route), ...failures(route) },
  }
}

function idOf(path: string): Json {
  const description = `Id of one of \`${path.slice(0, path.indexOf('/:id'))}\`.`
  return { name: 'id', in: 'path', required: true, description, schema: { type: 'string' } }
}

function listed(place: 'header' | 'query', schemas: Readonly<Record<string, TSchema>> = {}): Json[] {
  return Object.entries(schemas).map(([name, schema]) => {
    const { description, ...rest } = plain(schema)
    return { name, in: place, description, schema: rest }
  })
}

function successes({ about, answers, text, statuses = [200] }: Route): Record<string, Json> {
  const content = {
    ...(answers === undefined ? {} : json(answers)),
    ...(text === undefined ? {} : { [text]: { schema: { type: 'string' } } }),
  }
  return Object.fromEntries(statuses.map((status) => [status, { description: about, content }]))
}

function failures({ access, body, fails, refusal }: Route): Record<string, Json> {
  const names = new Set<CodeName>([
    ...atTheGate[access],
    ...(body === undefined ? [] : atTheBody),
    ...fails,
    'internal',
  ])
  const byStatus = Map.groupBy(names, (name) => codes[name].http ?? codes.internal.http)
  return Object.fromEntries(
    [...byStatus].map(([status, alike]) => [
      status,
      {
        description: alike.map((name) => `\`${name}\`: ${codes[name].means}`).join('\n\n'),
        ...(alike.includes('rate_limited') ? { headers: { 'Retry-After': RETRY_AFTER } } : {}),
        content:
          refusal === undefined || status === codes.internal.http
            ? { 'application/json': { schema: refTo('httpError'), examples: errors(alike) } }
            : { [PLAIN_TEXT]: { schema: { type: 'string' } } },
      },
    ]),
  )
}

/** How each looks where nothing more exact is known. */
function errors(names: CodeName[]): Json {
  return Object.fromEntries(
    names.map((code) => [code, { value: { error: { code, message: codes[code].means } } }]),
  )
}

const PLAIN_TEXT = 'text/plain; charset=utf-8'

const RETRY_AFTER = { description: 'Seconds to wait.', schema: { type: 'integer', minimum: 1 } }

/** By name and with its example where it is one of the protocol's, else written out. */
function json(schema: TSchema): Json {
  const name = named.find(([, each]) => each === schema)?.[0]
  if (name === undefined) return { 'application/json': { schema: plain(schema) } }
  const example = (bodies as Record<string, unknown>)[name]
  return { 'application/json': { schema: refTo(name), example } }
}

function refTo(name: keyof typeof http): Json {
  return { $ref: `#/components/schemas/${componentName(name)}` }
}

function componentName(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1)
}
