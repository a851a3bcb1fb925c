import { expect, test } from 'bun:test'
import { type MemoryRelay, type TestEnd, TestLine } from '../../../test/kit/line-ends.ts'
import { readHeader } from '../../audio/frame.ts'
import { leafToText, newLeaf } from '../../audio/leaf.ts'
import { codes } from '../../protocol/codes.ts'
import { AUDIO_TYPE, CONTROL_TYPE, HELLO_TYPE, NOTICE_TYPE } from '../../protocol/line.ts'
import { PROFILES, type Profile } from './messages.ts'
import { BUSY, REPLACED, RESTARTS } from './relay.ts'

/** For tests of many seconds of a call, on a machine that does other things. */
const LONG = 60_000

const fill = (bytes: Uint8Array<ArrayBuffer>) => crypto.getRandomValues(bytes)
const tone =
  (hertz: number, rate = 48_000) =>
  (sample: number) =>
    0.5 * Math.sin((2 * Math.PI * hertz * sample) / rate)
/** Int16 as a float, so that nothing is rounded on the way. */
const noise = (sample: number) => (((Math.imul(sample + 1, 2_654_435_761) >>> 16) & 0xffff) - 32_768) / 32_768

const sealed = (line: TestLine) =>
  line.relay.wire.filter(({ bytes }) => bytes[0] === AUDIO_TYPE || bytes[0] === CONTROL_TYPE)

/** Throws when a key and counter come twice. */
function expectFreshNonces(line: TestLine): number {
  const seen = new Set<string>()
  let frames = 0
  for (const { bytes } of sealed(line)) {
    const read = readHeader(bytes)
    if (typeof read === 'string') throw new Error(read)
    seen.add(`${read.kid} ${read.counter}`)
    frames++
  }
  expect(seen.size).toBe(frames)
  return frames
}

/** Power of a sine of this frequency, of any phase, over what is left, in dB. */
function signalToNoise(samples: Float32Array, hertz: number, rate: number): number {
  let [a, b] = [0, 0]
  for (const [i, sample] of samples.entries()) {
    a += sample * Math.sin((2 * Math.PI * hertz * i) / rate)
    b += sample * Math.cos((2 * Math.PI * hertz * i) / rate)
  }
  a *= 2 / samples.length
  b *= 2 / samples.length
  let [signal, rest] = [0, 0]
  for (const [i, sample] of samples.entries()) {
    const angle = (2 * Math.PI * hertz * i) / rate
    const fitted = a * Math.sin(angle) + b * Math.cos(angle)
    signal += fitted ** 2
    rest += (sample - fitted) ** 2
  }
  return 10 * Math.log10(signal / rest)
}

const isClean = (...ends: TestEnd[]) => expect(ends.flatMap(({ faults }) => faults)).toEqual([])

test('two ends find each other at once, agree on words, and hear each other at 85 dB and more', async () => {
  const line = new TestLine()
  const [a, b] = await line.call()
  expect(line.clock.now()).toBeLessThan(150)
  a.signal = tone(1_000)
  b.signal = tone(1_700)
  await line.run(1_000)
  a.heard = []
  b.heard = []
  await line.run(1_100)
  expect(signalToNoise(b.sound, 1_000, 48_000)).toBeGreaterThan(85)
  expect(signalToNoise(a.sound, 1_700, 48_000)).toBeGreaterThan(85)
  expect(b.sound.length).toBeGreaterThan(47_000)
  expect(a.report.words).toHaveLength(4)
  expect(b.report.words).toEqual(a.report.words)
  expect(a.report.wordsBroken).toBe(false)
  expect(a.report.peerLevel.rms).toBeCloseTo(-9.03, 1)
  expect(b.report.own.rms).toBeCloseTo(-9.03, 1)
  expect(a.report.numbers).toMatchObject({
    rates: { capture: 48_000, out: 200_000, in: 200_000, speaker: 48_000 },
    bucket: { out: 1_374, in: 1_374 },
    lost: 0,
    stale: 0,
    droppedHere: 0,
    refused: {},
    roundTrip: 20,
  })
  expect(a.report.numbers.mbits.out).toBeWithin(1.1, 1.2)
  isClean(a, b)
})

