/** A server as operators run it: a process of its own, with real time, that can be killed, stopped and started again. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RawPeer } from './raw-peer.ts'
import { ADMIN_KEY, type Answer, API_KEY, ask, type Session } from './server.ts'

const START_DEADLINE = 10_000
const MAIN = join(import.meta.dir, '../../src/cli/main.ts')

export interface ChildOptions {
  readonly settings?: Readonly<Record<string, string>>
  /** How many files and sockets it may have open. */
  readonly descriptors?: number
}

const running = new Set<ChildServer>()

/** For `afterEach`. */
export async function closeChildren(): Promise<void> {
  for (const child of [...running]) await child.close()
}

export class ChildServer {
  readonly dataDir = mkdtempSync(join(tmpdir(), 'ringdown-child-'))
  readonly #options: ChildOptions
  #child: ChildProcess | null = null
  #url = ''
  #printed = ''
  /** From the start of the process to `/ready`, in milliseconds. */
  startedIn = 0

  private constructor(options: ChildOptions) {
    this.#options = options
  }

  static async start(options: ChildOptions = {}): Promise<ChildServer> {
    const server = new ChildServer(options)
    running.add(server)
    await server.start()
    return server
  }

  get url(): string {
    return this.#url
  }

  get port(): number {
    return Number(new URL(this.#url).port)
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  get isRunning(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Everything that it ever printed. */
  get printed(): string {
    return this.#printed
  }

  /** Starts it, again where it was before: on the same folder and port. */
  async start(): Promise<void> {
    const startedAt = performance.now()
    const { settings, descriptors } = this.#options
    const limit = descriptors === undefined ? '' : `ulimit -n ${descriptors}; `
    const child = spawn('/bin/sh', ['-c', `${limit}exec "$@"`, 'sh', process.execPath, MAIN, 'serve'], {
      // In its own folder, so that no .env of a developer's is read.
      cwd: this.dataDir,
      env: {
        PATH: process.env.PATH,
        SERVER_ADDR: `127.0.0.1:${this.#url === '' ? 0 : this.port}`,
        DATA_DIR: this.dataDir,
        LOG_FORMAT: 'json',
        API_KEY,
        ADMIN_KEY,
        RATE_LIMIT_PER_MIN: '0',
        ...settings,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    const from = this.#printed.length
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text) => {
        this.#printed += text
      })
    }
    while (!this.#printed.slice(from).includes('"msg":"ready"')) {
      if (child.exitCode !== null || performance.now() - startedAt > START_DEADLINE)
        throw new Error(`the server did not start: ${this.#printed.slice(from)}`)
      await Bun.sleep(5)
    }
    this.#url = /"url":"([^"]+)"/.exec(this.#printed.slice(from))?.[1] ?? ''
    while ((await this.ask('GET', '/ready')).status !== 200) await Bun.sleep(5)
    this.startedIn = performance.now() - startedAt
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  /** Resolves with its exit code, or the signal that ended it. */
  async ended(): Promise<number | string> {
    const child = this.#child
    if (child === null) throw new Error('it does not run')
    if (child.exitCode === null && child.signalCode === null)
      await new Promise((resolve) => child.once('exit', resolve))
    return child.signalCode ?? child.exitCode ?? -1
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL')
    await this.ended()
  }

  /** Kills it if it runs, and removes its folder. Twice is fine. */
  async close(): Promise<void> {
    running.delete(this)
    if (this.#child !== null) await this.kill()
    rmSync(this.dataDir, { recursive: true, force: true })
  }

  ask(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer> {
    return ask(this.#url, method, path, body, headers)
  }

  async createSession(more: object = {}, headers: Record<string, string> = {}): Promise<Session> {
    const request = { ride_id: 'ride_456', driver_id: 'user_123', passenger_id: 'user_789', ...more }
    const { status, body, text } = await this.ask('POST', '/sessions', request, headers)
    if (status !== 200) throw new Error(`POST /sessions answered ${status}: ${text}`)
    return body
  }

  connect(): Promise<RawPeer> {
    return RawPeer.open(this.#url)
  }

  /** Resident memory, in MB (proc_pid_status(5)). */
  get memory(): number {
    return Number(/VmRSS:\s+(\d+) kB/.exec(this.#proc('status'))?.[1] ?? 0) / 1024
  }

  /** Processor time it has used, in milliseconds (proc_pid_stat(5)). */
  get processorTime(): number {
    const fields = this.#proc('stat')
      .replace(/^.*\) /, '')
      .split(' ')
    return (Number(fields[11]) + Number(fields[12])) * 10
  }

  #proc(file: string): string {
    return readFileSync(`/proc/${this.pid}/${file}`, 'utf8')
  }
}
