/**
 * What one audio frame of a line costs the server, beside a bare relay of bytes: both are started together, hold the
 * same number of live lines, and take turns under the same arrivals. Then Ringdown alone, with more and more lines at
 * the full pace of both sides, as far as the generator can.
 */
import { randomBytes } from 'node:crypto'
import { arrive, random } from './load/arrivals.ts'
import { dial, frame, type Line } from './load/socket.ts'
import { cpuMicros, median, memory, otherLoad, othersNote, ownMicros, quantile, Samples } from './measure.ts'
import { type Result, table } from './report.ts'
import { bareLine, cores, lineKey, ringdown, type Server, start } from './servers.ts'

const lines = Number(process.env.BENCH_LINES ?? 200)
const perSecond = Number(process.env.BENCH_RATE ?? 15_000)
const seconds = Number(process.env.BENCH_SECONDS ?? 2)
const rounds = Number(process.env.BENCH_ROUNDS ?? 12)
const steps = (process.env.BENCH_STEPS ?? '50,100,200,300').split(',').map(Number)

/** An audio frame of the default profile, 10 ms of 200 kHz in the bucket of a third, and how many a page sends. */
const FRAME_BYTES = 1_374
const FRAMES_PER_SECOND = 100
const audio = (() => {
  const bytes = randomBytes(FRAME_BYTES)
  bytes[0] = 0x02
  bytes[1] = 0x51
  bytes[2] = 0x02
  return frame(0x2, bytes)
})()

interface Party {
  line: Line
  /** Called for each audio frame. */
  heard: () => void
}

interface Parties {
  /** Index 2n and 2n + 1 are on one line. */
  all: Party[]
  /** Closes that nobody asked for. */
  lost: number
  close(): Promise<void>
}

type Path = (line: number, side: number) => string

const barePath: Path = (line, side) => `/?id=${line}.${side}&to=${line}.${1 - side}`
const linePath: Path = (line, side) =>
  `/line?apikey=${lineKey}&room=${sixteenBytes(line)}&seat=${sixteenBytes(2 * line + side)}`

function sixteenBytes(number: number): string {
  const bytes = Buffer.alloc(16)
  bytes.writeUInt32BE(number)
  return bytes.toString('base64url')
}

async function openLines(server: Server, path: Path, count: number): Promise<Parties> {
  const all: Party[] = []
  let closing = false
  let left = 0
  let allLeft = () => {}
  const parties: Parties = {
    all,
    lost: 0,
    close: () =>
      new Promise((resolve) => {
        closing = true
        allLeft = resolve
        if (left === all.length) resolve()
        for (const { line } of all) line.close()
      }),
  }
  const open = (at: string) =>
    new Promise<void>((resolve, reject) => {
      const listener = {
        open: () => resolve(),
        text() {},
        binary(_: Line, bytes: Buffer, from: number, length: number) {
          if (length === FRAME_BYTES && bytes[from] === 0x02) party.heard()
        },
        close() {
          if (!closing) parties.lost++
          if (++left === all.length) allLeft()
        },
      }
      const party: Party = { line: undefined as unknown as Line, heard: () => {} }
      const made = (line: Line) => {
        party.line = line
        all.push(party)
      }
      dial(server.port, at, listener, made).catch(reject)
    })
  for (let line = 0; line < count; line++) {
    await open(path(line, 0))
    await open(path(line, 1))
  }
  return parties
}

interface Turn {
  microsPerFrame: number
  serverBusy: number
  generatorBusy: number
  p50: number
  p99: number
  sent: number
  /** Frames a second that the generator got out. */
  rate: number
  missing: number
  worstLagMs: number
}

