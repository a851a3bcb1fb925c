/** What operators are given to read and to copy names what there is. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { options } from '../../src/config/options.ts'
import { codes, endReasons } from '../../src/protocol/codes.ts'
import { startLiveServer } from '../kit/live-server.ts'
import { MariaDb } from '../kit/mariadb.ts'
import { testWith } from '../kit/need.ts'
import { closeServers, startServer } from '../kit/server.ts'
import { until } from '../kit/until.ts'

const ROOT = join(import.meta.dir, '../..')
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')
const guide = read('docs/operate.md')
const rules = read('deploy/prometheus/ringdown.rules.yml')
const unit = read('deploy/systemd/ringdown.service')

/** Series of a running server: names, and the values of each label. */
let names: Set<string>
let labels: Map<string, Set<string>>
beforeAll(async () => {
  const server = await startServer()
  const { text } = await server.ask('GET', '/metrics')
  names = new Set([...text.matchAll(/^([a-z_]+)[{ ]/gm)].map(([, name = '']) => name))
  labels = new Map()
  for (const [, label = '', value = ''] of text.matchAll(/(\w+)="([^"]*)"/g)) {
    labels.set(label, (labels.get(label) ?? new Set()).add(value))
  }
})
afterAll(closeServers)

test('every metric and label in the alerts and in the guide is there', () => {
  for (const text of [rules, guide]) {
    for (const [name] of text.matchAll(/\b(ringdown|process)_[a-z_]+[a-z]\b/g)) {
      expect(names.has(name) || names.has(`${name}_count`), name).toBe(true)
    }
  }
  for (const [, label = '', , values = ''] of rules.matchAll(/\b(cause|reason|service)=(~?)"([^"]+)"/g)) {
    for (const value of values.split('|')) expect(labels.get(label), `${label}=${value}`).toContain(value)
  }
})

test('the rules are rules', () => {
  const { groups } = Bun.YAML.parse(rules) as { groups: { rules: Record<string, unknown>[] }[] }
  const all = groups.flatMap((group) => group.rules)
  expect(all.length).toBeGreaterThan(5)
  for (const rule of all) {
    expect(rule).toMatchObject({
      alert: expect.stringMatching(/^Ringdown\w+$/),
      expr: expect.any(String),
      labels: { severity: expect.stringMatching(/^(page|warn)$/) },
      annotations: { summary: expect.any(String) },
    })
  }
})

/** Variables of deploy.sh, of certbot and of what is shown, not of the server. */
const OTHERS = ['HEALTH_TIMEOUT', 'RENEWED_LINEAGE', 'SESSION_ID']

test('every setting, code and file that the guide names is there', () => {
  const settings = [...guide.matchAll(/\b[A-Z]+(?:_[A-Z]+)+\b|\bSITEURL\b/g)].map(([name]) => name)
  expect(settings.length).toBeGreaterThan(20)
  for (const name of settings.filter((it) => !OTHERS.includes(it))) {
    expect(Object.keys(options), name).toContain(name)
  }
  const known = [...Object.keys(codes), ...Object.keys(endReasons)]
  for (const [, code = ''] of guide.matchAll(/(?:\d{3} |code: "|reason: ")`?([a-z]+_[a-z_]+)/g)) {
    expect(known, code).toContain(code)
  }
  for (const [, path = ''] of guide.matchAll(/\]\(([^)#]+)\)/g)) {
    expect(existsSync(join(ROOT, 'docs', path)), path).toBe(true)
  }
})

test('every log line that the guide explains is written somewhere', () => {
  const sources = [...new Bun.Glob('src/**/*.ts').scanSync(ROOT)].filter((file) => !file.includes('.test.'))
  const source = sources.map(read).join('\n')
  const section = guide.slice(guide.indexOf('## Log lines'), guide.indexOf('## Problems by symptom'))
  const rows = section.split('\n').filter((line) => /^\| `/.test(line))
  const lines = rows.flatMap((row) =>
    [...(row.split(' | ')[0] ?? '').matchAll(/`([^`]+)`/g)].map(([, it]) => it),
  )
  expect(lines.length).toBeGreaterThan(10)
  for (const line of lines) expect(source.includes(`'${line}'`), line).toBe(true)
})

test('the unit of systemd starts what there is, and lets it stop', () => {
  const value = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1] ?? ''
  const folder = value('WorkingDirectory')
  const [program = '', ...args] = value('ExecStart').split(' ')
  expect(existsSync(join(ROOT, program.slice(folder.length + 1)))).toBe(true)
  // The one that `run.mjs build` makes and `run.mjs start` runs.
  expect(args).toContain('dist/server/main.js')
  expect(readFileSync(join(ROOT, 'scripts/run.mjs'), 'utf8')).toContain("'dist/server/main.js'")
  expect(dirname(value('EnvironmentFile'))).toBe(folder)
  expect(Number(value('TimeoutStopSec'))).toBeGreaterThan(30)
  expect(Number(value('LimitNOFILE'))).toBeGreaterThan(Number(options.MAX_CONNECTIONS.default) + 256)
})

testWith('mariadbd', 'the rights that the guide grants in MySQL are enough', async () => {
  const mariadb = await MariaDb.start()
  const sql = /```sql\n(.*?)```/s.exec(guide)?.[1] ?? ''
  await mariadb.query(sql.replace('…', 'secret'))
  // A table from before, as the reference document has it: it gets the columns that it lacks.
  const columns = ['ride_id', 'driver_id', 'passenger_id', 'initiated_by', 'end_reason'].map(
    (it) => `${it} VARCHAR(255)`,
  )
  await mariadb.query(
    `CREATE TABLE call_logs (id INT AUTO_INCREMENT PRIMARY KEY, session_id VARCHAR(36), ${columns.join(', ')},
     status VARCHAR(50), created_at TIMESTAMP NULL, connected_at TIMESTAMP NULL, ended_at TIMESTAMP NULL)`,
    'callDB',
  )
  const server = await startLiveServer({
    DB_PORT: String(mariadb.settings.port),
    DB_USERNAME: 'ringdown',
    DB_PASSWORD: 'secret',
  })
  const { session_id } = await server.createSession()
  await server.ask('DELETE', `/sessions/${session_id}`)
  const row = async () => (await mariadb.query<{ status: string }>('SELECT * FROM call_logs', 'callDB'))[0]
  await until(async () => (await row())?.status === 'ended', 'the row')
  expect(await row()).toMatchObject({ session_id, service: 'ride', end_reason: 'cancelled_by_backend' })
  await server.close()
  await mariadb.stop()
})