test(
  'where no rate is changed, every sample comes out as it went in',
  async () => {
    const profile: Profile = { name: 'default', rate: 2, duration: 2, raw: false }
    for (const raw of [false, true]) {
      const line = new TestLine()
      const [a, b] = await line.call({ profile: { ...profile, raw } })
      a.signal = raw ? noise : (sample) => Math.round(8_000 * Math.sin(sample / 40)) / 32_768
      await line.run(200)
      b.heard = []
      await line.run(1_000)
      const { sound } = b
      const known = new Map<string, number>()
      for (let i = 0; i < 96_000; i++) known.set(`${a.signal(i)} ${a.signal(i + 1)} ${a.signal(i + 2)}`, i)
      const at = known.get(`${sound[0]} ${sound[1]} ${sound[2]}`) ?? Number.NaN
      const first = raw ? at : at % 1
      if (raw) expect(sound.every((sample, i) => sample === a.signal(first + i))).toBe(true)
      // A wave of that kind comes again and again: it is enough that each sample is one of it, to the bit.
      else {
        const values = new Set(Array.from({ length: 96_000 }, (_, i) => Math.fround(a.signal(i))))
        expect(sound.every((sample) => values.has(sample))).toBe(true)
      }
      expect(sound.length).toBeGreaterThan(47_000)
      isClean(a, b)
    }
  },
  LONG,
)

test(
  '[T-L2] a socket that is cut comes back with the same keys, and no counter comes twice under a key',
  async () => {
    const line = new TestLine()
    const [a, b] = await line.call()
    a.signal = tone(440)
    const names = ['default', 'quick', 'mobile'] as const
    for (let i = 0; i < 100; i++) {
      line.relay.end(1006, ({ seat }) => i % 3 === 2 || seat === line.relay.open[i % 2]?.seat)
      a.take({ type: 'mute', muted: i % 4 === 1 })
      if (i % 10 === 0) b.take({ type: 'profile', profile: PROFILES[names[(i / 10) % 3] ?? 'default'] })
      await line.until(() => line.relay.open.length === 2)
      await line.run(60)
    }
    await line.until(() => [a, b].every(({ report }) => report.peer === 'here'))
    expect(expectFreshNonces(line)).toBeGreaterThan(5_000)
    // One peer all along.
    expect([a.report.peerChanges, b.report.peerChanges]).toEqual([0, 0])
    expect(b.report.wordsBroken).toBe(false)
    expect(b.report.words).toEqual(a.report.words)
    const kids = new Set(sealed(line).map(({ bytes }) => new DataView(bytes.buffer).getUint32(4)))
    expect(kids.size).toBe(2)
    expect(Object.keys(a.report.numbers.refused)).toEqual([])
    isClean(a, b)
  },
  LONG,
)

test('a reload of one end is another peer, and heard at once', async () => {
  const line = new TestLine()
  const [a, b] = await line.call()
  await line.run(1_000)
  const words = a.report.words
  b.kill()
  await line.until(() => a.report.peer === 'gone')
  // To nobody, nothing is sent but hellos.
  const { length } = sealed(line)
  await line.run(1_000)
  expect(sealed(line)).toHaveLength(length)
  const again = line.page()
  again.signal = tone(1_000)
  const took = await line.until(() => a.report.peerChanges === 1)
  expect(took).toBeLessThan(200)
  await line.run(300)
  expect(a.report.words).toHaveLength(4)
  expect(a.report.words).toEqual(again.report.words)
  expect(a.report.words).not.toEqual(words)
  expect(a.report.peerLevel.rms).toBeGreaterThan(-10)
  // What was in the buffer of the last one was thrown away.
  expect(a.heard.filter(({ type }) => type === 'restart').length).toBeGreaterThanOrEqual(3)
  expectFreshNonces(line)
  isClean(a, again)
})

