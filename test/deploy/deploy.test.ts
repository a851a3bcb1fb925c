/** deploy.sh, with a docker of our own in PATH that keeps images and a container in files and writes down its calls. */
import { afterEach, describe, expect, test } from 'bun:test'
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const ROOT = join(import.meta.dir, '../..')
const KEY = '0123456789abcdef0123456789abcdef'

/**
 * Images are called old and new. What must go wrong stands in WRONG: no-plugin, no-engine, build, config, up, and
 * old or new for an image that never gets healthy, or `new:falls-over`.
 */
const DOCKER = `#!/bin/sh
state=$STATE
printf '%s %s\\n' "\${0##*/}" "$*" >>"$state/calls"
wrong() { case " $WRONG " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
read_or_nothing() { cat "$state/$1" 2>/dev/null; }
[ "\${0##*/}" = docker-compose ] && set -- compose "$@"
case $1 in
    info) ! wrong no-engine ;;
    tag) if [ "$2" = sha256:old ]; then echo old >"$state/\${3#ringdown:}"; else exit 9; fi ;;
    image) id=$(read_or_nothing latest) && [ -n "$id" ] && echo "sha256:$id" ;;
    inspect) if wrong "$(read_or_nothing runs):falls-over"; then echo 'restarting 3'; else echo 'running 0'; fi ;;
    compose)
        case $2 in
            version) [ "\${0##*/}" = docker-compose ] || ! wrong no-plugin ;;
            build) if wrong build; then echo 'RUN npm ci: no' >&2; exit 17; fi; echo new >"$state/latest" ;;
            run) if wrong config; then echo 'ringdown: DB_PORT holds "x".' >&2; exit 1; fi ;;
            up) if wrong up; then exit 1; fi; cp "$state/latest" "$state/runs" ;;
            ps) [ -f "$state/runs" ] && echo c0ffee ;;
            exec) ! wrong "$(read_or_nothing runs)" && echo '{"ready":true}' ;;
            logs) echo "the last line of $(read_or_nothing runs)" ;;
            *) exit 9 ;;
        esac ;;
    *) exit 9 ;;
esac
`

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

interface Deployment {
  readonly code: number
  readonly output: string
  readonly calls: readonly string[]
  /** The image of the container that runs, or ''. */
  readonly runs: string
  /** What `ringdown:latest` is. */
  readonly latest: string
}

