// A server's store and nothing else, to be killed: opens calls as fast as it can, and says on standard output, a line
// each, what it is about to open (+), what it was told is written down (=), and what it was told has ended (-).
import { writeSync } from 'node:fs'
import { SystemClock } from '../../src/clock.ts'
import type { CallId } from '../../src/core/ids.ts'
import { openStore } from '../../src/store/store.ts'
import { silentLog } from '../kit/log.ts'
import { created, ended, newId, waitingCall } from '../kit/stores.ts'

const [dataDir = '', calls = 'Infinity'] = process.argv.slice(2)
const clock = new SystemClock((error) => {
  throw error
})
const store = openStore({ dataDir, mysql: null, clock, log: silentLog })
const say = (mark: string, id: CallId) => writeSync(1, `${mark}${id}\n`)

async function call(n: number): Promise<void> {
  const id = newId()
  say('+', id)
  store.callLog.append(created(id, { subject: `ride ${n}` }))
  store.snapshots.save({ call: waitingCall(id), detail: { n } })
  store.receipts.keep(`receipt of ${id}`, { digest: 'd', answer: id, expires: Number.MAX_SAFE_INTEGER })
  await store.callLog.synced()
  say('=', id)
  if (n % 2 === 0) return
  store.callLog.append(ended(id))
  store.snapshots.drop(id)
  await store.callLog.synced()
  say('-', id)
}

/** Three at a time, so that groups of several kinds come about. */
let next = 0
const line = async () => {
  while (next < Number(calls)) await call(next++)
}
await Promise.all([line(), line(), line()])
process.exit()
