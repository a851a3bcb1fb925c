/** The server's own TLS, by real clients over real sockets. */
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ConnectionOptions, connect } from 'node:tls'
import {
  type Certificate,
  CertificateError,
  type CertificateFiles,
  readCertificate,
} from '../../src/auth/certificate.ts'
import { makeCertificate, type TestCertificate } from '../kit/certificate.ts'
import { describeWith } from '../kit/need.ts'
import { API_KEY, closeServers, startServer, type TestServer } from '../kit/server.ts'

const ROOT = join(import.meta.dir, '../..')

describeWith('openssl', 'TLS of its own', (openssl) => {
  let files: TestCertificate
  beforeEach(() => {
    files = makeCertificate(openssl, 'first.example')
  })
  afterEach(async () => {
    await closeServers()
    files.remove()
  })

  const start = (settings: Record<string, string> = {}) =>
    startServer({ TLS_CERT_FILE: files.cert, TLS_KEY_FILE: files.key, ...settings })

  test('[LINE-37] TLS 1.3 is spoken, and nothing older nor plain HTTP', async () => {
    const server = await start()
    expect(server.url).toBe(`https://127.0.0.1:${server.port}`)
    expect(await greeted(server)).toEqual({ protocol: 'TLSv1.3', name: 'first.example' })
    for (const version of ['TLSv1.2', 'TLSv1.1', 'TLSv1'] as const)
      expect(await greeted(server, { minVersion: version, maxVersion: version }).catch(String)).toMatch(
        /PROTOCOL_VERSION|NO_PROTOCOLS/,
      )
    expect(await fetch(`http://127.0.0.1:${server.port}/health`).catch(() => 'nothing')).toBe('nothing')
    const answer = await fetch(`${server.url}/health`, { tls: { rejectUnauthorized: false } })
    expect(await answer.json()).toEqual({ status: 'ok' })
  })

  test('[LINE-37] [LINE-38] addresses it hands out say so, and browsers are told to stay with it', async () => {
    const server = await start()
    const { headers, body } = await ask(server, '/sessions', {
      ride_id: 'ride_456',
      driver_id: 'user_123',
      passenger_id: 'user_789',
    })
    expect(body.websocket_url).toBe(`wss://127.0.0.1:${server.port}/ws`)
    expect(headers.get('strict-transport-security')).toBe('max-age=31536000')
    expect(server.logged.find(({ message }) => message === 'listening')?.context.url).toBe(server.url)
  })

  test('[LINE-39] a renewed certificate is served to who comes, and who is connected stays', async () => {
    const server = await start()
    files.renew('second.example')
    await server.clock.wind(59_000)
    // Late, because it has 10 s to say who it is.
    const before = await socket(server)
    expect((await greeted(server)).name).toBe('first.example')
    await server.clock.wind(1_100)
    for (let i = 0; i < 5; i++) expect((await greeted(server)).name).toBe('second.example')
    files.renew('third.example')
    server.renewCertificate()
    expect((await greeted(server)).name).toBe('third.example')
    const after = await socket(server)
    for (const each of [before, after]) expect(await said(each, 'hello')).toContain('invalid_message')
    expect(server.logged.filter(({ message }) => message === 'the certificate was renewed')).toMatchObject([
      { context: { names: 'DNS:second.example' } },
      { context: { names: 'DNS:third.example' } },
    ])

    const ends = [before, after].map(closed)
    await server.close()
    expect(await Promise.all(ends)).toEqual([4103, 4103])
    expect(await greeted(server).catch(() => 'nobody')).toBe('nobody')
    expect(server.clock.alarms).toBe(0)
  })

  test('[LINE-39] a certificate that cannot be used changes nothing, is said once, and is taken when it can', async () => {
    const server = await start()
    files.renew('second.example', 'certificate')
    await server.clock.wind(180_000)
    expect((await greeted(server)).name).toBe('first.example')
    files.renew('third.example')
    await server.clock.wind(60_000)
    expect((await greeted(server)).name).toBe('third.example')
    rmSync(files.key)
    server.renewCertificate()
    expect((await greeted(server)).name).toBe('third.example')
    const warned = server.logged.filter(({ level }) => level === 'warn').map(({ context }) => context.why)
    expect(warned).toEqual([
      `TLS_KEY_FILE is ${files.key}, and is not the key of the certificate in TLS_CERT_FILE, ${files.cert}.`,
      `TLS_KEY_FILE is ${files.key}, which cannot be read: ENOENT.`,
    ])
  })

  test('[LINE-39] SIGHUP has the process look at once, and does not end it', async () => {
    const settings = { TLS_CERT_FILE: files.cert, TLS_KEY_FILE: files.key, SERVER_ADDR: '127.0.0.1:0' }
    const child = Bun.spawn([process.execPath, '--no-env-file', join(ROOT, 'src/cli/main.ts')], {
      env: { PATH: process.env.PATH, DATA_DIR: join(files.cert, '../data'), LOG_FORMAT: 'json', ...settings },
      stdout: 'pipe',
    })
    const logged = lines(child.stdout)
    const { url } = await logged.next((line) => line.msg === 'ready')
    const server = { port: Number(new URL(String(url)).port) }
    expect(url).toBe(`https://127.0.0.1:${server.port}`)
    files.renew('second.example')
    child.kill('SIGHUP')
    await logged.next((line) => line.msg === 'the certificate was renewed')
    expect((await greeted(server)).name).toBe('second.example')
    child.kill('SIGTERM')
    expect(await child.exited).toBe(0)
  })

  test('[LINE-37] two servers do not share a port', async () => {
    const server = await start()
    const other = startServer({
      TLS_CERT_FILE: files.cert,
      TLS_KEY_FILE: files.key,
      SERVER_ADDR: `127.0.0.1:${server.port}`,
    })
    expect(await other.catch((error: { code: string }) => error.code)).toBe('EADDRINUSE')
  })

  test('[LINE-37] files that will not do stop the start with one line that names the variable', () => {
    const refusal = (more: Partial<CertificateFiles>) => {
      try {
        return readCertificate({ ...files, ...more }).names
      } catch (error) {
        expect(error).toBeInstanceOf(CertificateError)
        return (error as Error).message
      }
    }
    const other = makeCertificate(openssl, 'other.example')
    expect(refusal({ cert: '/nowhere.pem' })).toBe(
      'TLS_CERT_FILE is /nowhere.pem, which cannot be read: ENOENT.',
    )
    expect(refusal({ cert: files.key })).toBe(
      `TLS_CERT_FILE is ${files.key}, which is not a certificate in PEM.`,
    )
    expect(refusal({ key: files.cert })).toBe(
      `TLS_KEY_FILE is ${files.cert}, which is not a private key in PEM, without a password.`,
    )
    expect(refusal({ key: other.key })).toBe(
      `TLS_KEY_FILE is ${other.key}, and is not the key of the certificate in TLS_CERT_FILE, ${files.cert}.`,
    )
    const settings = { TLS_CERT_FILE: files.cert, TLS_KEY_FILE: other.key, SERVER_ADDR: '127.0.0.1:0' }
    const { exitCode, stderr } = Bun.spawnSync([process.execPath, join(ROOT, 'src/cli/main.ts')], {
      env: { PATH: process.env.PATH, DATA_DIR: join(files.cert, '../data'), ...settings },
      stderr: 'pipe',
    })
    expect(stderr.toString()).toBe(`ringdown: ${refusal({ key: other.key })}\n`)
    expect(exitCode).toBe(1)
    other.remove()
  })

  test('[LINE-37] doctor looks at the certificate', () => {
    const doctor = () => {
      const settings = { TLS_CERT_FILE: files.cert, TLS_KEY_FILE: files.key, SERVER_ADDR: '0.0.0.0:0' }
      const { stdout } = Bun.spawnSync([process.execPath, join(ROOT, 'src/cli/main.ts'), 'doctor'], {
        env: { PATH: process.env.PATH, DATA_DIR: join(files.cert, '..'), ...settings },
        stdout: 'pipe',
      })
      return stdout.toString()
    }
    const good = doctor()
    expect(good).toMatch(/^ok {4}The certificate \(DNS:first\.example\) is good for (29|30) days more\.$/m)
    expect(good).not.toContain('without TLS')
    files.renew('second.example', 'key')
    expect(doctor()).toMatch(/^BAD {3}TLS_KEY_FILE is \S+, and is not the key of the certificate/m)
  })

  test('[LINE-37] the health check of the container asks over TLS', async () => {
    const server = await start()
    const script = join(ROOT, 'deploy/health.ts')
    const settings = { TLS_CERT_FILE: files.cert, TLS_KEY_FILE: files.key }
    const child = Bun.spawn([process.execPath, script], {
      env: { PATH: process.env.PATH, SERVER_ADDR: `127.0.0.1:${server.port}`, ...settings },
      stdout: 'pipe',
    })
    expect(await new Response(child.stdout).text()).toBe('{"status":"ok"}\n')
    expect(await child.exited).toBe(0)
  })

  test('[LINE-39] a certificate is known by its names and its end', () => {
    const { names, until }: Certificate = readCertificate(files)
    expect(names).toBe('DNS:first.example')
    expect(Math.round((until - Date.now()) / 86_400_000)).toBe(30)
    writeFileSync(files.key, '')
    expect(() => readCertificate(files)).toThrow('TLS_KEY_FILE')
  })
})

