/**
 * Lossless packing of one frame. Frames stand alone, so a lost one costs nothing but itself.
 *
 * ```
 * u8 order, 0 to 4 | `order` samples, int16 LE | 4 partitions: 5 bits k, then Rice codes | zeros to the end
 * ```
 *
 * Each sample after the first `order` is predicted from the `order` before it, by the polynomial through them. What it
 * is off by, `e`, is folded to `u = 2e` or `-2e - 1` and written as `u >> k` noughts, a one, and the low `k` bits; bits
 * fill bytes from the top. Partition `p` of `n` samples ends before sample `floor((p + 1) n / 4)`.
 *
 * Speech at 200 kHz packs to a fifth. Sizes would tell through the encryption what is said, so a frame goes out in a
 * bucket of fixed size: `pack-bucket.ts`.
 */

export const MAX_ORDER = 4
const PARTITIONS = 4
/** 20 ms at 200 kHz is 4,000. Sums of the largest residuals of a partition stay within 31 bits up to here. */
export const MAX_SAMPLES = 4_096
const MAX_K = 20
/** The largest folded residual there can be: at order 4, 16 times full scale, and the sign. */
const MAX_FOLDED = 1 << 20
const MAX_NOUGHTS = 1 << 16

/** Packs frames, one after another, without allocating. */
export class Packer {
  readonly #folded = new Int32Array(MAX_SAMPLES)
  /** The bytes so far, 32 bits at a time. A packed frame that is longer than raw is given up. */
  readonly #words = new Uint32Array(MAX_SAMPLES / 2 + 2)
  readonly #sums = new Float64Array((MAX_ORDER + 1) * PARTITIONS)

  /**
   * Packs `pcm` into the first `room` bytes of `out`, zeros after it. Returns how many bytes it took, or 0 when they are
   * more than `room` or than raw; `out` is then as it was. Throws RangeError for more than `MAX_SAMPLES`.
   */
  pack(pcm: Int16Array, out: Uint8Array, room = out.length): number {
    const n = pcm.length
    if (n > MAX_SAMPLES) throw new RangeError(`${n} samples in a frame`)
    const order = n <= MAX_ORDER ? 0 : this.#order(pcm)
    const head = 1 + 2 * order
    if (head > Math.min(room, 2 * n)) return 0
    fold(pcm, order, this.#folded)
    const bits = this.#write(n, order, 8 * (Math.min(room, 2 * n) - head))
    if (bits < 0) return 0

    out[0] = order
    for (let i = 0; i < order; i++) {
      const sample = pcm[i] as number
      out[1 + 2 * i] = sample & 0xff
      out[2 + 2 * i] = (sample >> 8) & 0xff
    }
    const end = head + Math.ceil(bits / 8)
    for (let at = head, word = 0; at < end; word++) {
      const value = this.#words[word] as number
      for (let shift = 24; shift >= 0 && at < end; shift -= 8) out[at++] = value >>> shift
    }
    out.fill(0, end, room)
    return end
  }

  /** The order that takes the fewest bits, by the mean residual of each partition; all five in one pass. */
  #order(pcm: Int16Array): number {
    const n = pcm.length
    const sums = this.#sums
    // What the four samples before the first are taken for only weighs on the choice.
    let [last0, last1, last2, last3] = [pcm[0] as number, 0, 0, 0]
    let i = 0
    for (let p = 0; p < PARTITIONS; p++) {
      const end = Math.floor(((p + 1) * n) / PARTITIONS)
      let [s0, s1, s2, s3, s4] = [0, 0, 0, 0, 0]
      for (; i < end; i++) {
        const e0 = pcm[i] as number
        const e1 = e0 - last0
        const e2 = e1 - last1
        const e3 = e2 - last2
        const e4 = e3 - last3
        last0 = e0
        last1 = e1
        last2 = e2
        last3 = e3
        s0 += e0 < 0 ? -e0 : e0
        s1 += e1 < 0 ? -e1 : e1
        s2 += e2 < 0 ? -e2 : e2
        s3 += e3 < 0 ? -e3 : e3
        s4 += e4 < 0 ? -e4 : e4
      }
      sums[p] = s0
      sums[PARTITIONS + p] = s1
      sums[2 * PARTITIONS + p] = s2
      sums[3 * PARTITIONS + p] = s3
      sums[4 * PARTITIONS + p] = s4
    }
    let best = 0
    let least = Number.POSITIVE_INFINITY
    for (let order = 0; order <= MAX_ORDER; order++) {
      // A residual costs about the logarithm of the mean one. The constant keeps silence from costing less than it does.
      let cost = 16 * order
      for (let p = 0; p < PARTITIONS; p++) {
        const mean = (PARTITIONS * (sums[PARTITIONS * order + p] as number)) / n
        cost += (n / PARTITIONS) * Math.log2(mean + 0.5)
      }
      if (cost < least) {
        least = cost
        best = order
      }
    }
    return best
  }