async function turn(
  server: Server,
  { all }: Parties,
  rate: number,
  forSeconds: number,
  seed: number,
): Promise<Turn> {
  // Frames of one direction arrive in the order they were sent in, and few are dropped: those shift the times of their
  // own direction alone, and are told beside them.
  const due = all.map(() => [] as number[])
  const late = new Samples()
  all.forEach((party, index) => {
    const queue = due[index] as number[]
    let head = 0
    party.heard = () => {
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
  const { count, worstLagMs } = await arrive(rate, forSeconds, seed, () => {
    const index = Math.floor(pick() * all.length)
    due[index ^ 1]?.push(performance.now())
    all[index]?.line.send(audio)
  })
  const given = performance.now()
  let heard = late.count
  for (let quiet = 0; late.count < count && quiet < 100 && performance.now() - given < 5_000; ) {
    await Bun.sleep(5)
    quiet = late.count === heard ? quiet + 1 : 0
    heard = late.count
  }
  const spent = cpuMicros(server.pid) - cpu
  const wall = (performance.now() - from) * 1000
  const sorted = late.sorted()
  for (const party of all) party.heard = () => {}
  return {
    microsPerFrame: spent / count,
    serverBusy: spent / wall,
    generatorBusy: (ownMicros() - own) / wall,
    p50: quantile(sorted, 0.5),
    p99: quantile(sorted, 0.99),
    sent: count,
    rate: (count * 1000) / (given - from),
    missing: count - late.count,
    worstLagMs,
  }
}

interface Contender {
  name: string
  server: Server
  parties: Parties
  turns: Turn[]
}

const BARE = 'bare Bun relay'
const LINE = 'Ringdown, lines'

async function contender(name: string, wish: Parameters<typeof start>[0], path: Path): Promise<Contender> {
  const server = await start(wish)
  return { name, server, parties: await openLines(server, path, lines), turns: [] }
}

async function sideBySide(): Promise<{ contenders: Contender[]; load: number }> {
  const contenders: Contender[] = []
  try {
    contenders.push(await contender(BARE, bareLine(), barePath))
    contenders.push(await contender(LINE, ringdown({ APIKEY: lineKey }), linePath))
    for (const { server, parties } of contenders)
      await turn(server, parties, perSecond, Math.max(5, seconds), 1)
    const others = otherLoad(() => [process.pid, ...contenders.map(({ server }) => server.pid)])
    for (let round = 0; round < rounds; round++) {
      // Another one begins in each round, so that none always runs in the warmth of the same neighbour.
      for (let i = 0; i < contenders.length; i++) {
        const each = contenders[(i + round) % contenders.length] as Contender
        each.turns.push(await turn(each.server, each.parties, perSecond, seconds, 100 + round))
      }
    }
    return { contenders, load: others() }
  } finally {
    for (const { parties, server } of contenders) {
      await parties.close()
      await server.stop()
    }
  }
}

interface Step extends Turn {
  lines: number
  rssMb: number
  dropped: number
  closed: number
}

/** Each number of lines at full pace, on a server that was started for it. */
async function fullPace(count: number): Promise<Step> {
  const server = await start(ringdown({ APIKEY: lineKey }))
  try {
    const parties = await openLines(server, linePath, count)
    const rate = count * 2 * FRAMES_PER_SECOND
    await turn(server, parties, rate, 2, 1)
    const taken = await turn(server, parties, rate, Math.max(5, seconds), 2)
    const { rss } = memory(server.pid)
    const dropped = await droppedBy(server)
    const closed = parties.lost
    await parties.close()
    return { ...taken, lines: count, rssMb: rss, dropped, closed }
  } finally {
    await server.stop()
  }
}

/** Frames that the server left out, for whatever cause. */
async function droppedBy({ port }: Server): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const counts = text.matchAll(/^ringdown_dropped_frames_total\{cause="\w+"\} (\d+)$/gm)
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0)
}

export async function line(): Promise<Result> {
  const { contenders, load } = await sideBySide()
  const full: Step[] = []
  for (const count of steps) full.push(await fullPace(count))
  return result(contenders, full, load)
}

function result(contenders: Contender[], full: Step[], load: number): Result {
  const costs = (name: string) =>
    contenders.find((each) => each.name === name)?.turns.map(({ microsPerFrame }) => microsPerFrame) ?? []
  const bare = costs(BARE)
  /** The median of what one cost in a round, divided by what the other cost in the same. */
  const ratio = median(costs(LINE).map((cost, round) => cost / (bare[round] ?? Number.NaN)))
  const rows = contenders.map(({ name, turns }) => {
    const of = (field: keyof Turn) => median(turns.map((each) => each[field]))
    return [
      name,
      of('microsPerFrame').toFixed(2),
      `${Math.min(...costs(name)).toFixed(2)} – ${Math.max(...costs(name)).toFixed(2)}`,
      `${of('p50').toFixed(2)} / ${of('p99').toFixed(2)}`,
      percent(of('serverBusy')),
      percent(of('generatorBusy')),
      String(turns.reduce((sum, each) => sum + each.missing, 0)),
    ]
  })
  const fullRows = full.map((step) => [
    `${step.lines} lines`,
    String(Math.round(step.rate)),
    step.microsPerFrame.toFixed(2),
    `${((step.serverBusy * 100) / step.lines).toFixed(2)} %`,
    percent(step.serverBusy),
    `${step.p50.toFixed(2)} / ${step.p99.toFixed(2)}`,
    step.rssMb.toFixed(0),
    String(step.dropped),
    percent(step.generatorBusy),
    isGenerators(step) ? 'the generator' : '',
  ])
  const most = full.filter((step) => !isGenerators(step)).at(-1)
  return {
    name: 'line',
    title: 'One audio frame of a line',
    text:
      `An audio frame of ${FRAME_BYTES} bytes, as the default profile has it. First table: ${lines} live lines, a frame ` +
      `from a random party at a time, ${perSecond} a second at random instants (open loop), ${rounds} rounds of ` +
      `${seconds} s for each server in turn, after one that is not counted; medians. CPU is user and system time of all ` +
      'threads of the server process; latency is from the write of the generator to its read. Ringdown runs at its ' +
      'defaults. Second table: both sides of each line at their full pace, ' +
      `${2 * FRAMES_PER_SECOND} frames a second for each line, on a fresh server for each row; where the last column ` +
      'says so, the generator, on one core, was the limit, and latency is mostly its own. ' +
      (cores.server === undefined
        ? 'Nothing was pinned.'
        : `Servers are pinned to core ${cores.server}, the generator to core ${cores.generator}.`),
    table: [
      table(
        [
          'server',
          'µs CPU per frame',
          'of all rounds',
          'p50 / p99 ms',
          'server busy',
          'generator busy',
          'lost',
        ],
        rows,
      ),
      table(
        [
          'Ringdown',
          'frames/s',
          'µs CPU per frame',
          'CPU per line',
          'server busy',
          'p50 / p99 ms',
          'RSS MB',
          'dropped',
          'generator busy',
          'limit',
        ],
        fullRows,
      ),
    ].join('\n\n'),
    targets: [
      { what: `${LINE} at most 1.2 × ${BARE}`, is: ratio, most: 1.2, unit: '×' },
      ...(most === undefined
        ? []
        : [{ what: `p99 of ${most.lines} lines at full pace`, is: most.p99, most: 5, unit: 'ms' }]),
    ],
    warnings: [
      ...full
        .filter(({ closed }) => closed > 0)
        .map(
          ({ lines: count, closed }) => `of ${count} lines, ${closed} connections were closed by the server.`,
        ),
      ...othersNote(load),
    ],
    raw: { servers: contenders.map(({ name, turns }) => ({ server: name, turns })), full, otherCores: load },
  }
}

/** It was busy, or did not get the frames out. */
function isGenerators({ lines: count, rate, generatorBusy }: Step): boolean {
  return generatorBusy > 0.9 || rate < 0.97 * count * 2 * FRAMES_PER_SECOND
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}
