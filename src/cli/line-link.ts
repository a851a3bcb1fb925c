/** The links with which a line begins. They hold a key: whole ones are for the operator's eyes, the log gets its start. */
import type { Config } from '../config/options.ts'

export interface LineLinks {
  /** Full sound. */
  readonly usual: string
  /** The narrow profile. */
  readonly mobile: string
}

const SHOWN = 8

/** What is opened first: the page makes the leaf, and then shows the link for the other end. */
export function lineLinks(site: string, key: string): LineLinks {
  const page = `${site}/line.html?apikey=${key}`
  return { usual: `${page}#generate_leaf`, mobile: `${page}&mobile=1#generate_leaf` }
}

/** The same with the first characters of the key only, for the log. */
export function cutLineLinks(site: string, key: string): LineLinks {
  const page = `${site}/line.html?apikey=${key.slice(0, SHOWN)}...`
  return { usual: page, mobile: `${page}&mobile=1` }
}

/** Where people reach a server with these settings. */
export function siteOf(config: Config): string {
  const { host, port } = config.SERVER_ADDR
  const scheme = config.TLS_CERT_FILE === null ? 'http' : 'https'
  return config.SITEURL ?? `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`
}
