/** `GET /calls`: the call log, filtered, newest first, as JSON page by page or as one CSV. */
import { type Static, type TSchema, Type } from 'typebox'
import type { CallHistory, CallQuery, CallRow } from '../core/ports.ts'
import { type EndReason, endReasons, fail } from '../protocol/codes.ts'
import { json } from './answer.ts'
import type { Route } from './route.ts'

const DEFAULT_ROWS = 100
const MOST_ROWS = 1000

const services = ['ride', 'direct', 'line'] as const
const statuses = ['created', 'active', 'ended'] as const
const reasons = Object.keys(endReasons) as EndReason[]
const formats = ['json', 'csv'] as const

const text = (description: string) => Type.String({ description })

const query = {
  ride_id: text('Calls of this ride.'),
  user_id: text('Calls that this user was a party of.'),
  service: Type.Enum([...services], { description: 'Calls of this kind.' }),
  status: Type.Enum([...statuses], { description: 'Calls that are in this state.' }),
  end_reason: Type.Enum(reasons, { description: 'Calls that ended for this reason.' }),
  from: text('Created at or after this instant, ISO 8601.'),
  to: text('Created before this instant, ISO 8601.'),
  limit: Type.Integer({
    minimum: 1,
    maximum: MOST_ROWS,
    default: DEFAULT_ROWS,
    description: 'Rows in a page.',
  }),
  cursor: text('next_cursor of the page before.'),
  format: Type.Enum([...formats], { default: 'json', description: 'csv: all rows at once.' }),
}

const orNull = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])

/** The reference document's columns come first. */
const row = Type.Object({
  id: Type.Integer(),
  session_id: Type.String(),
  ride_id: orNull(Type.String()),
  driver_id: orNull(Type.String()),
  passenger_id: orNull(Type.String()),
  status: Type.Enum([...statuses]),
  initiated_by: orNull(text('User id of the party who sent the first offer.')),
  end_reason: orNull(text('One of the end reasons.')),
  created_at: text('ISO 8601 in UTC.'),
  connected_at: orNull(text('When both were in.')),
  ended_at: orNull(Type.String()),
  service: Type.Enum([...services]),
  ended_by: orNull(text('The party that ended it, or backend, operator or clock.')),
  detail: orNull(Type.String()),
  metadata: orNull(Type.Record(Type.String(), Type.Unknown())),
})

const page = Type.Object({
  calls: Type.Array(row),
  next_cursor: orNull(text('Where the next page begins; null on the last one.')),
})

const columns = Object.keys(row.properties) as (keyof typeof row.properties)[]

const CSV_TYPE = 'text/csv; charset=utf-8'

export function callRoutes({ history }: { readonly history: CallHistory }): Route[] {
  return [
    {
      method: 'GET',
      path: '/calls',
      access: 'backend',
      name: 'listCalls',
      about: 'The call log, newest first.',
      query,
      answers: page,
      text: CSV_TYPE,
      fails: ['invalid_field', 'storage_unavailable'],
      async handle({ url }) {
        const wanted = readQuery(url.searchParams)
        // The first rows are fetched before the answer begins, so that a database that is down is still a 503.
        const calls = await history.find(wanted)
        if (url.searchParams.get('format') === 'csv') return csv(history, wanted, calls)
        const last = calls.length === wanted.limit ? calls.at(-1) : undefined
        const next_cursor = last === undefined ? null : String(last.id)
        return json({ calls, next_cursor } satisfies Static<typeof page>)
      },
    },
  ]
}

function readQuery(given: URLSearchParams): CallQuery {
  for (const name of given.keys()) {
    if (!Object.hasOwn(query, name) || given.getAll(name).length > 1)
      throw wrong(name, 'is unknown or given twice')
  }
  const value = (name: keyof typeof query) => given.get(name)
  const from = instant('from', value('from'))
  const to = instant('to', value('to'))
  if (from !== null && to !== null && from > to) throw wrong('from', 'must not be after to')
  oneOf('format', value('format'), formats)
  return {
    ride: value('ride_id'),
    user: value('user_id'),
    service: oneOf('service', value('service'), services),
    status: oneOf('status', value('status'), statuses),
    reason: oneOf('end_reason', value('end_reason'), reasons),
    from,
    to,
    before: whole('cursor', value('cursor'), Number.MAX_SAFE_INTEGER),
    limit: whole('limit', value('limit'), MOST_ROWS) ?? DEFAULT_ROWS,
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
      'content-type': CSV_TYPE,
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
