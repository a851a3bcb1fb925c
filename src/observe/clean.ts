/** What may go into a log line: plain data, bounded in size, and nothing that is named like a secret. */

/** By name: a value that is called so is not shown, whatever it is. Numbers and truth values give nothing away. */
const SECRET_NAME = /token|secret|passw|authorization|cookie|credential|keys?$/i
export const HIDDEN = '[hidden]'

const DEEPEST = 6
const LONGEST_TEXT = 2000
const MOST_ENTRIES = 50

/** A copy of a context that can be turned into JSON. Reads no getter of an error but the usual ones; never throws. */
export function clean(context: object): Record<string, unknown> {
  return cleanEntries(context, 0)
}

function cleanEntries(value: object, depth: number): Record<string, unknown> {
  // Without a prototype, so that an entry called __proto__ is one like any other.
  const out: Record<string, unknown> = Object.create(null)
  let count = 0
  for (const name in value) {
    if (!Object.hasOwn(value, name)) continue
    if (++count > MOST_ENTRIES) break
    const entry = read(value, name)
    // Is not shown, and one named toJSON would be called.
    if (typeof entry === 'function') continue
    out[name] = isHidden(name, entry) ? HIDDEN : cleanValue(entry, depth)
  }
  return out
}

function read(value: object, name: string): unknown {
  try {
    return (value as Record<string, unknown>)[name]
  } catch {
    return '[unreadable]'
  }
}

function isHidden(name: string, value: unknown): boolean {
  if (typeof value === 'number' || typeof value === 'boolean' || value == null) return false
  return SECRET_NAME.test(name)
}

function cleanValue(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case 'string':
      return value.length > LONGEST_TEXT ? `${value.slice(0, LONGEST_TEXT)}…` : value
    case 'bigint':
      return String(value)
    case 'object':
      return value === null ? null : cleanObject(value, depth + 1)
    default:
      return value
  }
}

function cleanObject(value: object, depth: number): unknown {
  if (value instanceof Error) return cleanError(value, depth)
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (depth > DEEPEST) return '[deeper]'
  if (Array.isArray(value)) return value.slice(0, MOST_ENTRIES).map((item) => cleanValue(item, depth))
  return cleanEntries(value, depth)
}

/** An error's own fields may hold what was sent or asked (a query, a header), so only the usual ones are taken. */
function cleanError(error: Error, depth: number): Record<string, unknown> {
  const { name, message, stack, cause } = error
  const out: Record<string, unknown> = { type: name, message: cleanValue(message, depth) }
  if ('code' in error && (typeof error.code === 'string' || typeof error.code === 'number'))
    out.code = error.code
  if (typeof stack === 'string') out.stack = cleanValue(stack, depth)
  if (cause !== undefined && depth < DEEPEST) out.cause = cleanValue(cause, depth)
  return out
}
