// What of a line takes long to see, or a quiet machine: clocks that differ, a tab that nobody looks at, what it costs.
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { withVoice } from '../browser/chromium.ts'
import { LINE_KEY, LinePerson, talkingOnLine } from '../browser/line-person.ts'
import { Screen } from '../browser/line-screen.ts'
import { playbackOf, watchPlayback } from '../browser/playback.ts'
import { Tab, UNWATCHED } from '../browser/tab.ts'
import { ChildServer } from '../kit/child-server.ts'
import { steepestTone, unsteadiest } from '../kit/clicks.ts'
import { sent } from '../kit/frames.ts'
import { delays, median, pingTimes, quantile, type Recording, toneSnr, tones } from '../kit/hearing.ts'
import { HostileRelay } from '../kit/hostile-relay.ts'
import { describeWith } from '../kit/need.ts'
import { pings, wav } from '../kit/ping.ts'
import { processorShare } from '../kit/processors.ts'
import { IN_REAL_TIME } from '../kit/real-time.ts'
import { Stalls } from '../kit/stalls.ts'

const RATE = 48_000
const LEFT_TONE = 1_000
const RIGHT_TONE = 1_700
/** Control frames go out so often. */
const CONTROL_MS = 50
const SKEW_PPM = 500

describeWith('chromium', 'a line for long', (chromium) => {
  let folder: string
  let left: Browser
  let right: Browser
  let server: ChildServer
  const machine = new Stalls()
  const people: LinePerson[] = []

  const voice = (tone: number) => wav(pings(RATE, tone, 60), RATE)

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ringdown-line-'))
    ;[left, right, server] = await Promise.all([
      withVoice(chromium, voice(LEFT_TONE), folder, [], UNWATCHED),
      withVoice(chromium, voice(RIGHT_TONE), folder),
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

  async function person(browser: Browser): Promise<LinePerson> {
    const it = await LinePerson.open(browser)
    people.push(it)
    return it
  }

  test(
    'a tab that nobody sees for a minute hears and is heard, and keeps its pace',
    async () => {
      // What it keeps of each frame is the header.
      const relay = await HostileRelay.start(server, { keep: 24 })
      const tab = await Tab.open(left)
      try {
        const b = await person(right)
        const link = await b.starts(relay.url)
        await tab.goto(link)
        await tab.press('Join the call')
        await Promise.all([tab.sees('Connected'), b.sees('Connected')])
        const own = relay.open[1]
        const other = await Tab.open(left)
        await other.goto(`${server.url}/health`)
        expect([await tab.isHidden(), await other.isHidden()]).toEqual([true, false])
        // What was in front is in the back by now.
        await Bun.sleep(5_000)
        const [before, beforeB] = [(await tab.report())?.numbers, (await b.report())?.numbers]
        relay.forget()
        await Bun.sleep(55_000)
        const frames = sent(relay.messages).filter(({ passage }) => passage === own)
        const [after, afterB] = [(await tab.report())?.numbers, (await b.report())?.numbers]
        await Promise.all([tab.ear.listen(8_000), b.ear.listen(8_000)])
        expect(await tab.isHidden()).toBe(true)
        const [atTab, atB] = [await tab.ear.take(), await b.ear.take()]
        const gaps = apart(frames.filter(({ kind }) => kind === 'control').map(({ at }) => at))
        const audio = frames.filter(({ kind }) => kind === 'audio')
        const dropped = (after?.droppedHere ?? Number.NaN) - (before?.droppedHere ?? Number.NaN)
        const droppedB = (afterB?.droppedHere ?? Number.NaN) - (beforeB?.droppedHere ?? Number.NaN)
        console.log(
          `control frames ${median(gaps).toFixed(1)} ms apart, p99 ${quantile(gaps, 0.99).toFixed(1)}, most ${Math.max(...gaps).toFixed(0)}; ` +
            `${audio.length} frames of sound, ${dropped} held back there, ${droppedB} for it`,
        )
        for (const [heard, tone] of [
          [atTab.ear, RIGHT_TONE],
          [atB.ear, LEFT_TONE],
        ] as const) {
          const clean = tones(heard.samples, heard.sampleRate).map((each) =>
            toneSnr(each, heard.sampleRate, tone),
          )
          expect(Math.max(...clean)).toBeGreaterThan(40)
        }
        expect(Math.abs(median(gaps) - CONTROL_MS)).toBeLessThan(3)
        // A timer that is held back fires once a second, or once a minute.
        expect(quantile(gaps, 0.99)).toBeLessThanOrEqual(200)
        expect(Math.max(...gaps)).toBeLessThan(900)
        expect(audio.length).toBeGreaterThan(0.9 * 5_500)
        expect(dropped + droppedB).toBeLessThan(0.1 * 5_500)
        await other.close()
      } finally {
        await tab.close()
        relay.close()
      }
    },
    { ...IN_REAL_TIME, timeout: 180_000 },
  )

  test(
    'clocks that differ by 500 ppm, each way: the delay is flat, and nothing clicks',
    async () => {
      const [a, b] = [await person(left), await person(right)]
      await Promise.all([skew(a, SKEW_PPM), skew(b, -SKEW_PPM)])
      await talkingOnLine(a, b, server.url)
      for (const { page } of [a, b]) {
        // Echo cancelling takes a part of a tone away as it pleases.
        await page.getByRole('switch', { name: /headphones/i }).click()
        await page.getByText('What the sound does').click()
      }
      await Bun.sleep(25_000)
      await machine.take()
      const start = [(await a.report())?.numbers.underruns, (await b.report())?.numbers.underruns]
      const late: number[][][] = [[], []]
      const [steep, unsteady]: [number[], number[]] = [[], []]
      // Half a minute without an ear between what is listened to: it, too, takes its part of the machine.
      for (const pause of [0, 30_000, 30_000]) {
        await Bun.sleep(pause)
        await Promise.all([a.ear.listen(12_000, 60_000), b.ear.listen(12_000, 60_000)])
        const [atA, atB] = await Promise.all([a.ear.take(), b.ear.take()])
        for (const [i, said, heard, tone] of [
          [0, atB.mouth, atA.ear, RIGHT_TONE],
          [1, atA.mouth, atB.ear, LEFT_TONE],
        ] as const) {
          late[i]?.push(delays(pingTimes(said), pingTimes(heard)).filter((delay) => delay < 900))
          const found = clicks(heard, tone)
          steep.push(...found.steep)
          unsteady.push(...found.unsteady)
        }
      }
      const ends = [await a.report(), await b.report()]
      const stalls = await machine.take()
      const underruns = ends.map(
        (report, i) => (report?.numbers.underruns ?? Number.NaN) - (start[i] ?? Number.NaN),
      )
      const shown = await Promise.all([a, b].map((it) => driftShown(it)))
      const medians = late.map((pieces) => pieces.map((piece) => median(piece)))
      console.log(
        `delays ${medians.map((all) => all.map((ms) => ms.toFixed(1)).join(', ')).join(' | ')} ms; drift shown ${shown.join(', ')} ppm; ` +
          `underruns ${underruns.join(', ')}; steepest ${Math.max(...steep).toFixed(3)} of what a tone may, unsteadiest ${Math.max(...unsteady).toFixed(5)}; ` +
          `jitter ${ends.map((report) => report?.numbers.jitter.toFixed(1)).join(', ')} ms; the machine stood still ${stalls.length} times`,
      )
      // The one with the faster clock hears the other as slower.
      expect(shown[0]).toBeWithin(-600, -400 + 1)
      expect(shown[1]).toBeWithin(400, 600 + 1)
      for (const all of medians) expect(Math.max(...all) - Math.min(...all)).toBeLessThan(10)
      // None of its own. What is made up over a gap goes on at a whole sample, which a tone does not: 0.05; a click: 1.
      for (const gaps of underruns) expect(gaps).toBeLessThanOrEqual(stalls.length)
      expect(Math.max(...steep)).toBeLessThan(1)
      expect(Math.max(...unsteady)).toBeLessThan(stalls.length === 0 ? 0.01 : 0.1)
    },
    { ...IN_REAL_TIME, timeout: 240_000 },
  )

  test(
    'meters follow steps within 200 ms, the delay in words is the one there is, and the speaker wants for nothing',
    async () => {
      const [a, b] = [await person(left), await person(right)]
      await Promise.all([watchPlayback(a.page), watchPlayback(b.page)])
      const screens = await Promise.all([Screen.of(a), Screen.of(b)])
      await talkingOnLine(a, b, server.url)
      await Promise.all([a.settles(5_000, 20_000), b.settles(5_000, 20_000)])
      await machine.take()
      const before = await Promise.all([playbackOf(a), playbackOf(b)])
      const since = Date.now()
      await Promise.all([a.ear.listen(30_000), b.ear.listen(30_000)])
      const after = await Promise.all([playbackOf(a), playbackOf(b)])
      const stalls = await machine.take()
      const [atA, atB] = await Promise.all([a.ear.take(), b.ear.take()])
      const [ownA, peerA, ownB, peerB] = await Promise.all([
        screens[0].followed('self', atA.mouth, since),
        screens[0].followed('other', atA.ear, since),
        screens[1].followed('self', atB.mouth, since),
        screens[1].followed('other', atB.ear, since),
      ])
      const [own, peer] = [
        [...ownA, ...ownB],
        [...peerA, ...peerB],
      ]
      const there = delays(pingTimes(atA.mouth), pingTimes(atB.ear)).filter((delay) => delay < 900)
      const { shown, devices } = await screens[1].delays(since)
      // What devices add, the browser tells and an ear in the browser does not hear; a fake one adds nothing.
      const told = median(shown) - median(devices)
      const underruns = after.map(
        ({ underrunEvents }, i) => underrunEvents - (before[i]?.underrunEvents ?? Number.NaN),
      )
      // A fall is seen once all of a report lies in the pause; with reports 67 ms apart that is late by itself.
      console.log(
        `own meter p50 ${median(own).toFixed(0)}, p95 ${quantile(own, 0.95).toFixed(0)}, most ${Math.max(...own).toFixed(0)} ms of ${own.length}; ` +
          `the other's p50 ${median(peer).toFixed(0)}, p95 ${quantile(peer, 0.95).toFixed(0)}, most ${Math.max(...peer).toFixed(0)} ms of ${peer.length}; ` +
          `delay in words ${told.toFixed(1)} and ${median(devices).toFixed(0)} ms of the devices, measured ${median(there).toFixed(1)}; ` +
          `underruns of the speaker ${underruns.join(', ')}`,
      )
      expect(Math.abs(told - median(there))).toBeLessThanOrEqual(15)
      expect(own.length + peer.length).toBeGreaterThan(200)
      for (const all of [own, peer]) expect(quantile(all, 0.95)).toBeLessThanOrEqual(200)
      for (const gaps of underruns) expect(gaps).toBeLessThanOrEqual(stalls.length)
    },
    { ...IN_REAL_TIME, timeout: 120_000 },
  )

  test(
    'a page takes a quarter of a core at most',
    async () => {
      // Nothing listens here: what an ear takes is not the page's.
      const pages = await Promise.all(
        [left, right].map((browser) => browser.newPage({ viewport: { width: 360, height: 740 } })),
      )
      try {
        let link = `${server.url}/line.html?apikey=${LINE_KEY}#generate_leaf`
        for (const page of pages) {
          await page.goto(link)
          await page.waitForURL(/#leaf_/)
          link = page.url()
          await page.getByRole('button', { name: 'Join the call' }).click()
        }
        for (const page of pages) await page.getByRole('heading', { level: 1, name: 'Connected' }).waitFor()
        await Bun.sleep(8_000)
        const shares = await Promise.all([left, right].map((browser) => processorShare(browser, 20_000)))
        const totals = shares.map((kinds) => [...kinds.values()].reduce((sum, share) => sum + share, 0))
        for (const [i, kinds] of shares.entries()) {
          const parts = [...kinds]
            .filter(([, share]) => share >= 0.05)
            .map(([kind, share]) => `${kind} ${share.toFixed(1)}`)
          console.log(`${totals[i]?.toFixed(1)} % of a core: ${parts.join(', ')}`)
        }
        expect(Math.min(...totals)).toBeGreaterThan(1)
        expect(Math.max(...totals)).toBeLessThanOrEqual(25)
      } finally {
        await Promise.all(pages.map((page) => page.close()))
      }
    },
    { ...IN_REAL_TIME, timeout: 120_000 },
  )
})

/** Of each tone in it: its steepest step, and how far a sample lay from where those before it led, at most. */
function clicks({ samples, sampleRate }: Recording, tone: number) {
  const all = tones(samples, sampleRate)
  return {
    steep: all.map((each) => steepestTone(each, sampleRate, tone)),
    unsteady: all.map((each) => unsteadiest(each, sampleRate, tone)),
  }
}

/** In ms, from each to the next. */
function apart(times: readonly number[]): number[] {
  return times.slice(1).map((at, i) => at - (times[i] ?? Number.NaN))
}

/**
 * Gives the page a speaker whose clock is fast by so much: it takes more samples a second than it says that it does, as the
 * crystals of devices do.
 */
async function skew({ page }: LinePerson, ppm: number): Promise<void> {
  await page.addInitScript((part) => {
    const SAID = 48_000
    const Original = AudioContext
    class Skewed extends Original {
      constructor(options?: AudioContextOptions) {
        super({ ...options, sampleRate: SAID * (1 + part) })
      }
      override get sampleRate() {
        return SAID
      }
    }
    Object.assign(globalThis, { AudioContext: Skewed })
  }, ppm / 1e6)
}

/** What the panel of numbers says, in ppm. */
async function driftShown({ page }: LinePerson): Promise<number> {
  const row = page.locator('.figures div', { has: page.getByText('Clock drift') })
  return Number(/(-?\d+) ppm/.exec((await row.locator('dd').textContent()) ?? '')?.[1] ?? Number.NaN)
}
