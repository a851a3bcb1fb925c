/** How loud a stream is, for meters. Where there is no AudioContext there is no meter, and the level is 0. */

/** Speech lies between these, in dB below full scale. */
const SILENT_DB = -60
const LOUD_DB = -10
/** About 20 ms at 48 kHz: shorter than a syllable, longer than one period of a low voice. */
const WINDOW = 1024

/** From 0, silent, to 1, as loud as a voice gets. Even steps sound even. */
export function levelOf(samples: Float32Array): number {
  let sum = 0
  for (const sample of samples) sum += sample * sample
  const db = 10 * Math.log10(sum / samples.length)
  return Math.min(1, Math.max(0, (db - SILENT_DB) / (LOUD_DB - SILENT_DB)))
}

export class LevelMeter {
  readonly #source: MediaStreamAudioSourceNode
  readonly #analyser: AnalyserNode
  readonly #samples = new Float32Array(WINDOW)

  /** Reads `stream` as long as it is not closed; stops neither the stream nor the context. */
  constructor(context: AudioContext, stream: MediaStream) {
    this.#source = context.createMediaStreamSource(stream)
    this.#analyser = context.createAnalyser()
    this.#analyser.fftSize = WINDOW
    this.#source.connect(this.#analyser)
  }

  /** The level of the last 20 ms, from 0 to 1. */
  read(): number {
    this.#analyser.getFloatTimeDomainData(this.#samples)
    return levelOf(this.#samples)
  }

  close(): void {
    this.#source.disconnect()
  }
}
