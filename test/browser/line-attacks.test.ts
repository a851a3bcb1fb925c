// What whoever runs the relay, or stands before it, can do to two people on a line: make it silent, and nothing else.
import { expect, test } from 'bun:test'
import { leafFromHash } from '../../src/audio/leaf.ts'
import { HEADER_SIZE, TAG_SIZE } from '../../src/protocol/line.ts'
import type { Report } from '../../src/web/line/messages.ts'
import { repeats, sent } from '../kit/frames.ts'
import { loudness } from '../kit/hearing.ts'
import { findSecret, type Message, pass } from '../kit/hostile-relay.ts'
import { describeWith } from '../kit/need.ts'
import { random } from '../kit/random.ts'
import { until } from '../kit/until.ts'
import { hearsWell, LEFT_TONE, lineScene, RIGHT_TONE } from './line-scene.ts'

describeWith('chromium', 'a line through a hostile relay', (chromium) => {
  const scene = lineScene(chromium, { isRelayed: true })
  const { person, talking } = scene

  test('the leaf is nowhere but in the two pages', async () => {
    const { a, b, link } = await talking()
    await Promise.all([hearsWell(a, RIGHT_TONE), hearsWell(b, LEFT_TONE)])
    const leaf = leafFromHash(new URL(link).hash)
    if (leaf === null) throw new Error(`no leaf in ${new URL(link).hash.length} characters`)
    const other = await person(scene.left)
    expect(new URL(await other.starts(scene.relay.url)).hash).not.toBe(new URL(link).hash)

    const megabyte = async () => {
      await Bun.sleep(200)
      return scene.relay.messages.reduce((sum, { bytes }) => sum + bytes.length, 0) > 1_000_000
    }
    await until(megabyte, 'a megabyte to look through')
    expect(scene.relay.requests.some((line) => line.startsWith('GET /line?'))).toBe(true)
    expect(findSecret(leaf, scene.relay.everything)).toEqual([])
    expect(findSecret(leaf, Buffer.from(scene.server.printed))).toEqual([])
    const elsewhere = [a, b]
      .flatMap(({ requests }) => requests)
      .filter((url) => new URL(url).port !== `${scene.relay.port}`)
    expect(elsewhere.filter((url) => !url.startsWith('blob:') && !url.startsWith('data:'))).toEqual([])
    expect(repeats(sent(scene.relay.messages))).toEqual([])
    for (const { complaints } of [a, b]) expect(complaints).toEqual([])
  })

  test('what is added to a call is not heard: repeats, reflections, changes, cuts, old calls', async () => {
    const before = await talking()
    await Promise.all([before.a, before.b].map(({ ear }) => ear.hear(500)))
    const old = scene.relay.messages
      .filter(({ way, isText }) => way === 'down' && !isText)
      .map(({ bytes }) => bytes)
    await scene.leave()

    // The same line again, and each page gets, beside what is meant for it, whatever can be made of it.
    const [a, b] = [await person(scene.left), await person(scene.right)]
    await a.goes(before.link)
    await b.goes(before.link)
    await Promise.all([a.sees('Connected'), b.sees('Connected')])
    const chance = random()
    let added = 0
    scene.relay.meddler = (message) => {
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
    const isMuch = ({ numbers }: Report) =>
      Object.values(numbers.refused).reduce((sum, times) => sum + times, 0) > 500
    await Promise.all([a, b].map((it) => it.knows(isMuch, 'much that is refused')))
    await Promise.all([hearsWell(a, RIGHT_TONE), hearsWell(b, LEFT_TONE)])
    scene.relay.meddler = null
    for (const it of [a, b]) {
      expect((await it.report())?.peer).toBe('here')
      expect(it.complaints).toEqual([])
    }
  })

  test('what is changed, swapped, cut or held back is silence, and is over when it is over', async () => {
    const { a, b } = await talking()
    const chance = random()
    await b.ear.start()
    let held: Message | null = null
    scene.relay.meddler = (message) => {
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
    await Bun.sleep(2_500)
    scene.relay.meddler = (message) => void setTimeout(() => pass(message), 1_000)
    await Bun.sleep(2_000)
    scene.relay.meddler = null
    await b.knows(({ peer }) => peer === 'here', 'the other')
    const { ear } = await b.ear.take()
    // Of nobody is anything louder than the voice: no noise.
    expect(ear.samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0)).toBeLessThan(0.62)
    await Promise.all([hearsWell(a, RIGHT_TONE), hearsWell(b, LEFT_TONE)])
    for (const { complaints } of [a, b]) expect(complaints).toEqual([])
  })

  test('who has not the leaf hears nothing and says nothing; a third finds it busy, and the call goes on', async () => {
    const a = await person(scene.left)
    const link = await a.starts(scene.relay.url)
    await a.sees('Waiting for the other person')
    const line = scene.relay.requests.find((request) => request.startsWith('GET /line?')) ?? ''
    const address = new URL(line.split(' ')[1] ?? '', scene.relay.url)
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

    const b = await person(scene.right)
    await b.goes(link)
    await Promise.all([a.sees('Connected'), b.sees('Connected')])
    const third = await person(scene.left)
    await third.goes(link)
    await third.sees('This line is busy')
    await hearsWell(b, LEFT_TONE)
    expect((await third.ear.take()).ear.samples.every((sample) => sample === 0)).toBe(true)
  })

  test('sizes and times on the wire say nothing of what is said', async () => {
    const { a, b } = await talking()
    await b.ear.listen(1_000)
    /** Sizes of all that is sent, at the pace it has in one of some pieces of time: in others a busy machine stands still. */
    const watch = async () => {
      const sizes = new Set<string>()
      const paces: string[] = []
      for (let piece = 0; piece < 8; piece++) {
        scene.relay.forget()
        await b.ear.listen(2_000)
        const mine = sent(scene.relay.messages).filter(({ passage }) => passage === scene.relay.open[0])
        for (const { kind, size } of mine) sizes.add(`${kind} ${size}`)
        const audio = mine.filter(({ kind }) => kind === 'audio')
        const [first, last] = [audio[0], audio.at(-1)]
        if (first === undefined || last === undefined) continue
        const seconds = (last.at - first.at) / 1_000
        // By their numbers: what a busy machine does not send has its number too.
        const pace = (last.number - first.number) / seconds
        const control = (mine.length - audio.length) / seconds
        if (Math.abs(pace - 100) < 3 && Math.abs(control - 20) < 4) return [...sizes].sort()
        paces.push(`${pace.toFixed(1)} and ${control.toFixed(1)}`)
      }
      throw new Error(`sound and control frames a second: ${paces.join('; ')}`)
    }
    expect(await watch()).toEqual(['audio 1374', 'control 104'])
    await a.press('Mute')
    await b.press('Mute')
    await b.knows(({ peerMuted }) => peerMuted, 'that the other is muted')
    expect(await watch()).toEqual(['audio 1374', 'control 104'])
    expect(repeats(sent(scene.relay.messages))).toEqual([])
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
