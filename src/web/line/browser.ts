/** The engine's ports, of a real browser. */
import { systemTimers } from '../../client/ports.ts'
import { CAPTURE, PLAYOUT, WORKER } from './files.ts'
import {
  CAPTURE_PROCESSOR,
  type FromWorker,
  PLAYOUT_PROCESSOR,
  type Source,
  type ToProcessor,
  type ToWorker,
} from './messages.ts'
import type { Kept, Memory, Page, Ports, Sound, Thread, ThreadEvents, Track } from './ports.ts'
import type { LinkProblem } from './view.ts'

/** Chromium: reads a track without a context. Not in the DOM's types, as no other browser has it for sound. */
declare const MediaStreamTrackProcessor: new (init: {
  readonly track: Track
  readonly maxBufferSize: number
}) => { readonly readable: ReadableStream<AudioData> }

/** What not every browser has, nor the DOM's types. */
interface NewerContext {
  setSinkId?(id: string): Promise<void>
}

/** Pieces of 10 ms that wait for the worker. What is older than this is not worth being sent. */
const WAITING_PIECES = 8

const canProcessTracks = 'MediaStreamTrackProcessor' in globalThis
const WORKLETS = canProcessTracks ? [PLAYOUT] : [PLAYOUT, CAPTURE]

/**
 * Firefox asks its sound process for the latency of a context, and waits, with a lock held that the same context needs to
 * make sound. On Linux that process may be waiting for just this sound: then neither goes on, and the tab hangs for good.
 * Seen at one start in eight on a busy machine. So it is not asked, for this or for what comes of it.
 */
const canAskForLatency = !/\bFirefox\//.test(navigator.userAgent)

export function browserPorts(): Ports {
  const devices: MediaDevices | undefined = navigator.mediaDevices
  const problem = problemOf(devices)
  if (problem === null) preload()
  return {
    timers: systemTimers(),
    page: pageOf(problem),
    memory: tabMemory(),
    microphones: {
      async open(audio) {
        const [track] = (await devices.getUserMedia({ audio })).getAudioTracks()
        if (track === undefined) throw new DOMException('no track', 'NotFoundError')
        return track as Track
      },
      list: () => devices.enumerateDevices(),
      onChange: (heard) => devices?.addEventListener('devicechange', heard),
    },
    openSound: () => BrowserSound.open(),
    capturesInContext: !canProcessTracks,
    canChooseOutput: problem === null && 'setSinkId' in AudioContext.prototype,
    openThread,
    async keepAwake(released) {
      const lock = await navigator.wakeLock.request('screen')
      lock.addEventListener('release', released)
      return () => void lock.release()
    },
    fill: (bytes) => crypto.getRandomValues(bytes),
    complain: (message) => reportError(new Error(message)),
  }
}

function problemOf(devices: MediaDevices | undefined): LinkProblem | null {
  if (!isSecureContext) return 'insecure'
  const hasAll = devices !== undefined && 'AudioWorkletNode' in globalThis && 'Worker' in globalThis
  return hasAll ? null : 'unable'
}

/** All are asked for again when somebody joins, and are here by then. */
function preload(): void {
  for (const address of [WORKER, ...WORKLETS]) fetch(address).catch(() => {})
}

function pageOf(problem: LinkProblem | null): Page {
  const [navigation] = performance.getEntriesByType('navigation') as PerformanceNavigationTiming[]
  return {
    problem,
    isReload: navigation?.type === 'reload',
    address: () => location.href,
    rewrite: (address) => history.replaceState(history.state, '', address),
    reload: () => location.reload(),
    on(event, heard) {
      switch (event) {
        case 'hashchange':
        case 'online':
          return addEventListener(event, heard)
        case 'visible':
          return document.addEventListener('visibilitychange', () => {
            if (document.visibilityState === 'visible') heard()
          })
        case 'leaving':
          return addEventListener('pagehide', heard)
        case 'restored':
          return addEventListener('pageshow', ({ persisted }) => {
            if (persisted) heard()
          })
      }
    },
  }
}

const KEPT = 'ringdown.line'

function tabMemory(): Memory {
  return {
    keep(kept) {
      try {
        sessionStorage.setItem(KEPT, JSON.stringify(kept))
      } catch {
        // Storage is off or full: then a reload asks first.
      }
    },
    take() {
      try {
        const text = sessionStorage.getItem(KEPT)
        sessionStorage.removeItem(KEPT)
        return text === null ? null : (JSON.parse(text) as Kept)
      } catch {
        return null
      }
    },
  }
}

