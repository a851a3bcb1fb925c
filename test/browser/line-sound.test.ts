// What two people on a line hear, by an ear outside their pages. Quick figures; test/soak/line.test.ts has the strict ones.
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { ChildServer } from '../kit/child-server.ts'
import type { Heard } from '../kit/ear.ts'
import {
  delays,
  levels,
  loudness,
  median,
  onsets,
  pingTimes,
  quantile,
  type Recording,
  toneShare,
  toneSnr,
  tones,
} from '../kit/hearing.ts'
import { describeWith } from '../kit/need.ts'
import { pings, wav } from '../kit/ping.ts'
import { refusing, withVoice } from './chromium.ts'
import { LINE_KEY, LinePerson, talkingOnLine } from './line-person.ts'

const RATE = 48_000
const LEFT_TONE = 1_000
const RIGHT_TONE = 1_700

describeWith('chromium', 'the sound of a line', (chromium) => {
  let folder: string
  let left: Browser
  let right: Browser
  let server: ChildServer
  const people: LinePerson[] = []

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ringdown-line-'))
    const voice = (tone: number) => wav(pings(RATE, tone, 60), RATE)
    ;[left, right, server] = await Promise.all([
      withVoice(chromium, voice(LEFT_TONE), folder),
      withVoice(chromium, voice(RIGHT_TONE), folder),
      // A process of its own: what is worked out here must not hold up what it relays.
      ChildServer.start({ settings: { APIKEY: LINE_KEY } }),
    ])
  })

  afterAll(async () => {
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

  async function talking(query = '') {
    const [a, b] = [await person(left), await person(right)]
    const link = await talkingOnLine(a, b, server.url, { query })
    return { a, b, link }
  }

  /** How much the pings are still like the chirp. */
  function alike({ samples, sampleRate }: Recording): number {
    return median(onsets(samples, sampleRate).map(({ correlation }) => correlation))
  }

  /** From one mouth to the other ear, in ms. */
  function late(said: Heard, heard: Heard): number[] {
    return delays(pingTimes(said.mouth), pingTimes(heard.ear)).filter((delay) => delay < 900)
  }

  test('each hears the other, clean and soon, and never oneself', async () => {
    const { a, b } = await talking()
    await Promise.all([a.settles(), b.settles()])
    const [atA, atB] = await Promise.all([a.ear.hear(5_000), b.ear.hear(5_000)])
    for (const [heard, other, own, said] of [
      [atA, RIGHT_TONE, LEFT_TONE, atB],
      [atB, LEFT_TONE, RIGHT_TONE, atA],
    ] as const) {
      const { samples, sampleRate } = heard.ear
      // The browser's echo cancelling has coloured it at the mouth already.
      expect(alike(heard.ear)).toBeGreaterThan(alike(said.mouth) - 0.01)
      const found = tones(samples, sampleRate)
      expect(found.length).toBeGreaterThanOrEqual(3)
      const clean = found.map((tone) => toneSnr(tone, sampleRate, other))
      expect(median(clean)).toBeGreaterThan(40)
      for (const tone of found) expect(toneShare(tone, sampleRate, own)).toBeLessThan(1e-4)
      const delay = late(said, heard)
      expect(median(delay)).toBeLessThan(60)
    }
    for (const { complaints } of [a, b]) expect(complaints).toEqual([])
  })

  test('mute is silence within 300 ms, and over as soon', async () => {
    const { a, b } = await talking()
    await b.ear.hear(1_500)
    await b.ear.start()
    const at = Date.now()
    await a.press('Mute')
    await b.knows(({ peerMuted }) => peerMuted, 'that the other is muted')
    await Bun.sleep(1_500)
    const { ear } = await b.ear.take()
    const muted = ear.samples.subarray(ear.samples.findIndex((_, i) => ear.timeOf(i) > at + 300))
    expect(muted.length).toBeGreaterThan(ear.sampleRate)
    expect(loudness(muted)).toBeLessThan(-80)
    await a.press('Unmute')
    await b.knows(({ peerMuted }) => !peerMuted, 'that the other is heard')
    const again = await b.ear.hear(1_500)
    expect(Math.max(...levels(again.ear.samples, again.ear.sampleRate))).toBeGreaterThan(-12)
  })

  test('the delay that is shown is the one there is', async () => {
    const { a, b } = await talking()
    await b.settles(3_000)
    const since = Date.now()
    const [atA, atB] = await Promise.all([a.ear.hear(4_500), b.ear.hear(4_500)])
    const shown = await b.shown(since)
    const there = late(atA, atB)
    expect(there.length).toBeGreaterThan(2)
    expect(Math.abs(median(shown) - median(there))).toBeLessThan(15)
  })

  test('the narrow profile is heard too', async () => {
    const { a, b } = await talking('&mobile=1')
    await b.settles()
    const [atA, atB] = await Promise.all([a.ear.hear(3_500), b.ear.hear(3_500)])
    const clean = tones(atB.ear.samples, atB.ear.sampleRate).map((tone) =>
      toneSnr(tone, atB.ear.sampleRate, LEFT_TONE),
    )
    expect(median(clean)).toBeGreaterThan(40)
    expect((await b.report())?.numbers.mbits.in).toBeLessThanOrEqual(0.45)
    expect(quantile(late(atA, atB), 1)).toBeLessThan(150)
  })

  test('without a gesture nothing is asked for; without a microphone one listens', async () => {
    const a = await person(left)
    await a.page.goto(`${server.url}/line.html?apikey=${LINE_KEY}#generate_leaf`)
    await a.page.getByRole('button', { name: 'Join the call' }).waitFor()
    const nothing = await a.ear.take()
    expect([nothing.ear.samples.length, nothing.mouth.samples.length]).toEqual([0, 0])
    expect(a.requests.filter((url) => url.startsWith('ws'))).toEqual([])
    await a.joins()

    const browser = await refusing(chromium)
    try {
      const b = await person(browser)
      await b.goes(a.page.url())
      await Promise.all([a.sees('Connected'), b.sees('Connected')])
      await b.page.getByText('You’re only listening').waitFor()
      const { ear } = await b.ear.hear(2_500)
      expect(tones(ear.samples, ear.sampleRate).length).toBeGreaterThan(0)
      expect(a.complaints).toEqual([])
    } finally {
      await browser.close()
    }
  })
})
