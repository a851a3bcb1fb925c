/**
 * The server's own keys. At the first start it makes a key for the app's backend, one for the operator, one for the
 * line, and the secret from which tokens are made, and keeps them in `keys.json` in the data folder, readable by its own user only.
 * Keys that the operator set win over made ones; the secret is always the one in the file.
 *
 * Deliberately not here: what a key opens (the doors), and telling the operator about it (cli).
 */
import { randomBytes, randomUUID } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { Keyring } from './keyring.ts'

export const KEY_FILE = 'keys.json'
const SECRET_BYTES = 32
/** Random bytes of a key. One of the line stands in a link and has at least 72 characters, its prefix included. */
const KEY_BYTES = { api: 32, admin: 32, line: 48 } as const
const SHORTEST_KEY = 32

/** The file cannot be read or written. One line for the operator; never holds a key. */
export class KeyFileError extends Error {
  override readonly name = 'KeyFileError'
}

export type Door = 'api' | 'admin' | 'line'

/** What `keys.json` holds. The newest key of a door comes first. */
export interface KeyFile {
  readonly api: readonly string[]
  readonly admin: readonly string[]
  readonly line: readonly string[]
  /** As base64url. */
  readonly secret: string
}

export interface Keys {
  readonly api: Keyring
  readonly admin: Keyring
  readonly line: Keyring
  readonly secret: Uint8Array
  /** Absolute path of the file. */
  readonly file: string
  /** The keys in effect, to be shown to nobody but the operator, and to be kept out of the log. */
  readonly effective: Readonly<Record<Door, readonly string[]>>
  /** True for the one start that made the file. */
  readonly firstStart: boolean
}

/** The keys that the operator set, or null. */
export interface GivenKeys {
  readonly apiKey: readonly string[] | null
  readonly adminKey: readonly string[] | null
  readonly lineKey: readonly string[] | null
}

/** Opens the key file in this folder; makes both if they are not there. Throws a KeyFileError. */
export function openKeys(dataDir: string, given: GivenKeys): Keys {
  const file = resolve(dataDir, KEY_FILE)
  const found = readKeyFile(dataDir)
  // Of two servers that start at once, one makes the file and the other reads it.
  const firstStart = found === null && create(dataDir)
  const kept = found ?? readKeyFile(dataDir)
  if (kept === null) throw new KeyFileError(`${file} vanished while it was read.`)
  const effective = {
    api: given.apiKey ?? kept.api,
    admin: given.adminKey ?? kept.admin,
    // A file that was made before there was a line has no key for it.
    line: given.lineKey ?? (kept.line.length > 0 ? kept.line : [addKey(dataDir, 'line')]),
  }
  return {
    api: new Keyring(effective.api),
    admin: new Keyring(effective.admin),
    line: new Keyring(effective.line),
    secret: Buffer.from(kept.secret, 'base64url'),
    file,
    effective,
    firstStart,
  }
}

/** What is in the file, or null when there is none. Takes away what others may do with it. Throws a KeyFileError. */
export function readKeyFile(dataDir: string): KeyFile | null {
  const file = resolve(dataDir, KEY_FILE)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
    if (process.platform !== 'win32' && (statSync(file).mode & 0o077) !== 0) chmodSync(file, 0o600)
  } catch (error) {
    if (isError(error, 'ENOENT')) return null
    throw new KeyFileError(`${file} cannot be read: ${reason(error)}.`)
  }
  try {
    return checked(JSON.parse(text))
  } catch {
    throw new KeyFileError(
      `${file} is damaged. Restore it, or move it away to have new keys made; tokens given out before are void then.`,
    )
  }
}

/** Adds a new key, which is good besides the others from the next start on. Returns it. Throws a KeyFileError. */
export function addKey(dataDir: string, door: Door): string {
  const kept = present(dataDir)
  const key = newKey(door)
  write(dataDir, { ...kept, [door]: [key, ...kept[door]] }, 'replace')
  return key
}

/** Keeps the newest key of a door and forgets the others. Returns how many those were. Throws a KeyFileError. */
export function retireKeys(dataDir: string, door: Door): number {
  const kept = present(dataDir)
  write(dataDir, { ...kept, [door]: kept[door].slice(0, 1) }, 'replace')
  return Math.max(0, kept[door].length - 1)
}

function present(dataDir: string): KeyFile {
  const kept = readKeyFile(dataDir)
  if (kept === null)
    throw new KeyFileError(`${resolve(dataDir, KEY_FILE)} is not there; the first start makes it.`)
  return kept
}

function newKey(door: Door): string {
  return `rd_${door}_${randomBytes(KEY_BYTES[door]).toString('base64url')}`
}

/** False when somebody else was quicker. */
function create(dataDir: string): boolean {
  const secret = randomBytes(SECRET_BYTES).toString('base64url')
  const keys = { api: [newKey('api')], admin: [newKey('admin')], line: [newKey('line')], secret }
  return write(dataDir, keys, 'create')
}

/** Whole or not at all, and on disk when it returns. `create` never replaces a file: it returns false. */
function write(dataDir: string, keys: KeyFile, how: 'create' | 'replace'): boolean {
  const file = resolve(dataDir, KEY_FILE)
  const draft = resolve(dataDir, `.${KEY_FILE}.${randomUUID()}`)
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    const fd = openSync(draft, 'wx', 0o600)
    try {
      writeSync(fd, `${JSON.stringify(keys, null, 2)}\n`)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    const placed = place(draft, file, how)
    syncFolder(dataDir)
    return placed
  } catch (error) {
    throw new KeyFileError(`${file} cannot be written: ${reason(error)}.`)
  } finally {
    rmSync(draft, { force: true })
  }
}

/** A link, unlike a rename, fails when the name is taken. */
function place(draft: string, file: string, how: 'create' | 'replace'): boolean {
  try {
    if (how === 'create') linkSync(draft, file)
    else renameSync(draft, file)
  } catch (error) {
    if (how === 'replace') throw error
    if (isError(error, 'EEXIST')) return false
    // Some mounts have no links. There, the later of two first starts wins.
    renameSync(draft, file)
  }
  return true
}

function syncFolder(folder: string): void {
  if (process.platform === 'win32') return
  const fd = openSync(join(folder, '.'), 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function checked(value: unknown): KeyFile {
  const { api, admin, line = [], secret } = value as Partial<KeyFile>
  const areKeys = (keys: unknown): keys is readonly string[] =>
    Array.isArray(keys) && keys.every((key) => typeof key === 'string' && key.length >= SHORTEST_KEY)
  if (!areKeys(api) || !areKeys(admin) || !areKeys(line) || typeof secret !== 'string')
    throw new Error('incomplete')
  const whole = api.length > 0 && admin.length > 0 && Buffer.from(secret, 'base64url').length >= SECRET_BYTES
  if (!whole) throw new Error('incomplete')
  return { api, admin, line, secret }
}

function isError(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

function reason(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
}
