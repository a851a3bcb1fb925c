import { readFileSync } from 'node:fs'
import { options } from '../config/options.ts'

/**
 * Warnings about `.env` in the working folder. The runtime reads that file, and unlike others it puts variables in
 * place of `$NAME`, between single quotes too; and `#` begins a comment wherever it stands outside of quotes. Either
 * cuts a password or key without a word.
 */
export function dotenvWarnings(path = '.env'): string[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return [] // There is none, or it is not for us to read.
  }
  return text.split('\n').flatMap((line) => {
    const [, name = '', value = ''] = /^\s*(?:export\s+)?(\w+)\s*=\s*(.*?)\s*$/.exec(line) ?? []
    if (!Object.hasOwn(options, name)) return []
    const quoted = /^(["'`]).*\1/.test(value)
    const bare = value.replace(/\s#.*$/, '')
    if (/(^|[^\\])\$[{\w]/.test(value))
      return [`${name} in .env holds a $, which stands for a variable; write \\$ for the character.`]
    if (!quoted && bare.includes('#'))
      return [`${name} in .env ends at the #; put the value between quotes to keep it.`]
    return []
  })
}
