import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { MAX_SAMPLES, Packer, readRaw, Unpacker, writeRaw } from './pack.ts'
import { Resampler, toPcm } from './resample.ts'

const packer = new Packer()
const unpacker = new Unpacker()

function packed(pcm: Int16Array, room = 3 * pcm.length + 64): Uint8Array {
  const out = new Uint8Array(room).fill(0xaa)
  const size = packer.pack(pcm, out)
  if (size > 0) expect(out.subarray(size).every((byte) => byte === 0)).toBe(true)
  return out.subarray(0, size)
}

function unpacked(bytes: Uint8Array, samples: number): Int16Array | null {
  const pcm = new Int16Array(samples)
  return unpacker.unpack(bytes, pcm) ? pcm : null
}

/** Vowels with a pitch that moves, consonants of noise, pauses: as predictable as speech, and as uneven. */
function speech(rate: number, seconds: number): Float32Array {
  let [seed, phase, formant, last] = [1, 0, 0, 0]
  return Float32Array.from({ length: rate * seconds }, (_, i) => {
    const t = i / rate
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) | 0
    const noise = seed / 2 ** 31
    const syllable = Math.max(0, Math.sin(2 * Math.PI * 3.1 * t)) ** 0.5
    const pause = t % 2 < 1.6 ? 1 : 0
    phase += (110 + 25 * Math.sin(2 * Math.PI * 0.7 * t)) / rate
    formant += (620 + 300 * Math.sin(2 * Math.PI * 1.3 * t)) / rate
    const pulse = 16 * (phase % 1) * Math.exp(-6 * (phase % 1))
    const voice = pulse * Math.sin(2 * Math.PI * formant) + 0.4 * pulse * Math.sin(5.3 * Math.PI * formant)
    last = 0.6 * noise - 0.3 * last
    const hiss = t % 0.7 < 0.08 ? 0.02 * last : 0
    return 0.2 * pause * (syllable * voice + hiss) + 0.0005 * noise
  })
}

/** Frames of 10 ms at the rate of the wire. */
function frames(rate: number): Int16Array[] {
  const resampler = new Resampler({ from: 48_000, to: rate, block: 480 })
  const samples = speech(48_000, 4)
  const output = new Float32Array(resampler.most(480))
  return Array.from({ length: samples.length / 480 }, (_, i) => {
    const pcm = new Int16Array(resampler.push(samples.subarray(480 * i, 480 * i + 480), output))
    toPcm(output, pcm, pcm.length)
    return pcm
  })
}

/** Walks, tones, steps and noise of every loudness: what predictors like and what they hate. */
const sound = fc
  .record({
    length: fc.integer({ min: 0, max: 600 }),
    loud: fc.integer({ min: 0, max: 15 }),
    smooth: fc.integer({ min: 0, max: 4 }),
    seed: fc.integer(),
  })
  .map(({ length, loud, smooth, seed }) => {
    const state = [0, 0, 0, 0, 0]
    let random = seed
    return Int16Array.from({ length }, () => {
      random = (Math.imul(random, 1_664_525) + 1_013_904_223) | 0
      state[0] = random >> (31 - loud)
      for (let i = 1; i <= smooth; i++) state[i] = ((state[i] ?? 0) + (state[i - 1] ?? 0)) | 0
      return state[smooth] ?? 0
    })
  })

describe('packing', () => {
  test('[LINE-69] what is packed comes back bit for bit', () => {
    fc.assert(
      fc.property(fc.oneof(sound, fc.int16Array({ maxLength: 400 })), (pcm) => {
        const bytes = packed(pcm)
        // Longer than raw is given up.
        if (bytes.length === 0) return
        expect(unpacked(bytes, pcm.length)).toEqual(pcm)
      }),
      { numRuns: 2_000 },
    )
  })

  test('the extremes come back: silence, full scale, steps, and frames of no and of few samples', () => {
    for (let length = 0; length < 20; length++) {
      for (const at of [(i: number) => i % 2, (i: number) => i >> 1, () => 1, () => 0]) {
        const pcm = Int16Array.from({ length }, (_, i) => (at(i) % 2 ? 32_767 : -32_768))
        const bytes = packed(pcm)
        if (bytes.length > 0) expect(unpacked(bytes, length)).toEqual(pcm)
      }
    }
    for (const length of [40, 480, 500, 2_000, 4_000, MAX_SAMPLES]) {
      const silence = packed(new Int16Array(length))
      expect(silence.length).toBeLessThanOrEqual(1 + Math.ceil((20 + length) / 8))
      expect(unpacked(silence, length)).toEqual(new Int16Array(length))
      const step = new Int16Array(length).fill(32_767).fill(-32_768, length >> 1)
      expect(unpacked(packed(step), length)).toEqual(step)
      // One click in silence: a long run of noughts.
      const click = new Int16Array(length)
      click[length >> 1] = -32_768
      expect(unpacked(packed(click), length)).toEqual(click)
    }
    expect(() => packer.pack(new Int16Array(MAX_SAMPLES + 1), new Uint8Array(8_192))).toThrow(RangeError)
  })

  test('noise does not pack, and then nothing was written', () => {
    const noise = crypto.getRandomValues(new Int16Array(2_000))
    const out = new Uint8Array(4_000).fill(0xaa)
    expect(packer.pack(noise, out)).toBe(0)
    expect(out.every((byte) => byte === 0xaa)).toBe(true)
  })

  test('a frame fits exactly the room it needs', () => {
    fc.assert(
      fc.property(sound, (pcm) => {
        const { length } = packed(pcm)
        if (length === 0) return
        expect(packed(pcm, length)).toEqual(packed(pcm))
        expect(packer.pack(pcm, new Uint8Array(length - 1))).toBe(0)
      }),
      { numRuns: 300 },
    )
  })

  test('speech at 200 kHz packs to a quarter, every frame to a third at most', () => {
    const all = frames(200_000)
    const sizes = all.map((pcm) => packed(pcm).length)
    const raw = all.reduce((sum, { length }) => sum + 2 * length, 0)
    expect(sizes.reduce((sum, size) => sum + size, 0) / raw).toBeLessThan(0.25)
    expect(Math.max(...sizes)).toBeLessThan(4_000 / 3)
    for (const pcm of all) expect(unpacked(packed(pcm), pcm.length)).toEqual(pcm)
  })
})

