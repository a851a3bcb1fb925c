/** Processor time of the processes of a browser (proc_pid_stat(5)). */
import { readFileSync } from 'node:fs'
import type { Browser } from 'playwright-core'

/** Ticks of the kernel's clock, as `getconf CLK_TCK` says on every Linux there is. */
const TICK_MS = 10

/** Percent of one core over so many ms, by kind of process: `renderer`, `audio.mojom.AudioService`, `browser`, `GPU` … */
export async function processorShare(browser: Browser, ms: number): Promise<Map<string, number>> {
  const devtools = await browser.newBrowserCDPSession()
  const { processInfo } = await devtools.send('SystemInfo.getProcessInfo')
  await devtools.detach()
  const used = () => processInfo.map(({ id }) => timeOf(id))
  const start = performance.now()
  const before = used()
  await Bun.sleep(ms)
  const after = used()
  const elapsed = performance.now() - start
  const shares = new Map<string, number>()
  for (const [i, { type }] of processInfo.entries()) {
    // One that has ended meanwhile has nothing to tell.
    const share = (100 * Math.max(0, (after[i] ?? 0) - (before[i] ?? 0))) / elapsed
    shares.set(type, (shares.get(type) ?? 0) + share)
  }
  return shares
}

/** In ms; of a process that has ended 0. */
function timeOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS
  } catch {
    return 0
  }
}
