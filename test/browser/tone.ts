/** Tones that stand for voices: made into WAV files for fake microphones, and found again in what was heard. */

export const SAMPLE_RATE = 48_000

/** Length of a syllable and of the pause after it: a steady tone would be taken for noise and suppressed. */
const SYLLABLE = 0.24
const PAUSE = 0.12
const SECONDS = (SYLLABLE + PAUSE) * 10

/** A mono WAV file, 16 bit, of a tone in syllables, that can be played round and round. */
export function toneWav(frequency: number): Uint8Array {
  const samples = Math.round(SECONDS * SAMPLE_RATE)
  const view = new DataView(new ArrayBuffer(44 + samples * 2))
  const ascii = (at: number, text: string) => {
    for (const [i, char] of [...text].entries()) view.setUint8(at + i, char.charCodeAt(0))
  }
  ascii(0, 'RIFF')
  view.setUint32(4, 36 + samples * 2, true)
  ascii(8, 'WAVEfmt ')
  view.setUint32(16, 16, true)
  view.setUint16(20, 1, true)
  view.setUint16(22, 1, true)
  view.setUint32(24, SAMPLE_RATE, true)
  view.setUint32(28, SAMPLE_RATE * 2, true)
  view.setUint16(32, 2, true)
  view.setUint16(34, 16, true)
  ascii(36, 'data')
  view.setUint32(40, samples * 2, true)
  for (let i = 0; i < samples; i++) {
    const t = i / SAMPLE_RATE
    const value = 0.4 * envelope(t % (SYLLABLE + PAUSE)) * Math.sin(2 * Math.PI * frequency * t)
    view.setInt16(44 + i * 2, Math.round(value * 32_767), true)
  }
  return new Uint8Array(view.buffer)
}

function envelope(t: number): number {
  return t < SYLLABLE ? Math.sin((Math.PI * t) / SYLLABLE) : 0
}

/** Which part of the power in `samples` lies at `frequency`, from 0 to 1. Goertzel with a Hann window. */
export function shareOf(frequency: number, samples: readonly number[], sampleRate: number): number {
  const window = samples.map(
    (sample, i) => sample * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / samples.length)),
  )
  const total = window.reduce((sum, sample) => sum + sample * sample, 0)
  if (total === 0) return 0
  // Syllables spread a tone over some hertz.
  const bin = sampleRate / samples.length
  let power = 0
  for (let offset = -20; offset <= 20; offset += bin)
    power += goertzel(frequency + offset, window, sampleRate)
  return (2 * power) / (samples.length * total)
}

function goertzel(frequency: number, samples: readonly number[], sampleRate: number): number {
  const coefficient = 2 * Math.cos((2 * Math.PI * frequency) / sampleRate)
  let [before, last] = [0, 0]
  for (const sample of samples) [before, last] = [last, sample + coefficient * last - before]
  return last * last + before * before - coefficient * last * before
}

/** Root mean square, in dB below full scale. */
export function loudness(samples: readonly number[]): number {
  return 10 * Math.log10(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length)
}
