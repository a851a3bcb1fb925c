/** From the spawn to the first answered GET /health: of the server process, and of `npm start` around it. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { median, otherLoad, othersNote } from './measure.ts'
import { type Result, table } from './report.ts'
import { newFolder, ringdown, root, start as spawn, type Wish } from './servers.ts'

const times = Number(process.env.BENCH_ROUNDS ?? 10)

const whole = (): Wish => ({
  ...ringdown(),
  name: 'npm start',
  command: ['npm', 'start', '--silent'],
  cwd: root,
})

async function measure(wish: Wish, keepsData: boolean): Promise<number[]> {
  const folder = newFolder()
  const all: number[] = []
  // The first start of all fills the data folder and the machine's page cache, and is not counted.
  for (let i = 0; i <= times; i++) {
    if (!keepsData) rmSync(join(folder, 'data'), { recursive: true, force: true })
    const server = await spawn({ ...wish, cores: undefined, folder })
    if (i > 0) all.push(server.readyMs)
    await server.stop()
  }
  rmSync(folder, { recursive: true, force: true })
  return all
}

export async function start(): Promise<Result> {
  const others = otherLoad(() => [process.pid])
  await Bun.sleep(2000)
  const load = others()
  const rows: [string, number[]][] = [
    ['server process, new data folder', await measure(ringdown(), false)],
    ['server process, existing folder', await measure(ringdown(), true)],
  ]
  // Another build is not what `npm start` starts.
  if (process.env.BENCH_SERVER === undefined) {
    rows.push(['npm start, new data folder', await measure(whole(), false)])
    rows.push(['npm start, existing folder', await measure(whole(), true)])
  }
  return {
    name: 'start',
    title: 'Start',
    text:
      `Milliseconds from just before the spawn to the first GET /health answered with 200, asked each millisecond; ${times} ` +
      'starts each, after one that is not counted. The install and the files are there and in the page cache. ' +
      'Nothing is pinned.',
    table: table(
      ['what', 'median', 'least', 'most'],
      rows.map(([what, all]) => [
        what,
        median(all).toFixed(0),
        Math.min(...all).toFixed(0),
        Math.max(...all).toFixed(0),
      ]),
    ),
    targets: rows.map(([what, all]) => ({
      what: `${what}, at most 300 ms`,
      is: median(all),
      most: 300,
      unit: 'ms',
    })),
    warnings: othersNote(load),
    raw: rows,
  }
}
