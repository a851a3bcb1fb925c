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
  // A key that stood twice is one member of the value.
  if (membersOf(value, 1) !== membersIn(text))
    throw fail('invalid_message', 'A key stands twice in one object.')
  return value as Record<string, unknown>
}

/**
 * How many members the objects of a parsed value have. Throws `invalid_message` when it nests deeper than MAX_DEPTH;
 * `depth` is its own.
 */
function membersOf(value: object, depth: number): number {
  if (depth > MAX_DEPTH) throw fail('invalid_message', `Nested deeper than ${MAX_DEPTH} levels.`)
  let members = 0
  if (Array.isArray(value)) {
    for (const item of value as unknown[]) if (isNested(item)) members += membersOf(item, depth + 1)
    return members
  }
  for (const key in value) {
    members++
    const item = (value as Record<string, unknown>)[key]
    if (isNested(item)) members += membersOf(item, depth + 1)
  }
  return members
}

function isNested(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

const QUOTE = 34
const COLON = 58
const BACKSLASH = 92

/**
 * How many members stand in text that is known to be JSON: its colons outside of strings. With membersOf it finds an
 * object that names a key twice (RFC 8259 section 4: readers differ on which one counts), and neither makes anything.
 * Strings are leapt over, so the cost is in the structure, not in the SDP.
 */
function membersIn(text: string): number {
  let members = 0
  const end = text.length
  for (let i = 0; i < end; i++) {
    const char = text.charCodeAt(i)
    if (char === QUOTE) i = endOfString(text, i)
    else if (char === COLON) members++
  }
  return members
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
