/** `GET /calls`: the call log, filtered, newest first, as JSON page by page or as one CSV. */
import { Type } from 'typebox'
import type { CallHistory, CallQuery, CallRow } from '../core/ports.ts'
import { type EndReason, endReasons, fail } from '../protocol/codes.ts'
import { json } from './answer.ts'
import type { Route } from './route.ts'

const DEFAULT_ROWS = 100
const MOST_ROWS = 1000

const columns = [
  'id',
  'session_id',
  'ride_id',
  'driver_id',
  'passenger_id',
  'status',
  'initiated_by',
  'end_reason',
  'created_at',
  'connected_at',
  'ended_at',
  'service',
  'ended_by',
  'detail',
  'metadata',
] as const satisfies readonly (keyof CallRow)[]

const query = {
  ride_id: 'Calls of this ride.',
  user_id: 'Calls that this user was a party of.',
  service: 'ride, direct or line.',
  status: 'created, active or ended.',
  end_reason: 'One of the end reasons.',
  from: 'Created at or after this instant, ISO 8601.',
  to: 'Created before this instant, ISO 8601.',
  limit: `Rows in a page, 1 to ${MOST_ROWS}; ${DEFAULT_ROWS} when not given.`,
  cursor: 'next_cursor of the page before.',
  format: 'json, or csv for all rows at once.',
}

const page = Type.Object({
  calls: Type.Array(Type.Record(Type.String(), Type.Unknown())),
  next_cursor: Type.Union([Type.String(), Type.Null()]),
})

export function callRoutes({ history }: { readonly history: CallHistory }): Route[] {
  return [
    {
      method: 'GET',
      path: '/calls',
      access: 'backend',
      about: 'The call log, newest first.',
      query,
      answers: page,
      fails: ['invalid_field', 'storage_unavailable'],
      async handle({ url }) {
        const wanted = readQuery(url.searchParams)
        // The first rows are fetched before the answer begins, so that a database that is down is still a 503.
        const calls = await history.find(wanted)
        if (url.searchParams.get('format') === 'csv') return csv(history, wanted, calls)
        const last = calls.length === wanted.limit ? calls.at(-1) : undefined
        return json({ calls, next_cursor: last === undefined ? null : String(last.id) })
      },
    },
  ]
}

function readQuery(given: URLSearchParams): CallQuery {
  for (const name of given.keys()) {
    if (!(name in query) || given.getAll(name).length > 1) throw wrong(name, 'is unknown or given twice')
  }
  const text = (name: keyof typeof query) => given.get(name)
  const from = instant('from', text('from'))
  const to = instant('to', text('to'))
  if (from !== null && to !== null && from > to) throw wrong('from', 'must not be after to')
  oneOf('format', text('format'), ['json', 'csv'])
  return {
    ride: text('ride_id'),
    user: text('user_id'),
    service: oneOf('service', text('service'), ['ride', 'direct', 'line']),
    status: oneOf('status', text('status'), ['created', 'active', 'ended']),
    reason: oneOf('end_reason', text('end_reason'), Object.keys(endReasons) as EndReason[]),
    from,
    to,
    before: whole('cursor', text('cursor'), Number.MAX_SAFE_INTEGER),
    limit: whole('limit', text('limit'), MOST_ROWS) ?? DEFAULT_ROWS,
  }
}

function oneOf<T extends string>(name: string, value: string | null, choices: readonly T[]): T | null {
  if (value === null || (choices as readonly string[]).includes(value)) return value as T | null
  throw wrong(name, `must be one of ${choices.join(', ')}`)
}

function whole(name: string, value: string | null, most: number): number | null {
  if (value === null) return null
  const number = /^\d{1,16}$/.test(value) ? Number(value) : 0
  if (number < 1 || number > most) throw wrong(name, `must be a whole number from 1 to ${most}`)
  return number
}

function instant(name: string, value: string | null): number | null {
  if (value === null) return null
  const at = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d))?$/.test(value)
    ? Date.parse(value)
    : Number.NaN
  if (Number.isNaN(at)) throw wrong(name, 'must be an instant such as 2026-02-20T20:20:20Z')
  return at
}

function wrong(field: string, how: string) {
  return fail('invalid_field', `${field} ${how}`, { field })
}

/** Every row, page by page, so that a million rows take no more memory than one page. */
function csv(history: CallHistory, wanted: CallQuery, first: CallRow[]): Response {
  let rows = first
  let begun = false
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const lines = rows.map(csvLine)
      if (!begun) lines.unshift(columns.join(','))
      begun = true
      controller.enqueue(new TextEncoder().encode(`${lines.join('\r\n')}\r\n`))
      const last = rows.length === wanted.limit ? rows.at(-1) : undefined
      rows = last === undefined ? [] : await history.find({ ...wanted, before: last.id, limit: MOST_ROWS })
      if (rows.length === 0) controller.close()
      else wanted = { ...wanted, limit: MOST_ROWS }
    },
  })
  return new Response(body, {
    headers: {
      'content-type': 'text/csv; charset=utf-8',
      'content-disposition': 'attachment; filename="calls.csv"',
      'cache-control': 'no-store',
    },
  })
}

function csvLine(row: CallRow): string {
  return columns.map((column) => csvCell(row[column])).join(',')
}

/** RFC 4180 section 2. A cell that a spreadsheet would run as a formula is made inert with a quote before it. */
function csvCell(value: unknown): string {
  const text = value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value)
  const inert = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert
}