/** Runs deploy.sh. `before`: an older image that is tagged and runs. */
function deploy(env: string | null, wrong = '', { before = false, docker = true } = {}): Deployment {
  const folder = mkdtempSync(join(tmpdir(), 'ringdown-deploy-'))
  folders.push(folder)
  for (const file of ['deploy.sh', '.env.example']) copyFileSync(join(ROOT, file), join(folder, file))
  if (env !== null) writeFileSync(join(folder, '.env'), env, { mode: 0o600 })
  const [bin, state] = [join(folder, 'bin'), join(folder, 'state')]
  mkdirSync(bin)
  mkdirSync(state)
  writeFileSync(join(state, 'calls'), '')
  if (before) for (const name of ['latest', 'runs']) writeFileSync(join(state, name), 'old\n')
  for (const name of docker ? ['docker', 'docker-compose'] : []) {
    writeFileSync(join(bin, name), DOCKER)
    chmodSync(join(bin, name), 0o755)
  }
  // The programs that it may use, and no docker of this machine.
  for (const name of [
    'sh',
    'sed',
    'tail',
    'find',
    'date',
    'sleep',
    'cat',
    'cp',
    'cut',
    'id',
    'dirname',
    'git',
  ]) {
    const path = Bun.which(name)
    if (path !== null) writeFileSync(join(bin, name), `#!/bin/sh\nexec ${path} "$@"\n`, { mode: 0o755 })
  }
  const { exitCode, stdout, stderr } = Bun.spawnSync(['/bin/sh', join(folder, 'deploy.sh')], {
    cwd: '/',
    env: { PATH: bin, STATE: state, WRONG: wrong, HEALTH_TIMEOUT: '2' },
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const read = (name: string) => {
    try {
      return readFileSync(join(state, name), 'utf8').trim()
    } catch {
      return ''
    }
  }
  const calls = read('calls')
    .split('\n')
    .filter((line) => line !== '')
  return { code: exitCode, output: `${stdout}${stderr}`, calls, runs: read('runs'), latest: read('latest') }
}

const done = (calls: readonly string[], what: string) => calls.filter((call) => call.includes(what)).length

describe('settings are looked at before anything is built', () => {
  const refused = (env: string | null) => {
    const { code, output, calls } = deploy(env)
    expect(code).toBe(1)
    expect(calls).toEqual([])
    return output
  }
  const strong = 'openssl rand -hex 32'

  test('no .env', () => expect(refused(null)).toContain('cp .env.example .env'))
  test('no key', () => expect(refused('LOG_LEVEL=info\n')).toContain(strong))
  test('the example as it is', () => {
    expect(refused(readFileSync(join(ROOT, '.env.example'), 'utf8'))).toContain('API_KEY in .env is empty')
  })
  test('a short key, however it is written', () => {
    for (const env of [
      'API_KEY=short',
      "API_KEY='short'\n",
      ' export API_KEY = "short" \n',
      `API_KEY=${KEY}\nAPI_KEY=short\n`,
    ]) {
      expect(refused(env)).toContain('a key of 5 characters')
    }
  })
  test('one short key among several', () => {
    expect(refused(`API_KEY=${KEY}, 1234567`)).toContain('a key of 7 characters')
  })
  test("the document's placeholder, made longer", () => {
    expect(refused('API_KEY=YOUR_API_KEY_HERE_YOUR_API_KEY_HERE')).toContain('the one of the example')
  })
  test('a key is never shown', () => {
    expect(refused('API_KEY=hunter2')).not.toContain('hunter2')
    expect(deploy(`API_KEY=${KEY}`).output).not.toContain(KEY)
  })
})

test('it is built, checked, started and found healthy', () => {
  const { code, output, calls, runs } = deploy(`API_KEY=${KEY}`)
  expect(output).toContain('it runs and is healthy')
  expect(code).toBe(0)
  expect(runs).toBe('new')
  const steps = [
    'compose build ringdown',
    'compose run --rm --no-deps -T ringdown config',
    'compose up -d --no-build ringdown',
  ]
  const order = steps.map((step) => calls.indexOf(`docker ${step}`))
  expect(order).toEqual([...order].sort((a, b) => a - b))
  expect(order[0]).toBeGreaterThan(0)
  expect(calls).toContain('docker compose exec -T ringdown ringdown health')
})

test('where there is no docker compose, docker-compose does all of it', () => {
  const { code, calls } = deploy(`API_KEY='${KEY}'`, 'no-plugin')
  expect(code).toBe(0)
  expect(calls).toContain('docker-compose up -d --no-build ringdown')
  expect(done(calls, 'docker compose ')).toBe(1)
})

test('without docker, or when its engine does not answer, it says so', () => {
  expect(deploy(`API_KEY=${KEY}`, '', { docker: false })).toMatchObject({
    code: 1,
    output: expect.stringContaining('there is no docker'),
  })
  const { code, output, calls } = deploy(`API_KEY=${KEY}`, 'no-engine')
  expect(code).toBe(1)
  expect(output).toContain('engine does not answer')
  expect(done(calls, 'build')).toBe(0)
})

test('when the build fails, what runs is not touched', () => {
  const { code, output, calls, runs, latest } = deploy(`API_KEY=${KEY}`, 'build', { before: true })
  expect(code).toBe(1)
  expect(output).toContain('RUN npm ci: no')
  expect({ runs, latest }).toEqual({ runs: 'old', latest: 'old' })
  expect(done(calls, ' up ')).toBe(0)
})

test('when the new image cannot read the settings, what runs is not touched', () => {
  const { code, output, calls, runs, latest } = deploy(`API_KEY=${KEY}`, 'config', { before: true })
  expect(code).toBe(1)
  expect(output).toContain('DB_PORT holds "x"')
  expect({ runs, latest }).toEqual({ runs: 'old', latest: 'old' })
  expect(done(calls, ' up ')).toBe(0)
})

test('when the new one never gets healthy, its last lines are shown and the old one is put back', () => {
  for (const wrong of ['new', 'new:falls-over']) {
    const { code, output, runs, latest } = deploy(`API_KEY=${KEY}`, wrong, { before: true })
    expect(code).toBe(1)
    expect(output).toContain('the last line of new')
    expect(output).toContain('The old one runs again')
    expect({ runs, latest }).toEqual({ runs: 'old', latest: 'old' })
  }
})

test('when there is no old one to put back, it says so', () => {
  const { code, output, runs } = deploy(`API_KEY=${KEY}`, 'new')
  expect(code).toBe(1)
  expect(output).toContain('the last line of new')
  expect(output).toContain('no older image')
  expect(runs).toBe('new')
})

test('when the old one does not come back either, it says so', () => {
  const { code, output } = deploy(`API_KEY=${KEY}`, 'new old', { before: true })
  expect(code).toBe(1)
  expect(output).toContain('the old one does not come up healthy either')
})

test('when no container can be started, it says so', () => {
  const { code, output } = deploy(`API_KEY=${KEY}`, 'up', { before: true })
  expect(code).toBe(1)
  expect(output).toContain('the old one does not come up healthy either')
})
