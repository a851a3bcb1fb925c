/** What a worklet of Web Audio has and a page has not. Of the library's types for pages, none covers it. */

declare const sampleRate: number
/** Of the first sample of the piece that is being made: in samples, and in seconds, since the context began. */
declare const currentFrame: number
declare const currentTime: number

declare abstract class AudioWorkletProcessor {
  readonly port: MessagePort
  /** False when it is not needed any more. Inputs that nothing is connected to have no channels. */
  abstract process(inputs: Float32Array[][], outputs: Float32Array[][]): boolean
}

declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void
