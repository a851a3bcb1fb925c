import { describe, expect, test } from 'bun:test'
import type { TSchema } from 'typebox'
import { codes, endReasons, Failure, fail } from './codes.ts'
import { createSession, sessionCreated } from './http.ts'
import { ID_CHARS } from './limits.ts'
import { checker, parseObject } from './read.ts'
import { down, type RideDown, rideCodec, up, write } from './ride.ts'

/** The Failure that something throws; anything else it throws, or nothing, fails the test. */
function failure(run: () => unknown): Failure {
  try {
    run()
  } catch (error) {
    if (error instanceof Failure) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

const authenticate = (fields: object) =>
  JSON.stringify({ type: 'authenticate', session_id: 's', user_id: 'u', ...fields })
const candidate = (fields: object) =>
  JSON.stringify({ type: 'ice_candidate', candidate: { candidate: 'c', ...fields } })

// The reference document's own examples, byte for byte.

const SHOWN_UP = [
  '{ "type": "authenticate", "session_id": "3b2e7c4f-95a2-4a0b-99f6-fc935d0a4461", "user_id": "user_123" }',
  '{"type": "offer", "sdp": "v=0\\r\\n..."}',
  '{"type": "answer", "sdp": "v=0\\r\\n..."}',
  '{"type": "ice_candidate", "candidate": {"candidate": "...", "sdpMid": "0", "sdpMLineIndex": 0}}',
  '{"type": "heartbeat"}',
  '{"type": "end_call"}',
]

const SHOWN_DOWN = [
  '{"type": "authenticated", "user_id": "user_123"}',
  '{"type": "session_joined", "session_id": "sess_abc", "ride_id": "ride_456"}',
  '{"type": "participant_joined", "role": "passenger"}',
  '{"type": "offer", "sdp": "v=0\\r\\n..."}',
  '{"type": "answer", "sdp": "v=0\\r\\n..."}',
  '{"type": "ice_candidate", "candidate": {"candidate": "...", "sdpMid": "0", "sdpMLineIndex": 0}}',
  '{"type": "participant_left", "role": "driver"}',
  '{"type": "call_timeout", "reason": "max_duration_reached"}',
  '{"type": "call_ended", "reason": "user_terminated"}',
  '{"type": "pong"}',
  '{"type": "unauthorized", "reason": "session_not_found"}',
  '{"type": "error", "code": "session_not_found", "message": "No active session for this ride"}',
]

describe('the reference document', () => {
  test.each(SHOWN_UP)('shows what a client says, and it is read as shown: %s', (text) => {
    expect(rideCodec.read(text) as object).toEqual(JSON.parse(text))
  })

  test.each(SHOWN_DOWN)('shows what the server says, and it is a message of ours: %s', (text) => {
    const message = JSON.parse(text) as RideDown
    const schema: TSchema = down[message.type]
    // What the document does not show is additive.
    const added = message.type === 'authenticated' ? { resume_token: 't' } : {}
    expect(checker(schema)({ ...message, ...added }) as object).toMatchObject(message)
    // Fields in the order shown; spaces do not count.
    expect(write(message)).toBe(JSON.stringify(message))
  })

  test('shows every message that it needs, and we have no other name for one', () => {
    const shown = (texts: string[]) => texts.map((text) => parseObject(text).type as string).sort()
    const additive = ['resume', 'ice_servers']
    expect(Object.keys(up).sort()).toEqual([...shown(SHOWN_UP), ...additive].sort())
    const additiveDown = [
      'resumed',
      'participant_reconnecting',
      'participant_resumed',
      'call_warning',
      'ice_servers',
    ]
    expect(Object.keys(down).sort()).toEqual([...shown(SHOWN_DOWN), ...additiveDown].sort())
  })

  test('shows what a session that is not there is answered with', () => {
    expect(JSON.parse(rideCodec.failure(fail('session_not_found')))).toEqual({
      type: 'unauthorized',
      reason: 'session_not_found',
    })
    expect(codes.session_not_found.means).toBe('No active session for this ride')
  })

  test('shows how a session is created, and both ways fit', () => {
    const request = '{ "ride_id": "ride_456", "driver_id": "user_123", "passenger_id": "user_789" }'
    const answer =
      '{ "session_id": "3b2e7c4f-95a2-4a0b-99f6-fc935d0a4461", "ride_id": "ride_456", "expires_in": 60 }'
    expect(checker(createSession)(parseObject(request))).toEqual(JSON.parse(request))
    const added = { join_tokens: { driver: 'd', passenger: 'p' }, websocket_url: 'wss://localhost/ws' }
    expect(checker(sessionCreated)({ ...parseObject(answer), ...added })).toMatchObject(JSON.parse(answer))
  })
})

test('every message is filed under the type it has', () => {
  for (const messages of [up, down]) {
    for (const [name, { properties }] of Object.entries(messages)) expect(properties.type.const).toBe(name)
  }
})

describe('[HTTP-4] an id that the backend chose', () => {
  const read = (id: string) => rideCodec.read(authenticate({ user_id: id })) as { user_id: string }

  test.each([
    ['as long as may be', 'x'.repeat(ID_CHARS)],
    ['as long as may be, in characters of four bytes', '😀'.repeat(ID_CHARS)],
    ['in any script', 'पथिक-乘客-راكب-пассажир'],
    ['with a right-to-left override', 'a\u202Eb'],
    ['with quotes and markup', `'"<b>\\`],
    ['like a formula', '=cmd'],
    ['with spaces around', ' x '],
    ['with a line separator in front', '\u2028x'],
    ['a single character', 'x'],
    ['called __proto__', '__proto__'],
  ])('passes as it is: %s', (_, id) => {
    expect(read(id).user_id).toBe(id)
  })

  test('is not folded by case or by Unicode form', () => {
    expect(read('\u00e9').user_id).not.toBe(read('e\u0301').user_id)
    expect(read('ANN').user_id).not.toBe(read('ann').user_id)
  })

  test.each([
    ['empty', ''],
    ['a character too long', 'x'.repeat(ID_CHARS + 1)],
    ['a character too long, in characters of four bytes', '😀'.repeat(ID_CHARS + 1)],
    ['spaces', '   '],
    ['spaces of other kinds', '\u00A0\u2003\u3000'],
    ['with a line break', 'a\r\nb'],
    ['with a line break at the end', 'a\n'],
    ['with an ANSI escape', '\u001b[31mred'],
    ['with NUL', 'a\0'],
    ['with DEL', 'a\u007f'],
    ['with a C1 control', 'a\u0085b'],
    ['with half of a surrogate pair', 'a\ud800'],
    ['with the halves of a pair the wrong way round', '\udc00\ud800'],
  ])('is refused: %s', (_, id) => {
    const { code, field, message } = failure(() => read(id))
    expect([code, field]).toEqual(['invalid_field', 'user_id'])
    expect(message).toBe(
      'user_id must be a string of 1 to 255 characters, not blank, without control characters',
    )
  })

  test('is held to the same in the body of a request', () => {
    const body = { ride_id: 'r', driver_id: 'd', passenger_id: 'p' }
    for (const field of Object.keys(body)) {
      expect(failure(() => checker(createSession)({ ...body, [field]: 'a\nb' })).field).toBe(field)
    }
  })
})

describe('[WS-8] a field that is wrong', () => {
  test.each<[string, string, string]>([
    [authenticate({ session_id: undefined }), 'session_id', 'session_id is missing'],
    [authenticate({ session_id: '' }), 'session_id', 'session_id must be a string that is not empty'],
    [
      authenticate({ user_id: null }),
      'user_id',
      'user_id must be a string of 1 to 255 characters, not blank, without control characters',
    ],
    [
      authenticate({ join_token: 'x'.repeat(257) }),
      'join_token',
      'join_token must be a string of 1 to 256 characters',
    ],
    [authenticate({ join_token: null }), 'join_token', 'join_token must be a string of 1 to 256 characters'],
    ['{"type":"offer"}', 'sdp', 'sdp is missing'],
    ['{"type":"offer","sdp":""}', 'sdp', 'sdp must be a string that is not empty'],
    ['{"type":"answer","sdp":["v=0"]}', 'sdp', 'sdp must be a string that is not empty'],
    ['{"type":"ice_candidate"}', 'candidate', 'candidate is missing'],
    ['{"type":"ice_candidate","candidate":null}', 'candidate', 'candidate must be an object'],
    ['{"type":"ice_candidate","candidate":{}}', 'candidate.candidate', 'candidate.candidate is missing'],
    [candidate({ sdpMid: 0 }), 'candidate.sdpMid', 'candidate.sdpMid must be a string or null'],
    [
      candidate({ sdpMLineIndex: '0' }),
      'candidate.sdpMLineIndex',
      'candidate.sdpMLineIndex must be an integer of at least 0 or null',
    ],
    [
      candidate({ sdpMLineIndex: -1 }),
      'candidate.sdpMLineIndex',
      'candidate.sdpMLineIndex must be an integer of at least 0 or null',
    ],
    [
      candidate({ sdpMLineIndex: 0.5 }),
      'candidate.sdpMLineIndex',
      'candidate.sdpMLineIndex must be an integer of at least 0 or null',
    ],
  ])('is named, with what it takes: %s', (text, field, sentence) => {
    const wrong = failure(() => rideCodec.read(text))
    expect([wrong.code, wrong.field, wrong.message]).toEqual(['invalid_field', field, sentence])
  })

  test.each(['-1', '1.5', '1e999', '-1e999', '9007199254740993', '"5"', 'null', 'true', '[]'])(
    'is named when it is a number out of bounds: %s',
    (received) => {
      const wrong = failure(() =>
        rideCodec.read(`{"type":"resume","resume_token":"t","received":${received}}`),
      )
      expect(wrong.message).toBe('received must be an integer from 0 to 9007199254740991')
    },
  )

  test.each(['0', '-0', '1e2', '1.0', '9007199254740991'])(
    'is not a number written oddly: %s',
    (received) => {
      const text = `{"type":"resume","resume_token":"t","received":${received}}`
      expect(rideCodec.read(text) as object).toMatchObject({ received: Number(received) })
    },
  )

  test.each(['"60"', '1e999', '0', '-60', '0.5', '86401', 'null', '[60]'])(
    'is named when a session would last that long: %s',
    (span) => {
      const body = parseObject(`{"ride_id":"r","driver_id":"d","passenger_id":"p","max_duration":${span}}`)
      const wrong = failure(() => checker(createSession)(body))
      expect([wrong.code, wrong.field]).toEqual(['invalid_field', 'max_duration'])
      expect(wrong.message).toBe('max_duration must be an integer from 1 to 86400')
    },
  )
})

describe('what is relayed', () => {
  test('may be any description that is not empty', () => {
    for (const sdp of ['x', 'v=0\n', 'not SDP at all', 'a\0b', '\ud800']) {
      expect(rideCodec.read(JSON.stringify({ type: 'offer', sdp })) as object).toEqual({ type: 'offer', sdp })
    }
  })

  test('may be a candidate with nulls and with members of its own', () => {
    for (const text of [
      candidate({ sdpMLineIndex: null, sdpMid: null }),
      candidate({ sdpMid: '0', sdpMLineIndex: 0, relayProtocol: null, url: 'turn:x' }),
    ]) {
      expect(rideCodec.read(text) as object).toEqual(JSON.parse(text))
    }
  })
})

describe('a mistake', () => {
  test('of a stranger is unauthorized, with the reason alone', () => {
    for (const code of [
      'join_token_required',
      'join_token_invalid',
      'resume_failed',
      'authenticate_timeout',
    ] as const) {
      expect(rideCodec.failure(fail(code, 'secret'))).toBe(`{"type":"unauthorized","reason":"${code}"}`)
    }
  })

  test('of anybody else is an error with a code and a sentence', () => {
    const text = rideCodec.failure(fail('invalid_field', 'sdp is missing', { field: 'sdp' }))
    expect(text).toBe('{"type":"error","code":"invalid_field","message":"sdp is missing"}')
    expect(rideCodec.failure(fail('buffer_full'))).toInclude(codes.buffer_full.means)
  })

  test('has an answer that fits the schema, whatever it is', () => {
    for (const code of Object.keys(codes) as (keyof typeof codes)[]) {
      const answer = parseObject(rideCodec.failure(fail(code)))
      expect(() =>
        checker<TSchema>(answer.type === 'error' ? down.error : down.unauthorized)(answer),
      ).not.toThrow()
    }
  })
})

test('a ride can end for every reason of its own, and for no other', () => {
  const check = checker(down.call_ended)
  for (const [reason, { services }] of Object.entries(endReasons)) {
    const tell = () => check({ type: 'call_ended', reason })
    if ((services as readonly string[]).includes('ride')) expect(tell).not.toThrow()
    else expect(tell).toThrow('reason must be')
  }
})
