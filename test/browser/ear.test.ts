// The ear that hears the line, tried on a page whose sound is known.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { Ear } from '../kit/ear.ts'
import { delays, median, onsets, pingTimes, toneSnr, tones } from '../kit/hearing.ts'
import { describeWith } from '../kit/need.ts'
import { pings, wav } from '../kit/ping.ts'
import { withVoice } from './chromium.ts'

const PAGE = `<!doctype html><button>Listen</button><script>
document.querySelector('button').onclick = async () => {
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false }
  const stream = await navigator.mediaDevices.getUserMedia({ audio })
  const context = new AudioContext({ sampleRate: 48000 })
  const delay = new DelayNode(context, { delayTime: 0.2 })
  context.createMediaStreamSource(stream).connect(delay).connect(context.destination)
}
</script>`

describeWith('chromium', 'the ear', (chromium) => {
  let folder: string
  let browser: Browser
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: () => new Response(PAGE, { headers: { 'content-type': 'text/html' } }),
  })

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ringdown-ear-'))
    browser = await withVoice(chromium, wav(pings(48_000, 1_000, 30), 48_000), folder)
  })

  afterAll(async () => {
    await browser?.close()
    await server.stop(true)
    rmSync(folder, { recursive: true, force: true })
  })

  test('hears what goes to the speaker and what the microphone gave, sample for sample and in time', async () => {
    const page = await browser.newPage()
    const ear = await Ear.at(page)
    await page.goto(`http://127.0.0.1:${server.port}/`)
    await page.getByRole('button').click()
    const heard = await ear.hear(3_500)
    for (const { samples, sampleRate } of [heard.ear, heard.mouth]) {
      const [first, second] = onsets(samples, sampleRate)
      expect((second?.index ?? 0) - (first?.index ?? 0)).toBeCloseTo(sampleRate, -1)
      expect(first?.correlation).toBeGreaterThan(0.98)
    }
    const [tone] = tones(heard.ear.samples, heard.ear.sampleRate)
    expect(toneSnr(tone ?? new Float32Array(), heard.ear.sampleRate, 1_000)).toBeGreaterThan(80)
    const found = delays(pingTimes(heard.mouth), pingTimes(heard.ear))
    // What the page adds, and what its buffers do.
    expect(median(found)).toBeGreaterThan(200)
    expect(median(found)).toBeLessThan(260)
  })
})
