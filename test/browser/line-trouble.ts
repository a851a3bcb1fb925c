/** Two people on a line through a relay that can be told to misbehave, and how late each hears the other. */
import { afterAll, afterEach, beforeAll, expect } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { ChildServer } from '../kit/child-server.ts'
import type { Heard } from '../kit/ear.ts'
import { delays, median, pingTimes } from '../kit/hearing.ts'
import { HostileRelay } from '../kit/hostile-relay.ts'
import { pings, wav } from '../kit/ping.ts'
import { until } from '../kit/until.ts'
import { withVoice } from './chromium.ts'
import { LINE_KEY, LinePerson, talkingOnLine } from './line-person.ts'

const RATE = 48_000
/** What the jitter of a busy machine adds to a delay that is as it was. */
export const BUSY = 50

/** Within a `describe`: starts what is needed before its tests, and ends it after them. */
export function lineInTrouble(chromium: string) {
  let folder: string
  let left: Browser
  let right: Browser
  let server: ChildServer
  let relay: HostileRelay
  const people: LinePerson[] = []

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ringdown-line-'))
    const voice = (tone: number) => wav(pings(RATE, tone, 60), RATE)
    ;[left, right, server] = await Promise.all([
      withVoice(chromium, voice(1_000), folder),
      withVoice(chromium, voice(1_700), folder),
      ChildServer.start({ settings: { APIKEY: LINE_KEY } }),
    ])
    relay = await HostileRelay.start(server)
  })

  afterAll(async () => {
    relay?.close()
    await Promise.all([left?.close(), right?.close(), server?.close()])
    rmSync(folder, { recursive: true, force: true })
  })

  afterEach(async () => {
    relay.meddler = null
    relay.cap(null)
    relay.up()
    await Promise.all(people.splice(0).map((person) => person.close()))
    await until(() => relay.open.length === 0, 'everybody to be gone')
    relay.forget()
  })

  async function talking() {
    const [a, b] = [await LinePerson.open(left), await LinePerson.open(right)]
    people.push(a, b)
    const link = await talkingOnLine(a, b, relay.url)
    await b.settles()
    return { a, b, link }
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
      return relay
    },
    get server() {
      return server
    },
    get browsers() {
      return [left, right]
    },
    talking,
    listen,
    usual,
    recovers,
    heardAgain,
  }
}
