/** Reads the CPU profiles that the runtime writes (`--cpu-prof`), which are those of Chrome's DevTools. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Profile {
  nodes: { id: number; callFrame: { functionName: string; url: string }; children?: number[] }[]
  /** Id of the node that ran, for each sample. */
  samples: number[]
}

/** A folder for one profile. */
export function newProfile() {
  const folder = mkdtempSync(join(tmpdir(), 'ringdown-profile-'))
  return {
    folder,
    read(): Profile {
      const file = readdirSync(folder).find((name) => name.endsWith('.cpuprofile'))
      if (file === undefined) throw new Error(`no profile was written to ${folder}`)
      return JSON.parse(readFileSync(join(folder, file), 'utf8')) as Profile
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** Which share of the samples was in these functions, or in what they called. */
export function shareOf({ nodes, samples }: Profile, functions: readonly string[]): number {
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const inside = new Set<number>()
  const enter = (id: number) => {
    if (inside.has(id)) return
    inside.add(id)
    for (const child of byId.get(id)?.children ?? []) enter(child)
  }
  for (const { id, callFrame } of nodes) if (functions.includes(callFrame.functionName)) enter(id)
  return samples.filter((id) => inside.has(id)).length / samples.length
}
