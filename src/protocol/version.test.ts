import { expect, test } from 'bun:test'
import { directDown, directUp } from './direct.ts'
import * as http from './http.ts'
import * as ride from './ride.ts'
import { PROTOCOL_VERSION } from './version.ts'

/** Everything that goes over the wire, by name. A new service adds its messages here. */
const wire: Record<string, unknown> = {
  ...named('ride up', ride.up),
  ...named('ride down', ride.down),
  ...named('direct up', directUp),
  ...named('direct down', directDown),
  ...named('http', http),
}

/** What the wire looked like at a version. */
const kept = {
  version: 1,
  fingerprints: {
    'ride up authenticate': '38cbb458',
    'ride up resume': '264e6ba7',
    'ride up offer': '08ccc33c',
    'ride up answer': '7d9a6b05',
    'ride up ice_candidate': 'aefd4fa8',
    'ride up heartbeat': '7d1c98ce',
    'ride up end_call': '6c9fac7a',
    'ride up ice_servers': '9e42da3c',
    'ride down ice_servers': '9cf23352',
    'ride down authenticated': '686f659c',
    'ride down session_joined': 'eaa2ce7a',
    'ride down resumed': 'c29f7e19',
    'ride down participant_joined': '18b311ae',
    'ride down participant_reconnecting': '448c16c1',
    'ride down participant_resumed': 'fba2a2db',
    'ride down participant_left': '72974716',
    'ride down offer': '08ccc33c',
    'ride down answer': '7d9a6b05',
    'ride down ice_candidate': 'aefd4fa8',
    'ride down call_warning': 'a0672f36',
    'ride down call_timeout': '79f1f981',
    'ride down call_ended': 'e6fae51f',
    'ride down pong': '06012c07',
    'ride down unauthorized': 'd3944fc9',
    'ride down error': '3d9c3559',
    'direct up HELLO': 'e63ef6a9',
    'direct up REGISTER': 'e07b574c',
    'direct up RESUME': 'c71512b9',
    'direct up CALL_INITIATE': 'ccc9db1a',
    'direct up CALL_ACCEPT': '38dbf8bc',
    'direct up CALL_REJECT': '2fe253a5',
    'direct up CALL_END': '1d610f6f',
    'direct up CALL_NEGOTIATE': '9256186c',
    'direct up ICE_CANDIDATE': 'a6c084db',
    'direct up PKD_REGISTER': 'ced04059',
    'direct up PKD_LOOKUP': '68598d7f',
    'direct up PKD_HISTORY': '08511e7b',
    'direct up TURN_REFRESH': '0ae772e8',
    'direct up PING': 'e2121735',
    'direct down WELCOME': '638df0e2',
    'direct down REGISTERED': '9c989963',
    'direct down RESUMED': '576c9156',
    'direct down CALL_RINGING': '8c38c152',
    'direct down INCOMING_CALL': '66c32414',
    'direct down CALL_ACCEPTED': 'ea8cda4f',
    'direct down CALL_REJECTED': 'f0bf4ba8',
    'direct down CALL_ENDED': '049a025f',
    'direct down CALL_NEGOTIATE': '9256186c',
    'direct down ICE_CANDIDATE': 'a6c084db',
    'direct down PEER_RECONNECTING': '9b0f9752',
    'direct down PEER_RESUMED': 'df2a28d9',
    'direct down PKD_RESULT': '40263130',
    'direct down PKD_CHANGED': '8c470e45',
    'direct down PKD_HISTORY': '3940565c',
    'direct down ICE_SERVERS': '88231b1d',
    'direct down PONG': '7aa81db6',
    'direct down ERROR': '148cb881',
    'http createSession': '111c03da',
    'http extendSession': '1161c0e7',
    'http rejectCall': '3115711f',
    'http httpError': '2658e089',
    'http session': '9766326d',
    'http sessionCreated': '1b437fcc',
  } as Record<string, string>,
}

function named(prefix: string, schemas: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [`${prefix} ${name}`, schema]))
}

/** Of a schema's meaning: neither the order of its keys nor the words of its descriptions count. */
function fingerprint(schema: unknown): string {
  const text = JSON.stringify(schema, (key, value: unknown) => {
    if (key === 'description' && typeof value === 'string') return undefined
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
  return new Bun.CryptoHasher('sha256').update(text).digest('hex').slice(0, 8)
}

test('the number of the protocol is raised when a message changes', () => {
  const now = Object.fromEntries(Object.entries(wire).map(([name, schema]) => [name, fingerprint(schema)]))
  const names = [...new Set([...Object.keys(now), ...Object.keys(kept.fingerprints)])]
  const changed = names.filter((name) => now[name] !== kept.fingerprints[name])
  const lines = changed.map((name) =>
    name in now ? `    '${name}': '${now[name]}',` : `    (without '${name}')`,
  )
  const mend = [
    `What goes over the wire has changed: ${changed.join(', ')}.`,
    `If version ${kept.version} is out in the world, raise PROTOCOL_VERSION in src/protocol/version.ts, add a line`,
    'of history there, and set `version` in this test. In any case change docs/protocol.md, and put this here:',
    ...lines,
  ].join('\n')
  expect(changed, mend).toEqual([])
})

test('the fingerprints belong to the number, and the number has its line of history', async () => {
  expect(PROTOCOL_VERSION, 'Set `version` in this test, and the fingerprints that belong to it.').toBe(
    kept.version,
  )
  const source = await Bun.file(new URL('version.ts', import.meta.url)).text()
  expect(source, 'Add a line of history to src/protocol/version.ts.').toInclude(`\n * ${PROTOCOL_VERSION}: `)
})

test('a fingerprint changes with a bound, and neither with the order of keys nor with a description', () => {
  const schema = { type: 'string', maxLength: 1, description: 'x' }
  expect(fingerprint({ ...schema, maxLength: 2 })).not.toBe(fingerprint(schema))
  expect(fingerprint({ maxLength: 1, type: 'string' })).toBe(fingerprint(schema))
  // A field may be called so.
  expect(fingerprint({ properties: { description: {} } })).not.toBe(fingerprint({ properties: {} }))
})
