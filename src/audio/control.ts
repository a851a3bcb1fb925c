/**
 * The control frame, 64 bytes before sealing, sent by a timer of its own and never dropped: what was heard and when
 * (acks by time), how the sound is, and the two halves of the check words. All integers are big-endian, times in 0.1 ms
 * and no more than 6.5 s where they have 2 bytes. The sender's own clock is in the header of the frame.
 *
 *     0      bits: 0 audio was heard; 1 a control frame was heard; 2 muted; 3 the nonce is shown; else zero
 *     1      level, 0 to 255          22-23  sound in the speaker's buffers
 *     2-3    jitter                   24-27  audio frames lost
 *     4-7    highest number heard     28-31  underruns
 *     8-11   its capture clock        32-47  commitment to the nonce
 *     12-13  time since it came       48-63  nonce, zero until it is shown
 *     14-15  sound in the microphone's buffers
 *     16-19  clock of the last control frame heard
 *     20-21  time since it came
 */
import { CONTROL_SIZE } from '../protocol/line.ts'
import type { Bytes } from './bytes.ts'

/** Times in ms, clocks in 0.1 ms. */
export interface Control {
  /** The highest audio frame heard of the peer, and how long before this frame was sealed it came. */
  readonly heard: { readonly number: number; readonly clock: number; readonly hold: number } | null
  /** The same of the last control frame. */
  readonly echo: { readonly clock: number; readonly hold: number } | null
  readonly muted: boolean
  readonly level: number
  readonly jitter: number
  readonly capture: number
  readonly output: number
  readonly lost: number
  readonly underruns: number
  readonly commitment: Bytes
  readonly nonce: Bytes | null
}

const HEARD = 1
const ECHO = 2
const MUTED = 4
const NONCE = 8
const KNOWN = 15

export function writeControl(control: Control): Bytes {
  const bytes = new Uint8Array(CONTROL_SIZE)
  const view = new DataView(bytes.buffer)
  const { heard, echo, nonce } = control
  bytes[0] =
    (heard === null ? 0 : HEARD) |
    (echo === null ? 0 : ECHO) |
    (control.muted ? MUTED : 0) |
    (nonce === null ? 0 : NONCE)
  bytes[1] = control.level
  view.setUint16(2, tenths(control.jitter))
  view.setUint32(4, heard?.number ?? 0)
  view.setUint32(8, heard?.clock ?? 0)
  view.setUint16(12, tenths(heard?.hold ?? 0))
  view.setUint16(14, tenths(control.capture))
  view.setUint32(16, echo?.clock ?? 0)
  view.setUint16(20, tenths(echo?.hold ?? 0))
  view.setUint16(22, tenths(control.output))
  view.setUint32(24, control.lost)
  view.setUint32(28, control.underruns)
  bytes.set(control.commitment, 32)
  if (nonce !== null) bytes.set(nonce, 48)
  return bytes
}

/** Null when there is a bit or a size that there is not. */
export function readControl(bytes: Bytes): Control | null {
  if (bytes.length !== CONTROL_SIZE) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset, CONTROL_SIZE)
  const flags = view.getUint8(0)
  if ((flags & ~KNOWN) !== 0) return null
  const ms = (at: number) => view.getUint16(at) / 10
  return {
    heard: flags & HEARD ? { number: view.getUint32(4), clock: view.getUint32(8), hold: ms(12) } : null,
    echo: flags & ECHO ? { clock: view.getUint32(16), hold: ms(20) } : null,
    muted: (flags & MUTED) !== 0,
    level: view.getUint8(1),
    jitter: ms(2),
    capture: ms(14),
    output: ms(22),
    lost: view.getUint32(24),
    underruns: view.getUint32(28),
    commitment: bytes.slice(32, 48),
    nonce: flags & NONCE ? bytes.slice(48, 64) : null,
  }
}

function tenths(ms: number): number {
  return Math.min(0xffff, Math.max(0, Math.round(ms * 10)))
}
