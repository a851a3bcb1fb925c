/** HTTP by hand on a TCP socket, so that a test can send what no library would, and see all that comes back. */
import { connect } from 'node:net'

const DEADLINE = 14_000

export interface Exchange {
  /** Status lines of all answers that came. */
  readonly statuses: readonly number[]
  /** Everything that came, until the server closed. */
  readonly text: string
  readonly took: number
}

/** Sends these bytes and reads until the server closes. `dribble`: goes on with a byte each so many milliseconds. */
export function exchange(port: number, bytes: string | Uint8Array, dribble?: number): Promise<Exchange> {
  const startedAt = performance.now()
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    let text = ''
    const dribbling = dribble === undefined ? undefined : setInterval(() => socket.write('x'), dribble)
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new Error(`not closed in ${DEADLINE} ms; got ${text.slice(0, 200)}`))
    }, DEADLINE)
    socket.on('data', (data) => {
      text += data.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(timer)
      clearInterval(dribbling)
      const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]))
      resolve({ statuses, text, took: performance.now() - startedAt })
    })
  })
}

/** A request without a body that asks the server to close after it. */
export function request(line: string, headers: Readonly<Record<string, string>> = {}): string {
  const all = { Host: 'localhost', Connection: 'close', ...headers }
  return `${line} HTTP/1.1\r\n${Object.entries(all)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}\r\n`
}

/** Sockets of the server on this port that have not been let go of, as the kernel sees them (proc_net_tcp(5)). */
export async function socketsOf(port: number): Promise<string[]> {
  const at = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const lines = (await Bun.file('/proc/net/tcp').text()).split('\n').slice(1)
  const LISTENING = '0A'
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter(
      ([, local, , state, , , , , , inode]) => local?.endsWith(at) && state !== LISTENING && inode !== '0',
    )
    .map(([, , remote = '']) => remote)
}
