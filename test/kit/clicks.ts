/** Whether something clicks in a tone that was heard. */
import { steepest } from './playout-rig.ts'

/** Half of full scale is crossed in a cross-fade of 3 ms: what that adds to a step, at most. */
const CROSS_FADE = 0.012
/** Clocks differ and rates are bent: the tone is as much higher. */
const HIGHER = 1.003

/** The largest step from a sample to the next, as a part of what a tone as loud and a cross-fade of 3 ms may have. */
export function steepestTone(samples: Float32Array, sampleRate: number, frequency: number): number {
  const loudest = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0)
  const own = 2 * loudest * Math.sin((Math.PI * frequency * HIGHER) / sampleRate)
  return steepest(samples) / (own + CROSS_FADE)
}

/**
 * How far a sample lies from where the two before it lead, at most: of a steady tone nothing, of a click its height; a cross-fade
 * of 3 ms adds 0.005 at most.
 */
export function unsteadiest(samples: Float32Array, sampleRate: number, frequency: number): number {
  const turn = 2 * Math.cos((2 * Math.PI * frequency) / sampleRate)
  let most = 0
  for (let i = 2; i < samples.length; i++) {
    const led = turn * (samples[i - 1] as number) - (samples[i - 2] as number)
    most = Math.max(most, Math.abs((samples[i] as number) - led))
  }
  return most
}