  /** Writes the partitions of `n` samples into the words. Returns the bits they took, or -1 if more than `room`. */
  #write(n: number, order: number, room: number): number {
    const folded = this.#folded
    const words = this.#words
    let total = 0
    let word = 0
    /** Bits that wait for a whole word, at the top, and how many more fit. */
    let waiting = 0
    let free = 32
    let i = order
    for (let p = 0; p < PARTITIONS; p++) {
      const end = Math.floor(((p + 1) * n) / PARTITIONS)
      const count = Math.max(0, end - i)
      const k = parameter(folded, i, end)
      let noughts = 0
      for (let j = i; j < end; j++) noughts += (folded[j] as number) >>> k
      total += 5 + noughts + count * (k + 1)
      // Known before it is written, so the words cannot overflow, nor a run of noughts be longer than the format allows.
      if (total > room) return -1

      let code = k
      let length = 5
      for (;;) {
        // `code` has `length` bits, at most 32; more are noughts in front of it.
        while (length > free) {
          const over = length - free
          if (over < 32) {
            waiting |= code >>> over
            code &= (1 << over) - 1
          }
          words[word++] = waiting
          waiting = 0
          length = over
          free = 32
        }
        free -= length
        waiting |= code << free
        if (free === 0) {
          words[word++] = waiting
          waiting = 0
          free = 32
        }
        if (i >= end) break
        const u = folded[i++] as number
        code = (1 << k) | (u & ((1 << k) - 1))
        length = (u >>> k) + 1 + k
      }
    }
    words[word] = waiting
    return total
  }
}

/** Unpacks frames, one after another, without allocating. */
export class Unpacker {
  readonly #words = new Uint32Array(MAX_SAMPLES / 2 + 4)

  /**
   * Unpacks all of `bytes` into all of `pcm`. False when they are not exactly so many samples in the form above: the frame
   * counts as lost, and `pcm` has nothing of use in it. Never throws; looks at each byte a few times at most.
   */
  unpack(bytes: Uint8Array, pcm: Int16Array): boolean {
    const n = pcm.length
    const order = bytes.length === 0 ? MAX_ORDER + 1 : (bytes[0] as number)
    const head = 1 + 2 * order
    if (n > MAX_SAMPLES || order > MAX_ORDER || order > n || bytes.length < head) return false
    // No bucket is larger than raw.
    if (bytes.length > 2 * MAX_SAMPLES) return false
    for (let i = 0; i < order; i++) {
      pcm[i] = (bytes[1 + 2 * i] as number) | ((bytes[2 + 2 * i] as number) << 8)
    }
    const bits = this.#load(bytes, head)
    const used = this.#read(n, order, bits, pcm)
    return used >= 0 && this.#restIsZero(used, bits)
  }

