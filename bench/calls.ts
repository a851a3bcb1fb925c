/**
 * What a whole ride call costs the server, and how many a second one core can do: first rounds at a load that leaves
 * room, then a load that is raised until the server no longer keeps up, then as many calls at a time as fill the core.
 */
import { candidatesEachWay, rideCaller } from './load/calls.ts'
import { answer, offer } from './load/messages.ts'
import { median, otherLoad } from './measure.ts'
import type { Result } from './report.ts'
import { cores, ringdown, start } from './servers.ts'
import { logged, mostOf, open, saturate, type Turn, turn, turnTable, turnWarnings, warmUp } from './turns.ts'

const perSecond = Number(process.env.BENCH_RATE ?? 200)
const seconds = Number(process.env.BENCH_SECONDS ?? 8)
const rounds = Number(process.env.BENCH_ROUNDS ?? 5)

export async function calls(): Promise<Result> {
  const server = await start(ringdown())
  const by = rideCaller(server)
  const steady: Turn[] = []
  const others = otherLoad(() => [process.pid, server.pid])
  try {
    const warm = await warmUp(server, by)
    for (let round = 0; round < rounds; round++) {
      steady.push(await turn(server, by, `${perSecond}/s`, open(by, perSecond, seconds, 100 + round)))
    }
    const ramp = await saturate(server, by, perSecond * 2)
    const load = others()
    const rows = await logged(server)
    const done = [warm, ...steady, ...ramp].reduce((sum, turn) => sum + turn.done, 0)
    const most = mostOf(ramp)
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
      table: turnTable([...steady, ...ramp]),
      targets: [
        {
          what: `server CPU per call at ${perSecond}/s, median, at most 600 µs`,
          is: median(steady.map((turn) => turn.microsPerCall)),
          most: 600,
          unit: 'µs',
        },
        {
          what: `and when the core is full (${most.offered})`,
          is: most.microsPerCall,
          most: 600,
          unit: 'µs',
        },
        {
          what: `most calls a second on one core (${most.offered})`,
          is: most.donePerSecond,
          unit: 'calls/s',
        },
      ],
      warnings: turnWarnings(most, by, rows, done, load),
      raw: { steady, ramp, done, logged: rows, otherCores: load },
    }
  } finally {
    by.close()
    await server.stop()
  }
}
