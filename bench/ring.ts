/**
 * How long a direct call takes to ring: from the write of CALL_INITIATE at the caller's to the read of INCOMING_CALL at
 * the callee's, while so many calls a second begin, are accepted, and end. The clients are registered beforehand and
 * stay, and there are many of them: one client may begin six calls at once and six a minute.
 */
import { arrive } from './load/arrivals.ts'
import { callAccept, callEnd, callIdOf, callInitiate, register, typeOf } from './load/messages.ts'
import { dial, type Line, textFrame } from './load/socket.ts'
import { cpuMicros, median, otherLoad, othersNote, ownMicros, quantile, Samples } from './measure.ts'
import { type Result, table } from './report.ts'
import { cores, ringdown, type Server, start } from './servers.ts'

const perSecond = Number(process.env.BENCH_RATE ?? 1000)
const seconds = Number(process.env.BENCH_SECONDS ?? 5)
const rounds = Number(process.env.BENCH_ROUNDS ?? 7)
const warmUpSeconds = 8
/** Each client begins a call every so many calls; with its six at once that is enough for all rounds. */
const clients = Number(process.env.BENCH_CLIENTS ?? 6 * perSecond)

interface Turn {
  p50: number
  p99: number
  p999: number
  worst: number
  calls: number
  lost: number
  serverBusy: number
  generatorBusy: number
  worstLagMs: number
}

/** Two clients that call each other in turns. */
class Pair {
  readonly ids: readonly [string, string]
  private readonly lines: [Line | undefined, Line | undefined] = [undefined, undefined]
  private readonly calls: readonly [Buffer, Buffer]
  private readonly tally: { readonly rang: Samples; done: number; readonly faults: Map<string, number> }
  private ringAt = 0

  constructor(number: number, tally: Pair['tally']) {
    this.ids = [`a_${number}`, `b_${number}`]
    this.calls = [textFrame(callInitiate(this.ids[1])), textFrame(callInitiate(this.ids[0]))]
    this.tally = tally
  }

  /** Both are registered. */
  open(server: Server): Promise<unknown> {
    return Promise.all([this.connect(server, 0), this.connect(server, 1)])
  }

  call(from: 0 | 1): void {
    this.ringAt = performance.now()
    this.lines[from]?.send(this.calls[from])
  }

  cut(): void {
    for (const line of this.lines) line?.cut()
  }

  private connect(server: Server, side: 0 | 1): Promise<void> {
    const hello = textFrame(register(this.ids[side]))
    return new Promise((resolve, reject) => {
      const listener = {
        open: (line: Line) => line.send(hello),
        text: (line: Line, bytes: Buffer, from: number, length: number) => {
          const type = typeOf(bytes, from, length)
          if (type === 'REGISTERED') resolve()
          else this.heard(line, type, bytes, from, length)
        },
        close: (_line: Line, code: number) => reject(new Error(`closed with ${code}`)),
      }
      dial(server.port, '/signal', listener, (line) => {
        this.lines[side] = line
      }).catch(reject)
    })
  }

  private heard(line: Line, type: string, bytes: Buffer, from: number, length: number): void {
    switch (type) {
      case 'INCOMING_CALL':
        this.tally.rang.add(performance.now() - this.ringAt)
        line.send(textFrame(callAccept(callIdOf(bytes, from, length))))
        return
      case 'CALL_ACCEPTED':
        line.send(textFrame(callEnd(callIdOf(bytes, from, length))))
        return
      case 'CALL_ENDED':
        // Both are told.
        this.tally.done += 1 / 2
        return
      case 'CALL_RINGING':
        return
      default: {
        const what = bytes.toString('utf8', from, from + length).replace(/"callId":"[^"]*"/, '')
        this.tally.faults.set(what, (this.tally.faults.get(what) ?? 0) + 1)
      }
    }
  }
}

export async function ring(): Promise<Result> {
  const server = await start(ringdown())
  const tally = { rang: new Samples(), done: 0, faults: new Map<string, number>() }
  const pairs = Array.from({ length: clients / 2 }, (_, number) => new Pair(number, tally))
  let next = 0

  async function turn(forSeconds: number, seed: number): Promise<Turn> {
    tally.rang.clear()
    tally.done = 0
    const cpu = cpuMicros(server.pid)
    const own = ownMicros()
    const from = performance.now()
    const { count, worstLagMs } = await arrive(perSecond, forSeconds, seed, () => {
      const side = Math.floor(next / pairs.length) % 2 === 0 ? 0 : 1
      pairs[next++ % pairs.length]?.call(side)
    })
    const wall = (performance.now() - from) * 1000
    const serverBusy = (cpuMicros(server.pid) - cpu) / wall
    const generatorBusy = (ownMicros() - own) / wall
    const given = performance.now()
    while (tally.done < count && performance.now() - given < 5000) await Bun.sleep(5)
    const sorted = tally.rang.sorted()
    return {
      p50: quantile(sorted, 0.5),
      p99: quantile(sorted, 0.99),
      p999: quantile(sorted, 0.999),
      worst: sorted.at(-1) ?? Number.NaN,
      calls: count,
      lost: count - tally.done,
      serverBusy,
      generatorBusy,
      worstLagMs,
    }
  }

  try {
    let opened = 0
    const opener = async () => {
      for (let pair = pairs[opened++]; pair !== undefined; pair = pairs[opened++]) await pair.open(server)
    }
    await Promise.all(Array.from({ length: 32 }, opener))
    await turn(warmUpSeconds, 1)
    const others = otherLoad(() => [process.pid, server.pid])
    const turns: Turn[] = []
    for (let round = 0; round < rounds; round++) turns.push(await turn(seconds, 100 + round))
    const load = others()
    return result(turns, tally.faults, load)
  } finally {
    for (const pair of pairs) pair.cut()
    await server.stop()
  }
}

function result(turns: Turn[], faults: Map<string, number>, load: number): Result {
  return {
    name: 'ring',
    title: 'Ringing',
    text:
      `From the write of \`CALL_INITIATE\` at the caller's to the read of \`INCOMING_CALL\` at the callee's, in ms, at ` +
      `${perSecond} direct calls a second at random instants (open loop) between ${clients} clients that are registered ` +
      'all the while. Each call is accepted at once and then ended by its caller, with its row in SQLite and its log ' +
      `lines. ${rounds} rounds of ${seconds} s, after ${warmUpSeconds} s that are not counted. What the generator and ` +
      'both sockets take is in it. ' +
      (cores.server === undefined
        ? 'Nothing was pinned.'
        : `The server is pinned to core ${cores.server} with all its threads, the generator to core ${cores.generator}.`),
    table: table(
      ['round', 'p50', 'p99', 'p99.9', 'worst', 'calls', 'lost', 'server busy', 'generator busy'],
      turns.map((turn, i) => [
        String(i + 1),
        turn.p50.toFixed(2),
        turn.p99.toFixed(2),
        turn.p999.toFixed(2),
        turn.worst.toFixed(1),
        String(turn.calls),
        String(turn.lost),
        `${Math.round(turn.serverBusy * 100)} %`,
        `${Math.round(turn.generatorBusy * 100)} %`,
      ]),
    ),
    targets: [
      {
        what: `p99 at ${perSecond} calls a second, median of the rounds, below 2 ms`,
        is: median(turns.map(({ p99 }) => p99)),
        most: 2,
        unit: 'ms',
      },
    ],
    warnings: [
      ...othersNote(load),
      ...[...faults].slice(0, 3).map(([what, times]) => `the server said ${times} times: ${what}`),
    ],
    raw: { turns, otherCores: load },
  }
}
