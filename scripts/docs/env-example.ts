/** `.env.example`, from the table of options. */
import { groups, type Option } from '../../src/config/options.ts'

/** What the reference documents name stands there ready to be changed; what they do not, as a comment. */
const DOCUMENTED = [
  'SERVER_ADDR',
  'API_KEY',
  'APIKEY',
  'LOG_LEVEL',
  'MAX_MESSAGE_BYTES',
  'HEARTBEAT_INTERVAL',
  'HEARTBEAT_TIMEOUT',
  'SESSION_DURATION',
  'RATE_LIMIT_PER_MIN',
  'ENVIRONMENT',
  'DB_HOST',
  'DB_PORT',
  'DB_DATABASE',
  'DB_USERNAME',
  'DB_PASSWORD',
]

const HEAD = `# Settings of Ringdown. To begin:
#
#   cp .env.example .env
#   openssl rand -hex 32        a strong key, to be written behind API_KEY= below
#
# Nothing else is needed. An empty value counts as not set. What begins with "#" shows the default; take the mark off
# to change it. A value with a space, # or $ goes between single quotes. A flag of the same name (--server-addr) wins.
`

const WIDTH = 112

export function envExample(): string {
  // The one thing that must be set comes first.
  const inOrder = [...groups].sort((a, b) => Number('API_KEY' in b.options) - Number('API_KEY' in a.options))
  const sections = inOrder.map(({ title, options }) => {
    const entries = Object.entries<Option>(options).map(([name, option]) => entry(name, option))
    return `\n# ---- ${title} ${'-'.repeat(WIDTH - 8 - title.length)}\n\n${entries.join('\n')}`
  })
  return HEAD + sections.join('')
}

function entry(name: string, { form, default: value, means, unset }: Option): string {
  const same = value !== null && typeof value === 'object' ? value.same : null
  const more =
    value === null
      ? `It accepts ${form.accepts}. Not set: ${unset}.`
      : same === null
        ? ''
        : `Not set: as ${same}.`
  const line = `${name}=${typeof value === 'string' ? value : ''}\n`
  return wrapped(`${means} ${more}`.trim()) + (DOCUMENTED.includes(name) ? line : `#${line}`)
}

function wrapped(text: string): string {
  const lines = ['#']
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? ''
    if (last.length + word.length < WIDTH) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(`# ${word}`)
  }
  return lines.map((line) => `${line}\n`).join('')
}
