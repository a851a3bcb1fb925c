/** From environment and flags to a checked config. Flags win. An empty variable counts as unset. */
import { boolean } from './forms.ts'
import { nearMiss } from './near.ts'
import { type Config, groups, type Option, type OptionName, options } from './options.ts'

/** One line for the operator: which option, what it holds (never a secret), what it accepts. Stops the start. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** Where a value came from, and how it was written; null where nothing was, and for a secret. */
export interface Origin {
  readonly from: 'flag' | 'environment' | 'default'
  readonly text: string | null
}

export interface Setup {
  readonly config: Config
  /** One line each, to be said once. */
  readonly warnings: readonly string[]
  readonly origins: Readonly<Record<OptionName, Origin>>
}

type Environment = Readonly<Record<string, string | undefined>>
type Given = { from: 'flag' | 'environment'; name: string; text: string }

const rows: readonly [OptionName, Option][] = Object.entries(options) as [OptionName, Option][]
const names = rows.map(([name]) => name)

/** Throws a ConfigError about the first thing that is wrong. */
export function readConfig(env: Environment, argv: readonly string[]): Setup {
  const given = new Map<OptionName, Given>()
  for (const name of names) {
    const text = env[name]
    if (text !== undefined && text.trim() !== '') given.set(name, { from: 'environment', name, text })
  }
  for (const [name, flag] of readFlags(argv)) given.set(name, flag)

  const values: Record<string, unknown> = {}
  const origins: Record<string, Origin> = {}
  for (const [name, option] of rows) {
    const found = given.get(name)
    if (found !== undefined) {
      values[name] = read(found, option)
      origins[name] = { from: found.from, text: option.form.secret ? null : found.text.trim() }
    } else if (option.default !== null && typeof option.default === 'object') {
      // The option it takes its value from stands above it in the table.
      values[name] = values[option.default.same]
      origins[name] = { from: 'default', text: origins[option.default.same]?.text ?? null }
    } else {
      values[name] = option.default === null ? null : option.form.read(option.default)
      origins[name] = { from: 'default', text: option.default }
    }
  }
  const setup = {
    config: values as Config,
    origins: origins as Setup['origins'],
    warnings: [] as string[],
  }
  checkTogether(setup.config, setup.origins)
  setup.warnings.push(...oddities(setup.config, setup.origins), ...strangers(env))
  return setup
}

function read(given: Given, { form }: Option): unknown {
  const text = form.secret ? given.text : given.text.trim()
  const value = form.read(text)
  if (value === undefined) {
    throw new ConfigError(`${given.name} holds ${form.describe(text)}. It accepts ${form.accepts}.`)
  }
  return value
}

/** `--server-addr=X`, `--server-addr X`; for a boolean `--require-join-token` alone. */
function readFlags(argv: readonly string[]): Map<OptionName, Given> {
  const flags = new Map<OptionName, Given>()
  for (let i = 0; i < argv.length; i++) {
    const [, flag = '', inline] = /^(--[^=]*)(?:=([\s\S]*))?$/.exec(argv[i] ?? '') ?? []
    const name = names.find((it) => flagOf(it) === flag)
    if (name === undefined) throw unknownFlag(argv[i] ?? '', flag)
    const next = argv[i + 1]
    const alone = inline === undefined && (next === undefined || next.startsWith('--'))
    if (alone && (options[name] as Option).form !== boolean) {
      throw new ConfigError(`${flag} has no value. It accepts ${options[name].form.accepts}.`)
    }
    const text = inline ?? (alone ? 'true' : (next ?? ''))
    if (inline === undefined && !alone) i++
    flags.set(name, { from: 'flag', name: flag, text })
  }
  return flags
}

function unknownFlag(arg: string, flag: string): ConfigError {
  // What follows the name may be a secret, and a word without dashes may be one as well.
  if (!/^--[\w-]{1,40}$/.test(flag)) {
    return new ConfigError(
      `An argument cannot be read${/^[a-z]{1,20}$/.test(arg) ? `: ${arg}` : ''}. See --help.`,
    )
  }
  const meant = nearMiss(flag.slice(2), names)
  return new ConfigError(
    `${flag} is not an option.${meant ? ` Did you mean ${flagOf(meant)}?` : ' See --help.'}`,
  )
}

