/**
 * Memory of a server that holds many authenticated sockets on which nothing happens but heartbeats. The bare relay
 * beside it shows what the runtime itself takes.
 */
import { readFileSync } from 'node:fs'
import { openPairs, type Protocol } from './load/pairs.ts'
import { cpuMicros, type Memory, memory as read } from './measure.ts'
import { type Result, table } from './report.ts'
import { bare, installPeers, peerjs, ringdown, start, type Wish } from './servers.ts'

const sockets = Number(process.env.BENCH_SOCKETS ?? 10_000)
/** Long enough for every heartbeat, the server's and the phones' (20 s), to come round three times. */
const idleSeconds = Number(process.env.BENCH_SECONDS ?? 65)
/** The runtime itself needs no heartbeats, but time to give back what it needed for the handshakes. */
const peerSeconds = Math.min(idleSeconds, 35)

const directClients = Number(process.env.BENCH_CLIENTS ?? 20_000)
/** Files that a server or a generator has open besides its sockets, with room to spare. */
const otherFiles = 100
/** As many clients as there may be sockets in one process, in pairs. */
const held = Math.min(directClients, 2 * Math.floor((openFiles() - otherFiles) / 2))

interface Figures {
  server: string
  sockets: number
  empty: Memory
  full: Memory
  idle: Memory
  /** CPU share of one core while idle. */
  busy: number
  openedMs: number
  oddities: [string, number][]
}

async function measure(
  name: string,
  wish: Wish,
  protocol: Protocol,
  { sockets, seconds }: { sockets: number; seconds: number },
): Promise<Figures> {
  const server = await start(wish)
  try {
    await Bun.sleep(2000)
    const empty = read(server.pid)
    const from = performance.now()
    const pairs = await openPairs(server, protocol, sockets / 2)
    const openedMs = performance.now() - from
    const full = read(server.pid)
    const cpu = cpuMicros(server.pid)
    await Bun.sleep(seconds * 1000)
    const busy = (cpuMicros(server.pid) - cpu) / (seconds * 1e6)
    const idle = read(server.pid)
    const oddities = [...pairs.oddities]
    await pairs.close()
    return { server: name, sockets, empty, full, idle, busy, openedMs, oddities }
  } finally {
    await server.stop()
  }
}

export async function memory(): Promise<Result> {
  const peers = { sockets, seconds: peerSeconds }
  const all = [await measure('bare Bun relay', bare(), 'bare', peers)]
  if (await installPeers()) all.push(await measure('PeerJS server', peerjs(), 'peerjs', peers))
  const idle = { sockets, seconds: idleSeconds }
  const rides = await measure('Ringdown, rides', ringdown({ SESSION_DURATION: '1h' }), 'ride', idle)
  const clients = { sockets: held, seconds: idleSeconds }
  const direct = await measure('Ringdown, direct', ringdown(), 'registered', clients)
  all.push(rides, direct)
  const mb = (value: number) => value.toFixed(1)
  /** The memory of all clients, where not all could be held: each one more is taken for as much as those that were. */
  const forAll = (measured: number) =>
    measured + ((measured - direct.empty.rss) / held) * (directClients - held)
  return {
    name: 'memory',
    title: 'Idle sockets',
    text:
      `Sockets on one server process: ${sockets / 2} ride sessions with both parties authenticated, ${held} registered ` +
      `clients of the direct service. They stay for ${idleSeconds} s (the peers for ${peerSeconds} s) with heartbeats: ` +
      "the server's pings are answered, and every client of Ringdown also sends `heartbeat` or `PING` each 20 s, which " +
      'are answered. MB of 2^20 bytes, of the process as a whole; what the kernel holds for the connections is not in ' +
      'it. RSS counts pages shared with other processes fully, PSS in part; the peak is the most that was ever ' +
      'resident (VmHWM). "Per socket" is the growth of RSS from the empty server to the idle one.' +
      (held < directClients
        ? ` This machine lets a process have ${openFiles()} open files, so ${directClients} clients did not fit: what is ` +
          `said of them below has ${directClients - held} clients added, each at what the ${held} took on the average.`
        : ''),
    table: table(
      [
        'server',
        'sockets',
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
      all.map(({ server, sockets, empty, full, idle, busy, openedMs }) => [
        server,
        String(sockets),
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
      {
        what: `RSS with ${sockets} idle ride sockets at most 128 MB`,
        is: rides.idle.rss,
        most: 128,
        unit: 'MB',
      },
      { what: 'their peak at most 128 MB', is: rides.idle.peak, most: 128, unit: 'MB' },
      {
        what: `RSS with ${directClients} registered direct clients at most 128 MB`,
        is: forAll(direct.idle.rss),
        most: 128,
        unit: 'MB',
      },
      { what: 'their peak', is: forAll(direct.idle.peak), unit: 'MB' },
    ],
    warnings: all.flatMap(({ server, oddities }) =>
      oddities.slice(0, 3).map(([what, times]) => `${server} said ${times} times: ${what}`),
    ),
    raw: all,
  }
}

/** How many files the generator and the servers may have open: the hard limit, which `wrapped` takes up. */
function openFiles(): number {
  const limit = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]
  return limit === undefined || limit === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(limit)
}