  /** The bytes from `head` on as words, and two words of noughts after them. Returns how many bits there are. */
  #load(bytes: Uint8Array, head: number): number {
    const words = this.#words
    const length = bytes.length
    let word = 0
    let at = head
    for (; at + 4 <= length; at += 4) {
      words[word++] =
        ((bytes[at] as number) << 24) |
        ((bytes[at + 1] as number) << 16) |
        ((bytes[at + 2] as number) << 8) |
        (bytes[at + 3] as number)
    }
    let tail = 0
    for (let shift = 24; at < length; at++, shift -= 8) tail |= (bytes[at] as number) << shift
    words[word] = tail
    words[word + 1] = 0
    words[word + 2] = 0
    return 8 * (length - head)
  }

  /** Returns the bits that were read, or -1. */
  #read(n: number, order: number, bits: number, pcm: Int16Array): number {
    const words = this.#words
    let at = 0
    let i = order
    // The samples before this one, the last first.
    let a = order > 0 ? (pcm[order - 1] as number) : 0
    let b = order > 1 ? (pcm[order - 2] as number) : 0
    let c = order > 2 ? (pcm[order - 3] as number) : 0
    let d = order > 3 ? (pcm[order - 4] as number) : 0
    // The polynomial through `order` samples, as weights of those before: 0 | a | 2a - b | 3a - 3b + c | ...
    const wa = order
    const wb = order === 2 ? -1 : order === 3 ? -3 : order === 4 ? -6 : 0
    const wc = order === 3 ? 1 : order === 4 ? 4 : 0
    const wd = order === 4 ? -1 : 0
    for (let p = 0; p < PARTITIONS; p++) {
      if (at + 5 > bits) return -1
      const k = window(words, at) >>> 27
      at += 5
      if (k > MAX_K) return -1
      const most = Math.min(MAX_NOUGHTS, MAX_FOLDED >>> k)
      const end = Math.floor(((p + 1) * n) / PARTITIONS)
      for (; i < end; i++) {
        let noughts = 0
        let seen = window(words, at)
        while (seen === 0) {
          noughts += 32
          at += 32
          if (at >= bits) return -1
          seen = window(words, at)
        }
        const run = Math.clz32(seen)
        noughts += run
        if (noughts > most) return -1
        at += run + 1
        let u = noughts << k
        if (k > 0) {
          u |= window(words, at) >>> (32 - k)
          at += k
        }
        if (at > bits) return -1
        const sample = (wa * a + wb * b + wc * c + wd * d + ((u >>> 1) ^ -(u & 1))) | 0
        if (sample !== (sample << 16) >> 16) return -1
        pcm[i] = sample
        d = c
        c = b
        b = a
        a = sample
      }
    }
    return at
  }

  #restIsZero(used: number, bits: number): boolean {
    const words = this.#words
    for (let at = used; at < bits; at += 32) if (window(words, at) !== 0) return false
    return true
  }
}

/** 32 bits from bit `at` on. Reads at most one word beyond the one `at` lies in. */
function window(words: Uint32Array, at: number): number {
  const word = at >>> 5
  const shift = at & 31
  const high = words[word] as number
  return shift === 0 ? high | 0 : (high << shift) | ((words[word + 1] as number) >>> (32 - shift))
}

/** What each sample from `order` on is off its prediction by, folded to a number that is not negative. */
function fold(pcm: Int16Array, order: number, folded: Int32Array): void {
  let a = order > 0 ? (pcm[order - 1] as number) : 0
  let b = order > 1 ? (pcm[order - 2] as number) : 0
  let c = order > 2 ? (pcm[order - 3] as number) : 0
  let d = order > 3 ? (pcm[order - 4] as number) : 0
  const wa = order
  const wb = order === 2 ? -1 : order === 3 ? -3 : order === 4 ? -6 : 0
  const wc = order === 3 ? 1 : order === 4 ? 4 : 0
  const wd = order === 4 ? -1 : 0
  for (let i = order; i < pcm.length; i++) {
    const sample = pcm[i] as number
    const e = sample - (wa * a + wb * b + wc * c + wd * d)
    folded[i] = (e << 1) ^ (e >> 31)
    d = c
    c = b
    b = a
    a = sample
  }
}

/** The `k` that takes the fewest bits for these: one of three around the logarithm of their mean. */
function parameter(folded: Int32Array, from: number, to: number): number {
  if (to <= from) return 0
  let sum = 0
  for (let i = from; i < to; i++) sum += folded[i] as number
  const count = to - from
  const middle = Math.min(MAX_K - 1, Math.max(1, 31 - Math.clz32(sum / count)))
  let [below, at, above] = [-count, 0, count]
  for (let i = from; i < to; i++) {
    const u = folded[i] as number
    below += u >>> (middle - 1)
    at += u >>> middle
    above += u >>> (middle + 1)
  }
  if (below <= at && below <= above) return middle - 1
  return at <= above ? middle : middle + 1
}

/** A frame that is not packed: int16 LE. */
export function writeRaw(pcm: Int16Array, out: Uint8Array): void {
  for (let i = 0; i < pcm.length; i++) {
    const sample = pcm[i] as number
    out[2 * i] = sample & 0xff
    out[2 * i + 1] = (sample >> 8) & 0xff
  }
}

/** False when `bytes` are not exactly the samples that `pcm` holds. */
export function readRaw(bytes: Uint8Array, pcm: Int16Array): boolean {
  if (bytes.length !== 2 * pcm.length) return false
  for (let i = 0; i < pcm.length; i++) {
    pcm[i] = (bytes[2 * i] as number) | ((bytes[2 * i + 1] as number) << 8)
  }
  return true
}