test('what is still under way of a page that was loaded again is not played', async () => {
  const line = new TestLine()
  const [a, b] = await line.call()
  b.signal = tone(1_000)
  await line.run(300)
  const late: Uint8Array<ArrayBuffer>[] = []
  line.relay.meddler = (bytes, pass, from) => (from === b.seat ? late.push(bytes) : pass(bytes))
  await line.run(200)
  line.relay.meddler = (bytes, pass) => pass(bytes)
  b.kill()
  const again = line.page()
  await line.until(() => a.report.peerChanges === 1)
  const { received } = a.report.numbers
  a.heard = []
  for (const bytes of late) line.relay.inject(bytes, ({ seat }) => seat === a.seat)
  await line.run(500)
  expect(late.length).toBeGreaterThan(10)
  expect(a.report.numbers.received - received).toBeWithin(45, 55)
  expect(a.sound.every((sample) => sample === 0)).toBe(true)
  expect(a.report.peerChanges).toBe(1)
  isClean(a, again)
})

test('a page without the leaf is a stranger, and nothing of it is played', async () => {
  const line = new TestLine()
  const a = line.page()
  const other = line.page({ leaf: newLeaf(fill) })
  // The room comes of the leaf; only a relay that lies brings them together.
  await line.until(() => a.report.peer === 'stranger', 5_000)
  await line.run(1_000)
  expect(other.report.peer).toBe('stranger')
  expect([a.playedSamples, other.playedSamples]).toEqual([0, 0])
  expect(sealed(line)).toEqual([])
  expect(a.report.numbers.refused.hello_forged).toBeGreaterThan(0)
  other.kill()
  await line.until(() => a.report.peer === 'absent')
  const b = line.page()
  await line.until(() => a.report.peer === 'here')
  expect(a.report.peerChanges).toBe(0)
  isClean(a, b, other)
})

test('a third on the line is told that it is busy, and the call goes on', async () => {
  const line = new TestLine()
  const [a, b] = await line.call()
  const third = line.page()
  await line.until(() => third.isEnded, 3_000)
  expect(third.report.link).toEqual({ at: 'closed', why: 'busy' })
  expect(third.playedSamples).toBe(0)
  await line.run(500)
  expect([a, b].map(({ report }) => report.peer)).toEqual(['here', 'here'])
  expect([a.report.peerChanges, a.report.numbers.lost, b.report.numbers.lost]).toEqual([0, 0, 0])
  isClean(a, b, third)
})

test('who stops says goodbye, and nothing after it', async () => {
  const line = new TestLine()
  const [a, b] = await line.call()
  a.kill()
  await line.run(20)
  expect(a.isEnded).toBe(true)
  const { length } = a.reports
  await line.run(500)
  expect(a.reports).toHaveLength(length)
  expect(b.report.peer).toBe('gone')
  b.kill()
  const early = line.page()
  early.kill()
  expect(early.isEnded).toBe(true)
  await line.run(1_000)
  expect(line.clock.pending).toBe(0)
})

test('one whose connection was lost is silent, not gone; and is here when it is back', async () => {
  const line = new TestLine()
  const [a, b] = await line.call()
  line.relay.refuses = () => 1006
  line.relay.end(1006, ({ seat }) => seat === b.seat)
  await line.until(() => a.report.peer === 'silent', 100)
  await line.run(5_000)
  expect(a.report.peer).toBe('silent')
  expect(b.report.link).toMatchObject({ at: 'reconnecting', trouble: 'server_down' })
  line.relay.refuses = null
  b.take({ type: 'nudge' })
  await line.until(() => a.report.peer === 'here' && b.report.peer === 'here', 300)
  expect([a.report.peerChanges, b.report.peerChanges]).toEqual([0, 0])
  isClean(a, b)
})

