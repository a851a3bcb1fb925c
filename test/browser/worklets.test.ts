// The worklets of a line in a real browser: from the capture worklet through a worker to the playout worklet.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { toneSnr } from '../kit/hearing.ts'
import { describeWith } from '../kit/need.ts'
import { withTone } from './chromium.ts'
import type { Run } from './worklets-page.ts'

const LINE = join(import.meta.dir, '../../src/web/line')

describeWith('chromium', 'the worklets of a line', (chromium) => {
  let folder: string
  let browser: Browser
  let server: ReturnType<typeof Bun.serve>

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ringdown-worklets-'))
    const files: Record<string, string> = {
      '/': '<!doctype html><script type="module" src="/page.js"></script>',
    }
    for (const [path, entry] of [
      ['/page.js', join(import.meta.dir, 'worklets-page.ts')],
      ['/capture.js', join(LINE, 'capture.worklet.ts')],
      ['/playout.js', join(LINE, 'playout.worklet.ts')],
    ] as const) {
      const { outputs } = await Bun.build({ entrypoints: [entry], target: 'browser', minify: true })
      files[path] = (await outputs[0]?.text()) ?? ''
    }
    server = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch(request) {
        const { pathname } = new URL(request.url)
        const type = pathname === '/' ? 'text/html' : 'text/javascript'
        return new Response(files[pathname] ?? null, { headers: { 'content-type': type } })
      },
    })
    browser = await withTone(chromium, 500, folder)
  })

  afterAll(async () => {
    await browser?.close()
    await server?.stop(true)
    rmSync(folder, { recursive: true, force: true })
  })

  async function run(sampleRate: number, ms: number, stallMs = 0): Promise<Run> {
    const page = await browser.newPage()
    try {
      await page.goto(`http://127.0.0.1:${server.port}/`)
      await page.waitForFunction('globalThis.run !== undefined')
      return await page.evaluate(`run(${sampleRate}, ${ms}, ${stallMs})`)
    } finally {
      await page.close()
    }
  }

  test('what is captured is heard bit for bit and soon, and nothing runs dry', async () => {
    const it = await run(48_000, 2_000)
    // A busy machine spoils some of it; of half a second nothing was missing.
    const whole = partsOf(it).map(({ equal, snr, late }) => equal === 1 && snr > 85 && late < 45)
    expect(longest(whole)).toBeGreaterThanOrEqual(5)
    expect(it.reports.length).toBeGreaterThan(10)
  })

  test('pieces come without holes, soon, and none while nothing is connected', async () => {
    const { captured, idlePieces, startedAt } = await run(44_100, 700)
    expect(idlePieces).toBe(0)
    expect(captured.length).toBeGreaterThan(100)
    // Connected before the source starts.
    expect(captured[0]?.at).toBeLessThan((startedAt * 1_000) / 44_100 + 10)
    for (const [i, { at, length }] of captured.entries()) {
      expect(length).toBe(221)
      const before = captured[i - 1]
      if (before !== undefined) expect(at - before.at).toBeCloseTo(221 / 44.1, 6)
    }
    // However the device asks for it: what is captured does not pile up.
    const soonest = (some: Run['captured']) => Math.min(...some.map(({ at, came }) => came - at))
    expect(soonest(captured.slice(-50)) - soonest(captured.slice(0, 50))).toBeLessThan(60)
  })

  test('after a stall of the link of 300 ms the delay is as before within half a second, bit for bit', async () => {
    const it = await run(44_100, 1_000, 300)
    const parts = partsOf(it)
    const { concealedMs = 0, cutMs = 0, underruns } = it.reports.at(-1) ?? {}
    expect(underruns).toBeGreaterThanOrEqual(1)
    expect(concealedMs).toBeGreaterThan(200)
    expect(cutMs).toBeGreaterThan(150)
    const whole = parts.filter(({ equal }) => equal === 1)
    const usual = Math.min(...whole.filter(({ at }) => at < it.resumedAt).map(({ late }) => late))
    const after = parts.filter(({ at }) => at > it.resumedAt)
    const asBefore = after.map(({ equal, late }) => equal === 1 && late < usual + 20)
    expect(asBefore.indexOf(true)).toBeWithin(0, 6)
    expect(longest(asBefore)).toBeGreaterThanOrEqual(5)
  })
})

/** How many that are true follow one another at most. */
function longest(all: readonly boolean[]): number {
  let [most, now] = [0, 0]
  for (const each of all) {
    now = each ? now + 1 : 0
    most = Math.max(most, now)
  }
  return most
}

/**
 * Each 100 ms of what was heard, from its beginning: its context time in samples, how many ms late it is, how much of it
 * is as it was, and how clean.
 */
function partsOf({ heard, heardAt, source, startedAt }: Run) {
  const rate = source.length
  const length = rate / 10
  const first = heard.findIndex((value) => value !== 0)
  const parts: { at: number; late: number; equal: number; snr: number }[] = []
  for (let at = first; at + length <= heard.length; at += length) {
    const samples = heard.slice(at, at + length)
    const place = source.findIndex((x, i) => x === samples[0] && source[(i + 1) % rate] === samples[1])
    const equal = samples.filter((x, i) => x === source[(place + i) % rate]).length / length
    const late = (((heardAt + at - startedAt - place) % rate) * 1_000) / rate
    parts.push({ at: heardAt + at, late, equal, snr: toneSnr(Float32Array.from(samples), rate, 997) })
  }
  return parts
}
