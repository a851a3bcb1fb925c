/**
 * The sealed frame: a header of 24 bytes, all of it authenticated, then the ciphertext and a tag of 16 bytes
 * (AES-256-GCM, nonce = salt XOR (4 zero bytes || counter)).
 *
 *     0      type: 0x02 audio, 0x03 control
 *     1      bits 7-6 version, 01; 5 zero; 4 packed; 3 frames are missing before this one; 2-0 bucket
 *     2      bits 7-4 rate, 3-0 duration, as indexes of RATES and DURATIONS
 *     3      zero
 *     4-7    kid
 *     8-15   counter, of audio and control together, +1 at every seal
 *     16-19  number of the audio frame; one dropped at the source has had its number
 *     20-23  capture clock in 0.1 ms: the sender's monotonic time of the first sample
 *
 * The relay reads headers. So nothing in them follows the voice: being muted is told in the control frame, sealed, and
 * the size of an audio frame is that of its bucket, to the byte.
 */
import {
  AUDIO_TYPE,
  BUCKETS,
  bucketSize,
  CONTROL_SIZE,
  CONTROL_TYPE,
  DURATIONS,
  type Format,
  HEADER_SIZE,
  OVERHEAD,
  RATES,
  RAW_BUCKET,
  TAG_SIZE,
} from '../protocol/line.ts'
import { type Bytes, concat } from './bytes.ts'
import type { Direction } from './keys.ts'

const VERSION = 0b01
const PACKED = 1 << 4
const GAP = 1 << 3

/** What the sender says of a frame. */
export type Head =
  | ({
      readonly type: 'audio'
      readonly gap: boolean
      readonly number: number
      readonly clock: number
    } & Format)
  | { readonly type: 'control'; readonly number: number; readonly clock: number }

export interface Addressed {
  readonly head: Head
  readonly kid: number
  readonly counter: number
}

/** `size`: not what type and format say. `header`: a value, or a bit, that there is not. */
export type FrameRefusal = 'size' | 'header'

/** Bytes of the whole frame on the wire. */
export function frameSize(head: Head): number {
  return OVERHEAD + plainSize(head)
}

function plainSize(head: Head): number {
  return head.type === 'audio' ? bucketSize(head) : CONTROL_SIZE
}

export function writeHeader({ head, kid, counter }: Addressed): Bytes {
  const bytes = new Uint8Array(HEADER_SIZE)
  const view = new DataView(bytes.buffer)
  bytes[0] = head.type === 'audio' ? AUDIO_TYPE : CONTROL_TYPE
  bytes[1] = VERSION << 6
  if (head.type === 'audio') {
    bytes[1] |= (head.packed ? PACKED : 0) | (head.gap ? GAP : 0) | head.bucket
    bytes[2] = (head.rate << 4) | head.duration
  }
  view.setUint32(4, kid)
  view.setBigUint64(8, BigInt(counter))
  view.setUint32(16, head.number)
  view.setUint32(20, head.clock)
  return bytes
}

/**
 * Of a whole frame: its size belongs to its header. Nothing of it is true before the frame has been opened. Never
 * throws, and makes nothing larger than a header, whatever the bytes.
 */
export function readHeader(bytes: Uint8Array): Addressed | FrameRefusal {
  if (bytes.length < OVERHEAD) return 'size'
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_SIZE)
  const flags = view.getUint8(1)
  const format = view.getUint8(2)
  if (flags >> 6 !== VERSION || (flags & 0x20) !== 0 || view.getUint8(3) !== 0) return 'header'
  // Above what a number holds exactly; at a thousand frames a second it is reached after 285,000 years.
  if (view.getUint32(8) >= 2 ** 21) return 'header'
  const counter = view.getUint32(8) * 2 ** 32 + view.getUint32(12)
  const common = { number: view.getUint32(16), clock: view.getUint32(20) }
  const head = headOf(view.getUint8(0), flags, format, common)
  if (head === null) return 'header'
  if (bytes.length !== frameSize(head)) return 'size'
  return { head, kid: view.getUint32(4), counter }
}

function headOf(
  type: number,
  flags: number,
  format: number,
  common: { number: number; clock: number },
): Head | null {
  if (type === CONTROL_TYPE)
    return (flags & 0x3f) === 0 && format === 0 ? { type: 'control', ...common } : null
  if (type !== AUDIO_TYPE) return null
  const rate = format >> 4
  const duration = format & 0x0f
  const bucket = flags & 0x07
  const packed = (flags & PACKED) !== 0
  if (rate >= RATES.length || duration >= DURATIONS.length || bucket >= BUCKETS.length) return null
  if (!packed && bucket !== RAW_BUCKET) return null
  return { type: 'audio', gap: (flags & GAP) !== 0, packed, bucket, rate, duration, ...common }
}

/**
 * Counts the seals of a page, under whatever key: a key that is dropped and found again by the same two hellos goes on
 * where it was. So no counter comes twice under one key, and nothing has to be remembered for that.
 */
export class SealCounter {
  #next: number

  constructor(first = 0) {
    this.#next = first
  }

  /** Throws a RangeError after 2^53 seals. */
  take(): number {
    if (this.#next > Number.MAX_SAFE_INTEGER) throw new RangeError('The counter of the line is used up.')
    return this.#next++
  }
}

/** `plain` has the size that the head says: a RangeError otherwise. Frames may be sealed at the same time. */
export async function seal(
  subtle: SubtleCrypto,
  out: Direction,
  counters: SealCounter,
  head: Head,
  plain: Bytes,
): Promise<Bytes> {
  if (plain.length !== plainSize(head)) throw new RangeError('A frame has the size of its bucket.')
  const counter = counters.take()
  const header = writeHeader({ head, kid: out.kid, counter })
  const sealed = await subtle.encrypt(gcm(out, counter, header), out.key, plain)
  return concat(header, new Uint8Array(sealed))
}

/** Null when it was not sealed so. `frame` has been read as `addressed`. */
export async function open(
  subtle: SubtleCrypto,
  back: Direction,
  { counter }: Pick<Addressed, 'counter'>,
  frame: Bytes,
): Promise<Bytes | null> {
  const header = frame.subarray(0, HEADER_SIZE)
  try {
    return new Uint8Array(
      await subtle.decrypt(gcm(back, counter, header), back.key, frame.subarray(HEADER_SIZE)),
    )
  } catch {
    return null
  }
}

function gcm({ salt }: Direction, counter: number, header: Bytes): AesGcmParams {
  const iv = new Uint8Array(salt)
  const view = new DataView(iv.buffer)
  view.setBigUint64(4, view.getBigUint64(4) ^ BigInt(counter))
  return { name: 'AES-GCM', iv, additionalData: header, tagLength: TAG_SIZE * 8 }
}
