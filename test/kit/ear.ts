/**
 * An ear outside the page, in Chromium: whatever the page gives to a speaker comes here too, sample for sample, and so
 * does what its microphone gave. The page knows nothing of it, and nobody has to touch the page to listen: a script that
 * runs in a page by `page.evaluate` counts as a gesture of a person, and would wake what waits for one.
 */
import type { CDPSession, Page } from 'playwright-core'
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

interface Tapped {
  readonly chunks: readonly Chunk[]
  /** Base64 of floats of 32 bits. */
  readonly samples: string
}

export class Ear {
  readonly #devtools: CDPSession

  private constructor(devtools: CDPSession) {
    this.#devtools = devtools
  }

  /** Before the page goes anywhere. */
  static async at(page: Page): Promise<Ear> {
    await page.addInitScript(tap)
    return new Ear(await page.context().newCDPSession(page))
  }

  /** Forgets what came before. */
  async start(): Promise<void> {
    await this.look('tapped.ear.length = tapped.mouth.length = 0')
  }

  /** What came since the start, or since the page was loaded; not forgotten. */
  async take(): Promise<Heard> {
    const [ear, mouth] = (await this.look('Promise.all([readTap("ear"), readTap("mouth")])')) as [
      Tapped,
      Tapped,
    ]
    return { ear: recording(ear), mouth: recording(mouth) }
  }

  /** Waits until so many ms have gone to the speaker. `take` has them; it keeps the page, and the machine, busy. */
  async listen(ms: number, deadline = ms + 10_000): Promise<void> {
    await this.start()
    if (!(await this.look(`heardFor(${ms}, ${deadline})`)))
      throw new Error(`no ${ms} ms of sound in ${deadline} ms`)
  }

  /** The next so many ms of what goes to the speaker, and what the microphone gave meanwhile. */
  async hear(ms: number, deadline?: number): Promise<Heard> {
    await this.listen(ms, deadline)
    return this.take()
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

function recording({ chunks, samples }: Tapped): Recording {
  const bytes = Buffer.from(samples, 'base64')
  const all = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
  const sampleRate = chunks[0]?.sampleRate ?? 0
  const starts: number[] = []
  let length = 0
  for (const chunk of chunks) {
    starts.push(length)
    length += chunk.length
  }
  return {
    samples: all,
    sampleRate,
    timeOf: (index) => {
      const at = starts.findLastIndex((start) => start <= index)
      return (chunks[at]?.at ?? Number.NaN) + (1_000 * (index - (starts[at] ?? 0))) / sampleRate
    },
  }
}

/** Runs in the page before its own scripts. Keeps the last minute and a bit. */
function tap(): void {
  interface Piece {
    at: number
    sampleRate: number
    samples: Float32Array
  }
  const MOST = 6_600
  const tapped: Record<'ear' | 'mouth', Piece[]> = { ear: [], mouth: [] }

  async function follow(pieces: Piece[], track: MediaStreamTrack): Promise<void> {
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
    tapped.mouth.length = 0
    // A copy of its own: muting that of the page does not reach it.
    copies.push(...stream.getAudioTracks().map((track) => track.clone()))
    for (const track of copies) void follow(tapped.mouth, track)
    return stream
  }

  async function readTap(name: 'ear' | 'mouth') {
    const pieces = [...tapped[name]]
    const url = await new Promise<string>((done) => {
      const reader = new FileReader()
      reader.onload = () => done(String(reader.result))
      reader.readAsDataURL(new Blob(pieces.map(({ samples }) => samples as Float32Array<ArrayBuffer>)))
    })
    return {
      chunks: pieces.map(({ samples, ...piece }) => ({ ...piece, length: samples.length })),
      samples: url.slice(url.indexOf(',') + 1),
    }
  }

  async function heardFor(ms: number, deadline: number): Promise<boolean> {
    const start = performance.now()
    const length = () =>
      tapped.ear.reduce((sum, { samples, sampleRate }) => sum + (1_000 * samples.length) / sampleRate, 0)
    while (length() < ms) {
      if (performance.now() - start > deadline) return false
      await new Promise((later) => setTimeout(later, 50))
    }
    return true
  }
  Object.assign(globalThis, { tapped, readTap, heardFor })
}
