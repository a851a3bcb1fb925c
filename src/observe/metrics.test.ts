import { afterEach, beforeEach, expect, test } from 'bun:test'
import { closeSync, openSync } from 'node:fs'
import { IN_REAL_TIME } from '../../test/kit/real-time.ts'
import type { Metrics } from '../core/ports.ts'
import { readiness } from './health.ts'
import { openMetrics, type ServerMetrics, type StoreState } from './metrics.ts'

let now: number
let store: StoreState
let calls: { waiting: number; active: number }
let metrics: ServerMetrics

beforeEach(() => {
  now = 1_000_000
  store = { writable: true, reachable: true, backlog: 0, backlogSince: null }
  calls = { waiting: 0, active: 0 }
  const clock = { now: () => now, alarm: () => ({ cancel() {} }) }
  metrics = openMetrics({ version: '1.2.3', calls: { ride: () => calls }, store: () => store, clock })
})
afterEach(() => metrics.close())

const SAMPLE = /^([a-z_]+)(\{(?:[a-z_]+="[^"\\\n]*"(?:,[a-z_]+="[^"\\\n]*")*)?\})? (-?[\d.e+-]+|\+Inf)$/

/** Every sample by its name and labels. Fails on a line that is not of the text format. */
async function scrape(): Promise<Map<string, number>> {
  const samples = new Map<string, number>()
  for (const line of (await metrics.text()).split('\n')) {
    if (line === '' || /^# (HELP|TYPE) [a-z_]+ \S/.test(line)) continue
    const [, name = '', labels = '', value] = SAMPLE.exec(line) ?? []
    expect(name, line).not.toBe('')
    expect(samples.has(name + labels), line).toBe(false)
    samples.set(name + labels, Number(value))
  }
  return samples
}

test('what happened is counted', async () => {
  metrics.callOpened('ride')
  metrics.callOpened('ride')
  metrics.callConnected('ride', 1500)
  metrics.callEnded('ride', 'user_terminated')
  metrics.rejected('invalid_api_key')
  metrics.resumed('ride')
  metrics.webhook('given_up')
  for (let i = 0; i < 1000; i++) metrics.relayed('ride')
  metrics.relayTook('ride', 0.03)
  for (let i = 0; i < 3; i++) metrics.socketOpened()
  metrics.socketClosed()
  calls = { waiting: 4, active: 5 }
  store = { writable: true, reachable: false, backlog: 7, backlogSince: now - 2500 }
  const expected = {
    'ringdown_calls_opened_total{service="ride"}': 2,
    'ringdown_calls_connected_total{service="ride"}': 1,
    'ringdown_call_setup_seconds_sum{service="ride"}': 1.5,
    'ringdown_call_setup_seconds_bucket{le="1",service="ride"}': 0,
    'ringdown_call_setup_seconds_bucket{le="2",service="ride"}': 1,
    'ringdown_calls_ended_total{service="ride",reason="user_terminated"}': 1,
    'ringdown_calls_ended_total{service="ride",reason="join_timeout"}': 0,
    'ringdown_rejects_total{cause="invalid_api_key"}': 1,
    'ringdown_rejects_total{cause="internal"}': 0,
    'ringdown_resumes_total{service="ride"}': 1,
    'ringdown_webhooks_total{outcome="given_up"}': 1,
    'ringdown_webhooks_total{outcome="delivered"}': 0,
    'ringdown_relayed_frames_total{service="ride"}': 1000,
    'ringdown_relay_seconds_bucket{le="0.000025",service="ride"}': 0,
    'ringdown_relay_seconds_bucket{le="0.00005",service="ride"}': 1,
    ringdown_sockets: 2,
    ringdown_sockets_opened_total: 3,
    'ringdown_calls{service="ride",state="waiting"}': 4,
    'ringdown_calls{service="ride",state="active"}': 5,
    ringdown_store_writable: 1,
    ringdown_store_reachable: 0,
    ringdown_store_backlog_rows: 7,
    ringdown_store_backlog_age_seconds: 2.5,
    'ringdown_info{version="1.2.3"}': 1,
  }
  const samples = await scrape()
  for (const [series, value] of Object.entries(expected)) expect(samples.get(series), series).toBe(value)
  expect((await scrape()).get('ringdown_relayed_frames_total{service="ride"}')).toBe(1000)
})

test('[T-O2] 100,000 different values add no series', async () => {
  const before = [...(await scrape()).keys()]
  const anything = metrics as unknown as Record<keyof Metrics, (...args: unknown[]) => void>
  for (let i = 0; i < 100_000; i++) {
    const odd = i % 3 === 0 ? `x${i}` : i % 3 === 1 ? `__proto__${i}` : 'constructor'
    anything.rejected(odd)
    anything.callOpened(odd)
    anything.callConnected(odd, i)
    anything.callEnded(odd, odd)
    anything.callEnded('ride', odd)
    anything.callEnded('ride', 'answered_elsewhere')
    anything.relayed(odd)
    anything.relayTook(odd, i)
    anything.resumed(odd)
    anything.webhook(odd)
  }
  const samples = await scrape()
  expect([...samples.keys()]).toEqual(before)
  for (const [series, value] of samples)
    if (/^ringdown_(calls|rejects|resumes|relay|webhooks)/.test(series)) expect(value, series).toBe(0)
})

test('every metric has a help text, and ours are ringdown_*', async () => {
  const text = await metrics.text()
  const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name = '']) => name)
  expect(names.length).toBeGreaterThan(15)
  for (const name of names) {
    expect(name).toMatch(/^(ringdown|process)_/)
    expect(text).toMatch(new RegExp(`^# HELP ${name} [A-Z].*\\.$`, 'm'))
  }
})

