// The power fails: of what was written and not synced, any part may be on the disk and any other not. The model is a
// disk that keeps sectors of 512 bytes whole and does the rest as it likes.
import { expect, test } from 'bun:test'
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { SystemClock } from '../../src/clock.ts'
import type { CallId } from '../../src/core/ids.ts'
import { Calls } from '../../src/store/calls.ts'
import { LocalFile } from '../../src/store/file.ts'
import { Journal } from '../../src/store/journal.ts'
import { LocalSnapshots } from '../../src/store/snapshots.ts'
import { listLog } from '../kit/log.ts'
import { random } from '../kit/random.ts'
import { created, ended, find, newId, openTestStore, temporaryFolder, waitingCall } from '../kit/stores.ts'

const SECTOR = 512
const SUFFIXES = ['', '-wal'] as const
type Suffix = (typeof SUFFIXES)[number]

test('[F2] whatever a power cut leaves of what was not synced: every acknowledged call is there, and the file is whole', async () => {
  const chance = random()
  const dataDir = temporaryFolder()
  const clock = new SystemClock((error) => {
    throw error
  })
  const log = listLog()
  const file = LocalFile.open(dataDir, clock, log)
  const path = file.path ?? ''
  const synced: Record<Suffix, Buffer> = { '': read(path), '-wal': read(`${path}-wal`) }
  const acknowledged = new Set<CallId>()
  const over = new Set<CallId>()
  const cuts = { commit: 0, pages: 0, turn: 0 }

  /** A power cut now: sectors that were written since the last sync are there or not, as chance has it. */
  const cut = async (at: keyof typeof cuts) => {
    cuts[at]++
    const folder = join(dataDir, `cut-${at}-${cuts[at]}`)
    mkdirSync(folder)
    for (const suffix of SUFFIXES) {
      // From next to nothing to almost all of it.
      const likely = chance.below(11)
      const image = mixed(synced[suffix], read(path + suffix), () => chance.below(10) < likely)
      const fd = openSync(join(folder, `ringdown.db${suffix}`), 'w')
      writeSync(fd, image)
      closeSync(fd)
    }
    const [mustBe, mustBeOver] = [new Set(acknowledged), new Set(over)]
    const store = openTestStore({ dataDir: folder })
    const rows = await find(store)
    const snapshots = new Set(store.snapshots.load('ride').map(({ call }) => call.id))
    await store.close()
    const where = `cut ${cuts[at]} before the sync of a ${at} (seed ${chance.seed})`
    const damage = store.lines.filter(({ message }) => !message.includes('beyond this place'))
    expect(damage, where).toEqual([])
    const there = new Set(rows.map((row) => row.session_id as CallId))
    expect([...mustBe.difference(there)], `${where}: lost`).toEqual([])
    const ended = new Set(rows.filter((row) => row.status === 'ended').map((row) => row.session_id as CallId))
    expect([...mustBeOver.difference(ended)], `${where}: went back`).toEqual([])
    expect([...there.difference(ended).difference(snapshots)], `${where}: without snapshot`).toEqual([])
    rmSync(folder, { recursive: true })
  }

  // The store's own parts, with a hand on the syncs.
  const { syncLog, syncPages } = LocalFile.prototype
  let turning = false
  file.syncPages = async () => {
    const before = read(path)
    for (let i = 0; i < 3; i++) await cut('pages')
    await syncPages.call(file)
    synced[''] = before
    turning = true
  }
  file.syncLog = async () => {
    const before = read(`${path}-wal`)
    const times = turning ? 8 : chance.below(8) === 0 ? 1 : 0
    for (let i = 0; i < times; i++) await cut(turning ? 'turn' : 'commit')
    await syncLog.call(file)
    synced['-wal'] = before
    turning = false
  }
  const journal = new Journal({ file, clock, log })
  const calls = new Calls({ file, journal, log, changed: () => {} })
  const snapshots = new LocalSnapshots({ file, journal, log })

  while (cuts.turn < 120) {
    const ids = Array.from({ length: 1 + chance.below(6) }, newId)
    for (const id of ids) {
      calls.append(created(id, { subject: `ride ${chance.below(1e9)}` }))
      snapshots.save({ call: waitingCall(id), detail: 'x'.repeat(chance.below(3000)) })
    }
    await calls.synced()
    for (const id of ids) acknowledged.add(id)
    const ending = [...acknowledged].filter((id) => !over.has(id) && chance.below(3) > 0)
    for (const id of ending) {
      calls.append(ended(id))
      snapshots.drop(id)
    }
    await calls.synced()
    for (const id of ending) over.add(id)
  }
  console.log(
    `${acknowledged.size} calls; power cut before the sync of a ${JSON.stringify(cuts)} (seed ${chance.seed})`,
  )
  expect(cuts.commit).toBeGreaterThan(50)
  await journal.close()
  file.close()
  clock.close()
}, 60_000)

function read(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch {
    return Buffer.alloc(0)
  }
}

function mixed(before: Buffer, now: Buffer, isNew: () => boolean): Buffer {
  // A file that grew may have any length in between; what of it was not written reads as zeros.
  const image = Buffer.alloc(now.length > before.length && isNew() ? now.length : before.length)
  for (let at = 0; at < image.length; at += SECTOR) {
    const old = before.subarray(at, at + SECTOR)
    const fresh = now.subarray(at, at + SECTOR)
    const source = !old.equals(fresh) && isNew() ? fresh : old
    source.copy(image, at)
  }
  return image
}
