/**
 * The line on the wire, as far as the relay reads it: the address, the first byte of a frame, and which sizes there are.
 * Everything else in a frame is sealed between the two pages (`audio/`), and the relay carries it as it came.
 *
 * `GET /line?apikey=KEY&room=ROOM&seat=SEAT`, upgraded. The room is derived from the leaf and says nothing of it; the
 * seat is drawn at random by each page load, and kept by it when it connects again.
 *
 * Frames are binary, told apart by their first byte:
 *
 *     0x01  hello     120 bytes
 *     0x02  audio     40 bytes and those of its bucket, as the rate, the duration and the bucket in its header say
 *     0x03  control   104 bytes
 *     0x7e  notice    8 bytes, of the relay and not sealed: a hint for the screen that never touches a key
 *
 * A notice: `0` 0x7e | `1` which, the index in NOTICES | `2-3` zero | `4-7` frames missed, big-endian, else zero. One
 * that is not known is passed over. A page may send `here`, and is answered the same: so it knows that the relay is.
 */
import { fail } from './codes.ts'

export const LINE_PATH = '/line'

export const HELLO_TYPE = 0x01
export const AUDIO_TYPE = 0x02
export const CONTROL_TYPE = 0x03
export const NOTICE_TYPE = 0x7e

/** Samples a second. */
export const RATES = [200_000, 96_000, 48_000, 24_000, 16_000] as const
/** Milliseconds. */
export const DURATIONS = [2.5, 5, 10, 20] as const
/** Sizes of the audio before sealing, as divisors of the raw size. Raw audio is always in the last one. */
export const BUCKETS = [4, 3, 2, 1] as const
export const RAW_BUCKET = 3

export const HELLO_SIZE = 120
/** Bytes of a control frame before sealing. */
export const CONTROL_SIZE = 64
export const HEADER_SIZE = 24
export const TAG_SIZE = 16
/** Bytes that sealing adds to a frame. */
export const OVERHEAD = HEADER_SIZE + TAG_SIZE
export const NOTICE_SIZE = 8

/** What an audio frame holds; the indexes are of the tables above. */
export interface Format {
  readonly rate: number
  readonly duration: number
  readonly bucket: number
  readonly packed: boolean
}

/** Bytes of the samples of a frame, 16 bits each. */
export function rawSize({ rate, duration }: Pick<Format, 'rate' | 'duration'>): number {
  return ((RATES[rate] ?? 0) * (DURATIONS[duration] ?? 0) * 2) / 1000
}

/** Bytes of the audio of a frame before sealing. */
export function bucketSize({ rate, duration, bucket }: Omit<Format, 'packed'>): number {
  return bucketBytes(rawSize({ rate, duration }) / 2, bucket)
}

/** Bytes of so many samples in this bucket, from 0, a quarter of raw, to 3, all of it. */
export function bucketBytes(samples: number, bucket: number): number {
  return Math.ceil((2 * samples) / (BUCKETS[bucket] ?? 1))
}

/** Bytes of every audio frame on the wire, by what its header says: rate, duration, bucket. */
const AUDIO_SIZES: readonly number[] = RATES.flatMap((_, rate) =>
  DURATIONS.flatMap((_, duration) =>
    BUCKETS.map((_, bucket) => OVERHEAD + bucketSize({ rate, duration, bucket })),
  ),
)

/** Bytes of the largest frame: 20 ms at 200 kHz, raw. */
export const LINE_BYTES = Math.max(...AUDIO_SIZES)

/**
 * How many milliseconds of sound a frame from a page holds: more than 0 for audio, 0 for a hello or a control frame,
 * -1 for what is no frame. Reads the first three bytes and the length, and makes nothing.
 */
export function soundOf(frame: Uint8Array): number {
  switch (frame[0]) {
    case AUDIO_TYPE: {
      const format = frame[2] ?? 0
      const duration = format & 0x0f
      const bucket = (frame[1] ?? 0) & 0x07
      const milliseconds = DURATIONS[duration]
      if (milliseconds === undefined || bucket >= BUCKETS.length) return -1
      const size = AUDIO_SIZES[((format >> 4) * DURATIONS.length + duration) * BUCKETS.length + bucket]
      return size === frame.length ? milliseconds : -1
    }
    case CONTROL_TYPE:
      return frame.length === OVERHEAD + CONTROL_SIZE ? 0 : -1
    case HELLO_TYPE:
      return frame.length === HELLO_SIZE ? 0 : -1
    default:
      return -1
  }
}

/**
 * What the relay tells. `here`: the answer to the same. `joined`: somebody is in the other seat, for the first time or
 * again. `left`: the other seat is free. `missed`: so many audio frames were left out just before this, since this page
 * did not keep up. `draining`: the server goes down in a moment. `away`: the connection of the other one was lost, and
 * the seat is kept.
 */
export const NOTICES = ['here', 'joined', 'left', 'missed', 'draining', 'away'] as const
export type Notice = (typeof NOTICES)[number]

/** `missed`: at most 2^32 - 1. */
export function writeNotice(notice: Notice, missed = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(NOTICE_SIZE)
  bytes[0] = NOTICE_TYPE
  bytes[1] = NOTICES.indexOf(notice)
  new DataView(bytes.buffer).setUint32(4, missed)
  return bytes
}

/** Null when it is none, or none that is known. */
export function readNotice(bytes: Uint8Array): { readonly notice: Notice; readonly missed: number } | null {
  if (bytes.length !== NOTICE_SIZE || bytes[0] !== NOTICE_TYPE) return null
  const notice = NOTICES[bytes[1] ?? NOTICES.length]
  if (notice === undefined) return null
  return { notice, missed: new DataView(bytes.buffer, bytes.byteOffset).getUint32(4) }
}

/** Who comes to the line. */
export interface LineQuery {
  readonly room: string
  readonly seat: string
}

/** 16 bytes in base64url, without padding and written in the one way there is. RFC 4648 section 5. */
const SIXTEEN_BYTES = /^[A-Za-z0-9_-]{21}[AQgw]$/

/** Throws `invalid_field`. */
export function readLineQuery(query: { get(name: string): string | null }): LineQuery {
  return { room: sixteenBytes(query, 'room'), seat: sixteenBytes(query, 'seat') }
}

function sixteenBytes(query: { get(name: string): string | null }, name: string): string {
  const text = query.get(name) ?? ''
  if (!SIXTEEN_BYTES.test(text)) {
    throw fail('invalid_field', `${name} must be 16 bytes in base64url`, { field: name })
  }
  return text
}
