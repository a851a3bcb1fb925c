/**
 * Starts the servers that are measured, each as a process of its own on a free port, on the cores it is told, with as
 * many open files as the machine lets it have.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const here = import.meta.dir
export const root = join(here, '..')

export interface Server {
  name: string
  pid: number
  port: number
  /** Where it writes: its data folder and `log`. Gone after `stop`. */
  folder: string
  log(): string
  /** Asks it to end, waits for that, and removes its folder. Can be called twice. */
  stop(): Promise<void>
}

export interface Wish {
  name: string
  command: string[]
  /** Its environment, besides PATH and HOME: nothing else of the bench's own is handed on. */
  env(port: number, folder: string): Record<string, string>
  /** What answers 200 once it serves. */
  ready: string
  cores?: string | undefined
  /** Keep this data folder rather than a new one. */
  folder?: string | undefined
  port?: number | undefined
  cwd?: string | undefined
}

export const apiKey = 'bench-key-0123456789abcdefghijklmnop'
/** Of the line. */
export const lineKey = 'bench-key-'.repeat(8)

/** Which cores this process may use: the server gets the first, the generator the second. */
export const cores: { server: string | undefined; generator: string | undefined; all: string } = (() => {
  const list = /^Cpus_allowed_list:\s+(\S+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0'
  const all = process.env.BENCH_CORES ?? list
  const single = all.split(',').flatMap((part) => {
    const [from, to = from] = part.split('-').map(Number)
    return Array.from({ length: Number(to) - Number(from) + 1 }, (_, i) => String(Number(from) + i))
  })
  const pins = single.length > 1 && Bun.which('taskset') !== null
  return { server: pins ? single[0] : undefined, generator: pins ? single[1] : undefined, all }
})()

/** A command line that runs `command` on the given cores with the hard limit of open files. */
export function wrapped(command: string[], on: string | undefined): string[] {
  const pinned =
    on === undefined || Bun.which('taskset') === null ? command : ['taskset', '-c', on, ...command]
  return ['sh', '-c', 'ulimit -n "$(ulimit -Hn)"; exec "$@"', 'sh', ...pinned]
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.on('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

export const newFolder = (): string => mkdtempSync(join(tmpdir(), 'ringdown-bench-'))

/** Spawns and waits until it answers; `readyMs` is the time from just before the spawn to that answer. */
export async function start(wish: Wish): Promise<Server & { readyMs: number }> {
  const port = wish.port ?? (await freePort())
  const folder = wish.folder ?? newFolder()
  const logFile = join(folder, 'bench.log')
  const out = openSync(logFile, 'a')
  const [command = '', ...args] = wrapped(wish.command, wish.cores ?? cores.all)
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: process.env.HOME ?? '',
    ...wish.env(port, folder),
  }
  const before = performance.now()
  const child = spawn(command, args, {
    cwd: wish.cwd ?? folder,
    env,
    stdio: ['ignore', out, out],
    detached: true,
  })
  closeSync(out)
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const log = () => readFileSync(logFile, 'utf8')
  const stop = async () => {
    await end(child, ended)
    if (wish.folder === undefined) rmSync(folder, { recursive: true, force: true })
  }
  const url = `http://127.0.0.1:${port}${wish.ready}`
  try {
    while (!(await answers(url))) {
      if (child.exitCode !== null) throw new Error(`${wish.name} ended at its start:\n${log()}`)
      if (performance.now() - before > 120_000) throw new Error(`${wish.name} did not start:\n${log()}`)
      await Bun.sleep(1)
    }
  } catch (error) {
    await stop()
    throw error
  }
  const readyMs = performance.now() - before
  return { name: wish.name, pid: child.pid ?? 0, port, folder, log, stop, readyMs }
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { keepalive: false })
    await response.arrayBuffer()
    return response.status === 200
  } catch {
    return false
  }
}

/** Ends the whole group that `child` leads. */
async function end(child: ChildProcess, ended: Promise<void>): Promise<void> {
  const signal = (name: NodeJS.Signals) => {
    try {
      process.kill(-(child.pid ?? 0), name)
    } catch {
      // It is gone already.
    }
  }
  if (child.exitCode !== null || child.signalCode !== null) return
  signal('SIGTERM')
  const timer = setTimeout(() => signal('SIGKILL'), 10_000)
  await ended
  clearTimeout(timer)
}

const bun = process.execPath
const node = Bun.which('node') ?? 'node'

/** Where profilers of the runtimes write, when `--profile` is given. */
const profileFolder = process.env.BENCH_PROFILE
const profilingInto = (folder: string | undefined) =>
  folder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${folder}`]
const profiled = profilingInto(profileFolder)

export const bare = (): Wish => ({
  name: 'bare Bun relay',
  command: [bun, ...profiled, join(here, 'peers/bare.ts')],
  env: (port) => ({ PORT: String(port) }),
  ready: '/health',
  cores: cores.server,
})

export const bareLine = (): Wish => ({
  ...bare(),
  name: 'bare Bun relay of bytes',
  command: [bun, ...profiled, join(here, 'peers/bare-line.ts')],
})

export const peerjs = (): Wish => ({
  name: 'PeerJS server',
  command: [node, ...profiled, join(here, 'peers/peerjs.mjs')],
  env: (port) => ({ PORT: String(port), NODE_ENV: 'production' }),
  ready: '/',
  cores: cores.server,
})

/**
 * All at its defaults, but for the number of connections one address may make, and `env`.
 * `BENCH_SERVER` puts another command in the place of Ringdown's, for comparing builds.
 */
export const ringdown = (env: Record<string, string> = {}, profile = profileFolder): Wish => ({
  name: 'Ringdown',
  command:
    process.env.BENCH_SERVER === undefined
      ? [bun, ...profilingInto(profile), join(root, 'dist/server/main.js'), 'serve']
      : process.env.BENCH_SERVER.split(' '),
  env: (port, folder) => ({
    SERVER_ADDR: `127.0.0.1:${port}`,
    DATA_DIR: join(folder, 'data'),
    API_KEY: apiKey,
    // The generator is one address.
    RATE_LIMIT_PER_MIN: '1000000',
    ...env,
  }),
  ready: '/health',
  cores: cores.server,
})

/** Installs what the peers need into bench/node_modules; false, with a line that says why, when that fails. */
export async function installPeers(): Promise<boolean> {
  if (existsSync(join(here, 'node_modules/peer/package.json'))) return true
  console.log('Installing the peers into bench/node_modules …')
  const npm = spawn('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: here,
    stdio: 'inherit',
  })
  const code = await new Promise<number | null>((resolve) => {
    npm.once('error', () => resolve(null))
    npm.once('exit', resolve)
  })
  if (code !== 0) console.log('PeerJS server is left out: npm could not install it.')
  return code === 0
}