function openThread(on: ThreadEvents): Thread {
  const worker = new Worker(WORKER, { type: 'module', name: 'line' })
  let isOver = false
  const die = (why: string) => {
    if (isOver) return
    isOver = true
    worker.terminate()
    on.died(why)
  }
  worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => {
    if (isOver) return
    on.heard(data)
    if (data.type === 'ended') worker.terminate()
  })
  worker.addEventListener('error', ({ message }) => die(message))
  worker.addEventListener('messageerror', () => die('a message could not be read'))
  return {
    post: (message) => {
      if (!isOver) worker.postMessage(message, transferredBy(message))
    },
    stop() {
      isOver = true
      worker.terminate()
    },
  }
}

function transferredBy(message: ToWorker): Transferable[] {
  if (message.type === 'speaker') return [message.port]
  if (message.type !== 'source') return []
  const { source } = message
  if (source.from === 'track') return [source.readable]
  return source.from === 'worklet' ? [source.port] : []
}

class BrowserSound implements Sound {
  readonly #context: AudioContext
  #speaker: AudioWorkletNode | null = null
  #microphone: { readonly source: AudioNode; readonly worklet: AudioWorkletNode } | null = null

  private constructor(context: AudioContext) {
    this.#context = context
  }

  static async open(): Promise<Sound> {
    const session = (navigator as { audioSession?: { type: string } }).audioSession
    // iOS: goes on in the background, and with the switch for silence on.
    if (session !== undefined) session.type = 'play-and-record'
    const context = new AudioContext({ latencyHint: 0 })
    try {
      await Promise.all(WORKLETS.map((address) => context.audioWorklet.addModule(address)))
      return new BrowserSound(context)
    } catch (error) {
      void context.close()
      throw error
    }
  }

  get rate(): number {
    return this.#context.sampleRate
  }

  get state(): Sound['state'] {
    return this.#context.state
  }

  get latency(): number | null {
    if (!canAskForLatency) return null
    // Safari has had the second for some years only.
    const { baseLatency, outputLatency = 0 } = this.#context
    return 1000 * (baseLatency + outputLatency)
  }

  get lag(): number | null {
    // What Firefox would say, but for the latency, which stays the same.
    if (!canAskForLatency) return performance.now() - 1000 * this.#context.currentTime
    const { contextTime, performanceTime } = this.#context.getOutputTimestamp()
    return contextTime && performanceTime ? performanceTime - 1000 * contextTime : null
  }

  onState(heard: () => void): void {
    this.#context.addEventListener('statechange', heard)
  }

  resume(): void {
    // Rejects while a phone call has the speaker, and waits for ever without a gesture; the state tells.
    this.#context.resume().catch(() => {})
  }

  speak(): MessagePort {
    letGo(this.#speaker)
    const node = new AudioWorkletNode(this.#context, PLAYOUT_PROCESSOR, {
      numberOfInputs: 0,
      outputChannelCount: [1],
    })
    node.connect(this.#context.destination)
    this.#speaker = node
    return wayTo(node)
  }

  listen(track: Track): Source {
    if (canProcessTracks) {
      const { readable } = new MediaStreamTrackProcessor({ track, maxBufferSize: WAITING_PIECES })
      return { from: 'track', readable }
    }
    this.#stopListening()
    const source = this.#context.createMediaStreamSource(new MediaStream([track as MediaStreamTrack]))
    // A node without an output is not run by every browser; what comes out of this one is silence.
    const worklet = new AudioWorkletNode(this.#context, CAPTURE_PROCESSOR, { outputChannelCount: [1] })
    source.connect(worklet).connect(this.#context.destination)
    this.#microphone = { source, worklet }
    return { from: 'worklet', port: wayTo(worklet), rate: this.#context.sampleRate }
  }

  async useOutput(id: string | null): Promise<void> {
    const context = this.#context as NewerContext
    if (id === null && context.setSinkId === undefined) return
    await context.setSinkId?.(id ?? '')
  }

  close(): void {
    letGo(this.#speaker)
    this.#stopListening()
    if (this.#context.state !== 'closed') this.#context.close().catch(() => {})
  }

  #stopListening(): void {
    this.#microphone?.source.disconnect()
    letGo(this.#microphone?.worklet ?? null)
  }
}

function letGo(node: AudioWorkletNode | null): void {
  node?.disconnect()
  node?.port.postMessage({ worker: null } satisfies ToProcessor)
}

/** Gives a node its end of a new channel to the worker, whose end is returned. */
function wayTo(node: AudioWorkletNode): MessagePort {
  const { port1, port2 } = new MessageChannel()
  const message: ToProcessor = { worker: port1 }
  node.port.postMessage(message, [port1])
  return port2
}
