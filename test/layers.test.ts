// What the compiler cannot hold about the rooms under src/. Each room's tsconfig.json lists the rooms it may
// import, and the compiler refuses others; but it lets through what a listed room itself may import, and it
// knows nothing of libraries, clocks and globals.
import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

const SRC = join(import.meta.dir, '../src')
/** The room of src/main.ts, whose tsconfig.json lies in src itself. */
const MAIN = '.'

const all = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
const rooms = all.filter((path) => path.endsWith('tsconfig.json')).map((path) => dirname(path))
const files = all.filter((path) => /\.tsx?$/.test(path) && !/\.test\.tsx?$/.test(path)).map(read)

/** A source file: its room, what it imports, and its code without comments. */
function read(path: string) {
  const code = readFileSync(join(SRC, path), 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/(^|\s)\/\/.*$/gm, '')
  const imports = [...code.matchAll(/\b(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)].map(
    (match) => match[1] ?? '',
  )
  return { path, room: roomOf(path), code, imports }
}

/** The innermost room around a path in src, or null for a path outside of src or in no room. */
function roomOf(path: string): string | null {
  if (path.startsWith('..')) return null
  const inner = rooms.filter((room) => path.startsWith(`${room}/`)).sort((a, b) => b.length - a.length)[0]
  return inner ?? (path.includes('/') ? null : MAIN)
}

function mayImport(room: string): string[] {
  const text = readFileSync(join(SRC, room, 'tsconfig.json'), 'utf8')
  return [...text.matchAll(/"path": "([^"]+)"/g)].map((match) =>
    normalize(join(room, match[1] ?? '')).replace(/\/$/, ''),
  )
}

/** Fails with one line for each finding, and with what to do about it. */
function none(findings: string[], mend: string) {
  expect(findings, `${mend}\n  ${findings.join('\n  ')}\n`).toEqual([])
}

test('every file belongs to a room, and every room is checked', () => {
  none(
    files.filter(({ room }) => room === null).map(({ path }) => `src/${path}`),
    'Give the folder a tsconfig.json like its neighbours, and name it in the root tsconfig.json.',
  )
  const root = readFileSync(join(SRC, '../tsconfig.json'), 'utf8')
  none(
    rooms
      .filter((room) => !root.includes(`"./${join('src', room).replace(/\/$/, '')}"`))
      .map((room) => `src/${room}`),
    'Name the room in the root tsconfig.json, or the compiler never looks at it.',
  )
})

test('a room imports only the rooms that its tsconfig.json lists', () => {
  const findings = files.flatMap(({ path, room, imports }) => {
    if (room === null) return []
    const allowed = [room, ...mayImport(room)]
    return (
      imports
        // Data outside of src (the version, the table of calls) belongs to no room.
        .filter((name) => name.startsWith('.') && !/\.(json|sql)$/.test(name))
        .filter((name) => !allowed.includes(roomOf(normalize(join(dirname(path), name))) ?? ''))
        .map((name) => `src/${path} imports ${name}`)
    )
  })
  none(
    findings,
    'Move the code down, pass a function in, or list the room in tsconfig.json if the order allows it.',
  )
})

test('no room lists one that lists it back, and no kind of call lists another', () => {
  const lists = (from: string, to: string, seen: string[] = []): boolean =>
    mayImport(from).some((next) => next === to || (!seen.includes(next) && lists(next, to, [...seen, next])))
  none(
    rooms.filter((room) => lists(room, room)).map((room) => `src/${room}`),
    'Imports run one way: what two rooms share belongs in one below both.',
  )
  const services = rooms.filter((room) => room.startsWith('services/'))
  none(
    services.flatMap((one) =>
      services.filter((other) => lists(one, other)).map((other) => `${one} lists ${other}`),
    ),
    'Kinds of call share core and nothing else.',
  )
})

const LIBRARIES: [name: RegExp, room: string, why: string][] = [
  [
    /^(bun:sqlite|mysql2|kysely)($|\/)/,
    'store',
    'Only store knows SQL: add a method to its port in core/ports.ts.',
  ],
  [
    /^(ioredis|redis|iovalkey)($|\/)/,
    'bus',
    'Only bus knows Redis: add a method to its port in core/ports.ts.',
  ],
]
for (const [name, home, why] of LIBRARIES) {
  test(`only ${home} imports ${name.source}`, () => {
    none(
      files.flatMap(({ path, room, imports }) =>
        room === home ? [] : imports.filter((it) => name.test(it)).map((it) => `src/${path} imports ${it}`),
      ),
      why,
    )
  })
}

test('only bus uses the Redis client of Bun', () => {
  none(
    files
      .filter(({ room, code }) => room !== 'bus' && /\bRedisClient\b|\bBun\.redis\b/.test(code))
      .map(({ path }) => path),
    'Only bus knows Redis: add a method to its port in core/ports.ts.',
  )
})

test('protocol and core stand on the language alone', () => {
  none(
    files
      .filter(({ room }) => room === 'protocol' || room === 'core')
      .flatMap(({ path, imports }) =>
        imports.filter((it) => /^(node:|bun$|bun:)/.test(it)).map((it) => `src/${path} imports ${it}`),
      ),
    'Take what the module would give as an argument, or through a port.',
  )
})

test('core reads no clock, keeps no timer, draws no random number', () => {
  const world =
    /\b(Date\b|performance\b|set(Timeout|Interval|Immediate)\b|queueMicrotask\b|Math\.random\b|crypto\b)/
  none(
    files
      .filter(({ room }) => room === 'core')
      .flatMap(({ path, code }) => {
        const found = world.exec(code)
        return found ? [`src/${path} uses ${found[0]}`] : []
      }),
    'The time comes in as `now`; waiting is an effect; ids and chance come in from the owner.',
  )
})

test('there is no module-level state', () => {
  none(
    files.flatMap(({ path, code }) => {
      const found = /^(export )?(let|var) .*/m.exec(code)
      return found ? [`src/${path}: ${found[0]}`] : []
    }),
    'Keep it in what owns it, made by a function or a class and passed in.',
  )
})
