import { describe, expect, test } from 'bun:test'
import { TestClock } from '../../test/kit/clock.ts'
import { uncounted } from '../../test/kit/metrics.ts'
import { Failure } from '../protocol/codes.ts'
import { Gate, type GateDeps } from './gate.ts'

const API = 'the right api key'
const ADMIN = 'the right admin key'
const LINE = 'the right key of a line'

function gate(more: Partial<GateDeps> = {}) {
  const clock = new TestClock()
  const rejected: string[] = []
  const made = new Gate({
    trustedProxies: ['127.0.0.0/8'],
    allowedOrigins: ['https://app.example.com'],
    ratePerMinute: 2,
    isApiKey: (presented) => presented === API,
    isAdminKey: (presented) => presented === ADMIN,
    isLineKey: (presented) => presented === LINE,
    trial: 'nobody',
    digest: (text) => `digest of ${text}`,
    tls: false,
    clock,
    metrics: { ...uncounted, rejected: (cause) => void rejected.push(cause) },
    ...more,
  })
  return { gate: made, clock, rejected }
}

/** What was thrown, as a word. */
function refusal(attempt: () => unknown): string {
  try {
    attempt()
    return 'let in'
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return error.code
  }
}

const shown = (headers: Record<string, string>, query = '') => ({
  headers: new Headers(headers),
  query: new URLSearchParams(query),
})
const nobody = shown({})

describe('a route', () => {
  test('[HTTP-2] of the backend opens with the API key and no other, and says which key it was', () => {
    const { gate: door, rejected } = gate()
    const key = (value: string) => shown({ 'x-api-key': value })
    expect(door.admit('backend', key(API), '192.0.2.1')).toBe(`digest of ${API}`)
    for (const wrong of ['', ADMIN, `${API} `.trim().slice(1), `${API}, ${API}`]) {
      expect(refusal(() => door.admit('backend', key(wrong), '192.0.2.1'))).toBe('invalid_api_key')
    }
    expect(refusal(() => door.admit('backend', nobody, '127.0.0.1'))).toBe('invalid_api_key')
    expect(rejected).toEqual(Array(5).fill('invalid_api_key'))
  })

  test('[HTTP-2] after ten wrong keys an address is told to wait, its neighbour is not, and the right key is', () => {
    const { gate: door, clock } = gate()
    const guess = (from: string) => refusal(() => door.admit('backend', nobody, from))
    for (let i = 0; i < 10; i++) expect(guess(`2001:db8::${i}`)).toBe('invalid_api_key')
    expect(guess('2001:db8::aaaa')).toBe('rate_limited')
    expect(guess('2001:db8:0:1::1')).toBe('invalid_api_key')
    expect(door.admit('backend', shown({ 'x-api-key': API }), '2001:db8::1')).not.toBe('')
    clock.leap(3 * 60_000)
    expect(guess('2001:db8::1')).toBe('invalid_api_key')
    expect(guess('2001:db8::1')).toBe('rate_limited')
  })

  test('[HTTP-10] of the operator opens on this machine, or with the admin key', () => {
    const { gate: door } = gate()
    const from = (client: string, headers: Record<string, string> = {}) =>
      refusal(() => door.admit('operator', shown(headers), client))
    expect(from('127.0.0.1')).toBe('let in')
    expect(from('::1')).toBe('let in')
    expect(from('192.0.2.1')).toBe('invalid_api_key')
    expect(from('192.0.2.1', { authorization: `Bearer ${ADMIN}` })).toBe('let in')
    expect(from('192.0.2.1', { 'x-admin-key': ADMIN })).toBe('let in')
    expect(from('192.0.2.1', { 'x-api-key': API })).toBe('invalid_api_key')
    expect(from('192.0.2.1', { authorization: `Basic ${ADMIN}` })).toBe('invalid_api_key')
  })

  test('[HTTP-10] of the operator is not opened by a proxy on this machine that hides who asks', () => {
    const { gate: door } = gate()
    for (const header of ['x-forwarded-for', 'x-real-ip', 'forwarded']) {
      const request = shown({ [header]: 'unknown' })
      const client = door.client('127.0.0.1', request.headers)
      expect(refusal(() => door.admit('operator', request, client))).toBe('invalid_api_key')
    }
  })

  test('[LINE-32] of the line opens with its key, said once in the address; wrong ones count as all wrong keys do', () => {
    const { gate: door, rejected } = gate()
    const from = (query: string) => refusal(() => door.admit('line', shown({}, query), '192.0.2.1'))
    const right = `apikey=${encodeURIComponent(LINE)}`
    const wrong = [
      '',
      'apikey=',
      'apikey=x',
      `${right}x`,
      `${right}&${right}`,
      `${right}&apikey=`,
      `key=${LINE}`,
    ]
    for (const query of wrong) expect(from(query)).toBe('invalid_api_key')
    for (const key of [API, ADMIN]) expect(from(`apikey=${encodeURIComponent(key)}`)).toBe('invalid_api_key')
    expect(refusal(() => door.admit('line', shown({ 'x-api-key': LINE }), '192.0.2.1'))).toBe(
      'invalid_api_key',
    )
    expect(from('apikey=x')).toBe('rate_limited')
    expect(from(`${right}&mobile=1`)).toBe('let in')
    expect(rejected).toEqual([...Array(10).fill('invalid_api_key'), 'rate_limited'])
  })

  test('to try a call is there for whom it is meant, and for others is not there', () => {
    const from = (trial: GateDeps['trial'], client: string) =>
      refusal(() => gate({ trial }).gate.admit('trial', nobody, client))
    expect(from('nobody', '127.0.0.1')).toBe('not_found')
    expect(from('this machine', '127.0.0.1')).toBe('let in')
    expect(from('this machine', '192.0.2.1')).toBe('not_found')
    expect(from('anybody', '192.0.2.1')).toBe('let in')
  })
})

