/**
 * An ear outside the page, in Chromium: whatever the page gives to a speaker comes here too, sample for sample, and so
 * does what its microphone gave. The page knows nothing of it, and nobody has to touch the page to listen: a script that
 * runs in a page by `page.evaluate` counts as a gesture of a person, and would wake what waits for one.
 */
import type { Page } from 'playwright-core'
import type { Recording } from './hearing.ts'

export interface Heard {
  /** What went to the speaker. */
  readonly ear: Recording
  /** What the microphone gave, whatever the page made of it. */
  readonly mouth: Recording
}

interface Chunk {
  readonly at: number
  readonly sampleRate: number
  readonly length: number
}

interface Drained {
  /** Of the page that was loaded, and of the microphone that it asked for: what came of another is forgotten. */
  readonly source: string
  readonly chunks: readonly Chunk[]
  /** Base64 of floats of 32 bits. */
  readonly samples: string
}

type Tap = keyof Heard
/** Fetched so often. Much at once would hold the page up, and everything else on the machine, while it is listened to. */
const DRAIN_MS = 1_000

/** What was fetched of a tap so far. */
class Kept {
  #source = ''
  #chunks: Chunk[] = []
  #samples: Float32Array[] = []

  add({ source, chunks, samples }: Drained): void {
    if (source !== this.#source) this.clear()
    this.#source = source
    if (chunks.length === 0) return
    const bytes = Buffer.from(samples, 'base64')
    this.#chunks.push(...chunks)
    this.#samples.push(
      new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)),
    )
  }

  clear(): void {
    this.#chunks = []
    this.#samples = []
  }

  get ms(): number {
    return this.#chunks.reduce((sum, { length, sampleRate }) => sum + (1_000 * length) / sampleRate, 0)
  }

  recording(): Recording {
    const chunks = [...this.#chunks]
    const starts: number[] = []
    let length = 0
    for (const chunk of chunks) {
      starts.push(length)
      length += chunk.length
    }
    const samples = new Float32Array(length)
    let at = 0
    for (const piece of this.#samples) {
      samples.set(piece, at)
      at += piece.length
    }
    const sampleRate = chunks[0]?.sampleRate ?? 0
    return {
      samples,
      sampleRate,
      timeOf: (index) => {
        const chunk = starts.findLastIndex((start) => start <= index)
        return (chunks[chunk]?.at ?? Number.NaN) + (1_000 * (index - (starts[chunk] ?? 0))) / sampleRate
      },
    }
  }
}

/** What an ear needs of the tools of a page, whoever opened it. */
export interface PageTools {
  send(
    method: 'Runtime.evaluate',
    params: { expression: string; awaitPromise: boolean; returnByValue: boolean },
  ): Promise<{ result: { value?: unknown }; exceptionDetails?: { text: string } | undefined }>
}

export class Ear {
  readonly #devtools: PageTools
  readonly #kept: Record<Tap, Kept> = { ear: new Kept(), mouth: new Kept() }

  /** `devtools`: of a page in which `tap` ran before its own scripts. */
  constructor(devtools: PageTools) {
    this.#devtools = devtools
  }

  /** Before the page goes anywhere. */
  static async at(page: Page): Promise<Ear> {
    await page.addInitScript(tap)
    return new Ear(await page.context().newCDPSession(page))
  }

  /** Forgets what came before. */
  async start(): Promise<void> {
    await this.look('tapped.ear.pieces.length = tapped.mouth.pieces.length = 0')
    for (const kept of Object.values(this.#kept)) kept.clear()
  }

  /** What came since the start, or since the page was loaded; not forgotten. */
  async take(): Promise<Heard> {
    await this.#drain()
    return { ear: this.#kept.ear.recording(), mouth: this.#kept.mouth.recording() }
  }

  /** Waits until so many ms have gone to the speaker; `take` has them. */
  async listen(ms: number, deadline = ms + 10_000): Promise<void> {
    await this.start()
    const start = Date.now()
    for (let left = ms; left > 0; left = ms - this.#kept.ear.ms) {
      if (Date.now() - start > deadline) throw new Error(`no ${ms} ms of sound in ${deadline} ms`)
      await Bun.sleep(Math.min(DRAIN_MS, left))
      await this.#drain()
    }
  }

  /** The next so many ms of what goes to the speaker, and what the microphone gave meanwhile. */
  async hear(ms: number, deadline?: number): Promise<Heard> {
    await this.listen(ms, deadline)
    return this.take()
  }

  async #drain(): Promise<void> {
    const drained = (await this.look('drainTaps()')) as Record<Tap, Drained>
    for (const tap of ['ear', 'mouth'] as const) this.#kept[tap].add(drained[tap])
  }

  /** A value of the page, without touching it. */
  async look(expression: string): Promise<unknown> {
    const { result, exceptionDetails } = await this.#devtools.send('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true,
    })
    if (exceptionDetails !== undefined) throw new Error(`${expression}: ${exceptionDetails.text}`)
    return result.value
  }
}

