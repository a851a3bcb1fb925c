/** Two people on a line through a relay that can be told to misbehave, and how late each hears the other. */
import { expect } from 'bun:test'
import type { Heard } from '../kit/ear.ts'
import { delays, median, pingTimes } from '../kit/hearing.ts'
import { until } from '../kit/until.ts'
import type { LinePerson } from './line-person.ts'
import { lineScene } from './line-scene.ts'

/** What the jitter of a busy machine adds to a delay that is as it was. */
export const BUSY = 50

/** Within a `describe`: starts what is needed before its tests, and ends it after them. */
export function lineInTrouble(chromium: string) {
  const scene = lineScene(chromium, { isRelayed: true })

  /** `quiet`: nothing was missing for so many ms, so that delays are those of always. */
  async function talking({ quiet = 1_500 } = {}) {
    const all = await scene.talking()
    await all.b.settles(quiet)
    return all
  }

  /** Delays of the pings that were heard, and when, by `Date.now()`. */
  function late(said: Heard, heard: Heard): { readonly at: number; readonly delay: number }[] {
    const times = pingTimes(said.mouth)
    return pingTimes(heard.ear).flatMap((time) => delays(times, [time]).map((delay) => ({ at: time, delay })))
  }

  async function listen(a: LinePerson, b: LinePerson, during: () => Promise<unknown>) {
    await Promise.all([a.ear.start(), b.ear.start()])
    await during()
    const [said, heard] = await Promise.all([a.ear.take(), b.ear.take()])
    return late(said, heard)
  }

  async function usual(a: LinePerson, b: LinePerson): Promise<number> {
    return median((await listen(a, b, () => Bun.sleep(3_300))).map(({ delay }) => delay))
  }

  /** Waits for a ping that is not later than this, and no more than so many pieces of two seconds. */
  async function recovers(a: LinePerson, b: LinePerson, limit: number, pieces = 5): Promise<void> {
    const heard: number[] = []
    for (let i = 0; i < pieces && !heard.some((delay) => delay < limit); i++)
      heard.push(...(await listen(a, b, () => Bun.sleep(2_200))).map(({ delay }) => delay))
    expect(Math.min(...heard)).toBeLessThan(limit)
  }

  /** Ms until the voice of the other is heard again. */
  async function heardAgain(person: LinePerson, since: number, deadline: number): Promise<number> {
    await until(
      async () => {
        await Bun.sleep(50)
        return ((await person.report())?.peerLevel.rms ?? -120) > -40
      },
      'sound',
      deadline,
    )
    return Date.now() - since
  }

  return {
    get relay() {
      return scene.relay
    },
    get server() {
      return scene.server
    },
    get browsers() {
      return [scene.left, scene.right]
    },
    talking,
    listen,
    usual,
    recovers,
    heardAgain,
  }
}
