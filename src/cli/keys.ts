import { resolve } from 'node:path'
import { addKey, type Door, KEY_FILE, readKeyFile, retireKeys } from '../auth/keys.ts'
import type { Config } from '../config/options.ts'
import { readConfig } from '../config/read.ts'
import { lineLinks, siteOf } from './line-link.ts'
import { CommandError, type Terminal } from './terminal.ts'

const DOORS: readonly Door[] = ['api', 'admin', 'line']

/** The options that win over the keys in the file. */
const VARIABLES = { api: 'API_KEY', admin: 'ADMIN_KEY', line: 'APIKEY' } as const

/** `keys`, `keys show`, `keys link`, `keys new DOOR`, `keys retire DOOR`; options as for `serve`. */
export function keys(argv: readonly string[], terminal: Terminal): number {
  const options = argv.findIndex((arg) => arg.startsWith('-'))
  const words = options === -1 ? argv : argv.slice(0, options)
  const { config } = readConfig(terminal.env, argv.slice(words.length))
  const [action, word] = words
  const door = DOORS.find((it) => it === word)
  const changes = action === 'new' || action === 'retire'
  const known = action === undefined || action === 'show' || action === 'link' || changes
  if (words.length > (changes ? 2 : 1) || !known) {
    throw new CommandError(`keys takes nothing, or: show, link, new DOOR, retire DOOR; ${doorsInWords()}.`)
  }
  if (changes && door === undefined)
    throw new CommandError(`Which keys? Say: keys ${action} DOOR; ${doorsInWords()}.`)

  const file = resolve(config.DATA_DIR, KEY_FILE)
  if (action === 'new' && door !== undefined)
    announceNew(addKey(config.DATA_DIR, door), door, config, file, terminal)
  else if (action === 'retire' && door !== undefined) {
    const gone = retireKeys(config.DATA_DIR, door)
    terminal.out(
      gone === 0
        ? 'There is one key; it stays.\n'
        : `${gone} retired. They stop working at the next start.\n`,
    )
  } else if (action === 'link') showLinks(config, terminal)
  else list(config, file, action === 'show', terminal)
  return 0
}

function announceNew(key: string, door: Door, config: Config, file: string, terminal: Terminal): void {
  terminal.out(`New ${door} key, in ${file}:\n\n  ${key}\n\n`)
  if (given(config, door) !== null) terminal.out(notInUse(door))
  else {
    terminal.out(
      `To change over without a pause:\n` +
        `  1. Restart the server. The new key and the old ones work.\n` +
        `  2. Give the new key to those who use it.\n` +
        `  3. ringdown keys retire ${door}, and restart again. Only the new key works.\n`,
    )
  }
}

function doorsInWords(): string {
  return `DOOR is ${DOORS.join(', ').replace(/, ([^,]*)$/, ' or $1')}`
}

/** What an operator sends to the first of two who want to talk. */
function showLinks(config: Config, terminal: Terminal): void {
  const [key] = config.APIKEY ?? readKeyFile(config.DATA_DIR)?.line ?? []
  if (key === undefined) throw new CommandError('There is no key of the line yet; the first start makes it.')
  const links = lineLinks(siteOf(config), key)
  terminal.out(`${links.usual}\n${links.mobile}\n`)
}

function list(config: Config, file: string, show: boolean, terminal: Terminal): void {
  const kept = readKeyFile(config.DATA_DIR)
  if (kept === null) terminal.out(`There are no made keys yet; the first start makes ${file}.\n`)
  else terminal.out(`Made keys are in ${file}, readable by this user only.\n`)
  for (const door of DOORS) {
    const set = given(config, door)
    const made = kept?.[door] ?? []
    if (set !== null)
      terminal.out(
        `${door}: ${set.length} from ${VARIABLES[door]}. ${made.length > 0 ? notInUse(door) : '\n'}`,
      )
    else if (kept !== null) terminal.out(`${door}: ${made.length} from the file\n`)
    if (show) for (const key of made) terminal.out(`  ${key}\n`)
  }
}

function given(config: Config, door: Door): readonly string[] | null {
  return config[VARIABLES[door]]
}

function notInUse(door: Door): string {
  return `${VARIABLES[door]} is set, so the ${door} keys in the file are not in use.\n`
}
