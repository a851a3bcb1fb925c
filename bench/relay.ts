/**
 * What one relayed candidate costs the server, side by side: the bare relay, PeerJS server and two of Ringdown, one for
 * rides and one for direct calls, are started together, each holds the same number of live calls, and they take turns
 * under the same arrivals for several rounds.
 */
import { arrive, random } from './load/arrivals.ts'
import { candidateSize, openPairs, type Pairs, type Protocol } from './load/pairs.ts'
import { cpuMicros, median, otherLoad, othersNote, ownMicros, quantile, Samples } from './measure.ts'
import { type Result, table } from './report.ts'
import { bare, cores, installPeers, peerjs, ringdown, type Server, start } from './servers.ts'

const calls = Number(process.env.BENCH_CALLS ?? 200)
const perSecond = Number(process.env.BENCH_RATE ?? 15_000)
const seconds = Number(process.env.BENCH_SECONDS ?? 2)
const rounds = Number(process.env.BENCH_ROUNDS ?? 12)

/** No phone has so much to say: the limits of one connection are raised, not switched off. */
const busy = { SESSION_DURATION: '1h', MESSAGES_PER_SECOND: '100000', BYTES_PER_MINUTE: '1073741824' }

interface Turn {
  microsPerMessage: number
  serverBusy: number
  generatorBusy: number
  p50: number
  p99: number
  sent: number
  lost: number
  worstLagMs: number
}

interface Contender {
  name: string
  server: Server
  pairs: Pairs
  turns: Turn[]
}

async function turn({ server, pairs }: Contender, forSeconds: number, seed: number): Promise<Turn> {
  const { parties } = pairs
  // Frames of one direction arrive in the order they were sent, so a queue of instants for each party is enough to
  // time them. Index 2n and 2n+1 are the parties of one call, in either order.
  const due = parties.map(() => [] as number[])
  const late = new Samples()
  parties.forEach((party, index) => {
    const queue = due[index] as number[]
    let head = 0
    party.relayed = () => {
      late.add(performance.now() - (queue[head++] ?? Number.NaN))
      if (head > 512) {
        queue.splice(0, head)
        head = 0
      }
    }
  })
  const pick = random(seed + 1)
  const cpu = cpuMicros(server.pid)
  const own = ownMicros()
  const from = performance.now()
  const { count, worstLagMs } = await arrive(perSecond, forSeconds, seed, () => {
    const index = Math.floor(pick() * parties.length)
    due[index ^ 1]?.push(performance.now())
    const party = parties[index]
    party?.line.send(party.candidate)
  })
  const given = performance.now()
  while (late.count < count && performance.now() - given < 5000) await Bun.sleep(5)
  const spent = cpuMicros(server.pid) - cpu
  const wall = (performance.now() - from) * 1000
  const sorted = late.sorted()
  for (const party of parties) party.relayed = () => {}
  return {
    microsPerMessage: spent / count,
    serverBusy: spent / wall,
    generatorBusy: (ownMicros() - own) / wall,
    p50: quantile(sorted, 0.5),
    p99: quantile(sorted, 0.99),
    sent: count,
    lost: count - late.count,
    worstLagMs,
  }
}

const BARE = 'bare Bun relay'
const PEERJS = 'PeerJS server'
const RIDES = 'Ringdown, rides'
const DIRECT = 'Ringdown, direct'

async function contender(
  name: string,
  wish: Parameters<typeof start>[0],
  protocol: Protocol,
): Promise<Contender> {
  const server = await start(wish)
  return { name, server, pairs: await openPairs(server, protocol, calls), turns: [] }
}

export async function relay(): Promise<Result> {
  const withPeer = await installPeers()
  const contenders: Contender[] = []
  let load = 0
  try {
    contenders.push(await contender(BARE, bare(), 'bare'))
    if (withPeer) contenders.push(await contender(PEERJS, peerjs(), 'peerjs'))
    contenders.push(await contender(RIDES, ringdown(busy), 'ride'))
    contenders.push(await contender(DIRECT, ringdown(busy), 'direct'))
    for (const each of contenders) await turn(each, Math.max(5, seconds), 1)
    const others = otherLoad(() => [process.pid, ...contenders.map(({ server }) => server.pid)])
    for (let round = 0; round < rounds; round++) {
      // Another one begins in each round, so that none always runs in the warmth of the same neighbour.
      for (let i = 0; i < contenders.length; i++) {
        const each = contenders[(i + round) % contenders.length] as Contender
        each.turns.push(await turn(each, seconds, 100 + round))
      }
    }
    load = others()
  } finally {
    for (const { pairs, server } of contenders) {
      await pairs.close()
      await server.stop()
    }
  }
  return result(contenders, load)
}

