/**
 * What the four threads of a call on the line say to one another. The page only draws; sound never passes through it:
 *
 *     microphone ── track or capture worklet ──▶ worker ──▶ socket
 *     speaker   ◀── playout worklet ◀────────── worker ◀── socket
 *                                                  ▲
 *                          page ── ToWorker ───────┘──── FromWorker ──▶ page
 *
 * Times in ms, samples as floats between -1 and 1, one channel.
 */
import type { Level } from '../../audio/levels.ts'

/** Format of the sound on the wire, as indexes of RATES and DURATIONS (protocol/line.ts). */
export interface Profile {
  readonly name: 'default' | 'quick' | 'mobile'
  readonly rate: number
  readonly duration: number
  /** Not packed: every frame has the raw size. */
  readonly raw: boolean
}

/** 200 kHz in packed frames of 10 ms; the same of 5 ms; 24 kHz raw in frames of 20 ms. */
export const PROFILES = {
  default: { name: 'default', rate: 0, duration: 2, raw: false },
  quick: { name: 'quick', rate: 0, duration: 1, raw: false },
  mobile: { name: 'mobile', rate: 3, duration: 3, raw: true },
} as const satisfies Record<string, Profile>

/** Where the sound comes from. A new one takes the place of the last. */
export type Source =
  /** A track of Chromium, read in the worker. `readable` is transferred. */
  | { readonly from: 'track'; readonly readable: ReadableStream<AudioData> }
  /** The capture worklet at the other end of `port`, which is transferred, at this rate. */
  | { readonly from: 'worklet'; readonly port: MessagePort; readonly rate: number }
  /** No microphone: silence is sent at the pace of sound, so that the wire says nothing of it. */
  | { readonly from: 'nowhere' }

export type ToWorker =
  /** Once, first. `socket`: where to connect, with the API key and without room and seat. */
  | {
      readonly type: 'start'
      readonly socket: string
      readonly leaf: Uint8Array<ArrayBuffer>
      readonly profile: Profile
    }
  | { readonly type: 'source'; readonly source: Source }
  /** The playout worklet is at the other end of `port`, which is transferred; its context has this rate. */
  | { readonly type: 'speaker'; readonly port: MessagePort; readonly rate: number }
  | { readonly type: 'mute'; readonly muted: boolean }
  | { readonly type: 'profile'; readonly profile: Profile }
  /** What the browser says of the sound in its own buffers; told again whenever it changes. */
  | { readonly type: 'devices'; readonly capture: number; readonly output: number }
  /** The network or the screen came back: connect now, if not connected. */
  | { readonly type: 'nudge' }
  /** Says goodbye. Nothing follows but `ended`. */
  | { readonly type: 'stop' }

/** Why there is no socket, in words that the page has a sentence for. */
export type LinkTrouble = 'lost' | 'silent' | 'offline' | 'server_down' | 'server_restart'

export type Link =
  | { readonly at: 'connecting' }
  | { readonly at: 'open' }
  /** Tries again at `retryAt`, by `performance.timeOrigin + performance.now()`. */
  | { readonly at: 'reconnecting'; readonly trouble: LinkTrouble; readonly retryAt: number }
  /** Over: two others are on this line; the key is not accepted; this page was replaced; it was closed. */
  | { readonly at: 'closed'; readonly why: 'busy' | 'refused' | 'replaced' | 'left' }

/**
 * `absent`: nobody else is on the line. `greeting`: somebody is, and keys are being agreed on. `stranger`: somebody is
 * who has not the leaf. `here`: sealed frames of the peer open. `silent`: they did, but none came for 3 s. `gone`: it
 * was here and left.
 */
export type PeerState = 'absent' | 'greeting' | 'stranger' | 'here' | 'silent' | 'gone'

/** For people who want to see what their sound does. Counts are of the whole call. */
export interface Numbers {
  readonly profile: Profile['name']
  /** Samples a second: of the microphone, on the wire to and from the peer, of the speaker; 0 while unknown. */
  readonly rates: {
    readonly capture: number
    readonly out: number
    readonly in: number
    readonly speaker: number
  }
  /** Bytes of an audio frame on the wire, now, out and in. */
  readonly bucket: { readonly out: number; readonly in: number }
  /** Mbit/s of the last second. */
  readonly mbits: { readonly out: number; readonly in: number }
  readonly sent: number
  readonly received: number
  /** Not sent because the link was behind. */
  readonly droppedHere: number
  /** Never came. */
  readonly lost: number
  /** Opened, but too old to be played. */
  readonly stale: number
  /** Did not open, or came twice: by cause. */
  readonly refused: Readonly<Record<string, number>>
  readonly roundTrip: number | null
  readonly jitter: number
  /** Of the playout. */
  readonly fill: number
  readonly margin: number
  readonly driftPpm: number
  readonly ratio: number
  readonly underruns: number
  readonly concealedMs: number
  readonly cutMs: number
}

/** What mouth to ear is made of, from the peer's mouth to this page's ear. */
export interface Delay {
  readonly total: number
  readonly capture: number
  readonly frame: number
  readonly network: number
  readonly buffer: number
  readonly output: number
}

/** Fifteen times a second, and at once when something changed that people must see. */
export interface Report {
  readonly link: Link
  readonly peer: PeerState
  /** Four check words; null until both ends have shown their half. */
  readonly words: readonly string[] | null
  /** The other end did not keep to what it had committed itself to: somebody may stand between. */
  readonly wordsBroken: boolean
  /** How often somebody else, or the same one after a reload, took the other seat. */
  readonly peerChanges: number
  readonly peerMuted: boolean
  readonly own: Level
  readonly peerLevel: Level
  readonly delay: Delay | null
  readonly offerMobile: boolean
  /** The source gives no sound though it should: the microphone is gone, or the browser holds it. */
  readonly sourceStalled: boolean
  readonly numbers: Numbers
}

export type FromWorker =
  | { readonly type: 'report'; readonly report: Report }
  /** After `stop`, or when nothing can be done any more; then the worker can be terminated. */
  | { readonly type: 'ended' }
  /** Something that must not happen. For the console: never with a key in it. */
  | { readonly type: 'fault'; readonly message: string }

/** From the capture worklet: pieces of about 5 ms, transferred, and the context's time of the first sample, in ms. */
export interface Captured {
  readonly samples: Float32Array<ArrayBuffer>
  readonly at: number
}

/** To the playout worklet. */
export type ToSpeaker =
  /** Sound at the rate of its context, transferred. `missing`: ms lost just before it. */
  | { readonly type: 'sound'; readonly samples: Float32Array<ArrayBuffer>; readonly missing: number }
  /** Another peer, or another profile: what is in the ring is thrown away. `mobile`: the wider buffer. */
  | { readonly type: 'restart'; readonly mobile: boolean }

/** From the playout worklet, ten times a second. */
export interface Played {
  readonly fill: number
  readonly margin: number
  readonly driftPpm: number
  readonly ratio: number
  readonly underruns: number
  readonly concealedMs: number
  readonly cutMs: number
}

/** What the processors of the worklets are registered as. */
export const PLAYOUT_PROCESSOR = 'line-playout'
export const CAPTURE_PROCESSOR = 'line-capture'

/**
 * The one message from the page to a processor, by the port of its node: its end of the channel to the worker,
 * transferred, in place of the last. All else goes through that. Null: the node is not needed any more, and is let go.
 */
export interface ToProcessor {
  readonly worker: MessagePort | null
}
