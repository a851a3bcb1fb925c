/**
 * A page in which what the capture worklet gives goes to the playout worklet, through a worker as in a call, and what
 * comes out is kept. Runs in the browser; built and served by the test.
 */
import { CAPTURE_PROCESSOR, PLAYOUT_PROCESSOR, type Played } from '../../src/web/line/messages.ts'

export interface Run {
  /** Played round and round into the capture worklet. */
  readonly source: readonly number[]
  /** What came out, and the context time of its first sample, and of the first of the source, in samples. */
  readonly heard: readonly number[]
  readonly heardAt: number
  readonly startedAt: number
  /** When the link went on after its stall, if it had one; in samples. */
  readonly resumedAt: number
  readonly reports: readonly Played[]
  /** Of pieces that were captured: their context time, and when they came to the worker, in ms. */
  readonly captured: readonly { readonly at: number; readonly length: number; readonly came: number }[]
  /** Of the capture worklet, while nothing was connected to it. */
  readonly idlePieces: number
}

const TAP = `registerProcessor('tap', class extends AudioWorkletProcessor {
  process([[samples]]) {
    if (samples) this.port.postMessage({ at: currentFrame, samples: samples.slice() })
    return true
  }
})`

/** Frames of 10 ms, as a call's, and for a while what a stall does. */
const WORKER = `
const reports = []
const captured = []
let [speaker, stalled, held, half] = [null, false, [], null]
const say = (samples) => speaker.postMessage({ type: 'sound', samples, missing: 0 }, [samples.buffer])
onmessage = ({ data }) => {
  if (data.stall !== undefined) {
    stalled = data.stall
    if (!stalled) for (const samples of held.splice(0)) say(samples)
    return
  }
  if (data.done) return postMessage({ reports, captured })
  speaker = data.speaker
  speaker.onmessage = ({ data }) => reports.push(data)
  data.capture.onmessage = ({ data: { samples, at } }) => {
    captured.push({ at, length: samples.length, came: performance.now() })
    if (half === null) return void (half = samples)
    const frame = new Float32Array(half.length + samples.length)
    frame.set(half)
    frame.set(samples, half.length)
    half = null
    if (stalled) held.push(frame)
    else say(frame)
  }
}`

const script = (text: string) => URL.createObjectURL(new Blob([text], { type: 'text/javascript' }))
const pause = (ms: number) => new Promise((done) => setTimeout(done, ms))

async function run(sampleRate: number, ms: number, stallMs: number): Promise<Run> {
  const context = new AudioContext({ sampleRate, latencyHint: 0 })
  const modules = ['/capture.js', '/playout.js', script(TAP)]
  await Promise.all(modules.map((address) => context.audioWorklet.addModule(address)))
  const capture = new AudioWorkletNode(context, CAPTURE_PROCESSOR, { outputChannelCount: [1] })
  const playout = new AudioWorkletNode(context, PLAYOUT_PROCESSOR, {
    numberOfInputs: 0,
    outputChannelCount: [1],
  })
  const tap = new AudioWorkletNode(context, 'tap')
  const worker = new Worker(script(WORKER))
  const [toCapture, toSpeaker] = [new MessageChannel(), new MessageChannel()]
  capture.port.postMessage({ worker: toCapture.port1 }, [toCapture.port1])
  playout.port.postMessage({ worker: toSpeaker.port1 }, [toSpeaker.port1])
  const ends = { capture: toCapture.port2, speaker: toSpeaker.port2 }
  worker.postMessage(ends, [ends.capture, ends.speaker])
  const asked = () =>
    new Promise<Pick<Run, 'reports' | 'captured'>>((done) => {
      worker.onmessage = ({ data }) => done(data)
      worker.postMessage({ done: true })
    })

  const heard: number[] = []
  let heardAt = 0
  tap.port.onmessage = ({ data }: MessageEvent<{ at: number; samples: Float32Array }>) => {
    if (heard.length === 0) heardAt = data.at
    // A busy browser passes a node over for a while; the place of all that comes later is not moved by it.
    while (heard.length < data.at - heardAt) heard.push(0)
    heard.push(...data.samples)
  }
  capture.connect(context.destination)
  playout.connect(tap).connect(context.destination)
  /** By the clock of the context: it stands still when the machine does. */
  const played = async (ms: number) => {
    for (const end = context.currentTime + ms / 1_000; context.currentTime < end; ) await pause(10)
  }
  // Nothing is connected to the capture worklet yet.
  await played(300)
  const idlePieces = (await asked()).captured.length

  const buffer = new AudioBuffer({ length: sampleRate, sampleRate })
  const source = buffer.getChannelData(0)
  for (let i = 0; i < source.length; i++) source[i] = 0.5 * Math.sin((2 * Math.PI * 997 * i) / sampleRate)
  const node = new AudioBufferSourceNode(context, { buffer, loop: true })
  node.connect(capture)
  const startAt = Math.ceil((context.currentTime + 0.05) * sampleRate)
  node.start(startAt / sampleRate)
  await played(ms)
  let resumedAt = 0
  if (stallMs > 0) {
    worker.postMessage({ stall: true })
    await played(stallMs)
    worker.postMessage({ stall: false })
    resumedAt = context.currentTime * sampleRate
    await played(1_500)
  }
  const { reports, captured } = await asked()
  await context.close()
  return { source: [...source], heard, heardAt, startedAt: startAt, resumedAt, reports, captured, idlePieces }
}

Object.assign(globalThis, { run })
