/** `doctor`: looks for what would keep calls from working. Changes nothing. */
import { accessSync, constants, existsSync, readdirSync, statfsSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { readCertificate } from '../auth/certificate.ts'
import { readKeyFile } from '../auth/keys.ts'
import type { Config } from '../config/options.ts'
import { readConfig } from '../config/read.ts'
import { fileLimit } from '../observe/process.ts'
import { certificateFilesOf } from '../settings.ts'
import { BUILT_PAGES } from './built.ts'
import { dotenvWarnings } from './dotenv.ts'
import { askGreeting } from './mysql-greeting.ts'
import type { Terminal } from './terminal.ts'

export interface Finding {
  /** `look`: something may go wrong. `bad`: it will. `hint`: not to be told from here. */
  readonly is: 'ok' | 'hint' | 'look' | 'bad'
  /** A sentence or two, with what to do. */
  readonly says: string
}

const MARKS = { ok: 'ok  ', hint: 'hint', look: 'look', bad: 'BAD ' }

/** Exit code 1 when something is bad. */
export async function doctor(argv: readonly string[], terminal: Terminal): Promise<number> {
  const { config, warnings } = readConfig(terminal.env, argv)
  const findings = [
    { is: 'ok' as const, says: 'The settings can be read.' },
    ...[...warnings, ...dotenvWarnings()].map((says) => ({ is: 'look' as const, says })),
    ...checkFolder(config),
    ...checkKeys(config),
    ...checkCertificate(config),
    await checkAddress(config),
    ...(await checkDatabase(config)),
    checkFiles(config),
    checkClock(config),
    ...checkProxy(config),
    ...checkPages(config),
  ]
  for (const { is, says } of findings) terminal.out(`${MARKS[is]}  ${says}\n`)
  return findings.some(({ is }) => is === 'bad') ? 1 : 0
}

const ok = (says: string): Finding => ({ is: 'ok', says })
const hint = (says: string): Finding => ({ is: 'hint', says })
const look = (says: string): Finding => ({ is: 'look', says })
const bad = (says: string): Finding => ({ is: 'bad', says })

const LITTLE_SPACE = 200 * 1024 * 1024

function checkFolder({ DATA_DIR }: Config): Finding[] {
  const folder = resolve(DATA_DIR)
  // What is not there yet is made in the nearest folder that is.
  let existing = folder
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing)
  try {
    if (!statSync(existing).isDirectory())
      return [bad(`${existing} is not a folder: choose another DATA_DIR.`)]
    accessSync(existing, constants.W_OK | constants.X_OK)
  } catch {
    return [bad(`This user may not write to ${existing}: change its owner, or choose another DATA_DIR.`)]
  }
  const { bavail, bsize } = statfsSync(existing)
  const space = `${Math.round((bavail * bsize) / 1024 / 1024)} MB free`
  const findings = [
    ok(`The data folder ${folder} can be written${existing === folder ? '' : ', once it is made'}.`),
  ]
  if (bavail * bsize < LITTLE_SPACE) findings.push(look(`There is little space left for it: ${space}.`))
  return findings
}

function checkKeys({ DATA_DIR, API_KEY }: Config): Finding[] {
  try {
    const kept = readKeyFile(DATA_DIR)
    if (kept !== null) return [ok('The key file can be read.')]
    return [ok(API_KEY === null ? 'Keys are made at the first start.' : 'API_KEY is set.')]
  } catch (error) {
    return [bad(error instanceof Error ? error.message : 'The key file cannot be read.')]
  }
}

const DAY = 86_400_000
/** Those who renew certificates do so earlier. */
const SOON = 14 * DAY

function checkCertificate(config: Config): Finding[] {
  const files = certificateFilesOf(config)
  if (files === null) return []
  try {
    const { names, until } = readCertificate(files)
    const days = Math.floor((until - Date.now()) / DAY)
    const whose = `The certificate (${names === '' ? 'without a name' : names})`
    if (days < 0) return [bad(`${whose} has run out: renew it.`)]
    const says = `${whose} is good for ${days} days more`
    return [until - Date.now() < SOON ? look(`${says}: is it renewed?`) : ok(`${says}.`)]
  } catch (error) {
    return [bad(error instanceof Error ? error.message : 'The certificate cannot be read.')]
  }
}