test('[LINE-60] [T-L1] the leaf is in no address, on no wire and in no message', async () => {
  const line = new TestLine()
  const [a, b] = await line.call()
  a.take({ type: 'source', source: { from: 'worklet', port: null as unknown as MessagePort, rate: 1 } })
  await line.run(500)
  expect(a.faults).toEqual(['source: TypeError'])
  const hex = Buffer.from(line.leaf).toString('hex')
  const said = JSON.stringify([line.relay.urls, a.reports, b.reports, a.faults])
  const wire = Buffer.concat(line.relay.wire.map(({ bytes }) => bytes))
  for (let at = 0; at + 8 <= 32; at++) {
    const part = Buffer.from(line.leaf.subarray(at, at + 8))
    expect(wire.includes(part)).toBe(false)
    expect(said.includes(part.toString('hex')) || said.includes(hex)).toBe(false)
  }
  expect(said.includes(leafToText(line.leaf))).toBe(false)
  expect(new Set(line.relay.urls.map((url) => new URL(url).searchParams.get('room'))).size).toBe(1)
})

test(
  'sizes and rate on the wire are the same for speech, silence, a muted microphone and none',
  async () => {
    for (const profile of [PROFILES.default, PROFILES.mobile]) {
      const line = new TestLine()
      const [a] = await line.call({ profile })
      const patterns: string[] = []
      const record = async () => {
        await line.run(500)
        const from = line.clock.now()
        await line.run(2_000)
        const frames = sealed(line).filter(({ at, seat }) => at >= from && seat === a.seat)
        const sound = frames.filter(({ bytes }) => bytes[0] === AUDIO_TYPE)
        const headers = new Set(sound.map(({ bytes }) => `${bytes[1]} ${bytes[2]} ${bytes.length}`))
        patterns.push(`${sound.length} ${frames.length} ${[...headers]}`)
      }
      a.signal = (sample) => 0.4 * Math.sin(sample / 30) * Math.max(0, Math.sin(sample / 9_000))
      await record()
      a.signal = () => 0
      await record()
      a.signal = tone(300)
      a.take({ type: 'mute', muted: true })
      await record()
      a.take({ type: 'source', source: { from: 'nowhere' } })
      await record()
      expect(new Set(patterns).size).toBe(1)
      expect(patterns[0]).toStartWith(profile.name === 'mobile' ? '100 140 ' : '200 240 ')
      isClean(a)
    }
  },
  LONG,
)

test('a frame after others that were not sent says so, and their numbers are left out', async () => {
  const line = new TestLine()
  const [a] = await line.call()
  await line.run(300)
  a.holdMicrophone(true)
  await line.run(200)
  a.holdMicrophone(false)
  await line.run(300)
  const heads = sealed(line).flatMap(({ bytes, seat }) => {
    const read = readHeader(bytes)
    return seat === a.seat && typeof read !== 'string' && read.head.type === 'audio' ? [read.head] : []
  })
  const jumps = heads.map(({ number }, i) => number - (heads[i - 1]?.number ?? number - 1))
  expect(heads.map(({ gap }) => gap)).toEqual(jumps.map((jump) => jump > 1))
  const [jump, ...others] = jumps.filter((each) => each > 1)
  expect(jump).toBeWithin(19, 23)
  expect(others).toEqual([])
  isClean(a)
})

test('the speaker is told how much sound never came', async () => {
  const line = new TestLine()
  const [a, b] = await line.call()
  await line.run(500)
  let left = 3
  line.relay.meddler = (bytes, pass, from) => {
    if (from !== a.seat || bytes[0] !== AUDIO_TYPE || left-- <= 0) pass(bytes)
  }
  b.heard = []
  await line.run(500)
  const missing = b.heard.flatMap((said) => (said.type === 'sound' && said.missing > 0 ? [said.missing] : []))
  expect(missing).toEqual([30])
  expect(b.report.numbers.lost).toBe(3)
  expect(a.report.numbers.lost).toBe(0)
  isClean(a, b)
})

test('a relay that does not say who comes delays nothing: hellos are answered', async () => {
  const line = new TestLine()
  line.relay.tells = false
  const a = line.page()
  await line.run(3_000)
  const b = line.page()
  await line.until(() => [a, b].every(({ reports }) => reports.at(-1)?.peer === 'here'), 200)
  isClean(a, b)
})

