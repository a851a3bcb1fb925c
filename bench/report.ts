/** Tables for the terminal and for bench/README.md, which is the same text. */
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'

export interface Target {
  what: string
  is: number
  most?: number
  unit: string
}

export interface Result {
  name: string
  title: string
  /** How it was measured, for somebody who wants to doubt it. */
  text: string
  table: string
  targets: Target[]
  /** What makes the figures less than they seem. */
  warnings: string[]
  /** Everything measured, for results/<name>.jsonl. */
  raw: unknown
}

/** A Markdown table whose columns line up; all columns but the first are numbers and stand on the right. */
export function table(head: string[], rows: string[][]): string {
  const width = head.map((cell, i) => Math.max(cell.length, 3, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: string[]) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(width[i] ?? 0) : cell.padStart(width[i] ?? 0))).join(' | ')} |`
  const rule = `| ${width.map((n, i) => (i === 0 ? '-'.repeat(n) : `${'-'.repeat(n - 1)}:`)).join(' | ')} |`
  return [line(head), rule, ...rows.map(line)].join('\n')
}

export function show(result: Result): string {
  const targets = result.targets.map(({ what, is, most, unit }) => {
    const value = `${is < 10 ? is.toFixed(2) : Math.round(is)} ${unit}`
    return most === undefined
      ? `- ${what}: ${value}`
      : `- ${is <= most ? 'met' : 'MISSED'}: ${what}: ${value}`
  })
  const warnings = result.warnings.map((warning) => `- Note: ${warning}`)
  const facts = [...targets, ...warnings]
  return [
    `### ${result.title}`,
    wrap(result.text),
    result.table,
    ...(facts.length > 0 ? [facts.join('\n')] : []),
  ].join('\n\n')
}

/** Lines of at most 120 characters. */
function wrap(text: string): string {
  const lines = ['']
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? ''
    if (last.length + word.length + 1 > 120) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return lines.join('\n')
}

const readme = join(import.meta.dir, 'README.md')

/** Appends everything measured to results/<name>.jsonl, a line for each run. */
export function record(result: Result): void {
  const folder = join(import.meta.dir, 'results')
  mkdirSync(folder, { recursive: true })
  const line = { date: new Date(), bun: Bun.version, cores: cpus().length, ...result }
  appendFileSync(join(folder, `${result.name}.jsonl`), `${JSON.stringify(line)}\n`)
}

/** Writes the result between its markers in the README. */
export function publish(result: Result): void {
  const machine =
    `Made by \`npm run bench ${result.name}\` on ${new Date().toISOString().slice(0, 10)}, Bun ${Bun.version}, ` +
    `${cpus().length} cores (${cpus()[0]?.model.trim() ?? 'unknown'}), ` +
    `${Math.round(totalmem() / 2 ** 30)} GB, ${process.platform}.`
  const begin = `<!-- bench:${result.name} -->`
  const end = `<!-- /bench:${result.name} -->`
  const text = readFileSync(readme, 'utf8')
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from < 0 || to < from) throw new Error(`bench/README.md has no place between ${begin} and ${end}`)
  const before = text.slice(0, from + begin.length)
  writeFileSync(readme, `${before}\n\n${show(result)}\n\n${machine}\n\n${text.slice(to)}`)
}
