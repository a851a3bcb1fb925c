/**
 * The operator's commands. Each is a function from its arguments to an exit code; 0 is good, 1 went wrong, 2 was not
 * understood. What a command needs is loaded when it runs, so that `--help` costs nothing and `serve` nothing more.
 */
import { version } from '../../package.json'
import { help } from '../config/read.ts'
import { environment } from './dotenv.ts'
import type { Terminal } from './terminal.ts'

const USAGE = `Ringdown ${version}, a server for private two-party voice calls.

Usage: ringdown [command] [options]

  serve                    take calls; the default
  config                   show the settings in effect, and where each comes from
  keys                     show which keys are in use, and where they are kept
  keys show                show the keys that were made
  keys link                show the links with which a line begins, for full sound and for mobile
  keys new DOOR            make another key, good besides the old ones from the next start on
  keys retire DOOR         forget all made keys but the newest; DOOR is api, admin or line
  verify ADDRESS           compare the page that a server serves with what was built here
  doctor                   look for what would keep calls from working
  help, --help             this
  version, --version       the version

Every setting is an environment variable or a flag; flags win. A .env file in the working folder is read.
`

/** Runs one command. Returns the exit code; rejects only on our own mistakes. */
export async function run(argv: readonly string[], terminal: Terminal): Promise<number> {
  if (argv.includes('--help') || argv[0] === 'help') {
    terminal.out(`${USAGE}\n${help()}`)
    return 0
  }
  if (argv.includes('--version') || argv[0] === 'version') {
    terminal.out(`ringdown ${version} (bun ${Bun.version})\n`)
    return 0
  }
  const [command, ...rest] = argv[0] === undefined || argv[0].startsWith('-') ? ['serve', ...argv] : argv
  try {
    switch (command) {
      case 'serve':
        return await (await import('./serve.ts')).serve(rest, terminal)
      case 'config':
        return (await import('./config.ts')).showConfig(rest, terminal)
      case 'keys':
        return (await import('./keys.ts')).keys(rest, terminal)
      case 'verify':
        return await (await import('./verify.ts')).verify(rest, terminal)
      case 'doctor':
        return await (await import('./doctor.ts')).doctor(rest, terminal)
      default:
        terminal.err('ringdown: there is no such command; see --help\n')
        return 2
    }
  } catch (error) {
    const line = lineFor(error)
    if (line === null) throw error
    terminal.err(`ringdown: ${line}\n`)
    return 1
  }
}

/** Errors whose message is one line for the operator. By name, because their rooms need not be loaded to be known. */
const FOR_THE_OPERATOR = [
  'ConfigError',
  'KeyFileError',
  'CertificateError',
  'CommandError',
  'Unusable',
  'NewerFile',
]

function lineFor(error: unknown): string | null {
  if (!(error instanceof Error)) return null
  const named = FOR_THE_OPERATOR.includes(error.name) || FOR_THE_OPERATOR.includes(error.constructor.name)
  return named ? error.message.replace(/\s+/g, ' ') : null
}

if (import.meta.main) {
  const code = await run(process.argv.slice(2), {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    env: await environment(),
  })
  process.exit(code)
}
