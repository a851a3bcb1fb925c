/** Whole calls in turns: what a stretch of load cost the server, for rides and direct calls alike. */
import { Database } from 'bun:sqlite'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { arrive } from './load/arrivals.ts'
import type { Caller } from './load/caller.ts'
import { cpuMicros, othersNote, ownMicros, quantile } from './measure.ts'
import { table } from './report.ts'
import type { Server } from './servers.ts'

/** Late rows: what is written behind belongs to the calls, so a turn ends this long after its last call. */
const afterglowMs = 1000

export interface Turn {
  offered: string
  begun: number
  done: number
  failed: number
  donePerSecond: number
  microsPerCall: number
  serverBusy: number
  generatorBusy: number
  answered: [p50: number, p99: number]
  relayed: [p50: number, p99: number]
}

/** Runs `load` and says what it cost. Rates are those of the time in which calls were begun, costs of all of it. */
export async function turn(
  server: Server,
  by: Caller,
  offered: string,
  load: () => Promise<unknown>,
): Promise<Turn> {
  const { tally } = by
  tally.begun = tally.done = tally.failed = 0
  tally.answered.clear()
  tally.relayed.clear()
  const cpu = cpuMicros(server.pid)
  const own = ownMicros()
  const from = performance.now()
  await load()
  const wall = (performance.now() - from) * 1000
  const serverBusy = (cpuMicros(server.pid) - cpu) / wall
  const generatorBusy = (ownMicros() - own) / wall
  const donePerSecond = (tally.done * 1e6) / wall
  await by.settle(10_000)
  await Bun.sleep(afterglowMs)
  const answered = tally.answered.sorted()
  const relayed = tally.relayed.sorted()
  return {
    offered,
    begun: tally.begun,
    done: tally.done,
    failed: tally.failed,
    donePerSecond,
    microsPerCall: (cpuMicros(server.pid) - cpu) / tally.done,
    serverBusy,
    generatorBusy,
    answered: [quantile(answered, 0.5), quantile(answered, 0.99)],
    relayed: [quantile(relayed, 0.5), quantile(relayed, 0.99)],
  }
}

export const open = (by: Caller, rate: number, forSeconds: number, seed: number) => () =>
  arrive(rate, forSeconds, seed, () => by.call())

/** Keeps `atATime` calls going: one that is over makes room for the next. */
export const closed = (by: Caller, atATime: number, forSeconds: number) => async () => {
  const until = performance.now() + forSeconds * 1000
  const next = () => {
    if (performance.now() < until) by.call(next)
  }
  for (let i = 0; i < atATime; i++) next()
  await Bun.sleep(forSeconds * 1000)
}

/** Ended calls in the server's own SQLite file, once their number stands still. */
export async function logged(server: Server): Promise<number> {
  const folder = join(server.folder, 'data')
  let last = -1
  for (;;) {
    let count = 0
    for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      if (!/\.(sqlite3?|db)$/.test(file)) continue
      const db = new Database(join(folder, file), { readonly: true })
      const has = db.query("select 1 from sqlite_master where name = 'call_logs'").get()
      if (has !== null) {
        const row = db
          .query<{ n: number }, []>("select count(*) as n from call_logs where status = 'ended'")
          .get()
        count += row?.n ?? 0
      }
      db.close()
    }
    if (count === last) return count
    last = count
    await Bun.sleep(1500)
  }
}

/** Enough calls for the runtime to have compiled what it will compile, which takes it ten thousand or so. */
export const warmUp = (server: Server, by: Caller): Promise<Turn> =>
  turn(server, by, 'warm-up', closed(by, 32, 12))

/**
 * A load that is raised until the server does not keep up, then a fixed number of calls at a time, which fills the
 * core but does not drown it.
 */
export async function saturate(server: Server, by: Caller, fromRate: number): Promise<Turn[]> {
  const turns: Turn[] = []
  for (let rate = fromRate; ; rate *= 1.5) {
    const step = await turn(server, by, `${Math.round(rate)}/s`, open(by, rate, 5, 200))
    turns.push(step)
    if (step.failed > 0 || step.donePerSecond < 0.95 * rate || step.answered[1] > 1000) break
  }
  for (const atATime of [16, 64, 256]) {
    turns.push(await turn(server, by, `${atATime} at a time`, closed(by, atATime, 6)))
  }
  return turns
}

export const mostOf = (turns: Turn[]): Turn =>
  turns.reduce((best, turn) => (turn.donePerSecond > best.donePerSecond ? turn : best))

export function turnTable(turns: Turn[]): string {
  return table(
    [
      'offered',
      'calls/s done',
      'µs CPU per call',
      'answered, ms',
      'relayed, ms',
      'server busy',
      'generator busy',
      'failed',
    ],
    turns.map((turn) => [
      turn.offered,
      String(Math.round(turn.donePerSecond)),
      String(Math.round(turn.microsPerCall)),
      turn.answered.map((ms) => ms.toFixed(1)).join(' / '),
      turn.relayed.map((ms) => ms.toFixed(2)).join(' / '),
      `${Math.round(turn.serverBusy * 100)} %`,
      `${Math.round(turn.generatorBusy * 100)} %`,
      String(turn.failed),
    ]),
  )
}

/** What makes the figures less than they seem. `rows`: calls that are logged as ended. */
export function turnWarnings(most: Turn, by: Caller, rows: number, done: number, load: number): string[] {
  return [
    ...(rows === done ? [] : [`${done} calls were done, but ${rows} are logged as ended.`]),
    ...(most.generatorBusy > 0.9 && most.serverBusy < 0.95
      ? [
          `the generator was ${Math.round(most.generatorBusy * 100)} % busy and the server ` +
            `${Math.round(most.serverBusy * 100)} %: the server could do more calls a second than shown.`,
        ]
      : []),
    ...othersNote(load),
    ...[...by.tally.faults].map(([why, times]) => `${times} calls failed: ${why}`),
  ]
}
