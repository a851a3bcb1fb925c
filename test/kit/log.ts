/** Logs for tests: one that keeps its lines, one that is silent. */
import type { Log } from '../../src/core/ports.ts'
import { clean } from '../../src/observe/clean.ts'

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly message: string
  /** What was bound and what came with the line, as it would be written. */
  readonly context: Record<string, unknown>
}

/** A log that keeps its lines and those of its children, as they were when they were told. */
export function listLog(lines: LogLine[] = []): Log & { lines: LogLine[] } {
  return { ...bound(lines, {}), lines }
}

function bound(lines: LogLine[], context: Record<string, unknown>): Log {
  const at = (level: LogLine['level']) => (more: object, message: string) => {
    lines.push({ level, message, context: { ...context, ...clean(more) } })
  }
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (more) => bound(lines, { ...context, ...clean(more) }),
  }
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silentLog }