/** What each value alone does not show. */
function checkTogether(config: Config, origins: Setup['origins']): void {
  const held = (name: OptionName) =>
    `${origins[name].text}${origins[name].from === 'default' ? ' by default' : ''}`
  const refuse = (name: OptionName, must: string, other: OptionName) => {
    throw new ConfigError(`${name} is ${held(name)}. It must be ${must} ${other}, which is ${held(other)}.`)
  }
  if (config.HEARTBEAT_TIMEOUT <= config.HEARTBEAT_INTERVAL) {
    refuse('HEARTBEAT_TIMEOUT', 'longer than', 'HEARTBEAT_INTERVAL')
  }
  if (config.SESSION_DURATION > config.MAX_SESSION_DURATION)
    refuse('SESSION_DURATION', 'at most', 'MAX_SESSION_DURATION')
  if (config.JOIN_WINDOW > config.MAX_JOIN_WINDOW) refuse('JOIN_WINDOW', 'at most', 'MAX_JOIN_WINDOW')
  if (config.MAX_MESSAGE_BYTES > config.BYTES_PER_MINUTE)
    refuse('MAX_MESSAGE_BYTES', 'at most', 'BYTES_PER_MINUTE')
  for (const [name, other] of [
    ['ADMIN_KEY', 'API_KEY'],
    ['APIKEY', 'API_KEY'],
    ['APIKEY', 'ADMIN_KEY'],
  ] as const) {
    if (config[other]?.some((key) => config[name]?.includes(key)))
      throw new ConfigError(`${name} has a key that is also in ${other}. It accepts keys of its own.`)
  }
  if ((config.TLS_CERT_FILE === null) !== (config.TLS_KEY_FILE === null)) {
    const [set, missing] =
      config.TLS_KEY_FILE === null ? ['TLS_CERT_FILE', 'TLS_KEY_FILE'] : ['TLS_KEY_FILE', 'TLS_CERT_FILE']
    throw new ConfigError(`${set} is set. It needs ${missing}, which is not.`)
  }
  if (config.DIRECT_IDENTITY === 'jwt' && (config.JWT_SECRET === null) === (config.JWKS_URL === null)) {
    const are = config.JWT_SECRET === null ? 'neither is' : 'both are'
    throw new ConfigError(`DIRECT_IDENTITY is jwt. It needs JWT_SECRET or JWKS_URL; ${are} set.`)
  }
  if (config.WAKE_WEBHOOK_URL !== null && config.WEBHOOK_SECRET === null) {
    throw new ConfigError('WAKE_WEBHOOK_URL is set. It needs WEBHOOK_SECRET, which is not.')
  }
  checkTurn(config)
}

/** Each provider needs something else. */
function checkTurn(config: Config): void {
  const provider = config.TURN_PROVIDER
  const need = (...names: OptionName[]) => {
    const missing = names.filter((name) => config[name] === null)
    if (missing.length === 0) return
    throw new ConfigError(`TURN_PROVIDER is ${provider}. It needs ${missing.join(' and ')}.`)
  }
  const relays = config.TURN_URLS?.some((url) => url.startsWith('turn'))
  if (provider === 'coturn') need('TURN_URLS', 'TURN_SECRET')
  if (provider === 'metered') need('METERED_URL', 'METERED_SECRET_KEY')
  if (provider === 'static') {
    need('TURN_URLS')
    const named = config.TURN_USERNAME !== null || config.TURN_CREDENTIAL !== null
    if (relays || named) need('TURN_USERNAME', 'TURN_CREDENTIAL')
  }
  if ((provider === 'coturn' || provider === 'metered') && relays === false) {
    throw new ConfigError(`TURN_PROVIDER is ${provider}. It needs a turn: or turns: address in TURN_URLS.`)
  }
}

