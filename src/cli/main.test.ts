import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { version } from '../../package.json'
import { IN_REAL_TIME } from '../../test/kit/real-time.ts'
import { options } from '../config/options.ts'
import type { Running } from '../main.ts'
import { openLog } from '../observe/log.ts'
import { run } from './main.ts'
import { stop } from './serve.ts'
import { verify } from './verify.ts'

const MAIN = join(import.meta.dir, 'main.ts')
const KEY = 'not-a-key-of-anyone-0123456789abcdef'
const PASSWORD = 'hunter2-hunter2'
let data: string

beforeEach(() => {
  data = join(mkdtempSync(join(tmpdir(), 'ringdown-')), 'data')
})
afterEach(() => rmSync(join(data, '..'), { recursive: true, force: true }))

/** Runs a command in this process. */
async function command(argv: string[], env: Record<string, string> = {}) {
  let [out, err] = ['', '']
  const terminal = {
    out: (text: string) => {
      out += text
    },
    err: (text: string) => {
      err += text
    },
    env: { DATA_DIR: data, ...env },
  }
  return { code: await run(argv, terminal), out, err }
}

const ENVIRONMENT = { PATH: process.env.PATH ?? '', SERVER_ADDR: '127.0.0.1:0' }

/** Starts a command as its own process; `until` resolves when its output holds a text. */
function spawn(argv: string[], env: Record<string, string> = {}, script = [MAIN]) {
  const child = Bun.spawn([process.execPath, '--no-env-file', ...script, ...argv], {
    env: { ...ENVIRONMENT, DATA_DIR: data, ...env },
    stdout: 'pipe',
    stderr: 'pipe',
  })
  let out = ''
  const waiting: (() => void)[] = []
  const reading = (async () => {
    const decoder = new TextDecoder()
    for await (const bytes of child.stdout) {
      out += decoder.decode(bytes, { stream: true })
      for (const look of waiting) look()
    }
  })()
  const err = new Response(child.stderr).text()
  return {
    child,
    until: (text: string) =>
      new Promise<void>((done, failed) => {
        const look = () => out.includes(text) && done()
        waiting.push(look)
        look()
        void reading.then(() => failed(new Error(`ended without ${text}: ${out}`)))
      }),
    async ended() {
      const code = await child.exited
      await reading
      return { code, out, err: await err }
    },
  }
}

const lines = (out: string): Record<string, unknown>[] =>
  out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