test('muting is told and silences; what was muted is not in the frames', async () => {
  const line = new TestLine()
  const [a, b] = await line.call()
  a.signal = tone(700)
  await line.run(300)
  expect(b.report.peerLevel.rms).toBeGreaterThan(-10)
  a.take({ type: 'mute', muted: true })
  await line.until(() => b.report.peerMuted, 200)
  await line.run(200)
  b.heard = []
  await line.run(500)
  expect(b.sound.every((sample) => sample === 0)).toBe(true)
  expect(b.sound.length).toBeGreaterThan(20_000)
  a.take({ type: 'mute', muted: false })
  await line.until(() => !b.report.peerMuted && b.report.peerLevel.rms > -10, 200)
})

test(
  '[T-L3] nothing of a frame is played that the relay repeated, sent back, changed, cut, swapped or made up',
  async () => {
    const line = new TestLine()
    const [a, b] = await line.call()
    a.signal = tone(1_000)
    b.signal = tone(1_700)
    await line.run(500)
    const { relay } = line
    const last: Uint8Array<ArrayBuffer>[] = []
    const waiting = new Map<string, Uint8Array<ArrayBuffer>>()
    let at = 0
    const copy = (bytes: Uint8Array<ArrayBuffer>) => new Uint8Array(bytes)
    const changed = (bytes: Uint8Array<ArrayBuffer>, where: number) => {
      const bad = copy(bytes)
      bad[where] = (bad[where] ?? 0) ^ (1 << (at % 8))
      return bad
    }
    const manipulations: Record<string, MemoryRelay['meddler']> = {
      replay: (bytes, pass) => {
        last.push(bytes)
        pass(bytes)
        pass(copy(last[Math.floor(last.length / 2)] ?? bytes))
      },
      header: (bytes, pass) => {
        pass(changed(bytes, at++ % 24))
        pass(bytes)
      },
      body: (bytes, pass) => {
        pass(changed(bytes, 24 + (at++ % (bytes.length - 24))))
        pass(bytes)
      },
      truncate: (bytes, pass) => {
        pass(bytes.slice(0, at++ % bytes.length))
        pass(bytes)
      },
      lengthen: (bytes, pass) => {
        pass(new Uint8Array([...bytes, 0]))
        pass(bytes)
      },
      inject: (bytes, pass) => {
        const made = copy(bytes)
        fill(made.subarray(24))
        pass(made)
        // Of every type, and of the size that a hello has, among others.
        const any = fill(new Uint8Array(at % 2 === 0 ? 120 : 1 + (at % 300)))
        any[0] = [HELLO_TYPE, AUDIO_TYPE, CONTROL_TYPE, NOTICE_TYPE, 0][at++ % 5] ?? 0
        if (any[0] === HELLO_TYPE) any[1] = 1
        pass(any)
        pass(new Uint8Array(0))
        pass(bytes)
      },
      notices: (bytes, pass) => {
        pass(Uint8Array.of(NOTICE_TYPE, at++ % 256, 0, 0, 255, 255, 255, 255))
        pass(bytes)
      },
      swap: (bytes, pass, from) => {
        const kept = waiting.get(from)
        waiting.delete(from)
        if (kept === undefined) return void waiting.set(from, bytes)
        pass(bytes)
        pass(kept)
      },
    }
    for (const [name, meddler] of Object.entries(manipulations)) {
      last.length = 0
      const before = { ...b.report.numbers.refused }
      relay.meddler = meddler
      await line.run(1_500)
      relay.meddler = (bytes, pass) => pass(bytes)
      const sum = (refused: Readonly<Record<string, number>>) =>
        Object.values(refused).reduce((all, count) => all + count, 0)
      const refused = sum(b.report.numbers.refused) - sum(before)
      if (name === 'notices') expect(refused).toBeLessThanOrEqual(1)
      else expect([name, refused > 50]).toEqual([name, true])
      await line.run(1_000)
      expect([name, b.report.peer]).toEqual([name, 'here'])
    }
    // Reflection.
    for (const { bytes } of sealed(line).slice(-400)) relay.inject(copy(bytes))
    await line.run(500)
    expect(b.report.numbers.refused.reflected).toBeGreaterThan(100)
    // All that was ever played is the peer's tone or nothing: never noise, never one's own.
    b.heard = []
    a.heard = []
    await line.run(500)
    expect(signalToNoise(b.sound, 1_000, 48_000)).toBeGreaterThan(80)
    expect(signalToNoise(a.sound, 1_700, 48_000)).toBeGreaterThan(80)
    expectFreshNonces(line)
    expect(a.report.peerChanges + b.report.peerChanges).toBe(0)
    isClean(a, b)
  },
  LONG,
)

