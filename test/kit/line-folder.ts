/** A folder as the build makes it, with a page of a line that holds nothing, for tests of the doors alone. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const LINE_PAGE =
  '<!doctype html><title>A line</title><script type="module" src="/assets/line-x1.js"></script>'
export const LINE_FILES = { 'assets/line-x1.js': 'ab'.repeat(32), 'line.html': 'cd'.repeat(32) }

/** Its path; remove it in the end. */
export function lineFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringdown-pages-'))
  mkdirSync(join(folder, 'assets'))
  const files = {
    'line.html': LINE_PAGE,
    'call.html': '<!doctype html><title>A call</title>',
    'assets/line-x1.js': 'export const x = 1\n',
    'files.json': `${JSON.stringify(LINE_FILES, null, 2)}\n`,
  }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  return folder
}
