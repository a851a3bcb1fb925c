/**
 * Lets the sound that is measured go first on a machine that others use too, so that it is the line that is measured, and
 * not what the others take. On a machine that is quiet this changes next to nothing. Needs Linux and root; without them
 * all stays as it is.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

/**
 * What is to sound in time, and with which real-time priority. Firefox asks rtkit to let these threads of its go first;
 * desktops have that, a bare machine has not. Chromium and the sound server see to it themselves.
 */
const SOUNDING: Readonly<Record<string, number>> = { 'AudioIP~allback': 10, paplay: 5, parec: 5 }

/** How much more of the processors a session gets, as for `nice`: as much as there is. */
const FIRST = -20

/** Puts back what it was. */
export type Undo = () => void

/** For all that this process has started so far. Once more after more was started. */
export function goFirst(): Undo {
  const processes = family(process.pid)
  for (const pid of processes) for (const thread of threadsOf(pid)) hurry(thread)
  const before = niceness(process.pid)
  for (const pid of processes) favour(pid, FIRST)
  // What was started ends; the session that this process is in may be somebody's terminal.
  return () => favour(process.pid, before)
}

/** A process and what comes of it. */
function family(first: number): number[] {
  const children = new Map<number, number[]>()
  for (const pid of numbersIn('/proc')) {
    // Its name is in brackets, and may have any in it.
    const parent = Number(read(`/proc/${pid}/stat`).split(') ').at(-1)?.split(' ')[1])
    children.set(parent, [...(children.get(parent) ?? []), pid])
  }
  const all = [first]
  for (const pid of all) all.push(...(children.get(pid) ?? []))
  return all
}

function threadsOf(pid: number): { readonly id: number; readonly name: string }[] {
  const folder = `/proc/${pid}/task`
  return numbersIn(folder).map((id) => ({ id, name: read(`${folder}/${id}/comm`).trim() }))
}

function hurry({ id, name }: { readonly id: number; readonly name: string }): void {
  const priority = SOUNDING[name]
  if (priority === undefined) return
  Bun.spawnSync(['chrt', '--rr', '--pid', String(priority), String(id)], {
    stdout: 'ignore',
    stderr: 'ignore',
  })
}

/** Sessions share the processors first, the processes in each of them only what it gets (sched(7), autogroup). */
function niceness(pid: number): number {
  return Number(/nice (-?\d+)/.exec(read(`/proc/${pid}/autogroup`))?.[1] ?? 0)
}

function favour(pid: number, nice: number): void {
  try {
    writeFileSync(`/proc/${pid}/autogroup`, String(nice))
  } catch {
    // It has ended; or there is no such thing here, or no leave to.
  }
}

function numbersIn(folder: string): number[] {
  try {
    return readdirSync(folder).map(Number).filter(Number.isInteger)
  } catch {
    return []
  }
}

/** Empty where there is none, or no more. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
