/** `verify`: compares what a server serves with what was built here, file by file. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readKeyFile } from '../auth/keys.ts'
import { readConfig } from '../config/read.ts'
import { BUILT_PAGES } from './built.ts'
import { CommandError, type Terminal } from './terminal.ts'

const PATIENCE = 10_000
/** What is at an address instead of a page. */
const LARGEST = 4 * 1024 * 1024

/**
 * Asks the server at an address for every file that the page of a line can load, and for the page. Its own list of
 * hashes proves nothing about what it sends, so it is not asked for. Exit code 1 when something differs.
 */
export async function verify(
  argv: readonly string[],
  terminal: Terminal,
  built = BUILT_PAGES,
): Promise<number> {
  const [address = '', ...rest] = argv
  if (!/^https?:\/\//.test(address) || !URL.canParse(address))
    throw new CommandError('What is to be compared? Say: verify https://line.example.com')
  const { config } = readConfig(terminal.env, rest)
  const url = new URL(address)
  const key = url.searchParams.get('apikey') ?? (config.APIKEY ?? readKeyFile(config.DATA_DIR)?.line)?.[0]
  if (key === undefined) throw new CommandError('APIKEY is not set: the page is not shown without a key.')

  const hashes = hashesIn(built)
  // Other pages may be switched off; what all of them load is checked.
  const names = Object.keys(hashes).filter((name) => name.startsWith('assets/') || name === 'line.html')
  let different = 0
  for (const name of names) {
    const query = name === 'line.html' ? `?apikey=${encodeURIComponent(key)}` : ''
    const found = await hashOf(`${url.origin}/${name}${query}`)
    if (found === hashes[name]) continue
    different++
    terminal.out(`${name} ${found === null ? 'is not there' : 'is another file'}\n`)
  }
  terminal.out(
    different === 0
      ? `${url.origin} serves the ${names.length} files that were built here.\n`
      : `${different} of ${names.length} files differ from what was built here.\n`,
  )
  terminal.out(
    `The SHA-256 of line.html, as its numbers show it: ${hashes['line.html']?.match(/.{8}/g)?.join(' ')}\n`,
  )
  return different === 0 ? 0 : 1
}

function hashesIn(folder: string): Record<string, string> {
  try {
    return JSON.parse(readFileSync(join(folder, 'files.json'), 'utf8'))
  } catch {
    throw new CommandError('The pages are not built; npm run build builds them.')
  }
}

/** SHA-256 of what is at an address, in hex; null when it is answered otherwise. Throws when nothing answers. */
async function hashOf(url: string): Promise<string | null> {
  try {
    const answer = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(PATIENCE) })
    if (answer.status !== 200) return null
    const sum = new Bun.CryptoHasher('sha256')
    let size = 0
    for await (const chunk of answer.body ?? []) {
      size += chunk.length
      if (size > LARGEST) return ''
      sum.update(chunk)
    }
    return sum.digest('hex')
  } catch (error) {
    // Never its text, which may hold the address and the key in it.
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
    throw new CommandError(`${new URL(url).origin} does not answer: ${code}.`)
  }
}
