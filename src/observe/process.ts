/** The numbers of the process, under the names that Prometheus's own clients give them, and how late its loop runs. */
import { readFileSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import Counter from 'prom-client/lib/counter.js'
import Gauge from 'prom-client/lib/gauge.js'
import Histogram from 'prom-client/lib/histogram.js'
import type Registry from 'prom-client/lib/registry.js'

/** Adds the numbers of the process. What a machine without /proc cannot tell is left out. */
export function watchProcess(registry: Registry): void {
  const registers = [registry]
  const startedAt = Date.now() / 1000 - process.uptime()
  new Gauge({
    name: 'process_start_time_seconds',
    help: 'Start of the process, seconds since 1970.',
    registers,
  }).set(startedAt)
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'Processor time that was used, in seconds.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage()
      this.reset()
      this.inc((user + system) / 1e6)
    },
  })
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Memory in use, in bytes.',
    registers,
    collect() {
      this.set(process.memoryUsage.rss())
    },
  })
  const limit = fileLimit()
  if (limit === null) return
  new Gauge({ name: 'process_max_fds', help: 'Files and sockets that may be open.', registers }).set(limit)
  new Gauge({
    name: 'process_open_fds',
    help: 'Files and sockets that are open.',
    registers,
    async collect() {
      this.set(await openFiles())
    },
  })
}

const FD_FOLDER = '/proc/self/fd'

/** Linux 6.2 and later tell the count as the folder's size; before, the entries have to be listed. */
async function openFiles(): Promise<number> {
  const { size } = await stat(FD_FOLDER)
  return size > 0 ? size : (await readdir(FD_FOLDER)).length
}

/** How many files and sockets this process may have open, or null where there is no telling. */
export function fileLimit(): number | null {
  try {
    const found = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    if (found === undefined) return null
    return found === 'unlimited' ? Number.POSITIVE_INFINITY : Number(found)
  } catch {
    return null
  }
}

const LOOP_TICK = 100

/** Measures how late a timer fires, which is how long everything else has to wait. Returns what stops it. */
export function watchLoop(registry: Registry): () => void {
  const lag = new Histogram({
    name: 'ringdown_event_loop_lag_seconds',
    help: 'How late a timer fired, sampled ten times a second.',
    buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
    registers: [registry],
  })
  let due = performance.now() + LOOP_TICK
  const timer = setInterval(() => {
    const now = performance.now()
    lag.observe(Math.max(0, now - due) / 1000)
    due = now + LOOP_TICK
  }, LOOP_TICK).unref()
  return () => clearInterval(timer)
}
