/** docker-compose.yml, as docker-compose itself understands it, and by what we want of it. */
import { describe, expect, test } from 'bun:test'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { options } from '../../src/config/options.ts'
import { testWith } from '../kit/need.ts'

const ROOT = join(import.meta.dir, '../..')
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')
// biome-ignore lint/suspicious/noExplicitAny: a file of any shape.
const parse = (text: string) => Bun.YAML.parse(text) as any
const file = parse(read('docker-compose.yml'))
const service = file.services.ringdown

/** Sockets and files that the server needs besides those of phones. */
const OTHER_FILES = 256
/** Seconds within which a server that was told to stop has stopped. */
const STOPS_WITHIN = 30

describe('the service', () => {
  test('has 128 MB and no swap', () => {
    expect(service).toMatchObject({ mem_limit: '128m', memswap_limit: '128m' })
  })

  test('is in the network of the host, where the default address is reached by nginx alone', () => {
    expect(service.network_mode).toBe('host')
    expect(service).not.toHaveProperty('ports')
    expect(options.SERVER_ADDR.default).toStartWith('127.0.0.1:')
  })

  test('takes its settings from .env, but for the folder of its volume', () => {
    expect(service.env_file).toBe('.env')
    expect(service.environment).toMatchObject({ DATA_DIR: '/data' })
    expect(service.volumes).toEqual(['data:/data'])
    expect(file.volumes).toHaveProperty('data')
    expect(read('Dockerfile')).toContain('VOLUME /data\n')
  })

  test('may do nothing that it need not', () => {
    expect(service).toMatchObject({
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      init: true,
    })
    expect(
      Object.keys(service).filter((key) => /privileged|cap_add|devices|pid|ipc|user$/.test(key)),
    ).toEqual(['pids_limit'])
  })

  test('may open as many files as it may hold connections, and has the time to stop', () => {
    expect(service.ulimits.nofile).toBeGreaterThanOrEqual(
      Number(options.MAX_CONNECTIONS.default) + OTHER_FILES,
    )
    expect(Number.parseInt(service.stop_grace_period, 10)).toBeGreaterThan(STOPS_WITHIN)
  })

  test('comes back by itself, and fills no disk with its log', () => {
    expect(service.restart).toBe('unless-stopped')
    expect(service.logging.options).toEqual({ 'max-size': '10m', 'max-file': '5' })
  })

  test('is the image that deploy.sh looks after', () => {
    const script = read('deploy.sh')
    expect(script).toContain(`\nimage=${service.image}\n`)
    expect(script).toContain(`\nservice=${Object.keys(file.services)[0]}\n`)
  })
})

testWith('docker-compose', "the document's docker-compose reads it, and a copied .env with it", (program) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringdown-compose-'))
  copyFileSync(join(ROOT, 'docker-compose.yml'), join(folder, 'docker-compose.yml'))
  const config = () => {
    const { exitCode, stdout, stderr } = Bun.spawnSync([program, 'config'], {
      cwd: folder,
      env: { PATH: process.env.PATH, HOME: folder },
      stdout: 'pipe',
      stderr: 'pipe',
    })
    const err = stderr.toString()
    return {
      err,
      service: exitCode === 0 ? parse(stdout.toString()).services.ringdown : null,
    }
  }
  expect(config().err).toContain('.env')
  const example = read('.env.example')
  writeFileSync(join(folder, '.env'), example)
  const { err, service: understood } = config()
  expect(err).toBe('')
  expect(understood).toMatchObject({
    mem_limit: '128m',
    memswap_limit: '128m',
    network_mode: 'host',
    read_only: true,
    ulimits: { nofile: service.ulimits.nofile },
    environment: {
      DATA_DIR: '/data',
      MAX_CONNECTIONS: '8000',
      SERVER_ADDR: '127.0.0.1:47880',
      SESSION_DURATION: '60s',
    },
  })
  writeFileSync(join(folder, '.env'), example.replace(/^#(MAX_CONNECTIONS|DATA_DIR)=.*$/gm, '$1=500'))
  expect(config().service.environment).toMatchObject({ DATA_DIR: '/data', MAX_CONNECTIONS: '500' })
  rmSync(folder, { recursive: true })
})
