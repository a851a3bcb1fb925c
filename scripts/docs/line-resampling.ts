/** Samples of 16 bits at one rate, and the same sound at another. */
import { fromPcm, Resampler, toPcm } from '../../src/audio/resample.ts'

export function resampling() {
  return {
    about:
      'int16 in, int16 out; silence before the first sample. "delay" is in input samples: output n is the sound at input n * from / to - delay. Another filter is as good: within 0.02 dB to 20 kHz and 98 dB of noise over the wire and back. With this one, each sample is within 1 of these.',
    streams: [
      stream(48_000, 200_000, click(24, 4, 20_000)),
      stream(200_000, 48_000, click(200, 90, 32_767)),
      stream(48_000, 24_000, click(96, 20, 20_000)),
      stream(24_000, 48_000, click(64, 8, -20_000)),
      stream(44_100, 48_000, noise(80)),
      // Of equal rates and not steered: the same samples, later.
      stream(48_000, 48_000, noise(40)),
      stream(48_000, 48_000, noise(80), 1.002),
    ],
  }
}

function stream(from: number, to: number, input: number[], pace = 1) {
  const resampler = new Resampler({ from, to, block: input.length })
  resampler.steer(pace)
  const samples = new Float32Array(input.length)
  fromPcm(Int16Array.from(input), samples, input.length)
  const output = new Float32Array(resampler.most(input.length))
  const pcm = new Int16Array(resampler.push(samples, output))
  toPcm(output, pcm, pcm.length)
  return { from, to, pace, delay: resampler.delay, input, output: [...pcm] }
}

function click(length: number, at: number, loud: number): number[] {
  return Array.from({ length }, (_, i) => (i === at ? loud : 0))
}

function noise(length: number): number[] {
  let seed = 1
  return Array.from({ length }, () => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) | 0
    return seed >> 17
  })
}
