// Texts that nobody thought of, against src/protocol/read.ts. What is a repeated key, and how deep a text is, is said
// once more here: slowly, character by character, by a parser that shares nothing with the one it judges.
import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { Failure } from '../../src/protocol/codes.ts'
import { MAX_DEPTH, parseObject } from '../../src/protocol/read.ts'
import { rideCodec, up } from '../../src/protocol/ride.ts'

type Verdict = 'fine' | 'not JSON' | 'no object' | 'repeated key' | 'too deep'

/** What must come out, by the grammar of RFC 8259: one of these. */
function judge(text: string): readonly Verdict[] {
  const reader = new SlowReader(text)
  try {
    reader.document()
  } catch (error) {
    if (error instanceof SyntaxError) return ['not JSON']
    throw error
  }
  if (!reader.isObject) return ['no object']
  // Where there are both faults, either may be told.
  return reader.faults.size === 0 ? ['fine'] : [...reader.faults]
}

/** A recursive descent over RFC 8259, one function for each rule. Throws SyntaxError. */
class SlowReader {
  isObject = false
  readonly faults = new Set<'repeated key' | 'too deep'>()
  readonly #text: string
  #at = 0
  #depth = 0

  constructor(text: string) {
    this.#text = text
  }

  document(): void {
    this.#space()
    this.isObject = this.#text[this.#at] === '{'
    this.#value()
    this.#space()
    if (this.#at < this.#text.length) throw new SyntaxError()
  }

  #value(): void {
    const first = this.#text[this.#at]
    if (first === '{') this.#object()
    else if (first === '[') this.#array()
    else if (first === '"') this.#string()
    else if (!this.#takes(/(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)/y)) {
      throw new SyntaxError()
    }
  }

  #object(): void {
    const keys: string[] = []
    this.#list('}', () => {
      const key = this.#string()
      this.#space()
      // A key is one only when its colon is reached.
      this.#expect(':')
      if (keys.includes(key)) this.faults.add('repeated key')
      keys.push(key)
      this.#space()
      this.#value()
    })
  }

  #array(): void {
    this.#list(']', () => this.#value())
  }

  #list(close: string, item: () => void): void {
    this.#at++
    this.#depth++
    if (this.#depth > MAX_DEPTH) this.faults.add('too deep')
    this.#space()
    if (this.#text[this.#at] !== close) {
      for (;;) {
        item()
        this.#space()
        if (this.#text[this.#at] !== ',') break
        this.#at++
        this.#space()
      }
    }
    this.#expect(close)
    this.#depth--
  }

  #string(): string {
    this.#expect('"')
    let value = ''
    for (;;) {
      const char = this.#text[this.#at++]
      if (char === undefined || char < ' ') throw new SyntaxError()
      if (char === '"') return value
      value += char === '\\' ? this.#escape() : char
    }
  }

  #escape(): string {
    const letter = this.#text[this.#at++] ?? ''
    const plain = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }[letter]
    if (plain !== undefined) return plain
    const hex = this.#text.slice(this.#at, this.#at + 4)
    if (letter !== 'u' || !/^[0-9a-fA-F]{4}$/.test(hex)) throw new SyntaxError()
    this.#at += 4
    return String.fromCharCode(Number.parseInt(hex, 16))
  }

  #space(): void {
    this.#takes(/[ \t\r\n]*/y)
  }

  #expect(char: string): void {
    if (this.#text[this.#at++] !== char) throw new SyntaxError()
  }

  #takes(rule: RegExp): boolean {
    rule.lastIndex = this.#at
    const found = rule.test(this.#text)
    if (found) this.#at = rule.lastIndex
    return found
  }
}

/** What came out. */
function verdict(text: string): Verdict {
  try {
    parseObject(text)
    return 'fine'
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    expect(error.code).toBe('invalid_message')
    const said: Record<string, Verdict> = {
      'This is not JSON.': 'not JSON',
      'A message is a JSON object.': 'no object',
      'A key stands twice in one object.': 'repeated key',
      [`Nested deeper than ${MAX_DEPTH} levels.`]: 'too deep',
    }
    const known = said[error.message]
    if (known === undefined) throw error
    return known
  }
}

function agrees(text: string): void {
  expect(judge(text)).toContain(verdict(text))
}

// Texts. Few keys, so that they repeat; and several ways to write each character of them.

const space = fc.stringMatching(/^[ \t\r\n]{0,2}$/)
const written = (char: string) =>
  fc.oneof(
    { weight: 4, arbitrary: fc.constant(JSON.stringify(char).slice(1, -1)) },
    { weight: 1, arbitrary: fc.constant(`\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`) },
  )
const string = fc
  .array(fc.constantFrom('a', 'b', 'type', '"', '\\', '/', '{', '}', '[', ':', ',', '\n', '\ud800', 'é'), {
    maxLength: 3,
  })
  .chain((parts) => fc.tuple(...parts.flatMap((part) => part.split('')).map(written)))
  .map((chars) => `"${chars.join('')}"`)
const scalar = fc.constantFrom('0', '-0', '1e999', '9007199254740993', 'true', 'false', 'null', '""')

