import { afterEach, beforeEach, expect, test } from 'bun:test'
import { createHmac } from 'node:crypto'
import { TestClock } from '../../test/kit/clock.ts'
import { IN_REAL_TIME } from '../../test/kit/real-time.ts'
import { until } from '../../test/kit/until.ts'
import { callId, type Millis } from '../core/ids.ts'
import type { Log, Metrics, WebhookOutcome } from '../core/ports.ts'
import { WakeHook } from './wake.ts'

const SECRETS = ['first secret, of thirty-two chars', 'second secret, of thirty-two char']
const RING: Millis = 60_000

interface Got {
  readonly headers: Headers
  readonly body: string
  readonly path: string
}

let clock: TestClock
let got: Got[]
let answer: (got: Got) => Response | Promise<Response>
let backend: ReturnType<typeof Bun.serve>
let lines: unknown[]
let outcomes: WebhookOutcome[]
let hooks: WakeHook[]

beforeEach(() => {
  clock = new TestClock()
  got = []
  lines = []
  outcomes = []
  hooks = []
  answer = () => new Response(null, { status: 204 })
  backend = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    idleTimeout: 0,
    async fetch(request) {
      const { pathname, search } = new URL(request.url)
      const it = { headers: request.headers, body: await request.text(), path: pathname + search }
      got.push(it)
      return answer(it)
    },
  })
})
afterEach(async () => {
  for (const hook of hooks) await hook.close()
  await backend.stop(true)
})

function open(more: { url?: string; secrets?: string[]; patience?: Millis } = {}): WakeHook {
  const line = (context: object, message: string) => void lines.push([context, message])
  const log: Log = { debug: line, info: line, warn: line, error: line, child: () => log }
  const metrics = new Proxy({} as Metrics, { get: () => (outcome: WebhookOutcome) => outcomes.push(outcome) })
  const url = `http://127.0.0.1:${backend.port}/hook?key=in-the-address`
  const hook = new WakeHook({ url, secrets: SECRETS, clock, metrics, log, ...more })
  hooks.push(hook)
  return hook
}

function call(name: string, expiresAt = clock.now() + RING) {
  return { id: callId(name), callerId: 'alice', targetId: 'bob', expiresAt, rejectToken: 'the reject token' }
}

const ended = (name: string) => ({ id: callId(name), targetId: 'bob', reason: 'cancelled' }) as const
const types = () => got.map(({ body }) => JSON.parse(body).type)
const calls = () => got.map(({ body }) => JSON.parse(body).call_id)

/** Winds the clock until the condition holds. */
async function windUntil(condition: () => boolean, what: string): Promise<void> {
  await until(async () => {
    if (condition()) return true
    await clock.wind(500)
    return false
  }, what)
}

test('[HOOK-1] a wake-up and a cancellation say what the app needs, and nothing of the call itself', async () => {
  const hook = open()
  hook.wake(call('one'))
  await until(() => outcomes.length === 1, 'the wake-up')
  hook.cancel(ended('one'))
  await until(() => outcomes.length === 2, 'the cancellation')
  expect(got.map(({ body }) => JSON.parse(body))).toEqual([
    {
      type: 'call.wake',
      call_id: 'one',
      caller_id: 'alice',
      target_id: 'bob',
      expires_at: new Date(clock.now() + RING).toISOString(),
      reject_token: 'the reject token',
    },
    { type: 'call.cancel', call_id: 'one', target_id: 'bob', reason: 'cancelled' },
  ])
  expect(got[0]?.headers.get('content-type')).toBe('application/json')
  expect(got[0]?.path).toBe('/hook?key=in-the-address')
  expect(outcomes).toEqual(['delivered', 'delivered'])
})

test('[HOOK-1] each secret signs id, time and body; what is whsec_ in base64', async () => {
  const raw = Buffer.from('a key of thirty-two random bytes')
  const hook = open({ secrets: [...SECRETS, `whsec_${raw.toString('base64')}`] })
  hook.wake(call('one'))
  await until(() => got.length === 1, 'the wake-up')
  const [{ headers, body }] = got as [Got]
  const id = headers.get('webhook-id')
  const time = headers.get('webhook-timestamp')
  expect(time).toBe(String(Math.floor(clock.now() / 1000)))
  expect(id).not.toContain('.')
  const signed = [...SECRETS, raw].map(
    (key) => `v1,${createHmac('sha256', key).update(`${id}.${time}.${body}`).digest('base64')}`,
  )
  expect(headers.get('webhook-signature')).toBe(signed.join(' '))
})

