/** Instants as SQL has them: UTC to the millisecond, `2026-01-31 09:30:00.250`, which also sort as text. */
import type { Millis } from '../core/ids.ts'

export function toSql(at: Millis): string {
  return new Date(at).toISOString().slice(0, 23).replace('T', ' ')
}

/** ISO 8601 in UTC, to the millisecond, also from a column without fractions. */
export function toIso(sql: string): string {
  const [day, time = '00:00:00'] = sql.split(' ')
  const [seconds, fraction = ''] = time.split('.')
  return `${day}T${seconds}.${fraction.slice(0, 3).padEnd(3, '0')}Z`
}
