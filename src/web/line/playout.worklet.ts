/**
 * The speaker's end: sound comes from the worker and is played as src/audio/playout.ts says. Its clock is the context's
 * own. What the device does not ask for in time is not played later either; it shows as sound that waits too long.
 * No timers: a page in the background is heard as one in front.
 */
import { Playout } from '../../audio/playout.ts'
import { PLAYOUT_PROCESSOR, type Played, type ToProcessor, type ToSpeaker } from './messages.ts'

const REPORTS_PER_SECOND = 10

class PlayoutProcessor extends AudioWorkletProcessor {
  readonly #playout = new Playout(sampleRate)
  #worker: MessagePort | null = null
  #nextReport = 0
  #isEnded = false

  constructor() {
    super()
    this.port.onmessage = ({ data }: MessageEvent<ToProcessor>) => {
      this.#worker?.close()
      this.#worker = data.worker
      this.#isEnded = data.worker === null
      if (data.worker !== null)
        data.worker.onmessage = (event: MessageEvent<ToSpeaker>) => this.#hear(event.data)
    }
  }

  override process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const out = outputs[0]?.[0]
    if (out === undefined || this.#isEnded) return !this.#isEnded
    this.#playout.render(out, currentTime * 1_000, Date.now())
    for (const channel of outputs[0] ?? []) if (channel !== out) channel.set(out)
    if (currentFrame >= this.#nextReport) this.#report()
    return true
  }

  #hear(message: ToSpeaker): void {
    if (message.type === 'sound') this.#playout.push(message.samples, message.missing, Date.now())
    else this.#playout.restart(message.mobile)
  }

  #report(): void {
    this.#nextReport = currentFrame + sampleRate / REPORTS_PER_SECOND
    this.#worker?.postMessage(this.#playout.numbers() satisfies Played)
  }
}

registerProcessor(PLAYOUT_PROCESSOR, PlayoutProcessor)