describe('a connection', () => {
  test('[WS-2] counts against its address until it is given back', () => {
    const { gate: door, rejected } = gate()
    const attempt = () => door.admitConnection(nobody.headers, '192.0.2.1', '')
    attempt()
    const giveBack = attempt()
    expect(refusal(attempt)).toBe('rate_limited')
    giveBack()
    expect(refusal(attempt)).toBe('let in')
    expect(refusal(attempt)).toBe('rate_limited')
    expect(rejected).toEqual(['rate_limited', 'rate_limited'])
  })

  test('[WS-2] of one in 200 phones behind one address gets in, whoever came before', () => {
    const { gate: door } = gate()
    for (let phone = 0; phone < 200; phone++) door.admitConnection(nobody.headers, '192.0.2.1', '')()
  })

  test('[WS-4] from a page must come from the own site as the client sees it, or a listed one', () => {
    const { gate: door } = gate({ ratePerMinute: 0 })
    const site = (host: string, proto: string | null, socket: string) => {
      const headers = { host, ...(proto === null ? {} : { 'x-forwarded-proto': proto }) }
      return door.siteOf(new Request('http://ignored/', { headers }), socket)
    }
    const from = (origin: string, own: string) =>
      refusal(() => door.admitConnection(new Headers({ origin }), '192.0.2.1', own))
    const direct = site('calls.example.com', null, '192.0.2.1')
    expect(from('http://calls.example.com', direct)).toBe('let in')
    expect(from('https://calls.example.com', direct)).toBe('origin_not_allowed')
    expect(from('https://app.example.com', direct)).toBe('let in')
    expect(from('https://calls.example.com', site('calls.example.com', 'https', '127.0.0.1'))).toBe('let in')
    expect(from('https://calls.example.com', site('calls.example.com', 'https', '::ffff:127.0.0.1'))).toBe(
      'let in',
    )
    // A stranger's word for the scheme is not taken, nor a proxy's that makes no sense.
    expect(site('calls.example.com', 'https', '192.0.2.1')).toBe('http://calls.example.com')
    expect(site('calls.example.com', 'javascript', '127.0.0.1')).toBe('http://calls.example.com')
    for (const origin of [
      '',
      'null',
      'http://',
      'http://calls.example.com:8080',
      'http://calls.example.com/',
    ]) {
      expect(from(origin, direct)).toBe('origin_not_allowed')
    }
  })
})