async function checkAddress({ SERVER_ADDR: { host, port }, TLS_CERT_FILE }: Config): Promise<Finding> {
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`
  try {
    const server = Bun.listen({ hostname: host, port, socket: { data() {} } })
    server.stop(true)
    return ok(`${address} is free to listen on.`)
  } catch {
    const runs = await answersHealth(
      `http${TLS_CERT_FILE === null ? '' : 's'}://${address.replace('0.0.0.0', '127.0.0.1').replace('[::]', '[::1]')}`,
    )
    if (runs) return look(`A server answers on ${address} already; good if it is this one.`)
    return bad(`${address} cannot be listened on: it is taken, or not of this machine. Set SERVER_ADDR.`)
  }
}

async function answersHealth(url: string): Promise<boolean> {
  try {
    const answer = await fetch(`${url}/health`, {
      signal: AbortSignal.timeout(1000),
      tls: { rejectUnauthorized: false },
    })
    return (await answer.text()).includes('"status":"ok"')
  } catch {
    return false
  }
}

async function checkDatabase(config: Config): Promise<Finding[]> {
  if (config.DB_USERNAME === null) return [ok('Calls are logged in SQLite; DB_USERNAME would choose MySQL.')]
  const where = `${config.DB_HOST}:${config.DB_PORT}`
  const greeting = await askGreeting(config.DB_HOST, config.DB_PORT)
  switch (greeting.is) {
    case 'version':
      return [
        ok(`A database answers at ${where}: ${greeting.version}. User and password are tried at the start.`),
      ]
    case 'refusal':
      return [bad(`The database at ${where} turns us away: ${greeting.message}.`)]
    case 'silence':
      return [
        bad(
          `No database answers at ${where} (${greeting.why}). Calls work, and their log waits on this machine.`,
        ),
      ]
  }
}

/** Sockets that a server needs besides those of phones: its listener, files, the database, requests over HTTP. */
const OTHER_FILES = 256

function checkFiles({ MAX_CONNECTIONS }: Config): Finding {
  const limit = fileLimit()
  if (limit === null) return look('How many files may be open cannot be told on this machine.')
  const needed = MAX_CONNECTIONS + OTHER_FILES
  if (limit >= needed) return ok(`${limit} files may be open, enough for MAX_CONNECTIONS.`)
  return look(
    `${limit} files may be open, and MAX_CONNECTIONS needs ${needed}: raise it (ulimit -n, LimitNOFILE).`,
  )
}

/** No build of this server is older. */
const EARLIEST = Date.UTC(2025, 0, 1)
const AHEAD = 5000

function checkClock({ DATA_DIR }: Config): Finding {
  const now = Date.now()
  const says = `The clock of this machine says ${new Date(now).toISOString()}`
  if (now < EARLIEST)
    return bad(`${says}, which is wrong: times in the log and short-lived tokens depend on it.`)
  if (newestFile(resolve(DATA_DIR)) > now + AHEAD)
    return look(`${says}, before what was written last: it was set back.`)
  return ok(`${says}.`)
}

function newestFile(folder: string): number {
  try {
    return Math.max(0, ...readdirSync(folder).map((name) => statSync(join(folder, name)).mtimeMs))
  } catch {
    return 0
  }
}

/** Silence after which nginx cuts a connection, unless `proxy_read_timeout` says more. */
const NGINX_PATIENCE = 60_000

function checkProxy(config: Config): Finding[] {
  const {
    HEARTBEAT_INTERVAL,
    SERVER_ADDR: { host },
    SITEURL,
    TLS_CERT_FILE,
  } = config
  const findings: Finding[] = []
  if (HEARTBEAT_INTERVAL >= NGINX_PATIENCE) {
    findings.push(
      look('HEARTBEAT_INTERVAL is 60 s or more: set proxy_read_timeout in nginx to more than that.'),
    )
  }
  const local = host === 'localhost' || host === '::1' || host.startsWith('127.')
  if (TLS_CERT_FILE !== null) return findings
  if (!local) {
    findings.push(
      look(
        'It listens beyond this machine without TLS. Browsers give a page the microphone over HTTPS only.',
      ),
    )
  } else if (SITEURL === null) {
    findings.push(
      hint(
        'Behind nginx, pass Host, X-Forwarded-For and X-Forwarded-Proto, or set SITEURL, so that addresses it gives out are right.',
      ),
    )
  }
  return findings
}

function checkPages({ TRY_PAGES }: Config): Finding[] {
  if (TRY_PAGES === 'false' || existsSync(join(BUILT_PAGES, 'call.html'))) return []
  return [hint('The pages to try calls are not built; npm start builds them.')]
}
