import { describe, expect, test } from 'bun:test'
import { Type } from 'typebox'
import { type CodeName, Failure } from './codes.ts'
import { checker, MAX_DEPTH, messageReader, parseObject } from './read.ts'

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

function refused(text: string): CodeName {
  return failure(() => parseObject(text)).code
}

/** How long it takes, in milliseconds: the quickest of some runs, since the rest is noise of the machine. */
function takes(run: () => unknown, enough: number): number {
  let quickest = Number.POSITIVE_INFINITY
  for (let runs = 0; runs < 50 && quickest > enough; runs++) {
    const start = performance.now()
    run()
    quickest = Math.min(quickest, performance.now() - start)
  }
  return quickest
}

const nested = (depth: number) => `{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`

describe('[WS-8] text that is not one JSON object', () => {
  test.each([
    ['nothing', ''],
    ['spaces', '  '],
    ['half an object', '{'],
    ['an array', '[]'],
    ['null', 'null'],
    ['a number', '1'],
    ['a string', '"x"'],
    ['NUL', '\0'],
    ['NUL after it', '{}\0'],
    ['a byte order mark before it', '\uFEFF{}'],
    ['NaN', '{"a":NaN}'],
    ['Infinity', '{"a":Infinity}'],
    ['hexadecimal', '{"a":0x10}'],
    ['a leading zero', '{"a":01}'],
    ['a trailing comma', '{"a":1,}'],
    ['two objects', '{}{}'],
    ['an object and a word', '{} x'],
    ['a comment', '{/**/}'],
    ['single quotes', "{'a':1}"],
    ['a line break in a string', '{"a":"\n"}'],
    ['a broken escape', '{"a":"\\u12"}'],
    ['a space that JSON does not know', '\u00A0{}'],
  ])('is refused: %s', (_, text) => {
    expect(refused(text)).toBe('invalid_message')
  })

  test('is told apart from JSON that is no object', () => {
    expect(failure(() => parseObject('{')).message).toBe('This is not JSON.')
    expect(failure(() => parseObject('[]')).message).toBe('A message is a JSON object.')
  })
})

describe('[WS-8] a key that stands twice in one object', () => {
  test.each([
    ['plainly', '{"a":1,"a":1}'],
    ['with something between', '{"a":1,"b":{},"a":1}'],
    ['with spaces around', '{"a" :1,\t"a"\r\n:2}'],
    ['escaped the second time', '{"type":"x","\\u0074ype":"y"}'],
    ['escaped both times', '{"\\u0074":1,"\\u0074":2}'],
    ['escaped in two ways', '{"\\/":1,"/":2}'],
    ['with a quote in it', '{"a\\"":1,"a\\u0022":2}'],
    ['with backslashes before the quote', '{"a\\\\":1,"a\\u005c":2}'],
    ['empty', '{"":1,"":2}'],
    ['half of a surrogate pair', '{"\\ud800":1,"\\uD800":2}'],
    ['__proto__', '{"__proto__":1,"__proto__":2}'],
    ['deeper down', '{"a":[{"b":{"c":1,"c":2}}]}'],
    ['after many others', `{${Array.from({ length: 100 }, (_, i) => `"k${i}":0`)},"k3":1}`],
    ['late among many', `{${Array.from({ length: 100 }, (_, i) => `"k${i}":0`)},"k97":1}`],
    ['after an object that closed', '{"a":{"x":1},"a":{}}'],
  ])('is refused: %s', (_, text) => {
    const { code, message } = failure(() => parseObject(text))
    expect([code, message]).toEqual(['invalid_message', 'A key stands twice in one object.'])
  })

  test.each([
    ['in two objects', '{"a":{"a":1},"b":{"a":1},"c":[{"a":1},{"a":1}]}'],
    ['as key and as value', '{"a":"a","b":"a"}'],
    ['inside of a string', '{"a":"\\"a\\":1,\\"a\\":1"}'],
    ['in two cases', '{"a":1,"A":1}'],
    ['in two Unicode forms', '{"\u00e9":1,"e\u0301":1}'],
    ['as text and as escape of an escape', '{"\\\\u0061":1,"a":1}'],
    ['among array items', '{"a":["a","a"]}'],
  ])('is not seen where there is none: %s', (_, text) => {
    expect(parseObject(text)).toEqual(JSON.parse(text))
  })
})

