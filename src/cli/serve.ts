/** `serve`: starts the server, says so, and stops it when it is told to. */
import { resolve } from 'node:path'
import { version } from '../../package.json'
import type { Keys } from '../auth/keys.ts'
import type { Config } from '../config/options.ts'
import { readConfig } from '../config/read.ts'
import { type Running, start } from '../main.ts'
import { openLog, type ServerLog } from '../observe/log.ts'
import { banner, databaseOf } from './banner.ts'
import { BUILT_PAGES } from './built.ts'
import { dotenvWarnings } from './dotenv.ts'
import { cutLineLinks } from './line-link.ts'
import { CommandError, type Terminal } from './terminal.ts'

/** What takes longer than this to stop is cut off. */
const STOP_WITHIN = 30_000

/** Resolves with the exit code when the server has stopped. Throws what keeps it from starting. */
export async function serve(argv: readonly string[], terminal: Terminal): Promise<number> {
  const { config, warnings } = readConfig(terminal.env, argv)
  const log = openLog({ level: config.LOG_LEVEL, format: config.LOG_FORMAT })
  const given = [config.API_KEY, config.APIKEY, config.ADMIN_KEY].flatMap((keys) => keys ?? [])
  log.hide([...given, config.DB_PASSWORD ?? ''])
  const told = signals()
  const fellOver = crash()
  try {
    const running = await starting(config, log)
    announce(config, running, [...warnings, ...dotenvWarnings(), ...cautions(config)], log, terminal)
    // Where the certificate is a proxy's, this signal ends the process, as it does others.
    if (config.TLS_CERT_FILE !== null) process.on('SIGHUP', () => running.renewCertificate())
    const error = await Promise.race([told.first.then(() => null), fellOver])
    if (error !== null) {
      log.error({ err: error }, 'the server fell over')
      return 1
    }
    return await stop(running, told.second, log)
  } finally {
    await log.close()
  }
}

async function starting(config: Config, log: ServerLog): Promise<Running> {
  try {
    const running = await start(config, { log, pages: BUILT_PAGES })
    log.hide(madeSecrets(running.keys))
    return running
  } catch (error) {
    throw cannotListen(error, config) ?? error
  }
}

function madeSecrets({ effective, secret }: Keys): string[] {
  const bytes = Buffer.from(secret)
  return [
    ...effective.api,
    ...effective.admin,
    ...effective.line,
    bytes.toString('base64url'),
    bytes.toString('hex'),
  ]
}

const LISTEN_ERRORS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there already',
  EACCES:
    'this user may not listen there; net.ipv4.ip_unprivileged_port_start says from which port on it may',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'this machine has no such address',
}

function cannotListen(error: unknown, config: Config): CommandError | null {
  if (!(error instanceof Error) || !('code' in error)) return null
  const reason = LISTEN_ERRORS[String(error.code)]
  if (reason === undefined) return null
  const { host, port } = config.SERVER_ADDR
  return new CommandError(`SERVER_ADDR is ${host.includes(':') ? `[${host}]` : host}:${port}, and ${reason}.`)
}

/** What is worth knowing about how it is set. */
function cautions(config: Config): string[] {
  const all: string[] = []
  if (!config.REQUIRE_JOIN_TOKEN) {
    all.push(
      "REQUIRE_JOIN_TOKEN is off: whoever knows a session and a user id can take that user's place in the call.",
    )
  }
  const everywhere = ['0.0.0.0', '::'].includes(config.SERVER_ADDR.host)
  if (everywhere && config.SITEURL === null && config.DIRECT_IDENTITY === 'tofu') {
    all.push(
      'SITEURL is not set: clients of direct calls cannot prove who they are, since proofs name this server.',
    )
  }
  return all
}

function announce(
  config: Config,
  running: Running,
  warnings: string[],
  log: ServerLog,
  terminal: Terminal,
): void {
  const { keys, url, tryPages } = running
  const dataDir = resolve(config.DATA_DIR)
  const [lineKey = ''] = keys.effective.line
  if (log.json) {
    log.info({ version, url, database: databaseOf(config, dataDir), keyFile: keys.file, tryPages }, 'ready')
    if (keys.firstStart) log.info({ keyFile: keys.file }, 'keys were made')
    const links = cutLineLinks(config.SITEURL ?? url, lineKey)
    log.info({}, `Try ${links.usual}`)
    log.info({}, `Try mobile ${links.mobile}`)
    for (const warning of warnings) log.warn({}, warning)
    return
  }
  log.flush()
  const newApiKey = keys.firstStart && config.API_KEY === null ? (keys.effective.api[0] ?? null) : null
  const newLineKey = keys.firstStart && config.APIKEY === null
  const facts = {
    version,
    url,
    tryPages,
    keyFile: keys.file,
    newApiKey,
    lineKey,
    newLineKey,
    dataDir,
    warnings,
  }
  terminal.out(banner(config, facts))
}

/** Closes in order. A second signal, or taking too long, cuts it off; what was promised is on disk by then. */
export async function stop(running: Running, cutOff: Promise<void>, log: ServerLog): Promise<number> {
  const late = Bun.sleep(STOP_WITHIN)
  const how = await Promise.race([
    running.close().then(() => 'stopped' as const),
    cutOff.then(() => 'told twice' as const),
    late.then(() => 'too slow' as const),
  ])
  if (how === 'stopped') return 0
  log.error({ how }, 'stopped without waiting for the rest')
  return 1
}

/** The first and the second time that the process is asked to stop. */
function signals(): { first: Promise<void>; second: Promise<void> } {
  const first = Promise.withResolvers<void>()
  const second = Promise.withResolvers<void>()
  let count = 0
  const heard = () => (++count === 1 ? first : second).resolve()
  process.on('SIGINT', heard)
  process.on('SIGTERM', heard)
  return { first: first.promise, second: second.promise }
}

/** Resolves with the first error that nobody caught. What state that leaves is not known, so the process ends. */
function crash(): Promise<unknown> {
  const { promise, resolve } = Promise.withResolvers<unknown>()
  process.on('uncaughtException', resolve)
  process.on('unhandledRejection', resolve)
  return promise
}
