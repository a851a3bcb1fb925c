/**
 * A real nginx in front of a test's server: its own folder, port and processes, nothing of the system's. It runs the
 * file it is given; only where it listens, where it passes on to, and where its logs lie are put in.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from './until.ts'

/** The file that operators get. */
export const SHIPPED = join(import.meta.dir, '../../deploy/nginx/ringdown.conf')

export interface NginxOptions {
  /** Port of the server behind it. */
  readonly upstream: number
  /** Text of a file for conf.d; the shipped one unless told otherwise. */
  readonly conf?: string
  /** Says `listen 443 ssl` as well. */
  readonly tls?: boolean
}

export interface Nginx {
  readonly url: string
  /** `https://…`, where `tls` was asked for. */
  readonly tlsUrl: string
  /** Everything it wrote into its logs. */
  logs(): string
  /** Reads its configuration again, as `nginx -s reload`; resolves when the new process serves. */
  reload(): Promise<void>
  /** Ends it without a word, old processes too. */
  kill(): Promise<void>
  /** Starts it again on the same ports. */
  start(): Promise<void>
  /** Ends it and removes its folder. Twice is fine. */
  close(): Promise<void>
}

export async function startNginx(program: string, options: NginxOptions): Promise<Nginx> {
  const folder = mkdtempSync(join(tmpdir(), 'ringdown-nginx-'))
  const [port, tlsPort] = [freePort(), freePort()]
  const site = substituted(options.conf ?? readFileSync(SHIPPED, 'utf8'), {
    'listen 80;': `listen 127.0.0.1:${port};`,
    'listen [::]:80;': '',
    'listen 443 ssl;': `listen 127.0.0.1:${tlsPort} ssl;`,
    'listen [::]:443 ssl;': '',
    'http://127.0.0.1:47880': `http://127.0.0.1:${options.upstream}`,
    '/var/log/nginx/': `${folder}/logs/`,
  })
  mkdirSync(join(folder, 'logs'))
  writeFileSync(join(folder, 'site.conf'), site)
  writeFileSync(join(folder, 'nginx.conf'), around(folder))

  let master: ChildProcess | null = null
  let printed = ''

  async function start(): Promise<void> {
    // It leads a group of its own, so that what it forked ends with it.
    const child = spawn(program, ['-c', join(folder, 'nginx.conf'), '-p', folder, '-g', 'daemon off;'], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    child.stderr.setEncoding('utf8').on('data', (text) => {
      printed += text
    })
    master = child
    await serves(options.tls ? tlsPort : port, () => {
      if (child.exitCode !== null) throw new Error(`nginx ended with code ${child.exitCode}: ${printed}`)
    })
  }

  /** `whole`: its workers as well, which outlive a master that is killed. */
  async function end(signal: NodeJS.Signals, whole: boolean): Promise<void> {
    const child = master
    if (child?.pid === undefined) return
    master = null
    const ended = new Promise((resolve) => child.once('exit', resolve))
    if (child.exitCode !== null || child.signalCode !== null) return
    process.kill(whole ? -child.pid : child.pid, signal)
    await ended
  }

  const logs = () =>
    printed +
    ['access', 'error', 'ringdown.access', 'ringdown.error']
      .map((name) => readIfThere(join(folder, 'logs', `${name}.log`)))
      .join('')

  await start()
  return {
    url: `http://127.0.0.1:${port}`,
    tlsUrl: `https://127.0.0.1:${tlsPort}`,
    logs,
    async reload() {
      const leaving = () => logs().split('gracefully shutting down').length
      const before = leaving()
      master?.kill('SIGHUP')
      await until(() => leaving() > before, 'nginx to read its configuration again')
    },
    kill: () => end('SIGKILL', true),
    start,
    async close() {
      await end('SIGTERM', false)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** What a distribution's nginx.conf does around a file in conf.d. */
function around(folder: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `
    ${process.getuid?.() === 0 ? 'user root;' : ''}
    worker_processes 1;
    pid ${folder}/nginx.pid;
    error_log ${folder}/logs/error.log notice;
    events { worker_connections 1024; }
    http {
      access_log ${folder}/logs/access.log;
      ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n      ')}
      include ${folder}/site.conf;
    }
  `
}

/** Puts in what must be another on this machine. What stands nowhere in the text is left alone, but for the upstream. */
function substituted(text: string, values: Readonly<Record<string, string>>): string {
  const upstream = 'http://127.0.0.1:47880'
  if (!text.includes(upstream)) throw new Error(`The nginx file does not pass on to ${upstream}`)
  return Object.entries(values).reduce((all, [from, to]) => all.replaceAll(from, to), text)
}

function freePort(): number {
  const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
  const { port } = listener
  listener.stop(true)
  return port
}

async function serves(port: number, check: () => void): Promise<void> {
  await until(async () => {
    check()
    return await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1')
      const done = (yes: boolean) => {
        socket.destroy()
        resolve(yes)
      }
      socket.once('connect', () => done(true))
      socket.once('error', () => done(false))
    })
  }, 'nginx to listen')
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