async function ask(server: TestServer, path: string, request: object) {
  const { headers, ...answer } = await fetch(server.url + path, {
    method: 'POST',
    headers: { 'x-api-key': API_KEY, 'content-type': 'application/json' },
    body: JSON.stringify(request),
    tls: { rejectUnauthorized: false },
  }).then(async (response) => ({ headers: response.headers, body: await response.json() }))
  return { headers, ...answer }
}

/** JSON lines as they come. */
function lines(stream: ReadableStream<Uint8Array>) {
  const texts = stream.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader()
  let rest = ''
  return {
    /** The first from here on that is one. Rejects at the end. */
    async next(is: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> {
      for (;;) {
        const end = rest.indexOf('\n')
        if (end === -1) {
          const { value } = await texts.read()
          if (value === undefined) throw new Error('the log ended')
          rest += value
          continue
        }
        const line = JSON.parse(rest.slice(0, end))
        rest = rest.slice(end + 1)
        if (is(line)) return line
      }
    },
  }
}

/** What a client with a TLS stack of its own agrees on with the server. */
function greeted(
  { port }: { readonly port: number },
  options: ConnectionOptions = {},
): Promise<{ protocol: string | null; name: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options }, () => {
      const name = String(socket.getPeerCertificate().subject.CN)
      resolve({ protocol: socket.getProtocol(), name })
      socket.destroy()
    })
    socket.once('error', reject)
  })
}

/** The compiler knows the constructor of browsers, which takes no options. */
const Socket = WebSocket as unknown as new (url: string, options: Bun.WebSocketOptions) => WebSocket

function socket(server: TestServer): Promise<WebSocket> {
  const made = new Socket(`${server.url.replace('http', 'ws')}/ws`, { tls: { rejectUnauthorized: false } })
  return new Promise((resolve, reject) => {
    made.onopen = () => resolve(made)
    made.onerror = () => reject(new Error('no connection'))
  })
}

function said(to: WebSocket, text: string): Promise<string> {
  return new Promise((resolve) => {
    to.onmessage = ({ data }) => resolve(String(data))
    to.send(text)
  })
}

function closed(it: WebSocket): Promise<number> {
  return new Promise((resolve) => {
    it.onclose = ({ code }) => resolve(code)
  })
}