/** Runs in the page before its own scripts. Keeps the last minute and a bit. */
export function tap(): void {
  interface Piece {
    at: number
    sampleRate: number
    samples: Float32Array
  }
  const MOST = 6_600
  interface Tapped {
    pieces: Piece[]
    microphones: number
  }
  const tapped: Record<'ear' | 'mouth', Tapped> = {
    ear: { pieces: [], microphones: 0 },
    mouth: { pieces: [], microphones: 0 },
  }

  async function follow({ pieces }: Tapped, track: MediaStreamTrack): Promise<void> {
    // biome-ignore lint/suspicious/noExplicitAny: the library of types has no track processor.
    const { readable } = new (globalThis as any).MediaStreamTrackProcessor({ track, maxBufferSize: 1_000 })
    const reader: ReadableStreamDefaultReader<AudioData> = readable.getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      const samples = new Float32Array(value.numberOfFrames)
      value.copyTo(samples, { planeIndex: 0, format: 'f32-planar' })
      // Browsers of one machine agree on this; timestamps count from the beginning of the page.
      const at = performance.timeOrigin + value.timestamp / 1_000
      pieces.push({ at, sampleRate: value.sampleRate, samples })
      value.close()
      if (pieces.length > MOST) pieces.splice(0, MOST / 6)
    }
  }

  const taps = new WeakMap<BaseAudioContext, MediaStreamAudioDestinationNode>()
  const connect = AudioNode.prototype.connect as (this: AudioNode, ...all: unknown[]) => AudioNode
  Object.assign(AudioNode.prototype, {
    connect(this: AudioNode, target: unknown, ...rest: unknown[]) {
      const { context } = this
      if (target instanceof AudioDestinationNode && context instanceof AudioContext) {
        let to = taps.get(context)
        if (to === undefined) {
          to = new MediaStreamAudioDestinationNode(context, { channelCount: 1, channelCountMode: 'explicit' })
          taps.set(context, to)
          for (const track of to.stream.getTracks()) void follow(tapped.ear, track)
        }
        connect.call(this, to)
      }
      return connect.call(this, target, ...rest)
    },
  })

  const devices = MediaDevices.prototype
  const { getUserMedia } = devices
  /** Of the microphone that was asked for last: sound of two would be mixed up. */
  const copies: MediaStreamTrack[] = []
  devices.getUserMedia = async function (constraints) {
    const stream = await getUserMedia.call(this, constraints)
    for (const track of copies.splice(0)) track.stop()
    tapped.mouth.pieces.length = 0
    tapped.mouth.microphones++
    // A copy of its own: muting that of the page does not reach it.
    copies.push(...stream.getAudioTracks().map((track) => track.clone()))
    for (const track of copies) void follow(tapped.mouth, track)
    return stream
  }

  async function drain(name: 'ear' | 'mouth') {
    const { pieces, microphones } = tapped[name]
    const taken = pieces.splice(0)
    const url = await new Promise<string>((done) => {
      const reader = new FileReader()
      reader.onload = () => done(String(reader.result))
      reader.readAsDataURL(new Blob(taken.map(({ samples }) => samples as Float32Array<ArrayBuffer>)))
    })
    return {
      source: `${performance.timeOrigin}/${microphones}`,
      chunks: taken.map(({ samples, ...piece }) => ({ ...piece, length: samples.length })),
      samples: url.slice(url.indexOf(',') + 1),
    }
  }

  async function drainTaps() {
    const [ear, mouth] = await Promise.all([drain('ear'), drain('mouth')])
    return { ear, mouth }
  }
  Object.assign(globalThis, { tapped, drainTaps })
}
