import type { Config } from '../config/options.ts'
import { cutLineLinks, lineLinks } from './line-link.ts'

export interface BannerFacts {
  readonly version: string
  readonly url: string
  readonly tryPages: boolean
  readonly keyFile: string
  /** The API key that was just made, to be shown this once; null on later starts and when one was set. */
  readonly newApiKey: string | null
  /** The key of the line in use, and whether it was just made. */
  readonly lineKey: string
  readonly newLineKey: boolean
  readonly dataDir: string
  readonly warnings: readonly string[]
}

/** What the operator sees on a terminal once the server listens. */
export function banner(config: Config, facts: BannerFacts): string {
  const rows: [string, string][] = [
    ['Listening', facts.url],
    ['For phones', `${(config.SITEURL ?? facts.url).replace(/^http/, 'ws')}/ws`],
    ['Call log', databaseOf(config, facts.dataDir)],
    ['Keys', facts.keyFile],
  ]
  if (facts.newApiKey !== null) rows.push(['API key', `${facts.newApiKey}  (shown this once)`])
  if (facts.tryPages) {
    rows.push(['Try a call', `${facts.url}/call.html`], ['By name', `${facts.url}/direct.html`])
  }
  const links = (facts.newLineKey ? lineLinks : cutLineLinks)(config.SITEURL ?? facts.url, facts.lineKey)
  rows.push(
    ['A line', `${links.usual}${facts.newLineKey ? '' : '  (ringdown keys link)'}`],
    ['Mobile', links.mobile],
  )
  const table = rows.map(([name, value]) => `  ${name.padEnd(12)}${value}\n`).join('')
  const warnings = facts.warnings.map((warning) => `  ! ${warning}\n`).join('')
  return `\nRingdown ${facts.version}\n\n${table}${warnings === '' ? '' : `\n${warnings}`}\n`
}

export function databaseOf(config: Config, dataDir: string): string {
  if (config.DB_USERNAME === null) return `SQLite, in ${dataDir}`
  return `MySQL, ${config.DB_DATABASE} at ${config.DB_HOST}:${config.DB_PORT}`
}
