// What whoever runs the relay, or stands before it, can do to two people on a line: make it silent, and nothing else.
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { leafFromHash } from '../../src/audio/leaf.ts'
import { HEADER_SIZE, TAG_SIZE } from '../../src/protocol/line.ts'
import { ChildServer } from '../kit/child-server.ts'
import { repeats, sent } from '../kit/frames.ts'
import { loudness, median, onsets, toneSnr, tones } from '../kit/hearing.ts'
import { findSecret, HostileRelay, type Message, pass } from '../kit/hostile-relay.ts'
import { describeWith } from '../kit/need.ts'
import { pings, wav } from '../kit/ping.ts'
import { random } from '../kit/random.ts'
import { until } from '../kit/until.ts'
import { withVoice } from './chromium.ts'
import { LINE_KEY, LinePerson, talkingOnLine } from './line-person.ts'

const RATE = 48_000
const LEFT_TONE = 1_000
const RIGHT_TONE = 1_700

describeWith('chromium', 'a line through a hostile relay', (chromium) => {
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
      withVoice(chromium, voice(LEFT_TONE), folder),
      withVoice(chromium, voice(RIGHT_TONE), folder),
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
    await Promise.all(people.splice(0).map((person) => person.close()))
    await until(() => relay.open.length === 0, 'everybody to be gone')
    relay.forget()
  })

  async function person(browser: Browser): Promise<LinePerson> {
    const it = await LinePerson.open(browser)
    people.push(it)
    return it
  }

  async function talking() {
    const [a, b] = [await person(left), await person(right)]
    const link = await talkingOnLine(a, b, relay.url)
    return { a, b, link }
  }

  /** Nothing but the other one's voice, and all of it: in one of some pieces of time, as the machine may be busy. */
  async function hearsWell(person: LinePerson, tone: number): Promise<void> {
    let [best, alike] = [Number.NEGATIVE_INFINITY, 0]
    for (let i = 0; i < 6 && !(best > 40 && alike > 0.95); i++) {
      const { samples, sampleRate } = (await person.ear.hear(2_500)).ear
      const clean = tones(samples, sampleRate).map((each) => toneSnr(each, sampleRate, tone))
      best = clean.length === 0 ? best : median(clean)
      alike = median(onsets(samples, sampleRate).map(({ correlation }) => correlation))
    }
    expect(best).toBeGreaterThan(40)
    expect(alike).toBeGreaterThan(0.95)
  }

  test('the leaf is nowhere but in the two pages', async () => {
    const { a, b, link } = await talking()
    await Promise.all([hearsWell(a, RIGHT_TONE), hearsWell(b, LEFT_TONE)])
    const leaf = leafFromHash(new URL(link).hash)
    if (leaf === null) throw new Error(`no leaf in ${new URL(link).hash.length} characters`)
    const other = await person(left)
    expect(new URL(await other.starts(relay.url)).hash).not.toBe(new URL(link).hash)

    await until(() => relay.everything.length > 1_000_000, 'a megabyte to look through')
    expect(relay.requests.some((line) => line.startsWith('GET /line?'))).toBe(true)
    expect(findSecret(leaf, relay.everything)).toEqual([])
    expect(findSecret(leaf, Buffer.from(server.printed))).toEqual([])
    const elsewhere = [a, b]
      .flatMap(({ requests }) => requests)
      .filter((url) => new URL(url).port !== `${relay.port}`)
    expect(elsewhere.filter((url) => !url.startsWith('blob:') && !url.startsWith('data:'))).toEqual([])
    expect(repeats(sent(relay.messages))).toEqual([])
    for (const { complaints } of [a, b]) expect(complaints).toEqual([])
  })

  test('what is added to a call is not heard: repeats, reflections, changes, cuts, old calls', async () => {
    const before = await talking()
    await Promise.all(people.map(({ ear }) => ear.hear(500)))
    const old = relay.messages
      .filter(({ way, isText }) => way === 'down' && !isText)
      .map(({ bytes }) => bytes)
    await Promise.all(people.splice(0).map((person) => person.close()))
    await until(() => relay.open.length === 0, 'everybody to be gone')
    relay.forget()

    // The same line again, and each page gets, beside what is meant for it, whatever can be made of it.
    const [a, b] = [await person(left), await person(right)]
    await a.goes(before.link)
    await b.goes(before.link)
    await Promise.all([a.sees('Connected'), b.sees('Connected')])
    const chance = random()
    let added = 0
    relay.meddler = (message) => {
      pass(message)
      if (message.way === 'up') {
        // Back to whom it came from.
        if (chance.below(4) === 0) message.passage.send('down', message.bytes)
        return
      }
      for (const bytes of [bad(message, added, chance.below), old[added % old.length] ?? message.bytes]) {
        message.passage.send('down', bytes)
        added++
      }
    }
    await Promise.all([a.ear.hear(1_500), b.ear.hear(1_500)])
    await Promise.all([hearsWell(a, RIGHT_TONE), hearsWell(b, LEFT_TONE)])
    relay.meddler = null
    for (const it of [a, b]) {
      const { numbers, peer } = (await it.report()) ?? {}
      expect(Object.values(numbers?.refused ?? {}).reduce((sum, times) => sum + times, 0)).toBeGreaterThan(
        500,
      )
      expect(peer).toBe('here')
      expect(it.complaints).toEqual([])
    }
  })

  test('what is changed, swapped, cut or held back is silence, and is over when it is over', async () => {
    const { a, b } = await talking()
    const chance = random()
    await b.ear.hear(1_500)
    await b.ear.start()
    let held: Message | null = null
    relay.meddler = (message) => {
      if (message.way === 'up') return pass(message)
      switch (chance.below(8)) {
        case 0:
          return pass(message, bad(message, chance.below(9_999), chance.below))
        case 1:
          return
        case 2:
          if (held !== null) return
          held = message
          return
        default:
          pass(message)
          // The one before it after it.
          if (held?.passage === message.passage) {
            pass(held)
            held = null
          }
      }
    }
    await Bun.sleep(3_000)
    relay.meddler = (message) => void setTimeout(() => pass(message), 1_000)
    await Bun.sleep(2_500)
    relay.meddler = null
    await b.knows(({ peer }) => peer === 'here', 'the other')
    const { ear } = await b.ear.take()
    // Of nobody is anything louder than the voice: no noise.
    expect(Math.max(...ear.samples.map(Math.abs))).toBeLessThan(0.62)
    await b.ear.hear(2_000)
    await Promise.all([hearsWell(a, RIGHT_TONE), hearsWell(b, LEFT_TONE)])
    for (const { complaints } of [a, b]) expect(complaints).toEqual([])
  })

  test('who has not the leaf hears nothing and says nothing; a third finds it busy, and the call goes on', async () => {
    const a = await person(left)
    const link = await a.starts(relay.url)
    await a.sees('Waiting for the other person')
    const line = relay.requests.find((request) => request.startsWith('GET /line?')) ?? ''
    const address = new URL(line.split(' ')[1] ?? '', relay.url)
    address.searchParams.set(
      'seat',
      Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString('base64url'),
    )
    const stranger = new WebSocket(address.href.replace('http', 'ws'))
    stranger.binaryType = 'arraybuffer'
    const heard: Uint8Array<ArrayBuffer>[] = []
    stranger.onmessage = ({ data }) => heard.push(new Uint8Array(data))
    await until(() => stranger.readyState === WebSocket.OPEN, 'the stranger')
    const hello = crypto.getRandomValues(new Uint8Array(120))
    hello.set([1, 1, 1])
    stranger.send(hello)
    // The one of the page, back to it.
    await until(() => heard.some((bytes) => bytes[0] === 1), 'a hello')
    const own = heard.find((bytes) => bytes[0] === 1)
    if (own !== undefined) stranger.send(own)
    await a.sees('Whoever is there has another link')
    expect((await a.report())?.words).toBe(null)
    const { ear } = await a.ear.take()
    expect(ear.samples.length === 0 || loudness(ear.samples) < -100).toBe(true)
    stranger.close()

    const b = await person(right)
    await b.goes(link)
    await Promise.all([a.sees('Connected'), b.sees('Connected')])
    const third = await person(left)
    await third.goes(link)
    await third.sees('This line is busy')
    await b.ear.hear(1_000)
    await hearsWell(b, LEFT_TONE)
    expect((await third.ear.take()).ear.samples.every((sample) => sample === 0)).toBe(true)
  })

  test('sizes and times on the wire say nothing of what is said', async () => {
    const { a, b } = await talking()
    await b.ear.hear(2_000)
    const watch = async () => {
      relay.forget()
      await b.ear.hear(3_000)
      const mine = sent(relay.messages).filter(({ passage }) => passage === relay.open[0])
      const audio = mine.filter(({ kind }) => kind === 'audio')
      const control = mine.filter(({ kind }) => kind === 'control')
      const [first, last] = [audio[0], audio.at(-1)]
      if (first === undefined || last === undefined) throw new Error('no sound was sent')
      return {
        sizes: [...new Set(mine.map(({ kind, size }) => `${kind} ${size}`))].sort(),
        // By their numbers: what a busy machine does not send has its number too.
        audio: (last.number - first.number) / ((last.at - first.at) / 1_000),
        control: control.length / ((last.at - first.at) / 1_000),
      }
    }
    const speech = await watch()
    await a.press('Mute')
    await b.press('Mute')
    await b.knows(({ peerMuted }) => peerMuted, 'that the other is muted')
    const muted = await watch()
    expect(speech.sizes).toEqual(['audio 1374', 'control 104'])
    expect(muted.sizes).toEqual(speech.sizes)
    for (const { audio, control } of [speech, muted]) {
      expect(Math.abs(audio - 100)).toBeLessThan(3)
      expect(Math.abs(control - 20)).toBeLessThan(4)
    }
    expect(repeats(sent(relay.messages))).toEqual([])
  })
})

/** Something like the message that is not it: each byte of the header in turn, the body, the tag, cut, longer, made up. */
function bad({ bytes }: Message, turn: number, below: (most: number) => number): Uint8Array {
  const flipped = (at: number) => bytes.map((byte, i) => (i === at ? byte ^ (1 << below(8)) : byte))
  const kinds = [
    () => flipped(turn % HEADER_SIZE),
    () => flipped(HEADER_SIZE + below(Math.max(1, bytes.length - HEADER_SIZE))),
    () => flipped(bytes.length - 1 - below(TAG_SIZE)),
    () => bytes.subarray(0, below(bytes.length)),
    () => Buffer.concat([bytes, Buffer.from([0])]),
    () => bytes.map((byte, i) => (i < HEADER_SIZE ? byte : below(256))),
    () => bytes,
  ]
  return kinds[turn % kinds.length]?.() ?? bytes
}
