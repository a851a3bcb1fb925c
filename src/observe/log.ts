/**
 * Log lines: JSON, one object a line, with the field names of pino (`level`, `time`, `msg`), so that tools made for it
 * read them; or lines for the eye. Secrets are kept out by name (clean.ts) and, once they are known, by value.
 *
 * This room counts and tells; it decides nothing. It touches standard output, /proc and the clock of the machine.
 * Deliberately not here: what is worth a line (the rooms), and who may read the numbers (http).
 */
import type { Log } from '../core/ports.ts'
import { clean, HIDDEN } from './clean.ts'
import { Lines, type Outlet, standardOutput } from './outlet.ts'
import { pretty } from './pretty.ts'

export type Level = 'debug' | 'info' | 'warn' | 'error'
const LEVELS: readonly Level[] = ['debug', 'info', 'warn', 'error']

export interface LogSettings {
  readonly level: Level
  /** `auto`: for the eye on a terminal, JSON elsewhere. */
  readonly format: 'auto' | 'json' | 'pretty'
  /** Standard output, if it is not given. */
  readonly outlet?: Outlet
}

export interface ServerLog extends Log {
  /** True when lines are JSON, for a machine. */
  readonly json: boolean
  /** From now on these texts leave in no line of this logger and its children. */
  hide(secrets: readonly string[]): void
  /** Hands on what was gathered, without waiting. */
  flush(): void
  /** Hands on what was gathered and waits for a slow reader a moment. Lines that come later are still written. */
  close(): Promise<void>
}

/** Shorter ones would blot out half of the line, and are no secret. */
const SHORTEST_SECRET = 8

export function openLog({ level, format, outlet = standardOutput() }: LogSettings): ServerLog {
  const terminal = process.stdout.isTTY === true
  const json = format === 'json' || (format === 'auto' && !terminal)
  const colours = terminal && process.env.NO_COLOR === undefined
  let secrets: readonly string[] = []

  function line(at: Level, context: Record<string, unknown>, msg: string): string {
    const own = { level: at, time: new Date().toISOString() }
    // Twice: first in the line, and never those of a context.
    const text = json
      ? `${JSON.stringify(Object.assign({ ...own }, context, own, { msg }))}\n`
      : pretty({ ...own, msg, context }, colours)
    return secrets.reduce((shown, secret) => shown.replaceAll(secret, HIDDEN), text)
  }

  const lines = new Lines(outlet, (lost) =>
    line('warn', { lost }, 'log lines were lost: their reader is too slow'),
  )
  const write = (at: Level, context: Record<string, unknown>, msg: string) =>
    lines.push(line(at, context, msg), at === 'error')
  const atExit = () => lines.flush()
  process.on('exit', atExit)

  const root = new Logger(LEVELS.indexOf(level), write, {})
  return {
    debug: (context, message) => root.debug(context, message),
    info: (context, message) => root.info(context, message),
    warn: (context, message) => root.warn(context, message),
    error: (context, message) => root.error(context, message),
    child: (context) => root.child(context),
    json,
    hide(added) {
      const long = added.filter((secret) => secret.length >= SHORTEST_SECRET)
      const forms = long.flatMap((it) => [it, JSON.stringify(it).slice(1, -1), encodeURIComponent(it)])
      secrets = [...new Set([...secrets, ...forms])]
    },
    flush: () => lines.flush(),
    close() {
      process.off('exit', atExit)
      return lines.close()
    },
  }
}

type Write = (at: Level, context: Record<string, unknown>, msg: string) => void

/** Small, and bound context is cleaned once: each connection has a logger of its own. */
class Logger implements Log {
  readonly #least: number
  readonly #write: Write
  readonly #bound: Record<string, unknown>

  constructor(least: number, write: Write, bound: Record<string, unknown>) {
    this.#least = least
    this.#write = write
    this.#bound = bound
  }

  debug(context: object, message: string): void {
    if (this.#least <= 0) this.#tell('debug', context, message)
  }

  info(context: object, message: string): void {
    if (this.#least <= 1) this.#tell('info', context, message)
  }

  warn(context: object, message: string): void {
    if (this.#least <= 2) this.#tell('warn', context, message)
  }

  error(context: object, message: string): void {
    this.#tell('error', context, message)
  }

  child(context: object): Log {
    return new Logger(this.#least, this.#write, { ...this.#bound, ...clean(context) })
  }

  #tell(at: Level, context: object, message: string): void {
    this.#write(at, { ...this.#bound, ...clean(context) }, message)
  }
}
