import { expect, test } from 'bun:test'
import { HandClock } from '../../client/fakes.ts'
import { Framer } from './framer.ts'
import { PROFILES } from './messages.ts'
import { Intake } from './source.ts'
import { SourceClock } from './source-clock.ts'

/** What a browser gives of a track, as far as it is used. */
class FakeAudio {
  readonly sampleRate: number
  readonly timestamp: number
  readonly #channels: readonly Float32Array[]
  readonly #open: Set<FakeAudio>

  constructor(
    open: Set<FakeAudio>,
    timestamp: number,
    sampleRate: number,
    channels: readonly Float32Array[],
  ) {
    this.timestamp = timestamp
    this.sampleRate = sampleRate
    this.#channels = channels
    this.#open = open
    open.add(this)
  }

  get numberOfFrames(): number {
    return this.#channels[0]?.length ?? 0
  }

  copyTo(to: Float32Array, { planeIndex, format }: { planeIndex: number; format: string }): void {
    if (format !== 'f32-planar') throw new TypeError('another format')
    to.set(this.#channels[planeIndex] ?? [])
  }

  close(): void {
    this.#open.delete(this)
  }
}

interface Taken {
  readonly samples: Float32Array
  readonly rate: number
  readonly at: number
  readonly now: number
}

class Room {
  readonly clock = new HandClock()
  readonly taken: Taken[] = []
  readonly open = new Set<FakeAudio>()
  changes = 0
  readonly intake = new Intake({
    timers: this.clock,
    take: (samples, rate, at, now) => this.taken.push({ samples: Float32Array.from(samples), rate, at, now }),
    changed: () => this.changes++,
  })

  track() {
    let give: ReadableStreamDefaultController<AudioData> | null = null
    const cancelled: unknown[] = []
    const readable = new ReadableStream<AudioData>(
      {
        start: (controller) => {
          give = controller
        },
        cancel: (reason) => void cancelled.push(reason),
      },
      { highWaterMark: 100 },
    )
    this.intake.use({ from: 'track', readable })
    const said = async (ms: number, rate = 48_000, ...channels: Float32Array[]) => {
      const audio = new FakeAudio(this.open, ms * 1_000, rate, channels)
      give?.enqueue(audio as unknown as AudioData)
      await this.settled()
    }
    return { said, cancelled, end: () => give?.close() }
  }

