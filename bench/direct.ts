/**
 * What a whole direct call costs the server, and how many a second one core can do, as `calls.ts` has it for rides; and
 * what minting TURN credentials adds: a second server that does so takes turns with the first, and a third is profiled.
 */
import { directCaller } from './load/direct-calls.ts'
import { callAccept, callInitiate } from './load/messages.ts'
import { median, otherLoad } from './measure.ts'
import { newProfile, shareOf } from './profile.ts'
import type { Result } from './report.ts'
import { cores, ringdown, type Server, start } from './servers.ts'
import {
  closed,
  logged,
  mostOf,
  open,
  saturate,
  type Turn,
  turn,
  turnTable,
  turnWarnings,
  warmUp,
} from './turns.ts'

const perSecond = Number(process.env.BENCH_RATE ?? 200)
const seconds = Number(process.env.BENCH_SECONDS ?? 5)
const rounds = Number(process.env.BENCH_ROUNDS ?? 4)

/** "10 candidates": five each way. */
const fiveEachWay = { candidatesEachWay: 5 }
/** As many as the ride calls of `calls.ts` have, to compare with them. */
const tenEachWay = { candidatesEachWay: 10 }

const coturn = {
  TURN_PROVIDER: 'coturn',
  TURN_URLS:
    'stun:turn.example.com:3478,turn:turn.example.com:3478,turns:turn.example.com:5349?transport=tcp',
  TURN_SECRET: 'bench-secret-0123456789abcdefghijklmnop',
}
/** All that is done for credentials in src/auth/turn.ts. */
const minting = ['credentials', 'signedUser', 'iceServers', 'lifetime']

export async function direct(): Promise<Result> {
  const servers: Server[] = []
  const launch = async (env: Record<string, string> = {}) => {
    const server = await start(ringdown(env))
    servers.push(server)
    return server
  }
  try {
    const plain = await launch()
    const minted = await launch(coturn)
    const shape = { ...fiveEachWay }
    const [by, byMinted] = [directCaller(plain, shape), directCaller(minted, shape)]
    const others = otherLoad(() => [process.pid, ...servers.map(({ pid }) => pid)])
    const warm = await warmUp(plain, by)
    await warmUp(minted, byMinted)
    const steady: Turn[] = []
    const steadyMinted: Turn[] = []
    const longer: Turn[] = []
    for (let round = 0; round < rounds; round++) {
      const seed = 100 + round
      Object.assign(shape, fiveEachWay)
      const take = async () => {
        steady.push(await turn(plain, by, `${perSecond}/s`, open(by, perSecond, seconds, seed)))
      }
      const takeMinted = async () => {
        const load = open(byMinted, perSecond, seconds, seed)
        steadyMinted.push(await turn(minted, byMinted, `${perSecond}/s, TURN`, load))
      }
      // One goes first, then the other.
      for (const next of round % 2 === 0 ? [take, takeMinted] : [takeMinted, take]) await next()
      Object.assign(shape, tenEachWay)
      longer.push(await turn(plain, by, `${perSecond}/s, 10 each way`, open(by, perSecond, seconds, seed)))
    }
    Object.assign(shape, fiveEachWay)
    const ramp = await saturate(plain, by, perSecond * 2)
    const load = others()
    const rows = await logged(plain)
    const share = await profiledShare()
    const cost = (turns: Turn[]) => median(turns.map((turn) => turn.microsPerCall))
    const own = [...steady, ...longer, ...ramp]
    const done = [warm, ...own].reduce((sum, turn) => sum + turn.done, 0)
    const most = mostOf(ramp)
    return {
      name: 'direct',
      title: 'Whole direct calls',
      text:
        'A call is two WebSocket connections, two `REGISTER`, `CALL_INITIATE` with an offer (a message of ' +
        `${callInitiate('callee_12345').length} bytes), \`CALL_ACCEPT\` with an answer (${callAccept(crypto.randomUUID()).length} bytes), ten candidates ` +
        'of 250 bytes, five each way, each in a packet of its own, `CALL_END`, and both connections closed, with its row ' +
        'in SQLite and the log at its default level written to a file. "10 each way" is the same with the twenty ' +
        'candidates that a ride call has in the table above. The CPU is that of the whole server process up to one ' +
        `second after the last call. ${rounds} rounds of ${seconds} s of each at ${perSecond} calls a second (open loop), then, with five ` +
        'each way, a load raised until the server does not keep up, then a fixed number of calls at a time. "TURN" is a ' +
        'second server with `TURN_PROVIDER=coturn`, which mints credentials for both at `REGISTERED`, `CALL_RINGING` and ' +
        '`INCOMING_CALL`: four in a call. What it costs more includes longer answers; the share of minting itself is ' +
        'that of its functions in a CPU profile of a third server that has its core full. "Answered" is from the first ' +
        'connect to `CALL_ACCEPTED`, p50 / p99. ' +
        (cores.server === undefined
          ? 'Nothing was pinned.'
          : `The servers are pinned to core ${cores.server} with all their threads, the generator to core ${cores.generator}.`),
      table: turnTable([...steady, ...steadyMinted, ...longer, ...ramp]),
      targets: [
        {
          what: `server CPU per call when the core is full (${most.offered}), at most 350 µs`,
          is: most.microsPerCall,
          most: 350,
          unit: 'µs',
        },
        { what: `and at ${perSecond}/s, median`, is: cost(steady), most: 350, unit: 'µs' },
        { what: `at ${perSecond}/s with 10 candidates each way`, is: cost(longer), unit: 'µs' },
        {
          what: `what TURN credentials cost more at ${perSecond}/s, median of the rounds`,
          is: median(
            steadyMinted.map((turn, i) => turn.microsPerCall - (steady[i]?.microsPerCall ?? Number.NaN)),
          ),
          unit: 'µs',
        },
        ...(Number.isNaN(share)
          ? []
          : [
              {
                what: 'share of minting in the CPU profile, at most 2 %',
                is: share * 100,
                most: 2,
                unit: '%',
              },
            ]),
        {
          what: `most calls a second on one core (${most.offered})`,
          is: most.donePerSecond,
          unit: 'calls/s',
        },
      ],
      warnings: [
        ...turnWarnings(most, by, rows, done, load),
        ...[...byMinted.tally.faults].map(([why, times]) => `${times} calls with TURN failed: ${why}`),
      ],
      raw: { steady, steadyMinted, longer, ramp, share, done, logged: rows, otherCores: load },
    }
  } finally {
    for (const server of servers) await server.stop()
  }
}

/** The share of minting in the profile of a server that has its core full; NaN for a server that cannot be profiled. */
async function profiledShare(): Promise<number> {
  if (process.env.BENCH_SERVER !== undefined) return Number.NaN
  const profile = newProfile()
  try {
    const server = await start(ringdown(coturn, profile.folder))
    try {
      const by = directCaller(server, fiveEachWay)
      await turn(server, by, 'profiled', closed(by, 32, 10))
    } finally {
      await server.stop()
    }
    return shareOf(profile.read(), minting)
  } finally {
    profile.remove()
  }
}
