// What `npm start` and `npm test` run: sets up what is missing, then hands over to Bun.
// Plain JavaScript without dependencies, because it runs before they are installed.
//
//   node scripts/run.mjs install            install from the lock file, whatever is there already
//   node scripts/run.mjs build              build the pages and the server, whatever is there already
//   node scripts/run.mjs start [args]       serve
//   node scripts/run.mjs bun FILE [args]    run one file, with the same set-up
//   node scripts/run.mjs check [--fix]      types, then format and lint
//   node scripts/run.mjs test [path] [-t name]     all tests but the soak; paths are matched by part
//   node scripts/run.mjs test:GROUP [...]   one group of the list in scripts/test.mjs
//
// When all is set up this costs a start of Node and the hashing of a few files, so nothing heavy is
// imported before it is needed.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from './process.mjs'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const bin = (name) => join(root, 'node_modules/.bin', name)
const log = (line) => process.stderr.write(`ringdown: ${line}\n`)

/** What is built is made from these. A change in any of it makes `start` and `test` build again. */
const SOURCES = [
  'src',
  'deploy/health.ts',
  'scripts/build.ts',
  'package.json',
  'package-lock.json',
  'database.sql',
]
const INSTALL_STAMP = 'node_modules/.ringdown-lock'
const SERVER = 'dist/server/main.js'
const BUILD_STAMP = 'dist/.sources'

const [command = 'start', ...args] = process.argv.slice(2)
process.exitCode = await main()

async function main() {
  switch (command) {
    case 'install':
      return await install()
    case 'build':
      return (await ensureInstalled()) || (await build(args))
    case 'start':
      return (await ensureSetUp()) || (await bun([SERVER, 'serve', ...args]))
    case 'bun':
      return (await ensureSetUp()) || (await bun(args))
    case 'check':
      return (await ensureInstalled()) || (await check())
    default:
      if (command === 'test' || command.startsWith('test:')) return await test(command.slice('test:'.length))
      log(`no such command: ${command}. There are install, build, start, bun, check, test and test:GROUP.`)
      return 2
  }
}

/** `--no-orphans`: when this process is killed outright, the server goes too and frees its port. */
function bun([file, ...rest]) {
  return run(bin('bun'), ['--no-orphans', join(root, file), ...rest])
}

async function ensureSetUp() {
  return (await ensureInstalled()) || (await ensureBuilt())
}

async function ensureInstalled() {
  return stampIs(INSTALL_STAMP, hash(['package-lock.json'])) ? 0 : await install()
}

async function install() {
  log('installing dependencies')
  // The npm that called us, if one did: it need not be the first one in PATH.
  const cli = process.env.npm_execpath ?? ''
  const npm = cli.endsWith('npm-cli.js') ? [process.execPath, cli] : ['npm']
  // Dev dependencies always: a build needs some of them, and NODE_ENV=production would leave them out.
  const flags = ['ci', '--include=dev', '--loglevel=error', '--no-fund', '--no-audit', '--no-progress']
  const code = await run(npm[0], [...npm.slice(1), ...flags], { cwd: root, stdout: 'stderr' })
  if (code !== 0) log('npm ci failed; its message is above')
  else stamp(INSTALL_STAMP, hash(['package-lock.json']))
  return code
}

async function ensureBuilt() {
  if (existsSync(join(root, SERVER)) && stampIs(BUILD_STAMP, hash(SOURCES))) return 0
  return await build([])
}

async function build(rest) {
  if (!existsSync(join(root, 'scripts/build.ts'))) return 0
  log('building')
  // Before the build: what is changed while it runs must be built again.
  const sources = hash(SOURCES)
  const code = await run(bin('bun'), ['scripts/build.ts', ...rest], { cwd: root, stdout: 'stderr' })
  if (code !== 0) log('building failed; the message is above')
  else stamp(BUILD_STAMP, sources)
  return code
}

async function check() {
  const fix = args.includes('--fix')
  const types = await run(bin('tsc'), ['-b', ...(process.stdout.isTTY ? ['--pretty'] : [])], { cwd: root })
  const colors = process.stdout.isTTY ? [] : ['--colors=off']
  const lint = await run(bin('biome'), [...(fix ? ['check', '--write'] : ['ci']), ...colors, '.'], {
    cwd: root,
  })
  return types || lint
}

async function test(group) {
  const { installTools, runTests } = await import('./test.mjs')
  const failed = (await ensureInstalled()) || (await installTools(root, log, group)) || (await ensureBuilt())
  if (failed) {
    process.stdout.write('0 passed, 1 failed\n')
    return 1
  }
  return await runTests({ root, bun: bin('bun'), group, args, log })
}

function stampIs(file, wanted) {
  try {
    return readFileSync(join(root, file), 'utf8') === wanted
  } catch {
    return false
  }
}

function stamp(file, text) {
  mkdirSync(dirname(join(root, file)), { recursive: true })
  writeFileSync(join(root, file), text)
}

/** A hash over the names and contents of these files and folders; what is missing counts as empty. */
function hash(paths) {
  const sum = createHash('sha1')
  const add = (path) => {
    let entries
    try {
      entries = readdirSync(join(root, path)).sort()
    } catch {
      if (existsSync(join(root, path))) sum.update(`${path}\0`).update(readFileSync(join(root, path)))
      return
    }
    for (const entry of entries) if (!entry.includes('.test.')) add(`${path}/${entry}`)
  }
  for (const path of paths) add(path)
  return sum.digest('hex')
}
