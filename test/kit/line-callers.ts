/** Pages on a line as the relay sees them: sockets made by hand, and frames whose sealed part is anything. */
import { randomBytes } from 'node:crypto'
import {
  AUDIO_TYPE,
  BUCKETS,
  bucketSize,
  CONTROL_SIZE,
  CONTROL_TYPE,
  DURATIONS,
  HELLO_SIZE,
  HELLO_TYPE,
  LINE_PATH,
  NOTICE_TYPE,
  OVERHEAD,
  RATES,
  readNotice,
} from '../../src/protocol/line.ts'
import { BINARY, RawPeer, type RawPeerOptions } from './raw-peer.ts'
import { startServer, type TestServer } from './server.ts'

export const LINE_KEY = 'Line-key_'.repeat(8)

export const newRoom = () => randomBytes(16).toString('base64url')
export const newSeat = newRoom

export interface CallerOptions extends RawPeerOptions {
  readonly room?: string
  readonly seat?: string
  readonly key?: string
}

/** One connection on `/line`. */
export class LineCaller {
  readonly peer: RawPeer
  readonly room: string
  readonly seat: string

  private constructor(peer: RawPeer, room: string, seat: string) {
    this.peer = peer
    this.room = room
    this.seat = seat
  }

  static async open(url: string, options: CallerOptions = {}): Promise<LineCaller> {
    const { room = newRoom(), seat = newSeat(), key = LINE_KEY, ...rest } = options
    const query = new URLSearchParams({ apikey: key, room, seat })
    return new LineCaller(await RawPeer.open(url, { path: `${LINE_PATH}?${query}`, ...rest }), room, seat)
  }

  send(...frames: Uint8Array[]): void {
    for (const bytes of frames) this.peer.frame(BINARY, bytes)
  }

  /** The next notice, by name; a frame of the other page fails the test. */
  async notice(): Promise<string> {
    const bytes = await this.peer.nextFrame()
    const told = readNotice(bytes)
    if (told === null) throw new Error(`a frame of type ${bytes[0]} came instead of a notice`)
    return told.notice === 'missed' ? `missed ${told.missed}` : told.notice
  }

  /** The next frame of the other page; a notice fails the test. */
  async heard(): Promise<Buffer> {
    const bytes = await this.peer.nextFrame()
    if (bytes[0] === NOTICE_TYPE) throw new Error(`the notice ${readNotice(bytes)?.notice} came`)
    return bytes
  }

  /** Everything that had been sent to it before now and was not taken. */
  async rest(): Promise<Buffer[]> {
    await this.peer.settle()
    return this.peer.takeFrames()
  }
}

/** A server that lets callers in. */
export function lineServer(
  settings: Record<string, string> = {},
  world: Parameters<typeof startServer>[1] = {},
): Promise<TestServer> {
  return startServer({ APIKEY: LINE_KEY, ...settings }, world)
}

/** Two on a line, who have been told of one another. */
export async function talking(
  server: { readonly url: string },
  options: CallerOptions = {},
): Promise<[LineCaller, LineCaller]> {
  const first = await LineCaller.open(server.url, options)
  const second = await LineCaller.open(server.url, { ...options, room: first.room })
  for (const each of [first, second]) {
    const told = await each.notice()
    if (told !== 'joined') throw new Error(`told ${told} instead of joined`)
  }
  return [first, second]
}

/** An audio frame of this format: the default profile, unless told otherwise. Its sealed part is random. */
export function audio({ rate = 0, duration = 2, bucket = 1 } = {}): Buffer {
  const bytes = randomBytes(OVERHEAD + bucketSize({ rate, duration, bucket }))
  bytes[0] = AUDIO_TYPE
  bytes[1] = 0x40 | bucket
  bytes[2] = (rate << 4) | duration
  return bytes
}

export function control(): Buffer {
  const bytes = randomBytes(OVERHEAD + CONTROL_SIZE)
  bytes[0] = CONTROL_TYPE
  return bytes
}

export function hello(): Buffer {
  const bytes = randomBytes(HELLO_SIZE)
  bytes[0] = HELLO_TYPE
  return bytes
}

/** One audio frame of every format there is. */
export function everyAudio(): Buffer[] {
  return RATES.flatMap((_, rate) =>
    DURATIONS.flatMap((_, duration) => BUCKETS.map((_, bucket) => audio({ rate, duration, bucket }))),
  )
}