describe('serve', () => {
  test('says in JSON what it is and where, shows no key, and stops with 0 when it is told to', async () => {
    const server = spawn([], { LOG_FORMAT: 'json', HEARTBEAT_INTERVALL: '1s' })
    await server.until('"ready"')
    server.child.kill('SIGTERM')
    const { code, out, err } = await server.ended()
    expect([code, err]).toEqual([0, ''])
    const ready = lines(out).find(({ msg }) => msg === 'ready')
    expect(ready).toMatchObject({
      level: 'info',
      version,
      database: `SQLite, in ${data}`,
      keyFile: join(data, 'keys.json'),
    })
    expect(ready?.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    const warnings = lines(out)
      .filter(({ level }) => level === 'warn')
      .map(({ msg }) => String(msg))
    expect(warnings[0]).toBe('HEARTBEAT_INTERVALL is not an option; did you mean HEARTBEAT_INTERVAL?')
    expect(warnings[1]).toStartWith('REQUIRE_JOIN_TOKEN is off')
    const kept = JSON.parse(readFileSync(join(data, 'keys.json'), 'utf8'))
    for (const secret of [...kept.api, ...kept.admin, ...kept.line, kept.secret])
      expect(out).not.toContain(secret)
  })

  test('[LINE-40] the link to try has the site and the start of the key, as the document shows', async () => {
    const APIKEY = `SEBIEJTA${'x7'.repeat(40)}`
    const env = { LOG_FORMAT: 'json', SITEURL: 'https://voip-clzer.ondigitalocean.app', APIKEY }
    const server = spawn([], env)
    await server.until('"ready"')
    server.child.kill('SIGTERM')
    const { out } = await server.ended()
    expect(out).toContain('"Try https://voip-clzer.ondigitalocean.app/line.html?apikey=SEBIEJTA..."')
    expect(out).toContain(
      '"Try mobile https://voip-clzer.ondigitalocean.app/line.html?apikey=SEBIEJTA...&mobile=1"',
    )
    expect(out).not.toContain(APIKEY)
    expect(out).not.toContain('x7x7')
  })

  test('on a terminal it shows a made API key once, with links to try', async () => {
    const first = spawn(['serve'], { LOG_FORMAT: 'pretty' })
    await first.until('Try a call')
    first.child.kill('SIGINT')
    const { code, out } = await first.ended()
    expect(code).toBe(0)
    const kept = JSON.parse(readFileSync(join(data, 'keys.json'), 'utf8'))
    expect(out).toContain(`  API key     ${kept.api[0]}  (shown this once)\n`)
    expect(out).toMatch(
      / {2}Listening {3}http:\/\/127\.0\.0\.1:(\d+)\n[\s\S]*Try a call {2}http:\/\/127\.0\.0\.1:\1\/call\.html\n/,
    )
    expect(out).toMatch(
      new RegExp(`  A line {6}http://\\S+/line\\.html\\?apikey=${kept.line[0]}#generate_leaf\n`),
    )
    expect(out).toContain(`/line.html?apikey=${kept.line[0]}&mobile=1#generate_leaf\n`)
    expect(out).not.toContain(kept.admin[0])
    expect(out).not.toContain(kept.secret)

    const second = spawn(['--require-join-token'], { LOG_FORMAT: 'pretty', API_KEY: KEY })
    await second.until('Call log')
    second.child.kill('SIGTERM')
    const again = await second.ended()
    expect(again.out).toContain('/line.html?apikey=rd_line_...  (ringdown keys link)\n')
    for (const absent of ['API key', 'Try a call', 'REQUIRE_JOIN_TOKEN', kept.api[0], kept.line[0], KEY])
      expect(again.out).not.toContain(absent)
  })

  const bad: [string, Record<string, string>][] = [
    ['SERVER_ADDR', { SERVER_ADDR: 'nowhere' }],
    ['SERVER_ADDR', { SERVER_ADDR: '192.0.2.1:1' }],
    ['API_KEY', { API_KEY: PASSWORD }],
    ['HEARTBEAT_TIMEOUT', { HEARTBEAT_INTERVAL: '1m' }],
    ['SESSION_DURATION', { SESSION_DURATION: '60' }],
    ['keys.json', { DATA_DIR: '/proc/nowhere' }],
  ]
  for (const [names, env] of bad) {
    test(`[T-O7] ${JSON.stringify(env)} stops the start in one line`, IN_REAL_TIME, async () => {
      const began = performance.now()
      const { code, out, err } = await spawn([], { DB_PASSWORD: PASSWORD, ...env }).ended()
      expect(performance.now() - began).toBeLessThan(2000)
      expect(code).toBe(1)
      expect(err).toMatch(/^ringdown: [^\n]+\n$/)
      expect(err).toContain(names)
      expect(out + err).not.toContain(PASSWORD)
    })
  }

  test('a port that is taken stops the start in one line', async () => {
    const taken = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
    const { code, err } = await spawn(['--server-addr', `127.0.0.1:${taken.port}`]).ended()
    taken.stop(true)
    expect(code).toBe(1)
    expect(err).toBe(
      `ringdown: SERVER_ADDR is 127.0.0.1:${taken.port}, and another program listens there already.\n`,
    )
  })

  test('an error that nobody caught is in the log, and the process ends with 1', async () => {
    const script = `
      import { run } from ${JSON.stringify(MAIN)}
      const terminal = { out() {}, err() {}, env: process.env }
      process.on('SIGUSR2', () => { how() })
      process.exit(await run(['serve'], terminal))`
    for (const how of [`throw new Error('boom')`, `void Promise.reject(new Error('boom'))`]) {
      const server = spawn([], { LOG_FORMAT: 'json' }, ['-e', script.replace('how()', how)])
      await server.until('"msg":"ready"')
      server.child.kill('SIGUSR2')
      const { code, out } = await server.ended()
      expect(code, how).toBe(1)
      expect(lines(out).at(-1), how).toMatchObject({
        level: 'error',
        err: { message: 'boom' },
        msg: 'the server fell over',
      })
    }
  })

  test('a second signal cuts a stop short, with 1', async () => {
    const log = openLog({ level: 'error', format: 'json', outlet: { write: () => undefined } })
    const stuck = { close: () => new Promise(() => {}) } as unknown as Running
    const never = new Promise<void>(() => {})
    expect(await stop(stuck, Promise.resolve(), log)).toBe(1)
    expect(await stop({ close: async () => {} } as unknown as Running, never, log)).toBe(0)
    await log.close()
  })
})

test('config shows every setting and where it comes from, and no secret', async () => {
  const env = { SESSION_DURATION: '2m', API_KEY: KEY, DB_PASSWORD: PASSWORD, DB_USERNAME: 'calls' }
  const { code, out } = await command(['config', '--reconnect-grace=1s'], env)
  expect(code).toBe(0)
  for (const name of Object.keys(options)) expect(out).toMatch(new RegExp(`^(# )?${name}=`, 'm'))
  expect(out).toMatch(/^SESSION_DURATION=2m +# environment or \.env$/m)
  expect(out).toMatch(/^JOIN_WINDOW=2m +# default$/m)
  expect(out).toMatch(/^RECONNECT_GRACE=1s +# flag$/m)
  expect(out).toMatch(/^# API_KEY= {2}\(set, not shown; environment or \.env\)$/m)
  expect(out).toMatch(/^# ADMIN_KEY= {2}\(not set: made at first start\)$/m)
  expect(out).not.toContain(KEY)
  expect(out).not.toContain(PASSWORD)
})

test('keys lists, shows, adds and retires made keys', async () => {
  expect((await command(['keys'])).out).toContain('There are no made keys yet')
  expect(await command(['keys', 'new', 'api'])).toMatchObject({ code: 1, out: '' })
  expect(existsSync(data)).toBe(false)

  const server = spawn([], { LOG_FORMAT: 'json' })
  await server.until('"ready"')
  server.child.kill('SIGTERM')
  await server.ended()
  const kept = () => JSON.parse(readFileSync(join(data, 'keys.json'), 'utf8'))
  const [old] = kept().api
  const plain = await command(['keys'])
  expect(plain.out).toContain('api: 1 from the file')
  expect(plain.out).not.toContain(old)
  expect((await command(['keys', 'show'])).out).toContain(old)

  expect((await command(['keys', 'new', 'api'])).out).toContain('keys retire api')
  expect(kept().api).toHaveLength(2)
  expect((await command(['keys', 'new', 'admin', '--admin-key', KEY])).out).toContain('ADMIN_KEY is set')
  expect((await command(['keys', 'retire', 'api'])).code).toBe(0)
  expect(kept().api).toHaveLength(1)
  expect(kept().api).not.toContain(old)
  expect((await command(['keys', 'show'])).out).toContain(`line: 1 from the file\n  ${kept().line[0]}\n`)
  const { out } = await command(['keys', 'link', '--siteurl', 'https://line.example.com'])
  expect(out).toBe(
    `https://line.example.com/line.html?apikey=${kept().line[0]}#generate_leaf\n` +
      `https://line.example.com/line.html?apikey=${kept().line[0]}&mobile=1#generate_leaf\n`,
  )
  const given = await command(['keys', 'link'], { APIKEY: `${'k'.repeat(72)},${'l'.repeat(72)}` })
  expect(given.out).toContain(`http://127.0.0.1:47880/line.html?apikey=${'k'.repeat(72)}#generate_leaf\n`)
  for (const wrong of [['what'], ['new'], ['new', 'door'], ['new', 'api', 'x'], ['show', 'api']]) {
    expect((await command(['keys', ...wrong])).code, wrong.join(' ')).toBe(1)
  }
})

describe('doctor', () => {
  test('finds nothing bad on a machine that is set up', async () => {
    const { code, out } = await command(['doctor', '--server-addr', '127.0.0.1:0'])
    expect(out).not.toContain('BAD')
    expect(code).toBe(0)
    expect(existsSync(data)).toBe(false)
  })

  test('finds a folder, a port, a key file and a database that will not do', async () => {
    const taken = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
    mkdirSync(data, { recursive: true })
    writeFileSync(join(data, 'keys.json'), '{')
    chmodSync(join(data, 'keys.json'), 0o600)
    const argv = [
      'doctor',
      '--server-addr',
      `127.0.0.1:${taken.port}`,
      '--db-username',
      'calls',
      '--db-port',
      '1',
    ]
    const { code, out } = await command(argv)
    taken.stop(true)
    expect(code).toBe(1)
    expect(out.match(/^BAD /gm)).toHaveLength(3)
    expect((await command(['doctor', '--data-dir', '/dev/null/x'])).out).toMatch(/^BAD .*DATA_DIR/m)
  })

  test('tells a MySQL by its greeting', async () => {
    const greetings: [Buffer, RegExp][] = [
      [packet(Buffer.from('\x0a11.8.2-MariaDB\0rest', 'latin1')), /ok .*11\.8\.2-MariaDB/],
      [
        packet(Buffer.from("\xff\x6a\x04Host '10.0.0.1' is not allowed", 'latin1')),
        /BAD .*Host '10\.0\.0\.1' is not allowed/,
      ],
      [Buffer.from('SSH-2.0-OpenSSH_9.2\r\n'), /BAD .*not a MySQL/],
    ]
    for (const [bytes, says] of greetings) {
      const server = Bun.listen({
        hostname: '127.0.0.1',
        port: 0,
        socket: { open: (socket) => void socket.write(bytes), data() {} },
      })
      const { out } = await command([
        'doctor',
        '--server-addr',
        '127.0.0.1:0',
        '--db-username=x',
        `--db-port=${server.port}`,
      ])
      server.stop(true)
      expect(out).toMatch(says)
    }
  })
})

function packet(payload: Buffer): Buffer {
  const header = Buffer.alloc(4)
  header.writeUIntLE(payload.length, 0, 3)
  return Buffer.concat([header, payload])
}

test('[LINE-36] verify finds a file that is not the one that was built, and needs no word of the server', async () => {
  const key = 'k'.repeat(72)
  const files: Record<string, string> = {
    '/line.html': '<!doctype html>',
    '/assets/a.js': 'a()',
    '/assets/b.css': 'b{}',
  }
  const served = { ...files }
  const asked: string[] = []
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch({ url }) {
      const { pathname, search } = new URL(url)
      asked.push(pathname + search)
      const body = served[pathname]
      if (body === undefined) return new Response('', { status: 404 })
      const allowed = pathname !== '/line.html' || search === `?apikey=${key}`
      return new Response(body, { status: allowed ? 200 : 401 })
    },
  })
  const built = join(data, 'web')
  mkdirSync(built, { recursive: true })
  const hashes = Object.entries({ ...files, '/call.html': 'not asked for' }).map(([path, text]) => [
    path.slice(1),
    new Bun.CryptoHasher('sha256').update(text).digest('hex'),
  ])
  writeFileSync(join(built, 'files.json'), JSON.stringify(Object.fromEntries(hashes)))
  const check = async (address: string, env: Record<string, string> = {}) => {
    let out = ''
    const terminal = {
      out: (text: string) => {
        out += text
      },
      err: () => {},
      env,
    }
    return { code: await verify([address], terminal, built), out }
  }
  const site = `http://127.0.0.1:${server.port}`
  const hash = createHash('sha256').update('<!doctype html>').digest('hex')
  const stated = `The SHA-256 of line.html, as its numbers show it: ${hash.replace(/.{8}(?!$)/g, '$& ')}\n`
  const right = { code: 0, out: `${site} serves the 3 files that were built here.\n${stated}` }
  expect(await check(site, { APIKEY: key })).toEqual(right)
  expect(await check(`${site}/line.html?apikey=${key}#leaf_x`)).toEqual(right)
  expect(asked.join(' ')).not.toContain('leaf')
  expect((await check(site, { APIKEY: 'x'.repeat(72) })).out).toStartWith('line.html is not there\n')
  served['/assets/a.js'] = 'a(); steal()'
  delete served['/assets/b.css']
  expect(await check(site, { APIKEY: key })).toEqual({
    code: 1,
    out: 'assets/a.js is another file\nassets/b.css is not there\n2 of 3 files differ from what was built here.\n'.concat(
      stated,
    ),
  })
  await server.stop(true)
  await expect(check(`${site}/?apikey=${key}`)).rejects.toThrow(/^http:\S+ does not answer: \w+\.$/)
  expect((await command(['verify', 'line.example.com'])).code).toBe(1)
})

test('help and version need nothing to be right', async () => {
  const help = await command(['--help'], { SERVER_ADDR: 'wrong' })
  expect(help.code).toBe(0)
  for (const name of Object.keys(options)) expect(help.out).toContain(name)
  expect(await command(['--version'])).toMatchObject({
    code: 0,
    out: `ringdown ${version} (bun ${Bun.version})\n`,
  })
  expect(await command(['bogus'])).toMatchObject({ code: 2, out: '' })
})
