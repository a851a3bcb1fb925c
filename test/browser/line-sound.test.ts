// What two people on a line hear, by an ear outside their pages. Quick figures; test/soak/line.test.ts has the strict ones.
import { expect, test } from 'bun:test'
import type { Heard } from '../kit/ear.ts'
import {
  delays,
  levels,
  loudness,
  median,
  onsets,
  pingTimes,
  type Recording,
  toneShare,
  toneSnr,
  tones,
} from '../kit/hearing.ts'
import { describeWith } from '../kit/need.ts'
import { refusing } from './chromium.ts'
import { LINE_KEY, type LinePerson } from './line-person.ts'
import { hearsTone, LEFT_TONE, lineScene, RIGHT_TONE } from './line-scene.ts'

/** A busy machine spoils pieces of time: the figures are those of one of so many. */
const PIECES = 6

describeWith('chromium', 'the sound of a line', (chromium) => {
  const scene = lineScene(chromium)
  const { person, talking } = scene

  /** Figures of pieces of time until one is good, or of all. */
  async function oneOf<T>(measure: () => Promise<T>, isGood: (figures: T) => boolean): Promise<void> {
    const all: T[] = []
    while (all.length < PIECES) {
      const figures = await measure()
      if (isGood(figures)) return
      all.push(figures)
    }
    throw new Error(`none of these is good: ${all.map((figures) => JSON.stringify(figures)).join(', ')}`)
  }

  /** How much the pings are still like the chirp. */
  function alike({ samples, sampleRate }: Recording): number {
    return median(onsets(samples, sampleRate).map(({ correlation }) => correlation))
  }

  /** Of one mouth at the other ear: dB of the tones over all else, likeness of the chirps, ms in between. */
  function figuresOf(said: Heard, { ear }: Heard, tone: number) {
    const clean = tones(ear.samples, ear.sampleRate).map((each) => toneSnr(each, ear.sampleRate, tone))
    return {
      clean: median(clean),
      // The browser's echo cancelling has coloured it at the mouth already.
      changed: alike(said.mouth) - alike(ear),
      late: median(late(said, { ear })),
    }
  }

  /** From one mouth to the other ear, in ms. */
  function late(said: Pick<Heard, 'mouth'>, heard: Pick<Heard, 'ear'>): number[] {
    return delays(pingTimes(said.mouth), pingTimes(heard.ear)).filter((delay) => delay < 900)
  }

  async function both(a: LinePerson, b: LinePerson, ms: number): Promise<[Heard, Heard]> {
    await Promise.all([a.ear.listen(ms), b.ear.listen(ms)])
    return Promise.all([a.ear.take(), b.ear.take()])
  }

  test('each hears the other, clean and soon, and never oneself', async () => {
    const { a, b } = await talking()
    for (const [from, to, tone, own] of [
      [a, b, LEFT_TONE, RIGHT_TONE],
      [b, a, RIGHT_TONE, LEFT_TONE],
    ] as const) {
      await oneOf(
        async () => {
          const [said, heard] = await both(from, to, 2_300)
          const { samples, sampleRate } = heard.ear
          for (const each of tones(samples, sampleRate))
            expect(toneShare(each, sampleRate, own)).toBeLessThan(0.01)
          return figuresOf(said, heard, tone)
        },
        ({ clean, changed, late }) => clean > 40 && changed < 0.01 && late < 60,
      )
    }
    for (const { complaints } of [a, b]) expect(complaints).toEqual([])
  })

  test('mute is silence within 300 ms, and over as soon', async () => {
    const { a, b } = await talking()
    const level = async () => {
      const { ear } = await b.ear.hear(1_300)
      return Math.max(...levels(ear.samples, ear.sampleRate))
    }
    await oneOf(level, (loudest) => loudest > -12)
    await oneOf(
      async () => {
        await b.ear.start()
        await a.press('Mute')
        const at = Date.now()
        await b.knows(({ peerMuted }) => peerMuted, 'that the other is muted')
        await Bun.sleep(1_300)
        const { ear } = await b.ear.take()
        const muted = ear.samples.subarray(ear.samples.findIndex((_, i) => ear.timeOf(i) > at + 300))
        await a.press('Unmute')
        await b.knows(({ peerMuted }) => !peerMuted, 'that the other is heard')
        return { ms: (1_000 * muted.length) / ear.sampleRate, loudness: loudness(muted) }
      },
      (muted) => muted.ms > 800 && muted.loudness < -80,
    )
    await oneOf(level, (loudest) => loudest > -12)
  })

  test('the delay that is shown is the one there is', async () => {
    const { a, b } = await talking()
    // Not the best of some pieces: a figure that is wrong by as much as a busy machine makes it swing is right at times.
    const off: number[] = []
    for (let piece = 0; piece < 9 && !(off.length > 2 && Math.abs(median(off)) < 15); piece++) {
      const since = Date.now()
      const [atA, atB] = await both(a, b, 2_300)
      const there = late(atA, atB)
      if (there.length > 0) off.push(median(await b.shown(since)) - median(there))
    }
    expect(Math.abs(median(off))).toBeLessThan(15)
  })

  test('the narrow profile is heard too', async () => {
    const { a, b } = await talking('&mobile=1')
    await oneOf(
      async () => {
        const [atA, atB] = await both(a, b, 2_300)
        const mbits = (await b.report())?.numbers.mbits.in ?? Number.NaN
        return { ...figuresOf(atA, atB, LEFT_TONE), mbits }
      },
      ({ clean, late, mbits }) => clean > 40 && late < 150 && mbits <= 0.45,
    )
  })

  test('without a gesture nothing is asked for; without a microphone one listens', async () => {
    const a = await person(scene.left)
    await a.page.goto(`${scene.url}/line.html?apikey=${LINE_KEY}#generate_leaf`)
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
      await hearsTone(b, LEFT_TONE, RIGHT_TONE)
      expect(a.complaints).toEqual([])
    } finally {
      await browser.close()
    }
  })
})