test('the process tells its memory, processor time and open files', async () => {
  const before = await scrape()
  expect(before.get('process_resident_memory_bytes')).toBeWithin(1e7, 1e10)
  expect(before.get('process_cpu_seconds_total')).toBeWithin(0.001, 1e5)
  expect(Math.abs((before.get('process_start_time_seconds') ?? 0) - Date.now() / 1000)).toBeLessThan(3600)
  if (process.platform !== 'linux') return
  const files = Array.from({ length: 50 }, () => openSync('/dev/null', 'r'))
  const after = await scrape()
  for (const file of files) closeSync(file)
  expect((after.get('process_open_fds') ?? 0) - (before.get('process_open_fds') ?? 0)).toBeWithin(45, 55)
  expect(after.get('process_max_fds')).toBeGreaterThan(50)
})

test('a loop that is held up shows', IN_REAL_TIME, async () => {
  await Bun.sleep(150)
  Bun.sleepSync(400)
  await Bun.sleep(20)
  const samples = await scrape()
  const over =
    (samples.get('ringdown_event_loop_lag_seconds_count') ?? 0) -
    (samples.get('ringdown_event_loop_lag_seconds_bucket{le="0.25"}') ?? 0)
  expect(over).toBe(1)
})

test('once they are closed the loop is watched no more', async () => {
  await Bun.sleep(150)
  metrics.close()
  metrics.close()
  const sampled = async () => (await scrape()).get('ringdown_event_loop_lag_seconds_count')
  const before = await sampled()
  expect(before).toBeGreaterThan(0)
  await Bun.sleep(250)
  expect(await sampled()).toBe(before)
})

test('ready says what is wrong in words', () => {
  expect(readiness(false, store, now)).toEqual({
    ready: true,
    degraded: false,
    parts: { server: 'ok', store: 'ok' },
  })
  expect(readiness(true, store, now)).toMatchObject({ ready: false, parts: { server: 'going down' } })
  store = { writable: true, reachable: false, backlog: 12, backlogSince: now - 45_000 }
  expect(readiness(false, store, now)).toEqual({
    ready: true,
    degraded: true,
    parts: { server: 'ok', store: 'the database does not answer; 12 rows wait, the oldest for 45 s' },
  })
  store = { writable: false, reachable: true, backlog: 0, backlogSince: null }
  expect(readiness(false, store, now)).toMatchObject({ ready: false, degraded: true })
})
