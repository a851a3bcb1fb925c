/**
 * Asks the server on this machine how it is; exit code 0 when it answers 200. For a container, which has no curl.
 *
 *   ringdown health           does it run? Asked by HEALTHCHECK in the Dockerfile
 *   ringdown health /ready    should it get calls? Prints what it says
 */
import { readConfig } from '../src/config/read.ts'

const PATIENCE = 4000

const path = process.argv[2] ?? '/health'
const { SERVER_ADDR, TLS_CERT_FILE } = readConfig(process.env, []).config
const { host, port } = SERVER_ADDR
const url = `http${TLS_CERT_FILE === null ? '' : 's'}://${reachable(host)}:${port}${path}`
try {
  const answer = await fetch(url, {
    signal: AbortSignal.timeout(PATIENCE),
    // The certificate is for the name that others know this server by.
    tls: { rejectUnauthorized: false },
  })
  process.stdout.write(`${await answer.text()}\n`)
  process.exitCode = answer.ok ? 0 : 1
} catch (error) {
  process.stderr.write(`${url} does not answer: ${error instanceof Error ? error.message : error}\n`)
  process.exitCode = 1
}

/** Where a server that listens on every interface is found from here. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}
