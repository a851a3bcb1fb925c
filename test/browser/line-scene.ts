/** What the tests of a line share: two browsers with a voice each, a server, maybe a relay before it, and who is on the line. */
import { afterAll, afterEach, beforeEach, expect } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { ChildServer } from '../kit/child-server.ts'
import { onsets, toneShare, toneSnr, tones } from '../kit/hearing.ts'
import { HostileRelay } from '../kit/hostile-relay.ts'
import { pings, wav } from '../kit/ping.ts'
import { until } from '../kit/until.ts'
import { withVoice } from './chromium.ts'
import { LINE_KEY, LinePerson, talkingOnLine } from './line-person.ts'

const RATE = 48_000
/** The voices in the two browsers, in Hz. */
export const LEFT_TONE = 1_000
export const RIGHT_TONE = 1_700

/** A whole ping is in each piece of this length, wherever it begins. */
const PIECE_MS = 2_000
/** A person is listened to in so many pieces until one is as wanted: a busy machine spoils some. */
const PIECES = 12
/** Of a tone that must be clean: many frames, and less than there is between two halts of a machine that halts often. */
const CLEAN_MS = 250

export interface LineSceneOptions {
  /** Whether a relay that can misbehave stands between the pages and the server. */
  readonly isRelayed?: boolean
  /** Runs in each page before its own scripts. */
  readonly script?: () => void
}

/** Within a `describe`: starts what is needed before its tests, lets everybody go after each, and ends it after them. */
export function lineScene(chromium: string, { isRelayed = false, script }: LineSceneOptions = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'ringdown-line-'))
  let left: Browser | undefined
  let right: Browser | undefined
  // A process of its own: what is worked out here must not hold up what it relays.
  let server: ChildServer | undefined
  let relay: HostileRelay | undefined
  const people: LinePerson[] = []

  const browser = async (last: Browser | undefined, tone: number) =>
    last?.isConnected() ? last : await withVoice(chromium, wav(pings(RATE, tone, 60), RATE), folder)

  // Not once for all: with a test that takes too long Bun ends every process that this one started.
  beforeEach(async () => {
    ;[left, right, server] = await Promise.all([
      browser(left, LEFT_TONE),
      browser(right, RIGHT_TONE),
      server ?? ChildServer.start({ settings: { APIKEY: LINE_KEY } }),
    ])
    if (!server.isRunning) await server.start()
    if (isRelayed) relay ??= await HostileRelay.start(server)
  })

  afterEach(async () => {
    if (relay !== undefined) {
      relay.meddler = null
      relay.cap(null)
      relay.up()
    }
    await leave()
  })

  afterAll(async () => {
    relay?.close()
    await Promise.all([left?.close(), right?.close(), server?.close()])
    rmSync(folder, { recursive: true, force: true })
  })

  /** Everybody goes, and what the relay saw of them is forgotten. */
  async function leave(): Promise<void> {
    await Promise.all(people.splice(0).map((person) => person.close()))
    await until(() => (relay?.open.length ?? 0) === 0, 'everybody to be gone')
    relay?.forget()
  }

  async function person(browser: Browser): Promise<LinePerson> {
    const it = await LinePerson.open(browser)
    if (script !== undefined) await it.page.addInitScript(script)
    people.push(it)
    return it
  }

  const scene = {
    get left() {
      return there(left)
    },
    get right() {
      return there(right)
    },
    get server() {
      return there(server)
    },
    get relay() {
      return there(relay)
    },
    /** Where the pages are asked for. */
    get url() {
      return relay?.url ?? there(server).url
    },
    person,
    leave,

    /** The one on the left starts a line, the one on the right joins it, and both are told that they are connected. */
    async talking(query = '') {
      const [a, b] = await Promise.all([person(scene.left), person(scene.right)])
      const link = await talkingOnLine(a, b, scene.url, { query })
      return { a, b, link }
    },
  }
  return scene
}

function there<T>(it: T | undefined): T {
  if (it === undefined) throw new Error('the scene is not set yet')
  return it
}

/** Listens until the other's tone is heard, and never one's own. */
export async function hearsTone(by: LinePerson, other: number, own: number): Promise<void> {
  const shares: string[] = []
  for (let i = 0; i < PIECES; i++) {
    const { samples, sampleRate } = (await by.ear.hear(PIECE_MS / 2)).ear
    const length = Math.round(sampleRate / 5)
    for (let at = 0; at + length <= samples.length; at += length) {
      const part = samples.subarray(at, at + length)
      expect(toneShare(part, sampleRate, own)).toBeLessThan(0.1)
      const share = toneShare(part, sampleRate, other)
      if (share > 0.9) return
      shares.push(share.toFixed(2))
    }
  }
  throw new Error(`${other} Hz is not heard; its share was ${shares.join(', ')}`)
}

/** Listens until a whole ping of this tone is heard with nothing else: 40 dB above it, and the chirp as it was said. */
export async function hearsWell(by: LinePerson, tone: number): Promise<void> {
  let [clean, alike] = [Number.NEGATIVE_INFINITY, 0]
  for (let i = 0; i < PIECES && !(clean > 40 && alike > 0.95); i++) {
    const { samples, sampleRate } = (await by.ear.hear(PIECE_MS)).ear
    const whole = tones(samples, sampleRate, CLEAN_MS)
    clean = Math.max(clean, ...whole.map((each) => toneSnr(each, sampleRate, tone)))
    alike = Math.max(alike, ...onsets(samples, sampleRate).map(({ correlation }) => correlation))
  }
  expect(clean).toBeGreaterThan(40)
  expect(alike).toBeGreaterThan(0.95)
}