describe('nesting', () => {
  test(`[WS-8] goes ${MAX_DEPTH} levels deep and no deeper`, () => {
    expect(parseObject(nested(MAX_DEPTH))).toBeObject()
    const { code, message } = failure(() => parseObject(nested(MAX_DEPTH + 1)))
    expect([code, message]).toEqual(['invalid_message', 'Nested deeper than 32 levels.'])
  })

  test('counts what is open, not what was opened', () => {
    expect(parseObject(`{"a":[${'[[]],'.repeat(1000)}[]]}`)).toBeObject()
  })

  test('is not counted inside of strings', () => {
    expect(parseObject(JSON.stringify({ a: '{['.repeat(1000) }))).toBeObject()
  })
})

describe('the worst text of its size is read in less than 5 ms', () => {
  const size = 64 * 1024
  test.each<[string, string, CodeName | null]>([
    ['30,000 arrays in one another', nested(30_000), 'invalid_message'],
    ['30,000 arrays that are not closed', `{"a":${'['.repeat(30_000)}`, 'invalid_message'],
    ['10,000 keys', `{${Array.from({ length: 10_000 }, (_, i) => `"${i}k":0`)}}`, null],
    ['10,000 keys with escapes', `{${Array.from({ length: 10_000 }, (_, i) => `"\\u0061${i}":0`)}}`, null],
    ['a key as long as the message', `{"${'k'.repeat(size)}":0}`, null],
    ['a key of escaped quotes', `{"${'\\"'.repeat(size / 2)}":0}`, null],
    ['a value of backslashes', `{"a":"${'\\\\'.repeat(size / 2)}"}`, null],
    ['a value of escaped quotes', `{"a":"${'\\"'.repeat(size / 2)}"}`, null],
    [
      'spaces before every colon',
      `{${Array.from({ length: 32 }, (_, i) => `"${i}"${' '.repeat(2000)}:0`)}}`,
      null,
    ],
    [
      'strings with spaces after them',
      `{"a":[${Array.from({ length: 32 }, () => `""${' '.repeat(2000)}`)}]}`,
      null,
    ],
    ['as many empty objects as fit', `{"a":[${'{},'.repeat(size / 3)}{}]}`, null],
    ['a number of many digits', `{"a":${'9'.repeat(size)}}`, null],
  ])('%s', (_, text, code) => {
    const read = () => (code === null ? parseObject(text) : refused(text))
    if (code === null) expect(read()).toBeObject()
    else expect(read()).toBe(code)
    expect(takes(read, 4)).toBeLessThan(5)
  })
})

describe('__proto__', () => {
  test('is a key like any other, and changes nothing', () => {
    const value = parseObject('{"__proto__":{"x":1},"a":{"__proto__":{"x":1}}}')
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
    expect(Object.keys(value)).toEqual(['__proto__', 'a'])
    expect((value as { x?: unknown }).x).toBeUndefined()
    expect(({} as { x?: unknown }).x).toBeUndefined()
  })

  test('does not give a message the fields it lacks', () => {
    const read = messageReader({ hello: Type.Object({ type: Type.Literal('hello'), name: Type.String() }) })
    expect(failure(() => read('{"type":"hello","__proto__":{"name":"x"}}')).field).toBe('name')
    expect(failure(() => read('{"__proto__":{"type":"hello"}}')).code).toBe('unknown_type')
  })
})

