import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import {
  AUDIO_TYPE,
  BUCKETS,
  bucketSize,
  CONTROL_TYPE,
  DURATIONS,
  HELLO_TYPE,
  LINE_BYTES,
  NOTICE_SIZE,
  NOTICES,
  OVERHEAD,
  RATES,
  readLineQuery,
  readNotice,
  soundOf,
  writeNotice,
} from './line.ts'

function audio(rate: number, duration: number, bucket: number, more = 0): Uint8Array {
  const bytes = new Uint8Array(OVERHEAD + bucketSize({ rate, duration, bucket }) + more)
  bytes.set([AUDIO_TYPE, 0x40 | bucket, (rate << 4) | duration])
  return bytes
}

const formats = RATES.flatMap((_, rate) =>
  DURATIONS.flatMap((_, duration) => BUCKETS.map((_, bucket) => [rate, duration, bucket] as const)),
)

describe('[LINE-5] what a frame from a page is', () => {
  test('is told by its first bytes and its length, to the byte', () => {
    for (const [rate, duration, bucket] of formats) {
      expect(soundOf(audio(rate, duration, bucket))).toBe(DURATIONS[duration] as number)
      expect(soundOf(audio(rate, duration, bucket, 1))).toBe(-1)
      expect(soundOf(audio(rate, duration, bucket, -1))).toBe(-1)
    }
    for (const [type, size] of [
      [HELLO_TYPE, 120],
      [CONTROL_TYPE, 104],
    ] as const) {
      const frame = (length: number) => Uint8Array.of(type, ...new Uint8Array(length - 1))
      expect([size - 1, size, size + 1].map((length) => soundOf(frame(length)))).toEqual([-1, 0, -1])
    }
    expect([new Uint8Array(0), writeNotice('here')].map(soundOf)).toEqual([-1, -1])
  })

  test('no frame is larger than the largest', () => {
    expect(Math.max(...formats.map((format) => audio(...format).length))).toBe(LINE_BYTES)
    expect(LINE_BYTES).toBe(8_040)
  })

  test('any bytes at all are read without a fault, and audio has the size it says', () => {
    const bytes = fc
      .uint8Array({ maxLength: 200 })
      .map((it) => (it.length > 3 ? Uint8Array.of(2, ...it) : it))
    fc.assert(
      fc.property(bytes, (frame) => {
        const sound = soundOf(frame)
        if (sound > 0) {
          const format = frame[2] ?? 0
          const bucket = (frame[1] ?? 0) & 7
          expect(frame.length).toBe(audio(format >> 4, format & 15, bucket).length)
        }
      }),
    )
  })
})

describe('[LINE-6] a notice', () => {
  test('is read back as it was written, and has its number on the wire', () => {
    for (const notice of NOTICES) expect(readNotice(writeNotice(notice, 7))).toEqual({ notice, missed: 7 })
    expect(Buffer.from(writeNotice('missed', 258)).toString('hex')).toBe('7e03000000000102')
    const numbers = NOTICES.map((notice) => writeNotice(notice)[1])
    expect(Object.fromEntries(NOTICES.map((notice, i) => [notice, numbers[i]]))).toEqual({
      here: 0,
      joined: 1,
      left: 2,
      missed: 3,
      draining: 4,
      away: 5,
    })
  })

  test('that is not known, or not whole, is none', () => {
    const unknown = writeNotice('here')
    unknown[1] = NOTICES.length
    for (const bytes of [unknown, unknown.subarray(1), new Uint8Array(NOTICE_SIZE), new Uint8Array(0)]) {
      expect(readNotice(bytes)).toBeNull()
    }
  })
})

test('[LINE-1] a room and a seat are 16 bytes, and of two ways to write them one is taken', () => {
  const good = Buffer.alloc(16, 0xff).toString('base64url')
  const query = (room: string, seat: string) => new URLSearchParams({ room, seat })
  expect(readLineQuery(query(good, good))).toEqual({ room: good, seat: good })
  expect(() => readLineQuery(query(good.replace(/w$/, 'x'), good))).toThrow('room')
  expect(() => readLineQuery(query(good, ''))).toThrow('seat')
})