test('[HOOK-2] what is not taken is tried again under the same id and with a new time, until it is taken', async () => {
  answer = () => new Response(null, { status: got.length < 4 ? 500 : 200 })
  const hook = open()
  hook.wake(call('one'))
  await windUntil(() => outcomes.includes('delivered'), 'the wake-up')
  expect(outcomes).toEqual(['retried', 'retried', 'retried', 'delivered'])
  expect(new Set(got.map(({ headers }) => headers.get('webhook-id'))).size).toBe(1)
  expect(new Set(got.map(({ body }) => body)).size).toBe(1)
  const times = got.map(({ headers }) => Number(headers.get('webhook-timestamp')))
  expect(times.at(-1)).toBeGreaterThan(times[0] ?? 0)
})

test('[HOOK-2] a wake-up is tried only while it rings, and fewer times than it has seconds', async () => {
  answer = () => new Response(null, { status: 503 })
  const hook = open()
  hook.wake(call('one'))
  await windUntil(() => outcomes.includes('given_up'), 'giving up')
  expect(got.length).toBeGreaterThan(5)
  expect(got.length).toBeLessThan(20)
  const last = Number(got.at(-1)?.headers.get('webhook-timestamp')) * 1000
  expect(last).toBeLessThan(call('one').expiresAt)
  const tries = got.length
  await clock.wind(RING)
  expect(got.length).toBe(tries)
})

test('[HOOK-3] a call that is over is not rung any more: its wake-up is not tried again, and the cancellation comes after it', async () => {
  let go = () => {}
  answer = () =>
    types().at(-1) === 'call.cancel'
      ? new Response()
      : new Promise<Response>((resolve) => {
          go = () => resolve(new Response(null, { status: 500 }))
        })
  const hook = open()
  hook.wake(call('one'))
  await until(() => got.length === 1, 'the wake-up to be on its way')
  hook.cancel(ended('one'))
  await Bun.sleep(30)
  expect(types()).toEqual(['call.wake'])
  go()
  await until(() => outcomes.length === 2, 'both')
  expect(types()).toEqual(['call.wake', 'call.cancel'])
  expect(outcomes).toEqual(['given_up', 'delivered'])
})

test('a cancellation does not wait for the pause of the wake-up', async () => {
  answer = () => new Response(null, { status: types().at(-1) === 'call.cancel' ? 200 : 500 })
  const hook = open()
  hook.wake(call('one'))
  await until(() => outcomes.length === 1, 'the first try')
  hook.cancel(ended('one'))
  await until(() => outcomes.includes('delivered'), 'the cancellation, with the clock standing still')
  expect(types()).toEqual(['call.wake', 'call.cancel'])
})

test(
  '[HOOK-2] [F28] a backend that answers nothing, or too much, or sends us elsewhere, has not taken it, and costs little',
  IN_REAL_TIME,
  async () => {
    const elsewhere = Bun.serve({ port: 0, fetch: () => new Response(String(got.push({} as Got))) })
    const endless = () =>
      new ReadableStream({
        async pull(controller) {
          await Bun.sleep(1)
          controller.enqueue(new Uint8Array(64 * 1024))
        },
      })
    const hook = open({ patience: 1000 })
    for (const [name, how, expected, within] of [
      ['moved', () => Response.redirect(elsewhere.url.href, 307), 'retried', 500],
      ['found', () => Response.redirect(elsewhere.url.href, 302), 'retried', 500],
      ['silent', () => new Promise<Response>(() => {}), 'retried', 2000],
      ['cut', () => new Response(endless(), { status: 500 }), 'retried', 500],
      ['endless', () => new Response(endless()), 'delivered', 500],
      ['large', () => new Response('x'.repeat(10_000_000)), 'delivered', 500],
    ] as const) {
      got = []
      outcomes = []
      answer = how
      const before = process.memoryUsage.rss()
      const start = performance.now()
      hook.wake(call(name))
      await until(() => outcomes.length === 1, name)
      expect([name, ...outcomes]).toEqual([name, expected])
      expect(got.length).toBe(1)
      expect(performance.now() - start).toBeLessThan(within)
      expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1024 * 1024)
      answer = () => new Response()
      hook.cancel(ended(name))
      await until(() => outcomes.includes('delivered') && outcomes.length > 1, `the end of ${name}`)
    }
    await elsewhere.stop(true)
  },
)

