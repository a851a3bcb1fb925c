// The disk under the local file: full (F8), or not what was written to it (F9).

import { Database } from 'bun:sqlite'
import { afterEach, expect, test } from 'bun:test'
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Failure } from '../../src/protocol/codes.ts'
import { random } from '../kit/random.ts'
import {
  created,
  ended,
  find,
  newId,
  type OpenedStore,
  openTestStore,
  T0,
  temporaryFolder,
  waitingCall,
} from '../kit/stores.ts'
import { until } from '../kit/until.ts'

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const clean of cleanUp.splice(0).reverse()) await clean()
})

function open(dataDir: string): OpenedStore {
  const store = openTestStore({ dataDir })
  cleanUp.push(() => store.close())
  return store
}

/** A file system of so many bytes, or null where this user may not make one. */
function smallDisk(size: string): { folder: string; remove(): void } | null {
  const folder = mkdtempSync(join(tmpdir(), 'ringdown-disk-'))
  const mount = ['mount', '-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder]
  const mounted = Bun.which('mount') !== null && Bun.spawnSync(mount, { stderr: 'ignore' }).success
  const remove = () => {
    if (mounted) Bun.spawnSync(['umount', '-l', folder])
    rmSync(folder, { recursive: true, force: true })
  }
  if (mounted) return { folder, remove }
  remove()
  return null
}

/** Fills what is left of a file system, to the last byte. Returns how to free it again. */
function fill(folder: string): () => void {
  const ballast = join(folder, 'ballast')
  for (let size = 1024 * 1024; size >= 1; size >>= 1) {
    const piece = Buffer.alloc(size)
    while (written(ballast, piece));
  }
  return () => rmSync(ballast)
}

function written(path: string, piece: Buffer): boolean {
  try {
    writeFileSync(path, piece, { flag: 'a' })
    return true
  } catch {
    return false
  }
}

/** Opens a call as the ride service does: what cannot be written down has never been. */
async function openCall({ callLog, snapshots }: OpenedStore, id = newId()) {
  callLog.append(created(id))
  snapshots.save({ call: waitingCall(id), detail: null })
  try {
    await callLog.synced()
    return id
  } catch (error) {
    snapshots.drop(id)
    callLog.retract(id)
    throw error
  }
}

const mayMount = smallDisk('1m')
mayMount?.remove()
const CI = process.env.CI === 'true'
const why = mayMount === null ? ' (this user may not mount a small disk)' : ''

test.skipIf(mayMount === null && !CI)(
  `[F8] a full disk refuses new calls, loses nothing of the others, and is noticed when it is free again${why}`,
  async () => {
    const disk = smallDisk('4m')
    if (disk === null) throw new Error('this user may not mount a small disk')
    cleanUp.push(disk.remove)
    const store = open(disk.folder)
    const live = await Promise.all(Array.from({ length: 30 }, () => openCall(store)))
    const free = fill(disk.folder)

    // Within the room that the log already has, calls may still be written down.
    const opened: string[] = []
    const refusals: unknown[] = []
    while (refusals.length === 0)
      await openCall(store).then(
        (id) => opened.push(id),
        (error) => refusals.push(error),
      )
    for (let i = 0; i < 200; i++)
      await openCall(store).then(
        (id) => opened.push(id),
        (error) => refusals.push(error),
      )
    expect(refusals.every((error) => error instanceof Failure && error.code === 'storage_unavailable')).toBe(
      true,
    )
    expect(store.status().writable).toBe(false)
    // Live calls go on, and end.
    for (const id of live.slice(10)) {
      store.callLog.append({ is: 'active', id, at: T0 + 1000 })
      store.callLog.append(ended(id))
      store.snapshots.drop(id)
    }

    free()
    const from = performance.now()
    await until(() => store.status().writable, 'the store to notice', 5000)
    console.log(`writable ${Math.round(performance.now() - from)} ms after there was room`)
    const later = await openCall(store)
    for (let i = 0; i < 2; i++) {
      const rows = await find(store)
      expect(rows.map((row) => row.session_id as string).sort()).toEqual([...live, ...opened, later].sort())
      const over = rows.filter((row) => row.status === 'ended').map((row) => row.session_id as string)
      expect(over.sort()).toEqual(live.slice(10).sort())
      const waiting = store.snapshots.load('ride').map(({ call }) => call.id as string)
      expect(waiting.sort()).toEqual([...live.slice(0, 10), ...opened, later].sort())
      await store.callLog.synced()
    }
    // Once when it began and once when it was over.
    expect(store.lines.map(({ level }) => level)).toEqual(['error', 'info'])
  },
)

test('[F8] while nothing can be written, what is held has an end, and is written when that is over', async () => {
  const store = open(temporaryFolder())
  const first = await openCall(store)
  const somebody = new Database(join(store.dataDir, 'ringdown.db'))
  cleanUp.push(() => somebody.close())
  somebody.run('BEGIN IMMEDIATE')
  expect(openCall(store)).rejects.toThrow('cannot be written down')
  await until(() => !store.status().writable, 'the store to give up')
  for (let i = 0; i < 150_000; i++) store.callLog.append(created(newId()))
  store.callLog.append(ended(first))
  const heldTooMuch = () => store.lines.filter(({ message }) => message.includes('too much is waiting'))
  expect(heldTooMuch().length).toBe(1)
  somebody.run('ROLLBACK')
  await until(() => store.status().writable, 'the store to notice')
  await store.callLog.synced()
  const { count } = somebody.query('SELECT count(*) AS count FROM call_logs').get() as { count: number }
  expect(count).toBeGreaterThan(99_000)
  expect(count).toBeLessThanOrEqual(100_001)
  // News of a call that is known come before new calls.
  expect(await store.history.get(first)).toMatchObject({ status: 'ended' })
})

test("an operator's transaction on the file is waited for", async () => {
  const store = open(temporaryFolder())
  const somebody = new Database(join(store.dataDir, 'ringdown.db'))
  cleanUp.push(() => somebody.close())
  somebody.run('BEGIN IMMEDIATE')
  const opening = openCall(store)
  let turns = 0
  const counting = setInterval(() => turns++, 1)
  setTimeout(() => somebody.run('COMMIT'), 300)
  expect(await store.history.get(await opening)).toMatchObject({ status: 'created' })
  clearInterval(counting)
  // And the loop went on meanwhile.
  expect(turns).toBeGreaterThan(50)
  expect(store.lines).toEqual([])
})

/** A folder as a server leaves it that is killed, with calls in the file and more in its log. */
async function leftBehind() {
  const dataDir = temporaryFolder()
  const store = open(dataDir)
  const groups: { ids: string[]; logBytes: number }[] = []
  for (let group = 0; group < 60; group++) {
    const ids = await Promise.all(Array.from({ length: 10 }, () => openCall(store)))
    for (const id of ids.slice(5)) {
      store.callLog.append(ended(id))
      store.snapshots.drop(id)
    }
    await store.callLog.synced()
    groups.push({ ids, logBytes: statSync(join(dataDir, 'ringdown.db-wal')).size })
  }
  const copy = temporaryFolder()
  for (const name of ['ringdown.db', 'ringdown.db-wal']) copyFileSync(join(dataDir, name), join(copy, name))
  return { folder: copy, groups, ids: groups.flatMap(({ ids }) => ids) }
}

/** Starts on a copy of what was left behind, after something was done to it. */
async function startAfter(folder: string, damage: (folder: string) => void) {
  const dataDir = mkdtempSync(join(tmpdir(), 'ringdown-damage-'))
  try {
    for (const name of readdirSync(folder)) copyFileSync(join(folder, name), join(dataDir, name))
    damage(dataDir)
    const store = openTestStore({ dataDir })
    const rows = await find(store)
    const id = await openCall(store)
    const usable = (await store.history.get(id)) !== null
    store.snapshots.load('ride')
    await store.close()
    const errors = store.lines.filter(({ level }) => level === 'error')
    const kept = errors.flatMap(({ context }) => (context.kept === undefined ? [] : [String(context.kept)]))
    expect(kept.filter((name) => !existsSync(name))).toEqual([])
    return { there: new Set(rows.map((row) => row.session_id)), errors, usable }
  } finally {
    rmSync(dataDir, { recursive: true })
  }
}

test('[F9] a log that was torn off anywhere keeps every group that is whole, and nothing is said', async () => {
  const chance = random()
  const { folder, groups } = await leftBehind()
  const size = statSync(join(folder, 'ringdown.db-wal')).size
  for (let i = 0; i < 200; i++) {
    const length = chance.below(size)
    const { there, errors, usable } = await startAfter(folder, (dataDir) => {
      truncateSync(join(dataDir, 'ringdown.db-wal'), length)
    })
    const where = `cut off at ${length} of ${size} (seed ${chance.seed})`
    expect(errors, where).toEqual([])
    expect(usable, where).toBe(true)
    // The last group may have grown by what was written along with it later.
    const whole = groups.filter(({ logBytes }) => logBytes <= length).flatMap(({ ids }) => ids)
    expect(
      whole.filter((id) => !there.has(id)),
      where,
    ).toEqual([])
  }
}, 60_000)

test('[F9] a byte that changed anywhere does not keep it from starting, and nothing is lost in silence', async () => {
  const chance = random()
  const { folder, ids } = await leftBehind()
  // One folder with most in the log, one with all in the file but as after a crash.
  const moved = temporaryFolder()
  for (const name of readdirSync(folder)) copyFileSync(join(folder, name), join(moved, name))
  await openTestStore({ dataDir: moved }).close()
  writeFileSync(join(moved, 'ringdown.db.check'), '')
  const tally = { whole: 0, said: 0 }
  for (let i = 0; i < 200; i++) {
    const [from, name] = i % 2 === 0 ? [folder, 'ringdown.db-wal'] : [moved, 'ringdown.db']
    const bytes = readFileSync(join(from, name))
    const at = chance.below(bytes.length)
    bytes[at] = (bytes[at] ?? 0) ^ (1 + chance.below(255))
    const { there, errors, usable } = await startAfter(from, (dataDir) =>
      writeFileSync(join(dataDir, name), bytes),
    )
    const where = `byte ${at} of ${name} (seed ${chance.seed})`
    expect(usable, where).toBe(true)
    const lost = ids.filter((id) => !there.has(id))
    if (errors.length === 0) expect(lost, where).toEqual([])
    tally[errors.length === 0 ? 'whole' : 'said']++
  }
  console.log(
    `${tally.whole} starts with everything there, ${tally.said} with the damage named (seed ${chance.seed})`,
  )
  expect(tally.said).toBeGreaterThan(10)
}, 60_000)

test('[F9] a damaged part of the file costs what is in it, and the rest is kept', async () => {
  const dataDir = temporaryFolder()
  const store = openTestStore({ dataDir })
  const ids = await Promise.all(Array.from({ length: 3000 }, () => openCall(store)))
  await store.close()
  writeFileSync(join(dataDir, 'ringdown.db.check'), '')
  const path = join(dataDir, 'ringdown.db')
  const bytes = readFileSync(path)
  // Five pages in the middle.
  bytes.fill(
    0xa5,
    Math.floor(bytes.length / 2 / 4096) * 4096,
    (Math.floor(bytes.length / 2 / 4096) + 5) * 4096,
  )
  writeFileSync(path, bytes)
  const next = open(dataDir)
  const there = new Set((await find(next)).map((row) => row.session_id as string))
  expect(ids.filter((id) => there.has(id)).length).toBeGreaterThan(2800)
  expect(next.lines).toMatchObject([{ level: 'error', context: { rows: { call_logs: there.size } } }])
  await openCall(next)
})

test('[F9] what is no database at all is put aside, and a fresh one begun', async () => {
  for (const garbage of [
    Buffer.from('not a database, but long enough to be looked at as one, page by page'.repeat(200)),
    Buffer.alloc(8192),
  ]) {
    const dataDir = temporaryFolder()
    writeFileSync(join(dataDir, 'ringdown.db'), garbage)
    const store = open(dataDir)
    expect(store.lines).toMatchObject([{ level: 'error' }])
    const kept = String(store.lines[0]?.context.kept)
    expect(readFileSync(kept).equals(garbage)).toBe(true)
    await openCall(store)
  }
})