const { value: json } = fc.letrec<{ value: string }>((tie) => {
  const items = fc.array(fc.tuple(space, tie('value'), space), { maxLength: 4 })
  const members = fc.array(fc.tuple(space, string, space, space, tie('value'), space), { maxLength: 5 })
  return {
    value: fc.oneof(
      { maxDepth: 5, depthSize: 'small' },
      scalar,
      string,
      items.map((list) => `[${list.map((parts) => parts.join('')).join(',')}]`),
      members.map(
        (list) => `{${list.map(([a, key, b, c, value, d]) => `${a}${key}${b}:${c}${value}${d}`).join(',')}}`,
      ),
    ),
  }
})

/** Wrapped in so many objects and arrays, around the deepest that may be. */
const deep = fc
  .tuple(
    json,
    fc.array(fc.constantFrom(['[', ']'], ['{"a":', '}']), {
      minLength: MAX_DEPTH - 4,
      maxLength: MAX_DEPTH + 2,
    }),
  )
  .map(([inner, wraps]) => wraps.reduce((text, [open, close]) => `${open}${text}${close}`, inner))
  .map((text) => `{"a":${text}}`)

const message = fc.constantFrom(
  '{"type":"authenticate","session_id":"3b2e7c4f-95a2-4a0b-99f6-fc935d0a4461","user_id":"user_123"}',
  '{"type":"resume","resume_token":"t","received":3}',
  '{"type":"offer","sdp":"v=0\\r\\no=- 1 1 IN IP4 0.0.0.0\\r\\n"}',
  '{"type":"ice_candidate","candidate":{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host","sdpMid":"0","sdpMLineIndex":0}}',
  '{"type":"heartbeat"}',
)

/** A cut, a piece put in, a piece doubled, a character changed: up to three times. */
const mutation = fc.record({
  kind: fc.constantFrom('cut', 'put', 'double', 'change'),
  at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
  length: fc.integer({ min: 1, max: 12 }),
  piece: fc.oneof(
    fc.constantFrom(
      '"',
      '\\',
      '{',
      '}',
      '[',
      ']',
      ':',
      ',',
      ' ',
      '\0',
      '\uFEFF',
      'NaN',
      '"type":"offer",',
      '"a":0,',
      '"\\u0061":{},',
      '"__proto__":{},',
    ),
    fc.string({ maxLength: 3 }),
  ),
})
const mutated = fc
  .tuple(fc.oneof(json, deep, message), fc.array(mutation, { minLength: 1, maxLength: 3 }))
  .map(([text, mutations]) =>
    mutations.reduce((now, { kind, at, length, piece }) => {
      const from = Math.floor(at * now.length)
      const to = from + length
      if (kind === 'cut') return now.slice(0, from) + now.slice(to)
      if (kind === 'put') return now.slice(0, from) + piece + now.slice(from)
      if (kind === 'double') return now.slice(0, to) + now.slice(from)
      return now.slice(0, from) + piece + now.slice(from + 1)
    }, text),
  )

const object = json.map((text) => (text.startsWith('{') ? text : `{"a":${text}}`))
const runs = { numRuns: 20_000, includeErrorInReport: true }

test('JSON with repeated keys and depth is judged as the slow reader judges it', () => {
  fc.assert(fc.property(fc.oneof({ weight: 4, arbitrary: object }, deep, json), agrees), runs)
}, 60_000)

test('broken JSON is judged as the slow reader judges it', () => {
  fc.assert(fc.property(fc.oneof({ weight: 4, arbitrary: mutated }, fc.string()), agrees), runs)
}, 60_000)

test('what is fine is what JSON.parse makes of it', () => {
  const same = fc.property(object, (text) => {
    if (judge(text)[0] === 'fine') expect(Bun.deepEquals(parseObject(text), JSON.parse(text))).toBe(true)
  })
  fc.assert(same, runs)
}, 60_000)

test('a message is read whole or refused with a Failure, and answered in JSON', () => {
  const known = new Set(Object.keys(up))
  const reads = fc.property(fc.oneof(mutated, object), (text) => {
    try {
      expect(known).toContain(rideCodec.read(text).type)
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      expect(['invalid_message', 'unknown_type', 'invalid_field']).toContain(error.code)
      expect(() => JSON.parse(rideCodec.failure(error))).not.toThrow()
    }
  })
  fc.assert(reads, runs)
  expect(({} as { type?: unknown }).type).toBeUndefined()
}, 60_000)

/** Texts that were judged wrongly once, or nearly. A new one comes from the counterexample of a failure above. */
const kept = [
  '{"a":1,"\\u0061":2}',
  '{"a\\\\":1,"a\\\\\\\\":2}',
  '{"a\\\\\\"":1,"b":2,"a\\\\\\"":3}',
  '{"a":"\\\\","b":"\\\\","a":0}',
  '{"":0,"":0}',
  '{"a":[{"a":0},{"a":0}],"b":{"a":0,"b":{"b":0}}}',
  '{"\\ud800":0,"\\uD800":0}',
  '{"a" \t\r\n:0,"a":0}',
  `{"a":${'['.repeat(MAX_DEPTH)}${']'.repeat(MAX_DEPTH)},"a":0}`,
  `{"a":0,"a":${'['.repeat(MAX_DEPTH)}${']'.repeat(MAX_DEPTH)}}`,
]

test.each(kept)('kept: %j', agrees)