  async settled(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const ones = (length: number, value = 1) => new Float32Array(length).fill(value)

test('of a track the first channel is taken, at the rate of the data, and all of it is given back', async () => {
  const room = new Room()
  const { said } = room.track()
  room.taken.length = 0
  await said(100, 48_000, ones(480), ones(480, -1))
  room.clock.wind(10)
  await said(110, 16_000, ones(160))
  expect(room.taken.map(({ samples, rate }) => [samples.length, samples[0], rate])).toEqual([
    [480, 1, 48_000],
    [160, 1, 16_000],
  ])
  expect(room.open.size).toBe(0)
  expect(room.intake.rate).toBe(16_000)
})

test('another source takes the place of a track, of which what still comes is given back', async () => {
  const room = new Room()
  const first = room.track()
  await first.said(0, 48_000, ones(480))
  const second = room.track()
  room.taken.length = 0
  expect(first.cancelled).toHaveLength(1)
  await second.said(0, 48_000, ones(480, 0.5))
  expect(room.taken.map(({ samples }) => samples[0])).toEqual([0.5])
  expect(room.open.size).toBe(0)
  room.intake.close()
  expect(second.cancelled).toHaveLength(1)
  expect(room.clock.pending).toBe(0)
})

test('after a freeze what waited is skipped, and counted, and the newest goes on without delay', async () => {
  const room = new Room()
  const { said } = room.track()
  for (let i = 0; i < 50; i++) {
    room.clock.wind(10)
    await said(i * 10, 48_000, ones(480))
  }
  room.taken.length = 0
  room.clock.wind(150)
  for (let i = 50; i < 65; i++) await said(i * 10, 48_000, ones(480))
  // 60 ms of it may have waited: less than that is a burst.
  expect(room.intake.skipped).toBeWithin(80, 91)
  expect(room.taken).toHaveLength(15 - room.intake.skipped / 10)
  room.clock.wind(10)
  await said(650, 48_000, ones(480))
  const last = room.taken.at(-1)
  expect((last?.now ?? 0) - (last?.at ?? 0)).toBeCloseTo(10, 0)
})

test('without a source, and one that gives nothing, there is silence at the pace of sound', async () => {
  const room = new Room()
  const sum = () => room.taken.reduce((all, { samples }) => all + samples.length, 0)
  room.clock.wind(1_000)
  expect(sum()).toBe(48_000)
  const { said, end } = room.track()
  await said(0, 44_100, ones(441))
  room.taken.length = 0
  end()
  room.clock.wind(900)
  expect(room.intake.isStalled).toBe(false)
  room.clock.wind(2_200)
  expect(room.intake.isStalled).toBe(true)
  expect(room.changes).toBe(1)
  expect(sum()).toBeWithin(44_100 * 1.9, 44_100 * 2.2)
  room.intake.use({ from: 'nowhere' })
  expect(room.intake.isStalled).toBe(false)
  room.taken.length = 0
  room.clock.wind(1_000)
  expect(sum()).toBeWithin(44_000, 44_200)
})

test('the quickest piece says when sound was captured; one that is late for good is believed after half a second', () => {
  const clock = new SourceClock()
  expect(clock.place(1_000, 10, 500)).toBe(490)
  expect(clock.place(1_010, 10, 507)).toBe(497)
  expect(clock.place(1_020, 10, 530)).toBeCloseTo(507, 1)
  expect(clock.place(1_030, 10, 600)).toBeNull()
  // From now on all that comes is late by 200 ms.
  for (let now = 740; now < 1_100; now += 10) expect(clock.place(now + 300, 10, now)).toBeNull()
  expect(clock.place(1_400, 10, 1_100)).toBe(1_090)
})

test('a first piece that tells the time of another clock makes nothing late', () => {
  const clock = new SourceClock()
  expect(clock.place(1_284, 10, 1_010)).toBe(1_000)
  for (let now = 1_020; now < 1_200; now += 10) expect(clock.place(now - 10, 10, now)).toBe(now - 10)
})

test('frames have an exact number of samples, and the numbers and clocks of what is lost are left out', () => {
  for (const [rate, profile] of [
    [48_000, PROFILES.default],
    [44_100, PROFILES.default],
    [16_000, PROFILES.quick],
    [96_000, PROFILES.mobile],
  ] as const) {
    const ms = [2.5, 5, 10, 20][profile.duration] ?? 0
    const framer = new Framer(profile, 7)
    const frames: { number: number; clock: number; length: number }[] = []
    const take = (pcm: Int16Array, number: number, clock: number) =>
      frames.push({ number, clock, length: pcm.length })
    const piece = Math.round(rate / 128)
    const span = (piece * 1_000) / rate
    let at = 1_000
    for (let i = 0; i < 128; i++, at += span) framer.push(ones(piece, 0.1), rate, at, take)
    expect(frames).toHaveLength(1_000 / ms)
    for (const [i, { number, clock }] of frames.entries()) {
      expect(number).toBe(7 + i)
      expect(clock).toBeWithin(1_000 + i * ms - 3, 1_000 + i * ms + 0.2)
    }
    // Half a second is missing.
    at += 500
    const before = frames.length
    for (let i = 0; i < 128; i++, at += span) framer.push(ones(piece, 0.1), rate, at, take)
    const next = frames[before]
    expect(next?.number).toBe(7 + 1_500 / ms)
    expect((next?.clock ?? 0) - 2_500).toBeWithin(-3, 1)
    expect(framer.number).toBeWithin(7 + 2_500 / ms - 1, 7 + 2_500 / ms + 1)
  }
})

test('a rate that no device has is passed over', () => {
  const framer = new Framer(PROFILES.default, 0)
  let frames = 0
  for (const rate of [0, 1, 48_000.5, 1e9]) framer.push(ones(4_800), rate, 0, () => frames++)
  expect(frames).toBe(0)
  framer.push(ones(4_800), 48_000, 0, () => frames++)
  expect(frames).toBe(10)
})