test('[LINE-65] [T-L3] frames that were held back for a second are not played, and acks say so', async () => {
  const line = new TestLine()
  const [a, b] = await line.call()
  a.signal = tone(1_000)
  await line.run(1_000)
  line.relay.meddler = (bytes, pass, from) => {
    if (from === a.seat) line.clock.after(1_000, () => pass(bytes))
    else pass(bytes)
  }
  b.heard = []
  await line.run(4_000)
  const stale = b.report.numbers.stale
  expect(stale).toBeGreaterThan(5)
  const played = b.heard.filter(({ type }) => type === 'sound').length
  expect(played).toBeLessThan(5)
  // The sender finds out, and sends little more than probes.
  expect(a.report.numbers.droppedHere).toBeGreaterThan(100)
  isClean(a, b)
})

test(
  'what stalls both ways comes back at once, without a deadlock and without old sound',
  async () => {
    for (const stall of [300, 2_000, 5_000]) {
      const line = new TestLine()
      const [a, b] = await line.call()
      await line.run(1_000)
      line.relay.stalledUntil = line.clock.now() + stall
      await line.run(stall)
      const before = [a.report.numbers.received, b.report.numbers.received]
      await line.run(500)
      for (const [i, end] of [a, b].entries()) {
        expect([stall, end.report.peer]).toEqual([stall, 'here'])
        expect(end.report.link.at).toBe('open')
        expect(end.report.numbers.received - (before[i] ?? 0)).toBeGreaterThan(30)
      }
      await line.run(2_000)
      b.heard = []
      await line.run(500)
      expect(b.heard.length).toBeWithin(49, 52)
      isClean(a, b)
    }
  },
  LONG,
)

test('a link that is too thin for the profile stays alive, and the narrow profile is offered and fits', async () => {
  const line = new TestLine()
  const [a, b] = await line.call()
  await line.run(500)
  expect(a.report.offerMobile).toBe(false)
  line.relay.capacity = 700_000
  await line.until(() => a.report.offerMobile && b.report.offerMobile, 6_000)
  expect(a.report.numbers.droppedHere).toBeGreaterThan(50)
  for (const end of [a, b]) end.take({ type: 'profile', profile: PROFILES.mobile })
  await line.run(2_000)
  expect(a.report.offerMobile).toBe(false)
  const dropped = a.report.numbers.droppedHere
  b.heard = []
  await line.run(2_000)
  expect(a.report.numbers.droppedHere - dropped).toBeLessThan(5)
  expect(b.heard.filter(({ type }) => type === 'sound').length).toBeGreaterThan(95)
  expect(b.report.numbers.rates.in).toBe(24_000)
  expect(a.report.numbers.mbits.out).toBeLessThan(0.45)
  isClean(a, b)
})