test('[HOOK-4] one call whose backend hangs holds up no other', async () => {
  answer = ({ body }) =>
    JSON.parse(body).call_id === 'hangs' ? new Promise<Response>(() => {}) : new Response()
  const hook = open({ patience: 500 })
  hook.wake(call('hangs'))
  await until(() => got.length === 1, 'the first')
  hook.wake(call('goes'))
  await until(() => outcomes.includes('delivered'), 'the other')
  expect(calls()).toEqual(['hangs', 'goes'])
})

test('[HOOK-4] so many are on their way at once, so many wait, and more are dropped at once and counted', async () => {
  let open32 = () => {}
  const gate = new Promise<void>((resolve) => {
    open32 = resolve
  })
  answer = async () => {
    await gate
    return new Response()
  }
  const hook = open()
  for (let i = 0; i < 1200; i++) hook.wake(call(`call-${i}`))
  expect(outcomes.filter((outcome) => outcome === 'dropped').length).toBe(200)
  await until(() => got.length === 32, 'as many as go at once')
  await Bun.sleep(50)
  expect(got.length).toBe(32)
  open32()
  await until(() => outcomes.filter((outcome) => outcome === 'delivered').length === 1000, 'the rest')
  expect(new Set(calls()).size).toBe(1000)
  // And there is room again.
  hook.wake(call('after'))
  await until(() => calls().includes('after'), 'one more')
})

test('[HOOK-3] of a call that is over before anybody was told of it, nobody is told at all', async () => {
  let go = () => {}
  const gate = new Promise<void>((resolve) => {
    go = resolve
  })
  answer = async () => {
    await gate
    return new Response()
  }
  const hook = open()
  for (let i = 0; i < 32; i++) hook.wake(call(`call-${i}`))
  hook.wake(call('short'))
  hook.cancel(ended('short'))
  hook.wake(call('last'))
  go()
  await until(() => calls().includes('last'), 'the last')
  expect(calls()).not.toContain('short')
})

test('nothing secret is in the log, also when the backend is not there', async () => {
  answer = () => new Response(null, { status: 500 })
  const gone = open()
  gone.wake(call('refused'))
  await windUntil(() => outcomes.includes('given_up'), 'giving up')
  await backend.stop(true)
  const hook = open()
  hook.wake(call('unreachable'))
  await windUntil(() => outcomes.filter((outcome) => outcome === 'given_up').length === 2, 'giving up')
  expect(lines.length).toBe(2)
  const written = JSON.stringify(lines)
  for (const secret of [...SECRETS, 'the reject token', 'in-the-address'])
    expect(written).not.toContain(secret)
})

test('closing lets a cancellation arrive, drops what would ring, takes no more, and can be done twice', async () => {
  answer = () => new Response(null, { status: 500 })
  const hook = open()
  hook.wake(call('rings'))
  hook.wake(call('over'))
  await until(() => outcomes.length === 2, 'two tries')
  answer = () => new Response()
  hook.cancel(ended('over'))
  await Promise.all([hook.close(), hook.close()])
  expect(types().filter((type) => type === 'call.cancel').length).toBe(1)
  const sent = got.length
  hook.wake(call('late'))
  expect(outcomes.at(-1)).toBe('dropped')
  await clock.wind(RING)
  expect(got.length).toBe(sent)
  expect(clock.alarms).toBe(0)
})

test('closing waits for a backend that hangs for two seconds and no longer', IN_REAL_TIME, async () => {
  answer = () => new Promise<Response>(() => {})
  const hook = open()
  hook.wake(call('one'))
  await until(() => got.length === 1, 'the wake-up to be on its way')
  hook.cancel(ended('one'))
  const start = performance.now()
  await hook.close()
  expect(performance.now() - start).toBeLessThan(3000)
})
