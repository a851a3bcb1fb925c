/**
 * What a whole ride call costs the server, and how many a second one core can do: first rounds at a load that leaves
 * room, then a load that is raised until the server no longer keeps up, then as many calls at a time as fill the core.
 */
import { Database } from 'bun:sqlite'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { arrive } from './load/arrivals.ts'
import { type Caller, caller, candidatesEachWay, type Tally } from './load/calls.ts'
import { answer, offer } from './load/messages.ts'
import { cpuMicros, median, otherLoad, othersNote, ownMicros, quantile, Samples } from './measure.ts'
import { type Result, table } from './report.ts'
import { cores, ringdown, type Server, start } from './servers.ts'

const perSecond = Number(process.env.BENCH_RATE ?? 200)
const seconds = Number(process.env.BENCH_SECONDS ?? 8)
const rounds = Number(process.env.BENCH_ROUNDS ?? 5)
/** Late rows: what is written behind belongs to the calls, so a turn ends this long after its last call. */
const afterglowMs = 1000

interface Turn {
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

const newTally = (): Tally => ({
  begun: 0,
  done: 0,
  failed: 0,
  faults: new Map(),
  answered: new Samples(),
  relayed: new Samples(),
})

/** Runs `load` and says what it cost. Rates are those of the time in which calls were begun, costs of all of it. */
async function turn(
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

const open = (by: Caller, rate: number, forSeconds: number, seed: number) => () =>
  arrive(rate, forSeconds, seed, () => by.call())

/** Keeps `atATime` calls going: one that is over makes room for the next. */
const closed = (by: Caller, atATime: number, forSeconds: number) => async () => {
  const until = performance.now() + forSeconds * 1000
  const next = () => {
    if (performance.now() < until) by.call(next)
  }
  for (let i = 0; i < atATime; i++) next()
  await Bun.sleep(forSeconds * 1000)
}

/** Ended calls in the server's own SQLite file, once their number stands still. */
async function logged(server: Server): Promise<number> {
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

export async function calls(): Promise<Result> {
  const server = await start(ringdown())
  const by = caller(server, newTally())
  const steady: Turn[] = []
  const ramp: Turn[] = []
  let all = 0
  let rows = 0
  const others = otherLoad(() => [process.pid, server.pid])
  let load = 0
  try {
    const count = async (promise: Promise<Turn>) => {
      const result = await promise
      all += result.done
      return result
    }
    await count(turn(server, by, 'warm-up', open(by, perSecond * 2, 10, 1)))
    for (let round = 0; round < rounds; round++) {
      steady.push(await count(turn(server, by, `${perSecond}/s`, open(by, perSecond, seconds, 100 + round))))
    }
    for (let rate = perSecond * 2; ; rate *= 1.25) {
      const step = await count(turn(server, by, `${Math.round(rate)}/s`, open(by, rate, 5, 200)))
      ramp.push(step)
      if (step.failed > 0 || step.donePerSecond < 0.95 * rate || step.answered[1] > 1000) break
    }
    for (const atATime of [16, 64, 256]) {
      ramp.push(await count(turn(server, by, `${atATime} at a time`, closed(by, atATime, 8))))
    }
    load = others()
    rows = await logged(server)
  } finally {
    by.close()
    await server.stop()
  }
  return result(steady, ramp, { all, rows, load, faults: by.tally.faults })
}

function result(
  steady: Turn[],
  ramp: Turn[],
  { all, rows, load, faults }: { all: number; rows: number; load: number; faults: Map<string, number> },
): Result {
  const cost = median(steady.map((turn) => turn.microsPerCall))
  const most = ramp.reduce((best, turn) => (turn.donePerSecond > best.donePerSecond ? turn : best))
  const row = (turn: Turn, name: string) => [
    name,
    String(Math.round(turn.donePerSecond)),
    String(Math.round(turn.microsPerCall)),
    turn.answered.map((ms) => ms.toFixed(1)).join(' / '),
    turn.relayed.map((ms) => ms.toFixed(2)).join(' / '),
    `${Math.round(turn.serverBusy * 100)} %`,
    `${Math.round(turn.generatorBusy * 100)} %`,
    String(turn.failed),
  ]
  return {
    name: 'calls',
    title: 'Whole ride calls',
    text:
      `A call is POST /sessions, two WebSocket connections, two \`authenticate\`, an offer of ${offer.length} and an ` +
      `answer of ${answer.length} bytes, ${candidatesEachWay} candidates of 250 bytes each way, each in a packet of its ` +
      'own, `end_call`, and both connections closed, with its row in SQLite and the log at its default level written ' +
      'to a file. The CPU is that of the whole server process up to one second after the last call, so that what is ' +
      `written behind is counted. ${steady.length} rounds of ${seconds} s at ${perSecond} calls a second (open loop), then a load ` +
      'raised until the server does not keep up, then a fixed number of calls at a time. "Answered" is from the POST ' +
      "to the answer at the driver's, p50 / p99. " +
      (cores.server === undefined
        ? 'Nothing was pinned.'
        : `The server is pinned to core ${cores.server} with all its threads, the generator to core ${cores.generator}.`),
    table: table(
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
      [...steady, ...ramp].map((turn) => row(turn, turn.offered)),
    ),
    targets: [
      {
        what: `server CPU per call at ${perSecond}/s, median, at most 600 µs`,
        is: cost,
        most: 600,
        unit: 'µs',
      },
      { what: `most calls a second on one core (${most.offered})`, is: most.donePerSecond, unit: 'calls/s' },
    ],
    warnings: [
      ...(rows === all ? [] : [`${all} calls were done, but ${rows} are logged as ended.`]),
      ...(most.generatorBusy > 0.9 && most.serverBusy < 0.95
        ? [
            `the generator was ${Math.round(most.generatorBusy * 100)} % busy and the server ${Math.round(most.serverBusy * 100)} %: ` +
              'the server could do more calls a second than shown.',
          ]
        : []),
      ...othersNote(load),
      ...[...faults].map(([why, times]) => `${times} calls failed: ${why}`),
    ],
    raw: { steady, ramp, done: all, logged: rows, otherCores: load },
  }
}
