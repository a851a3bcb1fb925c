/**
 * `npm run bench` measures everything, `npm run bench relay` one thing. Each benchmark runs in a process of its own,
 * pinned to the second core it may use, so that none inherits the heap and the compiled code of the one before.
 *
 * Imports nothing of src/: the server is measured from outside, as a process.
 */
import { calls } from './calls.ts'
import { direct } from './direct.ts'
import { line } from './line.ts'
import { memory } from './memory.ts'
import { relay } from './relay.ts'
import { publish, type Result, record, show } from './report.ts'
import { ring } from './ring.ts'
import { cores, wrapped } from './servers.ts'
import { start } from './start.ts'

const benchmarks: Record<string, { run: () => Promise<Result>; what: string; pinned: boolean }> = {
  relay: {
    run: relay,
    what: 'server CPU per relayed candidate, beside a bare relay and PeerJS server',
    pinned: true,
  },
  calls: {
    run: calls,
    what: 'server CPU per whole ride call, and calls per second on one core',
    pinned: true,
  },
  direct: {
    run: direct,
    what: 'the same for direct calls, with and without TURN credentials',
    pinned: true,
  },
  line: {
    run: line,
    what: 'server CPU per audio frame of a line, beside a bare relay; 300 lines at full pace',
    pinned: true,
  },
  ring: { run: ring, what: 'from CALL_INITIATE to INCOMING_CALL at 1,000 calls a second', pinned: true },
  memory: { run: memory, what: 'memory of 10,000 idle ride sockets and 20,000 direct clients', pinned: true },
  start: { run: start, what: 'from spawn to the first answer', pinned: false },
}

const help = `npm run bench -- [name …] [options]

${Object.entries(benchmarks)
  .map(([name, { what }]) => `  ${name.padEnd(8)} ${what}`)
  .join('\n')}

  --keep            write the figures into bench/README.md; all that was measured is always in bench/results/
  --profile DIR     have the runtimes write CPU profiles of the servers there (slower; not to be kept)
  --server COMMAND  measure this command in the place of Ringdown's server

Environment: BENCH_CORES (as for taskset), and for each benchmark what its file reads at its top.
`

const names: string[] = []
let keep = false
let only: string | undefined
const args = process.argv.slice(2)
for (let arg = args.shift(); arg !== undefined; arg = args.shift()) {
  if (arg === '--keep') keep = true
  else if (arg === '--profile') process.env.BENCH_PROFILE = args.shift() ?? '.'
  else if (arg === '--server') process.env.BENCH_SERVER = args.shift() ?? ''
  else if (arg === '--in-this-process') only = args.shift()
  else if (arg in benchmarks) names.push(arg)
  else {
    console.log(help)
    process.exit(arg === '--help' || arg === '-h' ? 0 : 2)
  }
}

if (keep && (process.env.BENCH_SERVER !== undefined || process.env.BENCH_PROFILE !== undefined)) {
  console.log('--keep is for the figures of Ringdown as it stands, without --server and --profile.')
  process.exit(2)
}

if (only !== undefined) {
  const result = await benchmarks[only]?.run()
  if (result !== undefined) {
    console.log(`\n${show(result)}\n`)
    record(result)
    if (keep) publish(result)
  }
  process.exit(0)
}

let failed = false
for (const name of names.length > 0 ? names : Object.keys(benchmarks)) {
  const self = [process.execPath, import.meta.path, '--in-this-process', name, ...(keep ? ['--keep'] : [])]
  const on = benchmarks[name]?.pinned ? cores.generator : undefined
  const child = Bun.spawn(wrapped(self, on), {
    stdio: ['inherit', 'inherit', 'inherit'],
    env: { ...process.env, BENCH_CORES: cores.all },
  })
  if ((await child.exited) !== 0) failed = true
}
process.exit(failed ? 1 : 0)
