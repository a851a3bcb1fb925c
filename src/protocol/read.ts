/**
 * From the text of one frame or body to a checked value. `JSON.parse` decides what is JSON; this file adds what it
 * lets pass and a second reader might read otherwise: repeated keys and bottomless nesting.
 */
import type { Static, TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { fail } from './codes.ts'
import { schemaAt, takes } from './words.ts'

/** Deepest nesting of objects and arrays that a message may have. */
export const MAX_DEPTH = 32

/** Parses text that must hold one JSON object. Throws `invalid_message`. */
export function parseObject(text: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw fail('invalid_message', 'This is not JSON.')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw fail('invalid_message', 'A message is a JSON object.')
  }
  checkStructure(text)
  return value as Record<string, unknown>
}

const QUOTE = 34
const COLON = 58
const OPEN_BRACKET = 91
const BACKSLASH = 92
const CLOSE_BRACKET = 93
const OPEN_BRACE = 123
const CLOSE_BRACE = 125

/**
 * Walks text that is known to be JSON and throws `invalid_message` when an object names a key twice (RFC 8259
 * section 4: readers differ on which one counts) or when it nests deeper than MAX_DEPTH. Strings are leapt over,
 * so the cost is in the structure, not in the SDP.
 */
function checkStructure(text: string): void {
  /** Keys of the open objects; null stands for an open array. */
  const open: (string[] | Set<string> | null)[] = []
  const end = text.length
  for (let i = 0; i < end; i++) {
    const char = text.charCodeAt(i)
    if (char === QUOTE) {
      const start = i
      i = endOfString(text, i)
      if (nextAfterSpace(text, i + 1) !== COLON) continue
      addKey(open, text.slice(start + 1, i))
    } else if (char === OPEN_BRACE || char === OPEN_BRACKET) {
      if (open.length === MAX_DEPTH) throw fail('invalid_message', `Nested deeper than ${MAX_DEPTH} levels.`)
      open.push(char === OPEN_BRACE ? [] : null)
    } else if (char === CLOSE_BRACE || char === CLOSE_BRACKET) {
      open.pop()
    }
  }
}

function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1)
  while (isEscaped(text, end)) end = text.indexOf('"', end + 1)
  return end
}

function isEscaped(text: string, at: number): boolean {
  let slashes = 0
  while (text.charCodeAt(at - 1 - slashes) === BACKSLASH) slashes++
  return slashes % 2 === 1
}

function nextAfterSpace(text: string, at: number): number {
  let char = text.charCodeAt(at)
  while (char === 32 || char === 9 || char === 10 || char === 13) char = text.charCodeAt(++at)
  return char
}

/** A list is quicker than a set for the handful of keys a message has; a hostile one gets the set. */
const FEW_KEYS = 16

function addKey(open: (string[] | Set<string> | null)[], written: string): void {
  const key = written.includes('\\') ? (JSON.parse(`"${written}"`) as string) : written
  const keys = open[open.length - 1]
  if (keys == null) return
  const known = Array.isArray(keys) ? keys.includes(key) : keys.has(key)
  if (known) throw fail('invalid_message', 'A key stands twice in one object.')
  if (!Array.isArray(keys)) keys.add(key)
  else if (keys.length < FEW_KEYS) keys.push(key)
  else open[open.length - 1] = new Set(keys).add(key)
}

/** A compiled schema: gives the value its type, or throws `invalid_field` naming the field and what it takes. */
export function checker<T extends TSchema>(schema: T): (value: unknown) => Static<T> {
  const compiled = Compile(schema)
  return (value) => {
    if (compiled.Check(value)) return value as Static<T>
    throw whatIsWrong(schema, compiled.Errors(value))
  }
}

interface SchemaError {
  schemaPath: string
  instancePath: string
  params: object
}

function whatIsWrong(schema: TSchema, errors: SchemaError[]) {
  // The deepest complaint says most: for a union the first ones only say that no branch fits.
  const deepest = errors.reduce((a, b) => (depth(b) > depth(a) ? b : a))
  const missing =
    'requiredProperties' in deepest.params ? (deepest.params.requiredProperties as string[])[0] : undefined
  const path = deepest.instancePath.slice(1).replaceAll('/', '.')
  const field = missing === undefined ? path : path === '' ? missing : `${path}.${missing}`
  const wrong =
    missing === undefined ? `must be ${takes(schemaAt(schema, deepest.schemaPath))}` : 'is missing'
  return fail('invalid_field', `${field || 'the body'} ${wrong}`, { field })
}

function depth(error: SchemaError): number {
  return error.instancePath.split('/').length
}

/** Reads messages that are told apart by their `type`. Throws `invalid_message`, `unknown_type`, `invalid_field`. */
export function messageReader<T extends TSchema>(schemas: {
  readonly [type: string]: T
}): (text: string) => Static<T> {
  const checkers = new Map(Object.entries(schemas).map(([type, schema]) => [type, checker(schema)]))
  return (text) => {
    const value = parseObject(text)
    const check = typeof value.type === 'string' ? checkers.get(value.type) : undefined
    if (check === undefined) throw wrongType(value.type)
    return check(value)
  }
}

/** Names nothing back: what was sent as a type may be anything. */
function wrongType(type: unknown) {
  const wrong =
    type === undefined ? 'type is missing' : typeof type === 'string' ? undefined : 'type must be a string'
  return fail('unknown_type', wrong, { field: 'type' })
}
