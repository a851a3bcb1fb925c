/**
 * Writes `docs/line-vectors.json`, by which another client of the line can be checked: `bun scripts/line-vectors.ts`. A
 * test compares it with what is committed. Each top-level key is a row here and a file of `scripts/docs`.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { frames, hellos, keys, words } from './docs/line-keys.ts'
import { packing } from './docs/line-packing.ts'
import { resampling } from './docs/line-resampling.ts'

export const VECTORS = join(import.meta.dir, '../docs/line-vectors.json')

const sections: Readonly<Record<string, () => unknown>> = {
  resampling,
  packing,
  keys,
  hellos,
  frames,
  words,
}

/** The text of the file. Lists of plain values stay on one line. */
export async function lineVectors(): Promise<string> {
  const made: Record<string, unknown> = {}
  for (const [name, make] of Object.entries(sections)) made[name] = await make()
  const spread = JSON.stringify(made, null, 2)
  return `${spread.replace(/\[[^[\]{}]*\]/g, (list) => list.replace(/\s+/g, ' ').replace('[ ', '[').replace(' ]', ']'))}\n`
}

if (import.meta.main) writeFileSync(VECTORS, await lineVectors())
