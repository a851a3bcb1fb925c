/**
 * Builds what browsers get: every page of `src/web/` into `dist/web/`, with its scripts and styles under names that
 * change with their content, and the client library as one ES module, `dist/client/ringdown.js`. And the server,
 * `dist/server/main.js` (and the health check of its container), of the parts of its libraries that it uses: it starts in half the time and needs 14 MB less
 * than from 760 files. The same sources make the same bytes, wherever and whenever: `--out=FOLDER` builds somewhere
 * else than into `dist/`, to compare.
 */
import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Glob } from 'bun'

const root = resolve(import.meta.dir, '..')
const { values: options } = parseArgs({ options: { out: { type: 'string' } } })
const dist = resolve(root, options.out ?? 'dist')

const common = {
  target: 'browser',
  define: { 'process.env.NODE_ENV': '"production"' },
  jsx: { runtime: 'automatic', importSource: 'preact', development: false },
} as const

/** The other threads of the page of a line, and what the page calls their addresses (`src/web/line/files.ts`). */
const THREADS = [
  { source: 'worker.ts', name: 'line-worker', constant: 'LINE_WORKER' },
  { source: 'playout.worklet.ts', name: 'playout', constant: 'LINE_PLAYOUT' },
  { source: 'capture.worklet.ts', name: 'capture', constant: 'LINE_CAPTURE' },
]

// Before the pages, which are given their addresses.
const threads = await Promise.all(THREADS.map(thread))
const addresses = threads.map(({ constant, file }) => [constant, JSON.stringify(join('/', file.path))])

const [pages, client, server] = await Promise.all([
  Bun.build({
    ...common,
    define: { ...common.define, ...Object.fromEntries(addresses) },
    entrypoints: [...new Glob('*.html').scanSync({ cwd: join(root, 'src/web'), absolute: true })].sort(),
    minify: true,
    splitting: true,
    publicPath: '/',
    naming: {
      entry: '[name].[ext]',
      chunk: 'assets/[name]-[hash].[ext]',
      asset: 'assets/[name]-[hash].[ext]',
    },
  }),
  // Not minified: it is read, and minified again, by those who build on it.
  Bun.build({ ...common, entrypoints: [join(root, 'src/client/index.ts')], naming: 'ringdown.js' }),
  Bun.build({
    target: 'bun',
    entrypoints: [join(root, 'src/cli/main.ts'), join(root, 'deploy/health.ts')],
    root: join(root, 'src/cli'),
    // What is loaded only when it is needed, such as the MySQL driver, stays in files of its own.
    splitting: true,
    // Names stay as they are, so that a stack trace in the log can be read.
    minify: { whitespace: true, syntax: true, identifiers: false },
    naming: { entry: '[name].[ext]', chunk: '[name]-[hash].[ext]' },
  }),
])
const web = [...pages.outputs, ...threads.map(({ file }) => file)]
await write(web, 'web', { 'files.json': await hashes(web) })
await write(client.outputs, 'client')
await write(server.outputs, 'server')

/** A thread is one file: a worklet cannot import on every browser, and a call must not wait for a second request. */
async function thread({ source, name, constant }: (typeof THREADS)[number]) {
  const entrypoints = [join(root, 'src/web/line', source)]
  const naming = `assets/${name}-[hash].[ext]`
  const { outputs } = await Bun.build({ ...common, entrypoints, minify: true, naming })
  const [file] = outputs
  if (file === undefined || outputs.length > 1) throw new Error(`${source} does not make one file`)
  return { constant, file }
}

/** Replaces a folder of `dist` in one step, so that a server that starts meanwhile sees all of one build. */
async function write(
  outputs: Bun.BuildArtifact[],
  folder: string,
  more: Readonly<Record<string, string>> = {},
): Promise<void> {
  const made = join(dist, `.${folder}-${process.pid}`)
  for (const output of outputs) {
    const path = join(made, output.path)
    await mkdir(dirname(path), { recursive: true })
    await Bun.write(path, output)
  }
  for (const [name, text] of Object.entries(more)) await Bun.write(join(made, name), text)
  await rm(join(dist, folder), { recursive: true, force: true })
  await rename(made, join(dist, folder))
}

/** SHA-256, in hex, of every file by its name: what anybody who builds the same source gets as well. */
async function hashes(outputs: Bun.BuildArtifact[]): Promise<string> {
  const found = outputs.map(
    async (output) =>
      [
        join('/', output.path).slice(1),
        new Bun.CryptoHasher('sha256').update(await output.arrayBuffer()).digest('hex'),
      ] as const,
  )
  const sorted = (await Promise.all(found)).sort(([one], [other]) => (one < other ? -1 : 1))
  return `${JSON.stringify(Object.fromEntries(sorted), null, 2)}\n`
}
