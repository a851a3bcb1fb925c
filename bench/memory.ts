/**
 * Memory of a server that holds many authenticated sockets on which nothing happens but heartbeats. The bare relay
 * beside it shows what the runtime itself takes.
 */
import { openPairs, type Protocol } from './load/pairs.ts'
import { cpuMicros, type Memory, memory as read } from './measure.ts'
import { type Result, table } from './report.ts'
import { bare, installPeers, peerjs, ringdown, start, type Wish } from './servers.ts'

const sockets = Number(process.env.BENCH_SOCKETS ?? 10_000)
/** Long enough for every heartbeat, the server's and the phones' (20 s), to come round three times. */
const idleSeconds = Number(process.env.BENCH_SECONDS ?? 65)

interface Figures {
  server: string
  empty: Memory
  full: Memory
  idle: Memory
  /** CPU share of one core while idle. */
  busy: number
  openedMs: number
  oddities: [string, number][]
}

async function measure(wish: Wish, protocol: Protocol): Promise<Figures> {
  const server = await start(wish)
  try {
    await Bun.sleep(2000)
    const empty = read(server.pid)
    const from = performance.now()
    const pairs = await openPairs(server, protocol, sockets / 2)
    const openedMs = performance.now() - from
    const full = read(server.pid)
    const cpu = cpuMicros(server.pid)
    await Bun.sleep(idleSeconds * 1000)
    const busy = (cpuMicros(server.pid) - cpu) / (idleSeconds * 1e6)
    const idle = read(server.pid)
    const oddities = [...pairs.oddities]
    await pairs.close()
    return { server: server.name, empty, full, idle, busy, openedMs, oddities }
  } finally {
    await server.stop()
  }
}

export async function memory(): Promise<Result> {
  const all = [await measure(bare(), 'bare')]
  if (await installPeers()) all.push(await measure(peerjs(), 'peerjs'))
  const ours = await measure(ringdown({ SESSION_DURATION: '1h' }), 'ride')
  all.push(ours)
  const mb = (value: number) => value.toFixed(1)
  return {
    name: 'memory',
    title: 'Idle sockets',
    text:
      `${sockets} sockets on one server process, for Ringdown ${sockets / 2} ride sessions with both parties ` +
      `authenticated. They stay for ${idleSeconds} s with heartbeats: pings of the server are answered, and for Ringdown ` +
      'every party also sends `heartbeat` each 20 s. MB of 2^20 bytes, of the process as a whole; what the kernel ' +
      'holds for the connections is not in it. RSS counts pages shared with other processes fully, PSS in part; the ' +
      'peak is the most that was ever resident (VmHWM). "Per socket" is the growth of RSS from the empty server to ' +
      'the idle one.',
    table: table(
      [
        'server',
        'RSS empty',
        'RSS all in',
        'RSS idle',
        'PSS idle',
        'anonymous',
        'peak',
        'KB per socket',
        'CPU idle',
        'all in after, s',
      ],
      all.map(({ server, empty, full, idle, busy, openedMs }) => [
        server,
        mb(empty.rss),
        mb(full.rss),
        mb(idle.rss),
        mb(idle.pss),
        mb(idle.anonymous),
        mb(idle.peak),
        (((idle.rss - empty.rss) * 1024) / sockets).toFixed(2),
        `${(busy * 100).toFixed(1)} %`,
        (openedMs / 1000).toFixed(1),
      ]),
    ),
    targets: [
      { what: `RSS with ${sockets} idle sockets at most 128 MB`, is: ours.idle.rss, most: 128, unit: 'MB' },
      { what: 'peak at most 128 MB', is: ours.idle.peak, most: 128, unit: 'MB' },
    ],
    warnings: all.flatMap(({ server, oddities }) =>
      oddities.slice(0, 3).map(([what, times]) => `${server} said ${times} times: ${what}`),
    ),
    raw: all,
  }
}
