/** A MariaDB of the test's own: on a free port of the loopback, with a data folder that goes when it stops. */
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Subprocess } from 'bun'
import type { MysqlSettings } from '../../src/store/store.ts'
import { need } from './need.ts'

/** Small, so that a fresh folder is copied and started within a second. Commits are synced as in earnest. */
const OPTIONS = [
  '--innodb-buffer-pool-size=32M',
  '--innodb-log-file-size=8M',
  '--innodb-flush-log-at-trx-commit=1',
  '--performance-schema=OFF',
  '--skip-log-bin',
  '--skip-name-resolve',
  ...(process.getuid?.() === 0 ? ['--user=root'] : []),
]
const DEADLINE = 30_000

export class MariaDb {
  readonly settings: MysqlSettings
  readonly #program: string
  readonly #folder: string
  #process: Subprocess<'ignore', 'ignore', 'pipe'> | null = null

  private constructor(program: string, folder: string, settings: MysqlSettings) {
    this.#program = program
    this.#folder = folder
    this.settings = settings
  }

  /** Starts one. The user is root without a password; the database of the settings is not made. */
  static async start(): Promise<MariaDb> {
    const program = need('mariadbd')
    if (program === null) throw new Error('mariadbd is not on this machine')
    const folder = mkdtempSync(join(tmpdir(), 'ringdown-mariadb-'))
    cpSync(await template(), join(folder, 'data'), { recursive: true })
    const port = await freePort()
    const settings = { host: '127.0.0.1', port, database: 'callDB', username: 'root', password: '' }
    const mariadb = new MariaDb(program, folder, settings)
    await mariadb.up()
    return mariadb
  }

  /** Starts it again, or lets it go on, where it was killed or stopped. Resolves when it takes connections. */
  async up(): Promise<void> {
    if (this.#process?.exitCode === null && this.#process.signalCode === null) return this.signal('SIGCONT')
    const child = Bun.spawn(
      [
        this.#program,
        '--no-defaults',
        `--datadir=${this.#folder}/data`,
        `--socket=${this.#folder}/socket`,
        `--pid-file=${this.#folder}/pid`,
        `--port=${this.settings.port}`,
        '--bind-address=127.0.0.1',
        ...OPTIONS,
      ],
      { stdin: 'ignore', stdout: 'ignore', stderr: 'pipe' },
    )
    this.#process = child
    await readUntil(child.stderr, 'ready for connections')
  }

  /** SIGKILL, SIGSTOP or SIGCONT. Resolves when it is gone, or when none of its threads runs any more. */
  async signal(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    const pid = this.#process?.pid
    this.#process?.kill(signal)
    if (signal === 'SIGKILL') await this.#process?.exited
    while (signal === 'SIGSTOP' && !threads(pid).every((state) => state === 'T')) await Bun.sleep(1)
  }

  /** Runs statements as root, on a connection of its own. */
  async query<Row>(sql: string, database?: string): Promise<Row[]> {
    const { createConnection } = await import('mysql2/promise')
    const { host, port, username } = this.settings
    const connection = await createConnection({
      host,
      port,
      user: username,
      multipleStatements: true,
      dateStrings: true,
      ...(database === undefined ? {} : { database }),
    })
    try {
      const [rows] = await connection.query(sql)
      return rows as Row[]
    } finally {
      connection.destroy()
    }
  }

  /** Ends it and removes its folder. Twice is fine. */
  async stop(): Promise<void> {
    await this.signal('SIGKILL')
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** The state of each thread of a process, as in `ps`. proc(5), /proc/pid/stat. */
function threads(pid: number | undefined): string[] {
  return readdirSync(`/proc/${pid}/task`).map((task) => {
    const stat = readFileSync(`/proc/${pid}/task/${task}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2)[0] ?? ''
  })
}

/** A data folder as it is after installation, made once on this machine for each version of the program. */
async function template(): Promise<string> {
  const program = need('mariadbd') ?? ''
  const version = Bun.hash(`${Bun.spawnSync([program, '--version']).stdout}${OPTIONS}`).toString(36)
  const folder = join(tmpdir(), `ringdown-mariadb-template-${version}-${process.getuid?.() ?? 0}`)
  if (existsSync(folder)) return folder
  const fresh = mkdtempSync(join(tmpdir(), 'ringdown-mariadb-new-'))
  const install = Bun.spawnSync([
    'mariadb-install-db',
    '--no-defaults',
    `--datadir=${fresh}`,
    '--auth-root-authentication-method=normal',
    '--skip-test-db',
    ...OPTIONS,
  ])
  if (!install.success) throw new Error(`mariadb-install-db failed: ${install.stderr}`)
  try {
    renameSync(fresh, folder)
  } catch {
    // Another test was quicker.
    rmSync(fresh, { recursive: true, force: true })
  }
  return folder
}

async function readUntil(stream: ReadableStream<Uint8Array>, words: string): Promise<void> {
  const decoder = new TextDecoder()
  const reader = stream.getReader()
  let text = ''
  const late = setTimeout(() => void reader.cancel(), DEADLINE)
  try {
    while (!text.includes(words)) {
      const { done, value } = await reader.read()
      if (done) throw new Error(`MariaDB did not start:\n${text.slice(-2000)}`)
      text += decoder.decode(value, { stream: true })
    }
  } finally {
    clearTimeout(late)
  }
  // The rest is read and dropped, or the server would stand still on a full pipe.
  void (async () => {
    while (!(await reader.read()).done);
  })()
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
