/**
 * Writes what is made from the source, pages of `docs/` above all: `npm run docs`. A test compares them with what is
 * committed. Each generator is a file and the function that makes its text; another page is another row.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { groups, type Option } from '../src/config/options.ts'
import { defaultOf } from '../src/config/read.ts'
import {
  type Code,
  type CodeName,
  codes,
  endReasons,
  NORMAL_CLOSE,
  type Retry,
} from '../src/protocol/codes.ts'
import { DIRECT_PATH, directName } from '../src/protocol/direct.ts'
import { LINE_PATH } from '../src/protocol/line.ts'
import { RIDE_PATH } from '../src/protocol/ride.ts'
import { asyncapi } from './docs/asyncapi.ts'
import { envExample } from './docs/env-example.ts'
import { openapi } from './docs/openapi.ts'

export const ROOT = join(import.meta.dir, '..')

export interface Page {
  /** Path from the root of the repository. */
  readonly path: string
  make(): string
}

export const pages: readonly Page[] = [
  { path: 'docs/config.md', make: configPage },
  { path: 'docs/codes.md', make: codesPage },
  { path: 'docs/openapi.json', make: openapi },
  { path: 'docs/asyncapi.json', make: asyncapi },
  { path: '.env.example', make: envExample },
]

const MADE = (from: string) =>
  `<!-- Made by scripts/docs.ts from ${from}; change it there, then npm run docs. -->`

function configPage(): string {
  const sections = groups.map(({ title, options }) => {
    const rows = Object.entries<Option>(options).map(([name, option]) => [
      `\`${name}\``,
      option.unset ?? (typeof option.default === 'string' ? `\`${option.default}\`` : defaultOf(option)),
      option.means,
      `${option.form.accepts}${option.form.secret ? '; never shown' : ''}`,
    ])
    return `## ${title}\n\n${table(['variable', 'default', 'meaning', 'accepts'], rows)}`
  })
  return `# Settings

${MADE('src/config/options.ts')}

Every setting is an environment variable and a flag: \`SESSION_DURATION=90s\` is \`--session-duration 90s\`. Flags win. An empty variable counts as unset. \`ringdown config\` shows what is in effect and where it comes from, \`ringdown doctor\` looks for what would keep calls from working.

A \`.env\` file in the working folder is read, in the way of \`node --env-file\`; a variable that was set before the start wins over it. Outside of quotes \`#\` begins a comment there, so a value with one goes between quotes.

A value that cannot be read stops the start with one line that names the variable, what it holds and what it accepts. A variable that only looks like one of these is warned about. Durations have a unit; \`1h30m\` is one as well. Where several keys are accepted, all of them work, so that one can be changed without a pause.

${sections.join('\n')}`
}

const NEXT: Readonly<Record<Retry, string>> = {
  no: 'give up',
  resume: 'reconnect and resume',
  later: 'try again later',
}

/** Codes of one kind, by whose messages name them. */
const codeGroups: readonly { title: string; about?: string; where: string }[] = [
  {
    title: 'Of both kinds of call',
    about: `How they are written on \`${DIRECT_PATH}\` is in the second column.`,
    where: 'ride direct',
  },
  { title: `Of rides, on \`${RIDE_PATH}\``, where: 'ride' },
  { title: `Of direct calls, on \`${DIRECT_PATH}\``, where: 'direct' },
  {
    title: 'Reasons of a close',
    about: 'No message names them; they come as the reason of the close, on every socket.',
    where: 'close',
  },
  {
    title: `Of the line, on \`${LINE_PATH}\``,
    about:
      'They come as the reason of the close, and so do `message_too_large`, `draining` and `internal` there.',
    where: 'line',
  },
  { title: 'Of HTTP alone', where: '' },
]

/** A column of a table of codes; one that would hold nothing is left out. */
const codeColumns: readonly [string, (name: CodeName, code: Code) => string][] = [
  ['code', (name) => `\`${name}\``],
  [
    `on \`${DIRECT_PATH}\``,
    (name, { where }) => (where.includes('direct') ? `\`${directName(name)}\`` : '–'),
  ],
  ['close', (_, { close }) => String(close ?? '–')],
  ['HTTP', (_, { http }) => String(http ?? '–')],
  ['the client should', (_, { retry }) => NEXT[retry]],
  ['meaning', (_, { means }) => means],
]

function codesTable(rows: readonly [CodeName, Code][]): string {
  const columns = codeColumns.filter(([, cell]) => rows.some((row) => cell(...row) !== '–'))
  return table(
    columns.map(([head]) => head),
    rows.map((row) => columns.map(([, cell]) => cell(...row))),
  )
}

function codesPage(): string {
  const rows = Object.entries(codes) as [CodeName, Code][]
  const sections = codeGroups.map(({ title, about, where }) => {
    const text = about === undefined ? '' : `${about}\n\n`
    return `### ${title}\n\n${text}${codesTable(rows.filter(([, code]) => code.where.join(' ') === where))}`
  })
  const closes = Object.entries<Code>(codes).filter(([, { close }]) => close !== null)
  const numbers = [...new Set(closes.map(([, { close }]) => close ?? 0))].sort((a, b) => a - b)
  const closeRows = numbers.map((number) => {
    const named = closes.filter(([, { close }]) => close === number)
    return [
      String(number),
      named.map(([name]) => `\`${name}\``).join(', '),
      [...new Set(named.map(([, { retry }]) => NEXT[retry]))].join(', or '),
    ]
  })
  const reasons = Object.entries<{ services: readonly string[]; means: string }>(endReasons).map(
    ([name, { services, means }]) => [`\`${name}\``, services.join(', '), means],
  )
  return `# Codes

${MADE('src/protocol/codes.ts')}

## Errors

What \`error\` and \`unauthorized\` messages of \`${RIDE_PATH}\`, \`ERROR\` messages of \`${DIRECT_PATH}\` and HTTP answers name. \`close\`: the WebSocket close number that follows; without one the connection stays open.

${sections.join('\n')}
## Close numbers

41xx: come back. 44xx: final. ${NORMAL_CLOSE} is a goodbye, from either end, and final as well. What is not in this table, 1006 (nothing was said) above all, is a lost connection: reconnect and resume.

${table(['close', 'codes', 'the client should'], closeRows)}
## End reasons

Why a call ended: \`end_reason\` in the log, and the reason both parties are told.

${table(['reason', 'kind of call', 'meaning'], reasons)}`
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('')
}

if (import.meta.main) {
  for (const { path, make } of pages) {
    mkdirSync(dirname(join(ROOT, path)), { recursive: true })
    writeFileSync(join(ROOT, path), make())
    console.log(path)
  }
}