function result(contenders: Contender[], load: number): Result {
  const of = ({ turns }: Contender, field: keyof Turn) => median(turns.map((turn) => turn[field]))
  const costs = ({ turns }: Contender) => turns.map((turn) => turn.microsPerMessage)
  /** The median of what one cost in a round, divided by what the other cost in the same. */
  const ratio = (from: string, to: string) => {
    const [ours, theirs] = [from, to].map((name) => contenders.find((each) => each.name === name))
    if (ours === undefined || theirs === undefined) return Number.NaN
    const divisors = costs(theirs)
    return median(costs(ours).map((cost, round) => cost / (divisors[round] ?? Number.NaN)))
  }
  const rows = contenders.map((each) => {
    return [
      each.name,
      of(each, 'microsPerMessage').toFixed(2),
      `${Math.min(...costs(each)).toFixed(2)} – ${Math.max(...costs(each)).toFixed(2)}`,
      ratio(RIDES, each.name).toFixed(2),
      ratio(DIRECT, each.name).toFixed(2),
      `${of(each, 'p50').toFixed(2)} / ${of(each, 'p99').toFixed(2)}`,
      `${Math.round(of(each, 'serverBusy') * 100)} %`,
      `${Math.round(of(each, 'generatorBusy') * 100)} %`,
      String(each.turns.reduce((sum, turn) => sum + turn.lost, 0)),
    ]
  })
  const warnings = contenders.flatMap(({ name, pairs, turns }) => [
    ...[...pairs.oddities].map(([what, times]) => `${name} said ${times} times: ${what}`),
    ...(turns.some((turn) => turn.generatorBusy > 0.9)
      ? [`The generator was busy for more than 90 % of a turn of ${name}: its latencies say little.`]
      : []),
  ])
  const target = (name: string, most: number | undefined, other: string) => ({
    what: most === undefined ? `${name} is, of ${other}` : `${name} at most ${most} × ${other}`,
    is: ratio(name, other),
    ...(most === undefined ? {} : { most }),
    unit: '×',
  })
  const targets = [
    target(RIDES, 1.25, BARE),
    target(RIDES, 0.5, PEERJS),
    target(DIRECT, 1.3, BARE),
    target(DIRECT, 0.5, PEERJS),
    target(BARE, undefined, PEERJS),
  ]
  return {
    name: 'relay',
    title: 'One relayed candidate',
    text:
      `${calls} live calls, one candidate of ${candidateSize} bytes of JSON from a random party at a time, ` +
      `${perSecond} a second at random instants (open loop), ${rounds} rounds of ${seconds} s for each server in turn, ` +
      'after one that is not counted. Medians are shown; a ratio is the median of the ratios within each round, so ' +
      'that a machine that changes its pace meanwhile does not tilt it. CPU is user and system time of all threads ' +
      'of the server process. The message has the same size for all, in and out: 258 bytes on the wire to the ' +
      `server (frame head, mask, ${candidateSize} bytes), 254 from it; the candidate within it is shorter where the ` +
      "envelope is longer (a direct call's `callId`, the `src` of PeerJS, which its server would otherwise add). Latency " +
      'is from the write of the generator to its read. Ringdown runs with its limits on one connection raised, as no ' +
      'phone sends so much. ' +
      (cores.server === undefined
        ? 'Nothing was pinned.'
        : `Servers are pinned to core ${cores.server}, the generator to core ${cores.generator}.`),
    table: table(
      [
        'server',
        'µs CPU per message',
        'of all rounds',
        'rides ÷ it',
        'direct ÷ it',
        'p50 / p99 ms',
        'server busy',
        'generator busy',
        'lost',
      ],
      rows,
    ),
    targets: targets.filter(({ is }) => !Number.isNaN(is)),
    warnings: [...warnings, ...othersNote(load)],
    raw: {
      servers: contenders.map(({ name, turns }) => ({ server: name, turns })),
      otherCores: load,
    },
  }
}
