// What is left when the process is killed (F2), and in which order things reach the disk.
import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { testWith } from '../kit/need.ts'
import { random } from '../kit/random.ts'
import { find, openTestStore, temporaryFolder } from '../kit/stores.ts'

const SCRIPT = join(import.meta.dir, 'append.ts')

/** Reads the lines that are whole; the last may be cut off. */
async function linesOf(stream: ReadableStream<Uint8Array>, seen: (line: string) => void): Promise<void> {
  let rest = ''
  const decoder = new TextDecoder()
  for await (const bytes of stream) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) seen(line)
  }
}

test('[F2] killed at 60 random instants: what was acknowledged is there, once, and nothing that was not asked for', async () => {
  const chance = random()
  const dataDir = temporaryFolder()
  const told = { '+': new Set<string>(), '=': new Set<string>(), '-': new Set<string>() }
  for (let kill = 1; kill <= 60; kill++) {
    const child = Bun.spawn([process.execPath, SCRIPT, dataDir], { stdout: 'pipe', stderr: 'inherit' })
    let spoke = false
    await linesOf(child.stdout, (line) => {
      told[line[0] as '+'].add(line.slice(1))
      // From the first word on; the instants are what is random here.
      if (!spoke) setTimeout(() => child.kill('SIGKILL'), chance.below(120))
      spoke = true
    })
    await child.exited
    expect(child.signalCode).toBe('SIGKILL')
    // In between, some of the restarts are on what the one before left as it was.
    if (kill % 6 > 0) continue
    const store = openTestStore({ dataDir })
    const rows = await find(store)
    const snapshots = new Set<string>(store.snapshots.load('ride').map(({ call }) => call.id))
    const where = `after ${kill} kills (seed ${chance.seed})`
    const stored = new Set(rows.map((row) => row.session_id))
    expect(stored.size, `${where}: doubled`).toBe(rows.length)
    expect([...told['='].difference(stored)], `${where}: lost`).toEqual([])
    expect([...stored.difference(told['+'])], `${where}: invented`).toEqual([])
    const over = new Set(rows.filter((row) => row.status === 'ended').map((row) => row.session_id))
    expect([...told['-'].difference(over)], `${where}: not ended`).toEqual([])
    expect([...told['='].difference(over).difference(snapshots)], `${where}: snapshots lost`).toEqual([])
    expect([...snapshots.intersection(over)], `${where}: snapshots of ended calls`).toEqual([])
    for (const id of told['=']) expect(store.receipts.find(`receipt of ${id}`, 0)?.answer).toBe(id)
    expect(store.lines, where).toEqual([])
    await store.close()
  }
  console.log(`60 kills, ${told['='].size} calls acknowledged of ${told['+'].size} (seed ${chance.seed})`)
  expect(told['='].size).toBeGreaterThan(200)
}, 60_000)

testWith(
  'strace',
  '[F2] the disk has the log before anybody is told, and each part of a checkpoint before the next',
  async (strace) => {
    const dataDir = temporaryFolder()
    const trace = join(dataDir, 'trace')
    const { exitCode } = Bun.spawnSync([
      ...[
        strace,
        '-f',
        '-y',
        '-s',
        '64',
        '-e',
        'trace=write,pwrite64,fdatasync,fsync,ftruncate',
        '-o',
        trace,
      ],
      ...[process.execPath, SCRIPT, dataDir, '2000'],
    ])
    expect(exitCode).toBe(0)

    const log = new Watched()
    const pages = new Watched()
    /** Pages in the log since it was begun anew and not synced; null once it was. */
    let turn: number | null = null
    const counts = { acknowledged: 0, moved: 0, turns: 0 }
    const wrong: string[] = []
    for (const { thread, call, offset, bytes } of callsIn(await Bun.file(trace).text())) {
      const file = call.includes('ringdown.db-wal>') ? log : call.includes('ringdown.db>') ? pages : null
      if (call.startsWith('<...')) {
        pages.endSync(thread)
        if (log.endSync(thread)) turn = null
      } else if (call.startsWith('write(1<') && /"[=-]/.test(call)) {
        counts.acknowledged++
        if (log.dirty) wrong.push(`acknowledged before it was synced: ${call}`)
      } else if (file !== null && /^f(data)?sync/.test(call)) {
        file.beginSync(thread)
        if (call.includes('<unfinished')) continue
        if (file.endSync(thread) && file === log) turn = null
      } else if (file === pages && call.startsWith('pwrite64')) {
        counts.moved++
        pages.write()
        if (log.dirty) wrong.push(`a page was moved whose log was not synced: ${call}`)
      } else if (file === log && call.startsWith('pwrite64')) {
        log.write()
        // The first log of all is in a file that was empty, where there is nothing to mix it up with.
        if (offset === 0 && log.syncs > 0) {
          counts.turns++
          turn = 0
          if (pages.dirty) wrong.push(`the log was begun anew over pages that were not synced: ${call}`)
        }
        if (turn !== null && bytes === 4096 && ++turn > 1) {
          wrong.push(`a log that was begun anew held more than its turn before it was synced: ${call}`)
        }
      }
    }
    console.log(`${counts.acknowledged} told, ${counts.moved} pages moved, ${counts.turns} turns of the log`)
    expect(wrong).toEqual([])
    expect(counts.acknowledged).toBe(3000)
    expect(counts.moved).toBeGreaterThan(100)
    expect(counts.turns).toBeGreaterThan(2)
  },
)

/** A file, and how much of what was written to it is on the disk: what was written before a sync began that has ended. */
class Watched {
  syncs = 0
  #written = 0
  #synced = 0
  readonly #syncing = new Map<string, number>()

  get dirty(): boolean {
    return this.#written > this.#synced
  }

  write(): void {
    this.#written++
  }

  beginSync(thread: string): void {
    this.#syncing.set(thread, this.#written)
  }

  /** False when this thread was at something else. */
  endSync(thread: string): boolean {
    const upTo = this.#syncing.get(thread)
    if (upTo === undefined) return false
    this.#syncing.delete(thread)
    this.#synced = upTo
    this.syncs++
    return true
  }
}

/** The lines of a trace. A call that took a while has two: one that ends in `<unfinished ...>`, one for its end. */
function callsIn(trace: string) {
  return trace.split('\n').map((line) => {
    const [, thread = '', call = ''] = /^(\d+) +(.*)/.exec(line) ?? []
    const [, bytes = '', offset = ''] = /, (\d+), (\d+)(?:\)| <unfinished)/.exec(call) ?? []
    return { thread, call, bytes: Number(bytes), offset: offset === '' ? null : Number(offset) }
  })
}
