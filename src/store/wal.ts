/**
 * Looks through a write-ahead log before SQLite does. SQLite takes it up to the first page that is not whole, which is
 * right for a tail that a crash tore off, but would pass in silence over everything after a page that was damaged
 * later. File format: https://www.sqlite.org/fileformat2.html#walformat
 */
import { readFileSync } from 'node:fs'

const HEADER = 32
const FRAME_HEADER = 24
/** Magic number of a log whose checksums are made from little-endian words, as on every machine that we run on. */
const MAGIC = 0x377f0682
/** Size of a page, where the header cannot tell it. */
const PAGE = 4096

export interface Damage {
  /** Where the first page, or the header, begins that is not whole. */
  readonly offset: number
  /** Pages after it which SQLite will not take. */
  readonly lost: number
}

/** Null when the log is whole up to where it was written to, or is not one that this reader knows. */
export function findDamage(path: string): Damage | null {
  const bytes = readFileSync(path)
  if (bytes.length < HEADER) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const pageSize = view.getUint32(8)
  const sum = checksum(view, 0, HEADER - 8, [0, 0])
  if (view.getUint32(0) !== MAGIC || !sameSum(view, HEADER - 8, sum)) return damagedHeader(view)
  const size = FRAME_HEADER + pageSize
  const starts = range(HEADER, bytes.length - size, size)
  const isOfThisLog = (at: number) => {
    return view.getUint32(at + 8) === view.getUint32(16) && view.getUint32(at + 12) === view.getUint32(20)
  }
  let before = sum
  for (const [frame, at] of starts.entries()) {
    const after = checksum(view, at + FRAME_HEADER, pageSize, checksum(view, at, 8, before))
    if (!isOfThisLog(at) || !sameSum(view, at + 16, after)) {
      const lost = starts.slice(frame + 1).filter(isOfThisLog).length
      return lost > 0 ? { offset: at, lost } : null
    }
    before = after
  }
  return null
}

/** Without its header nothing of a log is taken. One that was made but not filled yet has pages without a number. */
function damagedHeader(view: DataView): Damage | null {
  const starts = range(HEADER, view.byteLength - FRAME_HEADER, FRAME_HEADER + PAGE)
  const lost = starts.filter((at) => view.getUint32(at) !== 0).length
  return lost > 0 ? { offset: 0, lost } : null
}

/** Numbers from `first` up to `last`. */
function range(first: number, last: number, step: number): number[] {
  return Array.from(
    { length: Math.max(0, Math.floor((last - first) / step) + 1) },
    (_, i) => first + i * step,
  )
}

type Sum = readonly [number, number]

function checksum(view: DataView, from: number, length: number, [first, second]: Sum): Sum {
  let a = first
  let b = second
  for (let at = from; at < from + length; at += 8) {
    a = (a + view.getUint32(at, true) + b) >>> 0
    b = (b + view.getUint32(at + 4, true) + a) >>> 0
  }
  return [a, b]
}

/** The sum as it is stored, big-endian. */
function sameSum(view: DataView, at: number, [a, b]: Sum): boolean {
  return view.getUint32(at) === a && view.getUint32(at + 4) === b
}
