// Real programs that tests drive. Which there are, and the Debian package of each, is in scripts/tools.json and
// ear-tools.json;
// `npm test` installs them where it can.
import { describe, test } from 'bun:test'
import earTools from '../../scripts/ear-tools.json'
import everyTools from '../../scripts/tools.json'

const tools = { ...everyTools, ...earTools }

export type Tool = keyof typeof tools

/** The path of this program, or null if this machine has none. */
export function need(tool: Tool): string | null {
  return Bun.which(tool, { PATH: `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin` })
}

/**
 * `describe` for tests that drive a real program; its path comes in. Where there is none, one skipped test says
 * so, and under CI=true one failed test.
 */
export function describeWith(tool: Tool, name: string, body: (path: string) => void): void {
  const path = need(tool)
  if (path) describe(name, () => body(path))
  else missing(tool, name)
}

/** `test` for one that drives a real program, as `describeWith`. */
export function testWith(tool: Tool, name: string, body: (path: string) => void | Promise<void>): void {
  const path = need(tool)
  if (path) test(name, () => body(path))
  else missing(tool, name)
}

function missing(tool: Tool, name: string): void {
  const why = `${tool} is not on this machine (Debian: apt-get install ${tools[tool]})`
  if (process.env.CI === 'true') {
    test(name, () => {
      throw new Error(why)
    })
  } else test.skip(`${name}: ${why}`, () => {})
}