describe('a message', () => {
  const read = messageReader({
    hello: Type.Object({ type: Type.Literal('hello'), name: Type.String({ maxLength: 3 }) }),
    bye: Type.Object({ type: Type.Literal('bye') }),
  })

  test('is checked against the schema of its type', () => {
    expect(read('{"type":"hello","name":"Ann"}')).toEqual({ type: 'hello', name: 'Ann' })
    expect(read('{"type":"bye"}')).toEqual({ type: 'bye' })
  })

  test('is the same however it is written', () => {
    const odd = ' {"name"\n:\t"\\u0041\\u006e\\u006E" ,"\\u0074ype":"h\\u0065llo"}\r\n'
    expect(read(odd)).toEqual({ type: 'hello', name: 'Ann' })
  })

  test('[WS-8] may hold fields that nobody knows', () => {
    expect(read('{"type":"bye","name":null,"more":{"a":[1]}}')).toMatchObject({ type: 'bye' })
  })

  test.each([
    ['an unknown one', '{"type":"hullo"}'],
    ['in another case', '{"type":"Bye"}'],
    ['with a space', '{"type":"bye "}'],
    ['empty', '{"type":""}'],
    ['constructor', '{"type":"constructor"}'],
    ['toString', '{"type":"toString"}'],
    ['__proto__', '{"type":"__proto__"}'],
    ['markup', '{"type":"<script>"}'],
  ])('of a type there is none of is refused without naming it: %s', (_, text) => {
    const { code, message, field } = failure(() => read(text))
    expect([code, message, field]).toEqual(['unknown_type', 'There is no message of this type.', 'type'])
  })

  test.each([
    ['{}', 'type is missing'],
    ['{"Type":"bye"}', 'type is missing'],
    ['{"type":1}', 'type must be a string'],
    ['{"type":null}', 'type must be a string'],
    ['{"type":["bye"]}', 'type must be a string'],
  ])('without a type is refused: %s', (text, sentence) => {
    const { code, message } = failure(() => read(text))
    expect([code, message]).toEqual(['unknown_type', sentence])
  })
})

describe('[WS-8] what is said about a wrong field', () => {
  const check = checker(
    Type.Object({
      text: Type.Optional(Type.String()),
      filled: Type.Optional(Type.String({ minLength: 1 })),
      short: Type.Optional(Type.String({ maxLength: 3 })),
      bounded: Type.Optional(Type.String({ minLength: 2, maxLength: 3 })),
      code: Type.Optional(Type.String({ pattern: '^[a-z]{4}$', description: '4 small letters' })),
      whole: Type.Optional(Type.Integer()),
      count: Type.Optional(Type.Integer({ minimum: 1, maximum: 9 })),
      most: Type.Optional(Type.Integer({ maximum: 9 })),
      ratio: Type.Optional(Type.Number({ minimum: 0 })),
      yes: Type.Optional(Type.Boolean()),
      role: Type.Optional(Type.Union([Type.Literal('driver'), Type.Literal('passenger')])),
      maybe: Type.Optional(Type.Union([Type.Integer({ minimum: 0 }), Type.Null()])),
      place: Type.Optional(Type.Union([Type.Null(), Type.Object({ name: Type.String() })])),
      list: Type.Optional(Type.Array(Type.String())),
      inner: Type.Optional(Type.Object({ deep: Type.Object({ name: Type.String() }) })),
    }),
  )

  test.each<[string, unknown, string]>([
    ['text', 1, 'text must be a string'],
    ['filled', '', 'filled must be a string that is not empty'],
    ['short', 'four', 'short must be a string of at most 3 characters'],
    ['bounded', '', 'bounded must be a string of 2 to 3 characters'],
    ['code', 'abc', 'code must be a string of 4 small letters'],
    ['whole', 1.5, 'whole must be an integer'],
    ['count', 10, 'count must be an integer from 1 to 9'],
    ['count', '5', 'count must be an integer from 1 to 9'],
    ['most', 10, 'most must be an integer of at most 9'],
    ['ratio', -1, 'ratio must be a number of at least 0'],
    ['yes', 'yes', 'yes must be a boolean'],
    ['role', 'rider', 'role must be "driver" or "passenger"'],
    ['maybe', -1, 'maybe must be an integer of at least 0 or null'],
    ['place', 1, 'place must be null or an object'],
    ['place.name', { name: 1 }, 'place.name must be a string'],
    ['list', {}, 'list must be an array'],
    ['list.1', ['a', 1], 'list.1 must be a string'],
    ['inner', [], 'inner must be an object'],
    ['inner.deep', {}, 'inner.deep is missing'],
    ['inner.deep', { deep: null }, 'inner.deep must be an object'],
    ['inner.deep.name', { deep: {} }, 'inner.deep.name is missing'],
    ['inner.deep.name', { deep: { name: 1 } }, 'inner.deep.name must be a string'],
  ])('names it and what it takes: %s, being %j', (field, value, sentence) => {
    const wrong = failure(() => check({ [field.replace(/\..*/, '')]: value }))
    expect([wrong.code, wrong.field, wrong.message]).toEqual(['invalid_field', field, sentence])
  })

  test('never repeats what was sent', () => {
    for (const field of ['short', 'code', 'role', 'count']) {
      expect(failure(() => check({ [field]: '<script>' })).message).not.toInclude('script')
    }
  })
})
