/**
 * The `.env` of the working folder, read as `node --env-file` reads it. The runtime reads it too, but puts variables in
 * place of `$NAME`, between single quotes as well, which cuts a password without a word.
 */
import { readFileSync } from 'node:fs'
import { options } from '../config/options.ts'

type Environment = Readonly<Record<string, string | undefined>>

const FILE = '.env'

/** The environment with our variables of `.env`. What was set before the start wins over the file. */
export async function environment(): Promise<Environment> {
  const text = process.execArgv.includes('--no-env-file') ? null : readText(FILE)
  if (text === null) return process.env
  const { parseEnv } = await import('node:util')
  return merge(process.env, parseEnv(text), setBefore())
}

/** `before`: names that were set before the runtime read the file; null when that cannot be told. */
export function merge(env: Environment, file: Environment, before: ReadonlySet<string> | null): Environment {
  const ours = Object.entries(file).filter(
    ([name]) =>
      Object.hasOwn(options, name) && !(before === null ? env[name] !== undefined : before.has(name)),
  )
  return { ...env, ...Object.fromEntries(ours) }
}

/** What the system handed to this process, or null where it does not tell. */
function setBefore(): ReadonlySet<string> | null {
  const text = readText('/proc/self/environ')
  return text === null ? null : new Set(text.split('\0').map((entry) => entry.split('=', 1)[0] ?? ''))
}

/** A value that goes on behind a `#`: what follows is a comment, wherever it stands outside of quotes. */
export function dotenvWarnings(path = FILE): string[] {
  return (readText(path) ?? '').split('\n').flatMap((line) => {
    const [, name = '', value = ''] = /^\s*(?:export\s+)?(\w+)\s*=\s*(.*?)\s*$/.exec(line) ?? []
    const cut = !/^["'`]/.test(value) && /\S#/.test(value.replace(/\s#.*$/, ''))
    if (!cut || !Object.hasOwn(options, name)) return []
    return [`${name} in .env ends at the #; put the value between quotes to keep it.`]
  })
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null // There is none, or it is not for us to read.
  }
}
