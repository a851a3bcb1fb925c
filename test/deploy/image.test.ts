/** The Dockerfile: what it says, and what comes of running each of its lines. See stages.ts for what is real in that. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, chownSync, copyFileSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { makeCertificate } from '../kit/certificate.ts'
import { testWith } from '../kit/need.ts'
import { until } from '../kit/until.ts'
import { canRunStages, filesIn, Image, ignoredBy, instructions } from './stages.ts'

const ROOT = join(import.meta.dir, '../..')
const lines = instructions(readFileSync(join(ROOT, 'Dockerfile'), 'utf8'))
const values = (name: string) => lines.filter((line) => line.name === name).map(({ value }) => value)

describe('the Dockerfile', () => {
  test('ends as the user 1000, and hands signals to the server itself', () => {
    expect(values('USER')).toEqual(['1000:1000'])
    expect(values('STOPSIGNAL')).toEqual(['SIGTERM'])
    for (const name of ['ENTRYPOINT', 'CMD']) expect(() => JSON.parse(values(name)[0] ?? '')).not.toThrow()
  })

  test('needs nothing of a newer builder', () => {
    expect(values('ADD')).toEqual([])
    expect(
      lines.filter(({ value }) => /^--(mount|link|chmod|parents)/.test(value) || value.includes('<<')),
    ).toEqual([])
  })

  test('takes no secret as an argument, and installs from the lock file', () => {
    expect(values('ARG').map((value) => value.split('=')[0])).toEqual(['REVISION'])
    const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'))
    const scripts = Object.keys(packages).filter((path) => packages[path].hasInstallScript)
    expect(scripts).toEqual(['node_modules/bun'])
  })
})

test('the context of the build is what is copied, and no secret, data or test', () => {
  const ignored = ignoredBy(readFileSync(join(ROOT, '.dockerignore'), 'utf8'))
  const out = [
    '.env',
    '.env.local',
    'data/keys.json',
    '.git/config',
    'node_modules/bun/package.json',
    'dist/web/a.js',
  ]
  for (const path of [
    ...out,
    'src/core/call.test.ts',
    'src/.env',
    'deploy/nginx/ringdown.conf',
    'test/kit/need.ts',
  ]) {
    expect(`${path} ${ignored(path)}`).toBe(`${path} true`)
  }
  for (const path of [
    'package.json',
    'src/main.ts',
    'src/services/ride/rides.ts',
    'scripts/run.mjs',
    'deploy/health.ts',
    'deploy/container.sh',
  ]) {
    expect(`${path} ${ignored(path)}`).toBe(`${path} false`)
  }
})

const possible = process.getuid?.() === 0 && canRunStages()
const why = 'it takes root, and a mount namespace of its own'
if (!possible) {
  if (process.env.CI === 'true') {
    test('the image', () => {
      throw new Error(why)
    })
  } else test.skip(`the image: ${why}`, () => {})
}

describe.if(possible)('the image', () => {
  const port = freePort()
  const env = { SERVER_ADDR: `127.0.0.1:${port}`, API_KEY: '0123456789abcdef'.repeat(2) }
  let image: Image

  beforeAll(async () => {
    image = await Image.build(ROOT)
  }, 180_000)
  afterAll(() => image?.close())

  test('holds what runs, and nothing that only a build needs', () => {
    const app = filesIn(join(image.root, 'app'))
    expect(app.filter((file) => !/^dist\//.test(file))).toEqual(['LICENSE'])
    expect(app.filter((file) => /(^|\/)\.env|\.pem$|keys\.json$/.test(file))).toEqual([])
    const bytes = app.reduce((sum, file) => sum + statSync(join(image.root, 'app', file)).size, 0)
    expect(bytes / 1e6).toBeLessThan(4)
  })

  test('has every file that the server could come to load', () => {
    const built = image.exec(
      ['bun', 'build', '--target=bun', '--outdir=/tmp/all', '/app/dist/server/main.js'],
      env,
    )
    expect(built).toMatchObject({ code: 0 })
  })

  test('serves as user 1000 without any right on a read-only root, and stops when told', async () => {
    image.mountAsContainer()
    const health = image.healthCommand()
    expect(image.exec(health, env).code).toBe(1)
    const { process: server, output } = image.start(env)
    await until(() => image.exec(health, env).code === 0 || server.exitCode !== null, 'an answer')
    expect(server.exitCode, output()).toBeNull()
    expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200)
    const link = image.exec(['ringdown', 'keys', 'link'], env).output.match(/apikey=([\w-]+)/)?.[1]
    const page = await fetch(`http://127.0.0.1:${port}/line.html?apikey=${link}`)
    expect([page.status, page.headers.get('content-type')]).toEqual([
      200,
      expect.stringContaining('text/html'),
    ])
    const scripts = [...(await page.text()).matchAll(/src="(\/assets\/[^"]+)"/g)].map(([, path]) => path)
    expect(scripts.length).toBeGreaterThan(0)
    for (const path of scripts) expect((await fetch(`http://127.0.0.1:${port}${path}`)).status).toBe(200)

    const status = readFileSync(`/proc/${server.pid}/status`, 'utf8')
    expect(status).toMatch(/^Uid:\t1000\t1000\t1000\t1000$/m)
    expect(status).toMatch(/^Cap(Eff|Bnd):\t0+$/m)
    expect(status).toMatch(/^NoNewPrivs:\t1$/m)
    expect(image.exec(['id', '-un'], env).output).toBe('node\n')
    expect(image.exec(['touch', '/app/x'], env).output).toContain('Read-only file system')
    expect(image.exec(['sh', '-c', 'ls -A /tmp'], env).output).toBe('')
    expect(filesIn(join(image.root, 'data'))).not.toEqual([])
    expect(image.exec([...health, '/ready'], env)).toMatchObject({
      code: 0,
      output: expect.stringContaining('"ready":true'),
    })

    const guide = readFileSync(join(ROOT, 'docs/operate.md'), 'utf8')
    const backup = /^docker compose exec ringdown (bun .*)$/m.exec(guide)?.[1] ?? ''
    expect(image.exec(['sh', '-c', backup], env)).toEqual({ code: 0, output: '' })
    expect(filesIn(join(image.root, 'data'))).toContain('backup.db')

    const ended = new Promise((resolve) => server.once('exit', resolve))
    server.kill('SIGTERM')
    expect(await ended, output()).toBe(0)
  })

  testWith(
    'openssl',
    '[LINE-37] takes a certificate that is mounted as the document shows, at 443',
    async (openssl) => {
      const { SERVER_ADDR: _, ...unset } = env
      expect(image.exec(['ringdown', 'config'], unset).output).toContain('SERVER_ADDR=127.0.0.1:47880 ')
      const files = makeCertificate(openssl, 'line.example.com')
      const mounted = {
        cert: join(image.root, 'tmp/fullchain.pem'),
        key: join(image.root, 'tmp/privkey.pem'),
      }
      copyFileSync(files.cert, mounted.cert)
      expect(image.exec(['ringdown', 'config'], unset).output).toContain('# TLS_CERT_FILE=  (not set')
      copyFileSync(files.key, mounted.key)
      files.remove()
      chmodSync(mounted.key, 0o600)
      const { output: settings } = image.exec(['ringdown', 'config'], unset)
      for (const line of [
        'SERVER_ADDR=0.0.0.0:443',
        'TLS_CERT_FILE=/tmp/fullchain.pem',
        'TLS_KEY_FILE=/tmp/privkey.pem',
      ])
        expect(settings).toContain(`${line} `)
      const unreadable = image.exec(['ringdown', 'serve'], env)
      expect(unreadable).toEqual({
        code: 1,
        output:
          'ringdown: TLS_KEY_FILE is /tmp/privkey.pem, which cannot be read: the user this server runs as (1000) may not read it.\n',
      })

      chownSync(mounted.key, 1000, 1000)
      const { process: server, output } = image.start(env)
      const health = image.healthCommand()
      await until(() => image.exec(health, env).code === 0 || server.exitCode !== null, 'an answer')
      expect(server.exitCode, output()).toBeNull()
      const answer = await fetch(`https://127.0.0.1:${port}/health`, { tls: { rejectUnauthorized: false } })
      expect(answer.status).toBe(200)
      const ended = new Promise((resolve) => server.once('exit', resolve))
      server.kill('SIGTERM')
      expect(await ended, output()).toBe(0)
      for (const file of Object.values(mounted)) rmSync(file)
    },
  )

  test("has the operator's commands under one name", () => {
    expect(image.exec(['ringdown', 'config'], env)).toMatchObject({ code: 0 })
    const bad = image.exec(['ringdown', 'config'], { ...env, DB_PORT: 'x y' })
    expect(bad).toMatchObject({ code: 1, output: expect.stringContaining('DB_PORT holds "x y"') })
  })
})

function freePort(): number {
  const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
  const { port } = listener
  listener.stop(true)
  return port
}
