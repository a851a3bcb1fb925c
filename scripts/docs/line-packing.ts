/** Frames and their packed form, bytes in hex without padding; and bytes that are no frame. */
import { Packer } from '../../src/audio/pack.ts'

export function packing() {
  return {
    about:
      'u8 order, 0 to 4; order samples, int16 LE; 4 partitions, each k in 5 bits and then Rice codes, from the top bit of each byte; zeros to the end. The packed forms are those of one packer: any order and any k may be sent. "refused" must be lost frames, of the number of samples given.',
    frames: [
      frame('silence', Array(40).fill(0)),
      frame(
        'a slope',
        Array.from({ length: 40 }, (_, i) => 300 * i - 6_000),
      ),
      frame(
        'a parabola',
        Array.from({ length: 40 }, (_, i) => 50 * (i - 20) ** 2 - 8_000),
      ),
      frame(
        'from end to end of the scale',
        Array.from({ length: 40 }, (_, i) => (i < 20 ? -32_768 : 32_767)),
      ),
      frame(
        'a click in silence',
        Array.from({ length: 120 }, (_, i) => (i === 60 ? 12_345 : 0)),
      ),
      frame('noise of 8 bits', noise(120, 8)),
      frame('a walk', walk(120)),
      frame('seven samples, in partitions of 1, 2, 2 and 2', [-3, 4, 5, 5, 4, 2, -1]),
    ],
    refused: [
      refused('no bytes', '', 40),
      refused('an order of 5', '05000000000000000000000000', 40),
      refused('warm-up samples cut off', '04010002', 40),
      refused('a k of 21', '00a8ffffffff', 1),
      refused('a run of noughts to the end', `00${'00'.repeat(40)}`, 40),
      refused('a sample of 32,768', '01ff7f000002', 2),
      refused('bits cut off: the silence above with a byte less', silence().slice(0, -2), 40),
      refused('something after the end', `${silence()}01`, 40),
    ],
  }
}

function frame(name: string, samples: number[]) {
  const out = new Uint8Array(4 * samples.length + 64)
  const size = new Packer().pack(Int16Array.from(samples), out)
  return { name, samples, packed: hex(out.subarray(0, size)) }
}

function refused(name: string, packed: string, samples: number) {
  return { name, samples, packed }
}

function silence(): string {
  return frame('', Array(40).fill(0)).packed
}

function noise(length: number, bits: number): number[] {
  let seed = 1
  return Array.from({ length }, () => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) | 0
    return seed >> (32 - bits)
  })
}

function walk(length: number): number[] {
  let at = 0
  return noise(length, 10).map((step) => {
    at += step
    return at
  })
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
