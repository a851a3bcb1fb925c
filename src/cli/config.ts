import { groups, type Option, type OptionName } from '../config/options.ts'
import { readConfig } from '../config/read.ts'
import { dotenvWarnings } from './dotenv.ts'
import type { Terminal } from './terminal.ts'

const FROM = { flag: 'flag', environment: 'environment or .env', default: 'default' }

/** `config`: every setting as it would be written in .env, and where it comes from. Secrets are not shown. */
export function showConfig(argv: readonly string[], terminal: Terminal): number {
  const { origins, warnings } = readConfig(terminal.env, argv)
  for (const { title, options } of groups) {
    terminal.out(`# ${title}\n`)
    for (const [name, { form, unset }] of Object.entries<Option>(options)) {
      const { from, text } = origins[name as OptionName]
      if (from === 'default' && text === null) terminal.out(`# ${name}=  (not set: ${unset})\n`)
      else if (form.secret) terminal.out(`# ${name}=  (set, not shown; ${FROM[from]})\n`)
      else terminal.out(`${`${name}=${text}`.padEnd(44)}  # ${FROM[from]}\n`)
    }
    terminal.out('\n')
  }
  for (const warning of [...warnings, ...dotenvWarnings()]) terminal.err(`ringdown: ${warning}\n`)
  return 0
}
