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
    const parts = partsOf(it)
    expect(parts.length).toBeGreaterThan(10)
    // All but the fade at the beginning. A machine that does other things may be late once.
    const whole = parts.slice(2).filter(({ equal, snr }) => equal === 1 && snr > 85)
    expect(whole.length).toBeGreaterThan(parts.length * 0.75)
    for (const { late } of whole) expect(late).toBeLessThan(45)
    expect(it.reports.at(-1)?.underruns).toBeLessThanOrEqual(1)
    expect(it.reports.length).toBeGreaterThan(15)
  })

  test('pieces come without holes, soon, and none while nothing is connected', async () => {
    const { captured, idlePieces, startedAt } = await run(44_100, 700)
    expect(idlePieces).toBe(0)
    expect(captured.length).toBeGreaterThan(100)
    // Connected somewhat before the source starts.
    expect(captured[0]?.at).toBeWithin((startedAt * 1_000) / 44_100 - 100, (startedAt * 1_000) / 44_100 + 10)
    for (const [i, { at, length, came }] of captured.entries()) {
      expect(length).toBe(221)
      const [before] = [captured[i - 1]]
      if (before === undefined) continue
      expect(at - before.at).toBeCloseTo(221 / 44.1, 6)
      // However the device asks for it: what is captured does not pile up.
      const since = came - at - ((captured[0]?.came ?? 0) - (captured[0]?.at ?? 0))
      expect(since).toBeLessThan(60)
    }
  })

  test('after a stall of the link of 300 ms the delay is as before within half a second, bit for bit', async () => {
    const it = await run(44_100, 1_000, 300)
    const parts = partsOf(it)
    const { concealedMs = 0, cutMs = 0, underruns } = it.reports.at(-1) ?? {}
    expect(underruns).toBeWithin(1, 3)
    expect(concealedMs).toBeWithin(200, 400)
    expect(cutMs).toBeWithin(150, 400)
    const before = parts[2]?.late ?? 0
    // The stall ended 1,500 ms before the end.
    for (const { equal, late } of parts.slice(-9)) {
      expect(equal).toBe(1)
      expect(late).toBeLessThan(before + 20)
    }
  })
})

/** Each 100 ms of what was heard, from its beginning: how late it is, how much of it is as it was, and how clean. */
function partsOf({ heard, heardAt, source, startedAt }: Run) {
  const rate = source.length
  const length = rate / 10
  const first = heard.findIndex((value) => value !== 0)
  const parts: { late: number; equal: number; snr: number }[] = []
  for (let at = first; at + length <= heard.length; at += length) {
    const samples = heard.slice(at, at + length)
    const place = source.findIndex((x, i) => x === samples[0] && source[(i + 1) % rate] === samples[1])
    const equal = samples.filter((x, i) => x === source[(place + i) % rate]).length / length
    const late = (((heardAt + at - startedAt - place) % rate) * 1_000) / rate
    parts.push({ late, equal, snr: toneSnr(Float32Array.from(samples), rate, 997) })
  }
  return parts
}
