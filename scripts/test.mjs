// Finds, runs and counts the tests. Plain JavaScript, see run.mjs.
import { accessSync, constants, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './process.mjs'

/**
 * Each group is one `bun test` after another: what is slow or eats the processor must not disturb the timing of
 * the rest. But what mostly waits, for a network or a disk, runs beside another, and is printed after it. A file belongs
 * to the first group that has it.
 *
 * `timeout` is for one test, in milliseconds. It is far beyond what a test waits for by itself, which says what did not
 * come; and when it is over, Bun ends every process that the tests started, also those that the next test needs.
 * `retry`: whatever a browser does it does in real time, which a busy machine may not have. So its tests are tried again
 * so often, as others are that ask for it; what passes only then is named at the end.
 */
const GROUPS = [
  { name: 'soak', has: (file) => file.startsWith('test/soak/'), timeout: 3_600_000, onlyIfNamed: true },
  { name: 'ear', has: (file) => file.startsWith('test/ear/'), timeout: 600_000, onlyIfNamed: true },
  { name: 'waits', has: (file) => file === 'test/deploy/nginx.test.ts', timeout: 90_000 },
  { name: 'unit', has: (file) => file.startsWith('src/'), timeout: 20_000 },
  { name: 'browser', has: (file) => file.startsWith('test/browser/'), timeout: 120_000, retry: 2 },
  { name: 'fault', has: (file) => file.startsWith('test/fault/'), timeout: 60_000 },
  { name: 'server', has: () => true, timeout: 60_000 },
]
/** What runs beside a group begins with it. */
const BESIDE = { unit: 'waits', server: 'fault' }
const ORDER = ['unit', 'server', 'waits', 'fault', 'browser', 'soak', 'ear']
const LIMIT_MS = 9.5 * 60_000
const CI = process.env.CI === 'true'
/** How Bun names a test that was not over with its first attempt. */
const AGAIN = / \(attempt \d+\)$/

/**
 * Runs the tests and prints, last and alone on its line, `N passed, N failed` or `N passed, N failed, N skipped`.
 * Returns 0 only if something ran and nothing failed. Under CI=true a skipped test counts as a failed one.
 */
export async function runTests({ root, bun, group, args, log }) {
  const { filters, flags } = split(args)
  const groups = group ? GROUPS.filter(({ name }) => name === group) : GROUPS.filter((g) => !g.onlyIfNamed)
  if (groups.length === 0) log(`no such group: ${group}. There are ${ORDER.join(', ')}.`)
  const files = [...testFiles(root, 'src'), ...testFiles(root, 'test')].filter(
    (file) => filters.length === 0 || filters.some((filter) => file.includes(filter)),
  )
  const deadline = GROUPS.find(({ name }) => name === group)?.onlyIfNamed
    ? undefined
    : Date.now() + LIMIT_MS - performance.now()
  const total = { passed: 0, failed: 0, skipped: 0 }
  const failures = []
  const skips = []
  const again = []

  const filesOf = (name) =>
    groups.some((g) => g.name === name)
      ? files.filter((file) => GROUPS.find(({ has }) => has(file)).name === name)
      : []
  const start = async (name, write) => {
    const mine = filesOf(name)
    if (mine.length === 0) return null
    const { timeout, retry = 0 } = GROUPS.find((g) => g.name === name)
    write(`\n--- ${name}: ${mine.length} ${mine.length === 1 ? 'file' : 'files'}\n`)
    let output = ''
    const code = await run(
      bun,
      // A developer's .env is for the server, not for its tests. Servers that a test forgot end with the group.
      [
        'test',
        '--no-env-file',
        '--no-orphans',
        `--timeout=${timeout}`,
        `--retry=${retry}`,
        ...flags,
        ...mine.map((f) => `./${f}`),
      ],
      {
        cwd: root,
        env: { ...process.env, ...(process.stdout.isTTY ? { FORCE_COLOR: '1' } : {}) },
        deadline,
        onOutput: (text) => {
          output += text
          write(text)
        },
      },
    )
    return { output, code }
  }
  const print = (text) => process.stdout.write(text)
  const started = new Map()

  for (const name of ORDER) {
    const beside = BESIDE[name]
    if (beside !== undefined && filesOf(name).length > 0) {
      let kept = ''
      const running = start(beside, (text) => {
        kept += text
      })
      started.set(beside, () => running.finally(() => print(kept)))
    }
    const ended = await (started.get(name)?.() ?? start(name, print))
    if (ended === null) continue
    const { output, code } = ended
    const counts = count(output, code)
    for (const key of Object.keys(total)) total[key] += counts[key]
    failures.push(...named(output, 'fail'))
    again.push(...named(output, 'pass').filter((test) => AGAIN.test(test)))
    skips.push(...named(output, 'skip'), ...named(output, 'todo'))
    if (counts.broken) failures.push(`${name}: ${counts.broken}`)
    if (code === 130 || code === 143) break
  }

  report('Skipped', skips)
  report('Passed only when tried again', again)
  report('Failed', failures)
  if (CI && total.skipped > 0) {
    process.stdout.write('\nUnder CI=true a skipped test is a failed one.\n')
    total.failed += total.skipped
    total.skipped = 0
  }
  const ran = total.passed + total.failed
  if (ran === 0)
    process.stdout.write(`\nNo test ran${filters.length > 0 ? `: ${filters.join(', ')}` : ''}.\n`)
  const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : ''
  process.stdout.write(`\n${total.passed} passed, ${total.failed} failed${skipped}\n`)
  return ran > 0 && total.failed === 0 ? 0 : 1
}

/**
 * Counts from Bun's own summary: it knows of files that failed to load, which its JUnit report leaves out.
 * Without a summary (a crash, `process.exit` in a test, the deadline) the group has failed whatever it printed.
 */
export function count(output, code) {
  const text = plain(output)
  const end = [...text.matchAll(/^Ran \d+ tests? across /gm)].at(-1)?.index
  const summary = end === undefined ? undefined : text.slice(text.lastIndexOf('\n\n', end), end)
  const number = (word) => Number(summary?.match(new RegExp(`^ *(\\d+) ${word}\\b`, 'm'))?.[1] ?? 0)
  if (summary) {
    const reported = Math.max(number('fail'), number('error'))
    const broken = code !== 0 && reported === 0 ? `ended with code ${code}` : ''
    return {
      passed: number('pass'),
      failed: broken ? 1 : reported,
      skipped: number('skip') + number('todo'),
      broken,
    }
  }
  // With `-t`, a group may hold nothing of that name.
  if (/^error: regex .* matched 0 tests/m.test(text)) return { passed: 0, failed: 0, skipped: 0, broken: '' }
  const lines = (kind) => named(output, kind).length
  const broken = `ended with code ${code} before it was through`
  return { passed: lines('pass'), failed: lines('fail') + 1, skipped: lines('skip') + lines('todo'), broken }
}

/** The names of the tests that ended so, each with its file. */
function named(output, kind) {
  const names = []
  let file = ''
  for (const line of plain(output).split('\n')) {
    // After a long run Bun repeats what it printed before.
    if (/^\d+ tests (skipped|todo|failed):$/.test(line)) break
    if (/^\S+\.test\.tsx?:$/.test(line)) file = line
    else if (line.startsWith(`(${kind}) `)) {
      names.push(`${file} ${line.slice(kind.length + 3).replace(/ \[[\d.]+m?s\]$/, '')}`)
    } else if (kind === 'fail' && line.startsWith('# Unhandled error between tests')) {
      names.push(`${file} an error outside of any test`)
    }
  }
  return names
}

function report(title, names) {
  if (names.length > 0) process.stdout.write(`\n${title}:\n${names.map((name) => `  ${name}\n`).join('')}`)
}

function plain(output) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters.
  return output.replace(/\x1b\[[0-9;]*m/g, '').replaceAll('\r\n', '\n')
}

/** Paths are ours to match, flags are Bun's. `-t` is the one flag whose value stands apart. */
function split(args) {
  const filters = []
  const flags = []
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '-t' || args[i] === '--test-name-pattern') flags.push(args[i], args[++i] ?? '')
    else if (args[i].startsWith('-')) flags.push(args[i])
    else filters.push(args[i].replace(/^\.\//, ''))
  }
  return { filters, flags }
}

function testFiles(root, folder) {
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder), { recursive: true })
    .map((file) => `${folder}/${file}`)
    .filter((file) => /\.test\.tsx?$/.test(file))
    .sort()
}

