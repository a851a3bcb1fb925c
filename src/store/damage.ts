/** How it is known that the local file is not what was written to it. */

/** Thrown when we find it ourselves. */
export class Damaged extends Error {}

/** Whether an error says so, SQLite's included. */
export function isDamage(error: unknown): boolean {
  if (error instanceof Damaged) return true
  return error instanceof Error && 'code' in error && /^SQLITE_(CORRUPT|NOTADB)/.test(String(error.code))
}
