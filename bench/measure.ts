/** What one process cost, read from outside it, and the few statistics that the tables need. */

import { dlopen, FFIType } from 'bun:ffi'
import { readFileSync } from 'node:fs'

/**
 * CPU time of a whole process in µs: user and system, all threads, those that have ended too. It is the sum that
 * /proc/<pid>/stat shows in steps of 10 ms, read to the nanosecond through the process's CPU clock: short segments
 * would drown in the rounding. Falls back to /proc where there is no such clock.
 */
export function cpuMicros(pid: number): number {
  // The clock's number, as clock_getcpuclockid(3) makes it.
  if (clock !== undefined && clock.symbols.clock_gettime((~pid << 3) | 2, time) === 0) {
    return Number(time[0]) * 1e6 + Number(time[1]) / 1e3
  }
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10_000
}

const time = new BigInt64Array(2)
const clock = (() => {
  try {
    return dlopen('libc.so.6', { clock_gettime: { args: [FFIType.i32, FFIType.ptr], returns: FFIType.i32 } })
  } catch {
    return undefined
  }
})()

/** The generator's own CPU time in µs. */
export const ownMicros = (): number => cpuMicros(process.pid)

/**
 * How busy the machine is with anything but the measured server and its generator, as cores: 0.3 is a third of one
 * core. Call it at the start; the function it gives tells the mean since then.
 */
export function otherLoad(pids: () => number[]): () => number {
  const all = () => {
    const fields =
      readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]?.split(/\s+/).slice(1).map(Number) ?? []
    // user, nice, system, irq, softirq; idle, iowait and stolen time are left out.
    return [0, 1, 2, 5, 6].reduce((sum, i) => sum + (fields[i] ?? 0), 0) * 10_000
  }
  const measured = () => pids().reduce((sum, pid) => sum + cpuMicros(pid), 0)
  const from = performance.now()
  const before = all() - measured()
  return () => Math.max(0, all() - measured() - before) / ((performance.now() - from) * 1000)
}

/** A line for the report when others took enough to blur the figures. */
export const othersNote = (load: number): string[] =>
  load < 0.05 ? [] : [`other processes kept ${load.toFixed(2)} of the machine's cores busy meanwhile.`]

export interface Memory {
  /** Resident, the number most tools show. */
  rss: number
  /** Resident, with pages shared with other processes counted in part. */
  pss: number
  /** Of it, pages that belong to no file: heap, stacks, JIT code. */
  anonymous: number
  /** The most that was ever resident. */
  peak: number
}

/** Memory of a process, in MB of 2^20 bytes. */
export function memory(pid: number): Memory {
  const read = (file: string, name: string): number => {
    const kb = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(
      readFileSync(`/proc/${pid}/${file}`, 'latin1'),
    )?.[1]
    return Number(kb ?? Number.NaN) / 1024
  }
  return {
    rss: read('status', 'VmRSS'),
    pss: read('smaps_rollup', 'Pss'),
    anonymous: read('smaps_rollup', 'Anonymous'),
    peak: read('status', 'VmHWM'),
  }
}

/** The value below which `share` (0 to 1) of the sorted values lie. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export const median = (values: number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1 ? quantile(sorted, 0.5) : ((sorted[half - 1] ?? 0) + (sorted[half] ?? 0)) / 2
}

/** A growing list of numbers without boxing, for latencies. */
export class Samples {
  private values = new Float64Array(1 << 16)
  private length = 0

  get count(): number {
    return this.length
  }

  add(value: number): void {
    if (this.length === this.values.length) {
      const larger = new Float64Array(this.length * 2)
      larger.set(this.values)
      this.values = larger
    }
    this.values[this.length++] = value
  }

  sorted(): Float64Array {
    return this.values.slice(0, this.length).sort()
  }

  clear(): void {
    this.length = 0
  }
}
