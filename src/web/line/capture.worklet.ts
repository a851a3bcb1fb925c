/**
 * The microphone's end where the worker cannot read a track itself: gathers what comes into pieces of 5 ms and hands
 * them to the worker. Nothing waits here but a piece that is not whole yet; without a worker sound is thrown away.
 */
import { CAPTURE_PROCESSOR, type Captured, type ToProcessor } from './messages.ts'

const PIECES_PER_SECOND = 200

class CaptureProcessor extends AudioWorkletProcessor {
  readonly #length = Math.round(sampleRate / PIECES_PER_SECOND)
  #piece = new Float32Array(this.#length)
  #filled = 0
  /** Context time of the piece's first sample. */
  #at = 0
  #worker: MessagePort | null = null
  #isEnded = false

  constructor() {
    super()
    this.port.onmessage = ({ data }: MessageEvent<ToProcessor>) => {
      this.#worker?.close()
      this.#worker = data.worker
      this.#isEnded = data.worker === null
      this.#filled = 0
    }
  }

  override process(inputs: Float32Array[][]): boolean {
    const samples = inputs[0]?.[0]
    // Nothing is connected, as while the microphone is changed; the rest of a piece would have a hole in it.
    if (samples === undefined || this.#worker === null) this.#filled = 0
    else this.#take(samples, this.#worker)
    // Chromium ends a processor for good that says no while nothing is connected to it.
    return !this.#isEnded
  }

  #take(samples: Float32Array, worker: MessagePort): void {
    for (let i = 0; i < samples.length; i++) {
      if (this.#filled === 0) this.#at = ((currentFrame + i) * 1_000) / sampleRate
      this.#piece[this.#filled++] = samples[i] as number
      if (this.#filled === this.#length) this.#send(worker)
    }
  }

  #send(worker: MessagePort): void {
    const captured: Captured = { samples: this.#piece, at: this.#at }
    worker.postMessage(captured, [captured.samples.buffer])
    this.#piece = new Float32Array(this.#length)
    this.#filled = 0
  }
}

registerProcessor(CAPTURE_PROCESSOR, CaptureProcessor)