/** Different characters of a key below which somebody has held one down. */
const FEW_CHARACTERS = 8

const JWT_ONLY = ['JWT_SECRET', 'JWKS_URL', 'JWT_AUDIENCE', 'JWT_ISSUER'] as const
const METERED_ONLY = ['METERED_URL', 'METERED_SECRET_KEY'] as const
const STATIC_ONLY = ['TURN_USERNAME', 'TURN_CREDENTIAL'] as const
const LOOPBACK = /^(localhost|127\.[\d.]+|\[::1\])$/

/** What can be meant, and mostly is not. */
function oddities(config: Config, origins: Setup['origins']): string[] {
  const found: string[] = []
  for (const [name, { form }] of rows) {
    if (form.secret && origins[name].from === 'flag') {
      found.push(
        `${flagOf(name)} can be read by everybody on this machine; set ${name} in the environment or in .env.`,
      )
    }
  }
  const guessable = ['API_KEY', 'APIKEY', 'ADMIN_KEY', 'JWT_SECRET', 'WEBHOOK_SECRET', 'TURN_SECRET'] as const
  for (const name of guessable) {
    if (config[name]?.some((key) => new Set(key).size < FEW_CHARACTERS))
      found.push(`${name} is easy to guess.`)
  }
  if (config.DB_PASSWORD !== null && config.DB_USERNAME === null) {
    found.push('DB_PASSWORD is set and DB_USERNAME is not, so calls are kept in an SQLite file.')
  }
  const { DIRECT_IDENTITY: identity, TURN_PROVIDER: provider, JWKS_URL: jwks } = config
  const idle = (name: OptionName, because: OptionName) => {
    if (config[name] !== null) {
      found.push(`${name} is set and does nothing, because ${because} is ${origins[because].text}.`)
    }
  }
  if (identity !== 'jwt') for (const name of JWT_ONLY) idle(name, 'DIRECT_IDENTITY')
  if (provider === 'none') idle('TURN_URLS', 'TURN_PROVIDER')
  if (provider !== 'coturn') idle('TURN_SECRET', 'TURN_PROVIDER')
  if (provider !== 'metered') for (const name of METERED_ONLY) idle(name, 'TURN_PROVIDER')
  if (provider !== 'static') for (const name of STATIC_ONLY) idle(name, 'TURN_PROVIDER')
  if (jwks?.startsWith('http:') && !LOOPBACK.test(new URL(jwks).hostname)) {
    found.push('JWKS_URL is not https, so whoever sits on the way can make tokens.')
  }
  return found
}

function strangers(env: Environment): string[] {
  return Object.keys(env)
    .filter((name) => /^\w{1,60}$/.test(name) && !Object.hasOwn(options, name) && env[name] !== '')
    .flatMap((name) => {
      const meant = nearMiss(name, names)
      if (meant === null) return []
      return [
        `${name} is not an option${meant === '' ? '' : `; did you mean ${meant}?`}`.replace(/[^?]$/, '$&.'),
      ]
    })
}

/** The flag of an option: `SERVER_ADDR` is `--server-addr`. */
export function flagOf(name: string): string {
  return `--${name.toLowerCase().replaceAll('_', '-')}`
}

/** What stands as the default of an option, for a person. */
export function defaultOf({ default: value, unset }: Option): string {
  return (
    unset ?? (value !== null && typeof value === 'object' ? `the value of ${value.same}` : (value ?? 'none'))
  )
}

const WIDTH = 100

/** The options for `--help`. */
export function help(): string {
  const sections = groups.map(({ title, options }) => {
    const entries = Object.entries<Option>(options).map(
      ([name, option]) =>
        `  ${name}, ${flagOf(name)}\n` +
        wrap(`${option.means} Accepts ${option.form.accepts}. Default: ${defaultOf(option)}.`, '      '),
    )
    return `${title}\n\n${entries.join('\n')}`
  })
  return `${sections.join('\n\n')}\n`
}

function wrap(text: string, indent: string): string {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + word.length < WIDTH) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(indent + word)
  }
  return lines.join('\n')
}
