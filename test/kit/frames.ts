/** What a relay can tell of the frames of a line: their headers, sizes and times. */
import { AUDIO_TYPE, CONTROL_TYPE, HELLO_TYPE } from '../../src/protocol/line.ts'
import type { Message, Passage, Way } from './hostile-relay.ts'

export interface Seen {
  readonly kind: 'hello' | 'audio' | 'control' | 'notice'
  readonly size: number
  readonly at: number
  readonly passage: Passage
  readonly way: Way
  /** `kid:counter` of a sealed frame. */
  readonly nonce: string
  readonly kid: number
  readonly counter: number
  readonly number: number
}

const KINDS = { [HELLO_TYPE]: 'hello', [AUDIO_TYPE]: 'audio', [CONTROL_TYPE]: 'control' } as const

export function seen({ bytes, at, passage, way }: Message): Seen {
  const kind = KINDS[bytes[0] as keyof typeof KINDS] ?? 'notice'
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const isSealed = kind === 'audio' || kind === 'control'
  const kid = isSealed ? view.getUint32(4) : 0
  const counter = isSealed ? Number(view.getBigUint64(8)) : 0
  const number = isSealed ? view.getUint32(16) : 0
  return { kind, size: bytes.length, at, passage, way, kid, counter, number, nonce: `${kid}:${counter}` }
}

/** Of what the pages sent. */
export function sent(messages: readonly Message[]): Seen[] {
  return messages.filter(({ way, isText }) => way === 'up' && !isText).map(seen)
}

/** Those that came twice. */
export function repeats(frames: readonly Seen[]): string[] {
  const nonces = frames.filter(({ kind }) => kind === 'audio' || kind === 'control').map(({ nonce }) => nonce)
  const before = new Set<string>()
  return nonces.filter((nonce) => before.size === before.add(nonce).size)
}
