/** Log lines for the eye. */

export interface Entry {
  readonly level: string
  /** ISO 8601. */
  readonly time: string
  readonly msg: string
  readonly context: Readonly<Record<string, unknown>>
}

const COLOURS: Readonly<Record<string, string>> = { debug: '90', info: '32', warn: '33', error: '31' }

/** Control characters and those that turn the direction of the text around could play tricks on a terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for.
const TRICKS = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]/g

function harmless(text: string): string {
  return text.replace(TRICKS, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** One line, and for an error the lines of its stack below. The time of day is local. */
export function pretty({ level, time, msg, context }: Entry, colours: boolean): string {
  const paint = (code: string | undefined, text: string) =>
    colours && code !== undefined ? `\u001b[${code}m${text}\u001b[0m` : text
  const at = new Date(time)
  const clock = `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, '0')}`
  const stacks: string[] = []
  const fields = Object.entries(context).map(([name, value]) => {
    if (isError(value)) stacks.push(value.stack)
    return ` ${paint('90', `${harmless(name)}=`)}${harmless(isError(value) ? value.message : shown(value))}`
  })
  const head = `${paint('90', clock)} ${paint(COLOURS[level], level.padEnd(5))} ${harmless(msg)}${fields.join('')}\n`
  return head + stacks.map(indented).join('')
}

function isError(value: unknown): value is { message: string; stack: string } {
  const it = value as { message?: unknown; stack?: unknown } | null
  return typeof it === 'object' && typeof it?.stack === 'string' && typeof it.message === 'string'
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value))
}

function indented(stack: string): string {
  return stack
    .split('\n')
    .map((line) => `    ${harmless(line.trim())}\n`)
    .join('')
}