test(
  'another rate of the microphone or of the speaker in a call changes nothing that is heard',
  async () => {
    const line = new TestLine()
    const [a, b] = await line.call()
    for (const [from, to] of [
      [16_000, 44_100],
      [44_100, 48_000],
      [96_000, 16_000],
    ] as const) {
      a.signal = tone(440, from)
      a.useMicrophone(from)
      b.useSpeaker(to)
      await line.run(300)
      b.heard = []
      await line.run(1_000)
      expect(signalToNoise(b.sound, 440, to)).toBeGreaterThan(80)
      expect(b.sound.length).toBeWithin(to * 0.98, to * 1.02)
      expect(a.report.numbers.rates.capture).toBe(from)
      expect(b.report.numbers.rates.speaker).toBe(to)
    }
    // Silent while it was put up; nothing counts as lost on the way but the moment of the change.
    expect(b.report.numbers.lost).toBeLessThan(10)
    isClean(a, b)
  },
  LONG,
)

test('a microphone that gives nothing is told, and silence goes on at the pace of sound', async () => {
  const line = new TestLine()
  const [a, b] = await line.call()
  await line.run(500)
  a.holdMicrophone(true)
  await line.until(() => a.report.sourceStalled, 1_200)
  const before = b.report.numbers.received
  await line.run(1_000)
  expect(b.report.numbers.received - before).toBeWithin(95, 105)
  a.holdMicrophone(false)
  await line.until(() => !a.report.sourceStalled, 100)
  const then = b.report.numbers.received
  await line.run(1_000)
  expect(b.report.numbers.received - then).toBeWithin(95, 105)
  isClean(a, b)
})

test(
  'the delay that is shown is the one from mouth to ear',
  async () => {
    for (const [name, delay, capacity] of [
      ['default', 5, Number.POSITIVE_INFINITY],
      ['quick', 20, 2_500_000],
      ['mobile', 40, 1_000_000],
    ] as const) {
      const line = new TestLine()
      line.relay.delay = delay
      line.relay.capacity = capacity
      const [a, b] = await line.call({ profile: PROFILES[name] })
      a.take({ type: 'devices', capture: 7, output: 900 })
      b.take({ type: 'devices', capture: 900, output: 12 })
      const heard: number[] = []
      const said: number[] = []
      b.listen((sample, at) => {
        if (Math.abs(sample) > 0.2 && at - (heard.at(-1) ?? 0) > 200) heard.push(at)
      })
      // A click every 400 ms.
      a.signal = (sample) => {
        if (sample % 19_200 < 48) said.push(line.clock.now())
        return sample % 19_200 < 48 ? 0.9 : 0
      }
      await line.run(3_500)
      // Pieces of 5 ms are there at their end; the click is at the beginning of one.
      const times = said.filter((at, i) => at - (said[i - 1] ?? 0) > 200).map((at) => at - 5)
      const delays = heard.slice(-4).map((at) => at - (times.findLast((then) => then < at) ?? Number.NaN))
      const truth = delays.reduce((sum, value) => sum + value, 0) / delays.length + 7 + 12
      const shown = b.report.delay
      expect(Math.abs((shown?.total ?? 0) - truth)).toBeLessThan(8)
      expect(shown).toMatchObject({
        capture: 7,
        output: 12,
        frame: { default: 10, quick: 5, mobile: 20 }[name],
      })
      expect(a.report.delay).toBeNull()
      isClean(a, b)
    }
  },
  LONG,
)

test('a relay that goes down and comes back has the call back at once, with its reason shown', async () => {
  const line = new TestLine()
  const [a, b] = await line.call()
  await line.run(1_500)
  line.relay.end(codes.draining.close)
  await line.run(5)
  expect(a.report.link).toMatchObject({ at: 'reconnecting', trouble: 'server_restart' })
  const took = await line.until(() => [a, b].every(({ report }) => report.link.at === 'open'))
  expect(took).toBeLessThan(600)
  const received = b.report.numbers.received
  await line.until(() => b.report.numbers.received > received + 3, 300)
  isClean(a, b)
})

test('the codes by which a call is over are those of the protocol', () => {
  expect(BUSY).toBe(codes.busy.close)
  expect(REPLACED).toBe(codes.replaced.close)
  expect(RESTARTS).toContain(codes.draining.close)
  expect(HELLO_TYPE).toBe(1)
})