/**
 * Programs the tests drive (scripts/tools.json: program → Debian package, and ear-tools.json for that group). As root
 * on Debian the missing ones are installed; elsewhere a line says what is missing, and the tests that need it say so
 * again. Never fails: what is still missing is a skipped test, or under CI=true a failed one.
 */
export async function installTools(root, log, group) {
  const lists = ['scripts/tools.json', ...(group === 'ear' ? ['scripts/ear-tools.json'] : [])]
  const tools = lists.flatMap((file) => Object.entries(JSON.parse(readFileSync(join(root, file), 'utf8'))))
  const missing = () => tools.filter(([program]) => !present(program)).map(([, debian]) => debian)
  const packages = missing()
  if (packages.length === 0) return 0
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) {
    log(`not on this machine, so some tests are skipped: ${packages.join(', ')}`)
    return 0
  }
  log(`installing what the tests need: ${packages.join(', ')}`)
  // The tests start their own servers on free ports. What a package would start is not wanted.
  const policy = '/usr/sbin/policy-rc.d'
  const ours = !existsSync(policy)
  const remove = () => rmSync(policy, { force: true })
  if (ours) {
    writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
    process.once('exit', remove)
  }
  let output = ''
  const apt = (...args) =>
    run('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=120', ...args], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      onOutput: (text) => {
        output += text
      },
    })
  await apt('update')
  const code = await apt('install', '-y', '--no-install-recommends', ...packages)
  if (ours) {
    remove()
    process.off('exit', remove)
  }
  if (code !== 0) log(`apt-get failed:\n${output.trimEnd().split('\n').slice(-20).join('\n')}`)
  else if (existsSync('/run/systemd/system')) {
    // Nor at the next boot. A package without a unit makes this fail, which is as well.
    for (const unit of packages)
      await run('systemctl', ['disable', unit.replace('-light', '').replace('-server', '')], {
        onOutput() {},
      })
  }
  return 0
}

function present(program) {
  return [...(process.env.PATH ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin'].some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
