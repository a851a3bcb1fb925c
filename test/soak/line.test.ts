// The strict figures of a line, on a machine that does nothing else.
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { withVoice } from '../browser/chromium.ts'
import { LINE_KEY, LinePerson, talkingOnLine } from '../browser/line-person.ts'
import { playbackOf, watchPlayback } from '../browser/playback.ts'
import { ChildServer } from '../kit/child-server.ts'
import { delays, median, pingTimes, quantile, toneSnr, tones } from '../kit/hearing.ts'
import { describeWith } from '../kit/need.ts'
import { pings, wav } from '../kit/ping.ts'
import { IN_REAL_TIME } from '../kit/real-time.ts'
import { Stalls } from '../kit/stalls.ts'

const RATE = 48_000
const TONE = 1_000

describeWith('chromium', 'a line for long', (chromium) => {
  let folder: string
  let left: Browser
  let right: Browser
  let server: ChildServer
  const machine = new Stalls()
  const people: LinePerson[] = []

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ringdown-line-'))
    const voice = (tone: number) => wav(pings(RATE, tone, 120), RATE)
    ;[left, right, server] = await Promise.all([
      withVoice(chromium, voice(TONE), folder),
      withVoice(chromium, voice(1_700), folder),
      ChildServer.start({ settings: { APIKEY: LINE_KEY } }),
    ])
  })

  afterAll(async () => {
    machine.close()
    await Promise.all([left?.close(), right?.close(), server?.close()])
    rmSync(folder, { recursive: true, force: true })
  })

  afterEach(async () => {
    await Promise.all(people.splice(0).map((person) => person.close()))
  })

  async function talking(headphones: boolean) {
    const [a, b] = [await LinePerson.open(left), await LinePerson.open(right)]
    people.push(a, b)
    for (const { page } of people) await watchPlayback(page)
    await talkingOnLine(a, b, server.url)
    if (headphones)
      for (const { page } of [a, b]) await page.getByRole('switch', { name: /headphones/i }).click()
    await Promise.all([a.settles(5_000, 30_000), b.settles(5_000, 30_000)])
    return { a, b }
  }

  /** Delays and clean tones of so many seconds, and what was missing in them. */
  async function hear(a: LinePerson, b: LinePerson, seconds: number) {
    const before = (await b.report())?.numbers
    await machine.take()
    await Promise.all([a.ear.listen(seconds * 1_000), b.ear.listen(seconds * 1_000)])
    const after = (await b.report())?.numbers
    const stalls = await machine.take()
    const [said, heard] = await Promise.all([a.ear.take(), b.ear.take()])
    const { samples, sampleRate } = heard.ear
    return {
      late: delays(pingTimes(said.mouth), pingTimes(heard.ear)).filter((delay) => delay < 900),
      clean: tones(samples, sampleRate, 300).map((tone) => toneSnr(tone, sampleRate, TONE)),
      concealed: (after?.concealedMs ?? Number.NaN) - (before?.concealedMs ?? Number.NaN),
      lost: (after?.lost ?? Number.NaN) - (before?.lost ?? Number.NaN),
      drift: after?.driftPpm ?? Number.NaN,
      stalls: `the machine stood still ${stalls.length} times, ${Math.max(0, ...stalls).toFixed(0)} ms at most`,
    }
  }

  test(
    'two quiet minutes: soon, whole and clean',
    async () => {
      const { a, b } = await talking(true)
      const { late, clean, concealed, lost, drift, stalls } = await hear(a, b, 120)
      const after = (await b.report())?.numbers
      console.log(
        `capture to playout p50 ${median(late).toFixed(1)}, p99 ${quantile(late, 0.99).toFixed(1)} ms of ${late.length}; ` +
          `SNR median ${median(clean).toFixed(1)} dB; concealed ${concealed.toFixed(1)} ms, lost ${lost}; ` +
          `drift ${drift.toFixed(0)} ppm; ${after?.mbits.in.toFixed(2)} Mbit/s; ${stalls}`,
      )
      expect(median(late)).toBeLessThanOrEqual(30)
      expect(quantile(late, 0.99)).toBeLessThanOrEqual(40)
      expect(median(clean)).toBeGreaterThanOrEqual(85)
      expect(concealed).toBeLessThanOrEqual(120_000 * 0.0002)
      expect(lost).toBe(0)
      expect(after?.mbits.in).toBeLessThanOrEqual(1.2)
      expect(Math.abs(drift)).toBeLessThan(20)
    },
    { ...IN_REAL_TIME, timeout: 300_000 },
  )

  test('ten minutes: the delay and the heap are flat', async () => {
    const { a, b } = await talking(false)
    const first = await hear(a, b, 60)
    const heap = async () => {
      const devtools = await b.page.context().newCDPSession(b.page)
      await devtools.send('HeapProfiler.collectGarbage')
      const { usedSize } = await devtools.send('Runtime.getHeapUsage')
      await devtools.detach()
      return usedSize / 1e6
    }
    await b.ear.start()
    const [before, played] = [await heap(), await playbackOf(b)]
    for (let i = 0; i < 9; i++) {
      await Bun.sleep(57_000)
      await Promise.all([a.ear.start(), b.ear.start()])
    }
    const grown = (await heap()) - before
    const gaps = (await playbackOf(b)).underrunEvents - played.underrunEvents
    const last = await hear(a, b, 60)
    console.log(
      `delay ${median(first.late).toFixed(1)}, then ${median(last.late).toFixed(1)} ms; heap ${grown.toFixed(1)} MB; ` +
        `gaps at the speaker ${gaps}; ${last.stalls}`,
    )
    expect(Math.abs(median(last.late) - median(first.late))).toBeLessThan(15)
    expect(grown).toBeLessThan(5)
    expect((await b.report())?.peer).toBe('here')
  }, 900_000)
})