describe('unpacking what nobody packed', () => {
  /** Around the decoder's arrays, to see that nothing is written beside the frame. */
  function guarded(bytes: Uint8Array, samples: number): boolean {
    const around = new Int16Array(samples + 200).fill(0x5a5a)
    const done = unpacker.unpack(bytes, around.subarray(100, 100 + samples))
    for (const side of [around.subarray(0, 100), around.subarray(100 + samples)]) {
      expect(side.every((sample) => sample === 0x5a5a)).toBe(true)
    }
    return done
  }

  test('[LINE-69] never throws and writes nothing beside the frame, whatever the bytes', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 1_400 }),
      fc.tuple(fc.integer({ min: 0, max: 5 }), fc.uint8Array({ maxLength: 700 })).map(([order, rest]) => {
        return Uint8Array.of(order, ...rest)
      }),
    )
    fc.assert(
      fc.property(bytes, fc.integer({ min: 0, max: 4_200 }), (input, samples) => {
        guarded(input, samples)
      }),
      { numRuns: 3_000 },
    )
  })

  test('a frame with bits turned over, cut off or with something after it is lost or is some frame', () => {
    const turns = fc.array(fc.nat(), { maxLength: 4 })
    fc.assert(
      fc.property(sound, turns, fc.integer({ min: -3, max: 3 }), (pcm, bits, longer) => {
        const frame = packed(pcm)
        const bytes = new Uint8Array(Math.max(0, frame.length + longer))
        bytes.set(frame.subarray(0, bytes.length))
        for (const bit of bits) {
          const at = (bit >> 3) % Math.max(1, bytes.length)
          bytes.set([(bytes[at] ?? 0) ^ (1 << (bit & 7))].slice(0, bytes.length), at)
        }
        guarded(bytes, pcm.length)
      }),
      { numRuns: 3_000 },
    )
  })

  test('each rule of the form is kept', () => {
    const pcm = Int16Array.from({ length: 40 }, (_, i) => 100 * i * (i % 3))
    const frame = packed(pcm)
    expect(unpacked(frame, 40)).toEqual(pcm)
    const but = (change: (bytes: Uint8Array) => void) => {
      const bytes = new Uint8Array(frame.length + 4)
      bytes.set(frame)
      change(bytes)
      return unpacked(bytes, 40)
    }
    // Zeros after it are padding; anything else is not.
    expect(but(() => {})).toEqual(pcm)
    expect(but((bytes) => bytes.fill(1, frame.length))).toBeNull()
    expect(but((bytes) => bytes.fill(5, 0, 1))).toBeNull()
    expect(unpacked(new Uint8Array(0), 40)).toBeNull()
    expect(unpacked(frame.subarray(0, 4), 40)).toBeNull()
    expect(unpacked(frame.subarray(0, -1), 40)).toBeNull()
    // Other counts of samples than were packed.
    expect(unpacked(frame, 44)).toBeNull()
    expect(unpacked(frame, 36)).toBeNull()
    // k of 21, a run of noughts without end, a sample beyond 16 bits.
    expect(unpacked(Uint8Array.of(0, 21 << 3, 255, 255, 255, 255), 1)).toBeNull()
    expect(unpacked(new Uint8Array(8_192), 4)).toBeNull()
    expect(unpacked(Uint8Array.of(1, 0xff, 0x7f, 0, 0, 0b0000_0000, 0b0010_0000), 2)).toBeNull()
  })

  test('the worst frame takes no longer than a few good ones', () => {
    // All ones: 2,000 samples from the fewest bits each; all noughts: the longest run.
    const good = packed(frames(200_000)[40] ?? new Int16Array(0))
    const once = (bytes: Uint8Array) => {
      const pcm = new Int16Array(2_000)
      const start = performance.now()
      for (let i = 0; i < 100; i++) unpacker.unpack(bytes, pcm)
      return performance.now() - start
    }
    // The best of some, for what else the machine does.
    const took = (bytes: Uint8Array) => Math.min(...Array.from({ length: 8 }, () => once(bytes)))
    const usual = took(good)
    for (const bytes of [new Uint8Array(4_000), new Uint8Array(4_000).fill(0xff).fill(0, 0, 1)]) {
      expect(took(bytes)).toBeLessThan(10 * usual + 5)
    }
  })
})

test('raw samples come back as they went, and only as many as asked for', () => {
  fc.assert(
    fc.property(fc.int16Array({ maxLength: 500 }), (pcm) => {
      const bytes = new Uint8Array(2 * pcm.length)
      writeRaw(pcm, bytes)
      const back = new Int16Array(pcm.length)
      expect(readRaw(bytes, back)).toBe(true)
      expect(back).toEqual(pcm)
      expect(readRaw(bytes, new Int16Array(pcm.length + 1))).toBe(false)
    }),
  )
})
