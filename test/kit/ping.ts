/**
 * The sound that stands for a voice where delays and fidelity are measured: a chirp, a tone, and a pause, once a second.
 * The chirp tells when, the tone tells how well, the pause lets the next chirp be found.
 */

export const PERIOD_MS = 1_000
export const CHIRP_MS = 100
export const TONE_MS = 700

const AMPLITUDE = 0.5
const LOW = 500
/** As high as voices go loudly: packed sound of this is no larger than that of speech. */
const HIGH = 4_000
/** Edges so short that an onset stays sharp, and so long that they do not click. */
const EDGE_MS = 0.5

/** The chirp alone, from 500 Hz to 4 kHz. */
export function chirp(sampleRate: number): Float32Array {
  const seconds = CHIRP_MS / 1_000
  return Float32Array.from({ length: Math.round(seconds * sampleRate) }, (_, i) => {
    const t = i / sampleRate
    const phase = 2 * Math.PI * (LOW * t + ((HIGH - LOW) * t * t) / (2 * seconds))
    return AMPLITUDE * edge(t * 1_000, CHIRP_MS) * Math.sin(phase)
  })
}

/** So many seconds of it, each the same, with a tone of this many Hz. */
export function pings(sampleRate: number, frequency: number, seconds = 1): Float32Array {
  const period = new Float32Array((sampleRate * PERIOD_MS) / 1_000)
  const head = chirp(sampleRate)
  period.set(head)
  const length = Math.round((TONE_MS / 1_000) * sampleRate)
  for (let i = 0; i < length; i++) {
    const t = i / sampleRate
    period[head.length + i] = AMPLITUDE * edge(t * 1_000, TONE_MS) * Math.sin(2 * Math.PI * frequency * t)
  }
  const all = new Float32Array(period.length * seconds)
  for (let i = 0; i < seconds; i++) all.set(period, i * period.length)
  return all
}

/** One channel, 16 bits. */
export function wav(samples: Float32Array, sampleRate: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(44 + samples.length * 2))
  const ascii = (at: number, text: string) => {
    for (const [i, char] of [...text].entries()) view.setUint8(at + i, char.charCodeAt(0))
  }
  ascii(0, 'RIFF')
  view.setUint32(4, 36 + samples.length * 2, true)
  ascii(8, 'WAVEfmt ')
  view.setUint32(16, 16, true)
  view.setUint16(20, 1, true)
  view.setUint16(22, 1, true)
  view.setUint32(24, sampleRate, true)
  view.setUint32(28, sampleRate * 2, true)
  view.setUint16(32, 2, true)
  view.setUint16(34, 16, true)
  ascii(36, 'data')
  view.setUint32(40, samples.length * 2, true)
  for (const [i, sample] of samples.entries()) view.setInt16(44 + i * 2, Math.round(sample * 32_767), true)
  return new Uint8Array(view.buffer)
}

function edge(ms: number, length: number): number {
  const near = Math.min(ms, length - ms)
  return near >= EDGE_MS ? 1 : 0.5 - 0.5 * Math.cos((Math.PI * Math.max(0, near)) / EDGE_MS)
}
