/**
 * A real coturn of the test's own, with the file that operators get: its own folder and ports, on loopback only. What a
 * test adds comes after the file, so nothing of it is taken away.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Subprocess } from 'bun'
import { StunClient } from './stun.ts'

/** The file that operators get. */
export const SHIPPED = join(import.meta.dir, '../../deploy/coturn/turnserver.conf')

/** Whether it can relay over IPv6 here; some containers have no `::1`. */
export const HAS_IPV6 = Object.values(networkInterfaces()).some((all) =>
  all?.some((it) => it.address === '::1'),
)

const DEADLINE = 5_000

export interface CoturnOptions {
  /** Its static-auth-secret lines. */
  readonly secrets: readonly string[]
  /** Peers on loopback that it relays to nevertheless, such as `127.0.0.1`. */
  readonly peers?: readonly string[]
  /** Text of a file; the shipped one unless told otherwise. */
  readonly conf?: string
}

export interface Coturn {
  readonly port: number
  /** For TURN_URLS: `turn:127.0.0.1:…?transport=udp`. */
  readonly url: string
  /** Everything it printed. */
  logs(): string
  /** SIGSTOP, SIGCONT or SIGKILL. */
  signal(signal: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void
  /** Ends it and removes its folder. Twice is fine. */
  stop(): Promise<void>
}

export async function startCoturn(program: string, options: CoturnOptions): Promise<Coturn> {
  const folder = mkdtempSync(join(tmpdir(), 'ringdown-coturn-'))
  const port = await freePort()
  const peers = options.peers ?? []
  const conf = (options.conf ?? readFileSync(SHIPPED, 'utf8')).replace(/^syslog$/m, 'log-file=stdout')
  writeFileSync(
    join(folder, 'turnserver.conf'),
    `${conf}
${options.secrets.map((secret) => `static-auth-secret=${secret}`).join('\n')}
listening-port=${port}
listening-ip=127.0.0.1
relay-ip=127.0.0.1
${HAS_IPV6 ? 'relay-ip=::1' : ''}
no-tls
no-dtls
userdb=${folder}/turndb
pidfile=${folder}/pid
relay-threads=1
${peers.length > 0 ? 'allow-loopback-peers' : ''}
${peers.map((peer) => `allowed-peer-ip=${peer}`).join('\n')}
`,
  )
  let printed = ''
  const child: Subprocess<'ignore', 'pipe', 'pipe'> = Bun.spawn(
    [program, '-c', join(folder, 'turnserver.conf')],
    { cwd: folder, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  )
  for (const stream of [child.stdout, child.stderr]) {
    void (async () => {
      const decoder = new TextDecoder()
      for await (const chunk of stream) printed += decoder.decode(chunk, { stream: true })
    })()
  }
  const stop = async () => {
    // A stopped process hears nothing else.
    child.kill('SIGKILL')
    await child.exited
    rmSync(folder, { recursive: true, force: true })
  }
  const client = await StunClient.open(port)
  try {
    const deadline = Date.now() + DEADLINE
    while (!(await client.isAlive(50))) {
      if (child.exitCode !== null) throw new Error(`coturn ended with code ${child.exitCode}: ${printed}`)
      if (Date.now() > deadline) throw new Error(`coturn does not answer: ${printed}`)
    }
  } catch (error) {
    await stop()
    throw error
  } finally {
    client.close()
  }
  return {
    port,
    url: `turn:127.0.0.1:${port}?transport=udp`,
    logs: () => printed,
    signal: (signal) => child.kill(signal),
    stop,
  }
}

/** Free for UDP and TCP, and below those that the system gives to clients, of which a test under load may hold any. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000)
    try {
      const listener = Bun.listen({ hostname: '127.0.0.1', port, socket: { data() {} } })
      const socket = await Bun.udpSocket({ hostname: '127.0.0.1', port }).finally(() => listener.stop(true))
      socket.close()
      return port
    } catch {
      // Taken.
    }
  }
}
