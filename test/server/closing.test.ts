// That what is owned is let go of: the rows of docs/closing.md that no other test proves, and the table itself.
import { Database } from 'bun:sqlite'
import { afterEach, describe, expect, test } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { readConfig } from '../../src/config/read.ts'
import { start } from '../../src/main.ts'
import { listLog } from '../kit/log.ts'
import { ADMIN_KEY, API_KEY, activeRide, closeServers, joinAs, startServer } from '../kit/server.ts'
import { temporaryFolder } from '../kit/stores.ts'

afterEach(closeServers)

const ROOT = join(import.meta.dir, '../..')

describe('a server that is closed', () => {
  test('[WS-14] lets nobody in from the first moment, tells the phones, and is closed once however often it is told', async () => {
    const server = await startServer()
    const { driver, passenger } = await activeRide(server)
    const stranger = await server.connect()
    const closing = server.close()
    await expect(server.connect()).rejects.toThrow()
    await expect(server.ask('GET', '/health')).rejects.toThrow()
    for (const peer of [driver.peer, passenger.peer, stranger]) {
      expect(await peer.closed()).toEqual({ code: 4103, reason: 'draining' })
    }
    await Promise.all([closing, server.close()])
    await server.close()
    expect(server.logged.filter(({ message }) => message === 'stopped')).toHaveLength(1)
    expect(server.logged.at(-1)?.message).toBe('stopped')
  })

  test('leaves no alarm, whatever its calls and connections were waiting for', async () => {
    const server = await startServer()
    await server.createSession()
    await joinAs(server, await server.createSession(), 'user_123')
    const { driver } = await activeRide(server)
    driver.peer.drop()
    const { session } = await activeRide(server)
    const bare = await server.connect({ pong: false })
    bare.send({ type: 'authenticate', session_id: session.session_id, user_id: 'user_123' })
    await bare.settle()
    await server.connect()
    expect(server.clock.alarms).toBeGreaterThan(8)
    await server.close()
    expect(server.clock.alarms).toBe(0)
    await server.clock.wind(3600_000)
    expect(server.logged.at(-1)?.message).toBe('stopped')
  })

  test('has written down what happened last, and leaves the file to the next one', async () => {
    const server = await startServer()
    const { session } = await activeRide(server)
    await server.ask('DELETE', `/sessions/${session.session_id}`)
    await activeRide(server)
    await server.close()
    const database = new Database(join(server.dataDir, 'ringdown.db'))
    const rows = database.query('SELECT status, end_reason FROM call_logs ORDER BY id').all()
    database.close()
    expect(rows).toEqual([
      { status: 'ended', end_reason: 'cancelled_by_backend' },
      { status: 'active', end_reason: null },
    ])
    const next = await server.again()
    expect((await next.ask('GET', '/health')).status).toBe(200)
  })

  test('leaves nothing that keeps its process going, and its last line is out', async () => {
    const script = `
      import { readConfig } from './src/config/read.ts'
      import { start } from './src/main.ts'
      const settings = ${JSON.stringify(settings({ LOG_FORMAT: 'json' }))}
      const running = await start(readConfig(settings, []).config)
      await fetch(running.url + '/health').then((answer) => answer.text())
      await running.close()
      await running.close()
    `
    const child = Bun.spawn([process.execPath, '--no-env-file', '-e', script], {
      cwd: ROOT,
      stdout: 'pipe',
      stderr: 'pipe',
    })
    const stuck = setTimeout(() => child.kill('SIGKILL'), 10_000)
    const lines = (await new Response(child.stdout).text()).trim().split('\n')
    const said = await new Response(child.stderr).text()
    expect([await child.exited, child.signalCode, said]).toEqual([0, null, ''])
    clearTimeout(stuck)
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ level: 'info', msg: 'stopped' })
  })

  test('waits for a database that says nothing no longer than it should', async () => {
    const held = new Set<Socket>()
    const mute = createServer((socket) => void held.add(socket))
    await new Promise<void>((listening) => mute.listen(0, '127.0.0.1', listening))
    const { port } = mute.address() as { port: number }
    const database = { DB_HOST: '127.0.0.1', DB_PORT: String(port), DB_USERNAME: 'root', DB_PASSWORD: '' }
    const { config } = readConfig(settings(database), [])
    // On its own clock, which must go on as long as the store has deadlines.
    const running = await start(config, { log: listLog() })
    const late = Bun.sleep(10_000).then(() => 'still closing')
    expect(await Promise.race([running.close().then(() => 'closed'), late])).toBe('closed')
    for (const socket of held) socket.destroy()
    mute.close()
  })
})

function settings(more: Record<string, string>): Record<string, string> {
  const own = { SERVER_ADDR: '127.0.0.1:0', API_KEY, ADMIN_KEY, DATA_DIR: temporaryFolder() }
  return { ...own, ...more }
}

describe('docs/closing.md', () => {
  const table = readFileSync(join(ROOT, 'docs/closing.md'), 'utf8')
  const rows = table
    .split('\n')
    .filter((line) => /^\| (?!what )/.test(line))
    .map((line) => line.split('|').slice(1, -1))
  const quoted = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '')
  const tests = [...new Bun.Glob('{src,test}/**/*.test.{ts,tsx}').scanSync(ROOT)]
    .map((file) => readFileSync(join(ROOT, file), 'utf8'))
    .join('\n')

  test('names for each thing an owner and proofs that exist', () => {
    expect(rows.length).toBeGreaterThan(15)
    for (const [what = '', owner = '', when = '', proof = ''] of rows) {
      const owners = quoted(owner)
      expect([what, owners.length > 0, when.trim() !== '']).toEqual([what, true, true])
      for (const file of owners) expect([file, existsSync(join(ROOT, 'src', file))]).toEqual([file, true])
      const proofs = quoted(proof)
      expect([what, proofs.length > 0]).toEqual([what, true])
      for (const each of proofs) {
        const there = each.startsWith('[') ? tests.includes(each) : existsSync(join(ROOT, each))
        expect([what, each, there]).toEqual([what, each, true])
      }
    }
  })
})
