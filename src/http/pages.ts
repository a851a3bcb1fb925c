/** The built pages, from memory. Read once, when the first is asked for. */
import { join } from 'node:path'

/** No third party is ever asked for anything, and nothing but our own files runs. */
const HEADERS = {
  'content-security-policy':
    "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'microphone=(self), camera=(), geolocation=()',
}

interface Page {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly headers: Record<string, string>
}

export class Pages {
  readonly #folder: string
  readonly #pages = new Map<string, Page>()

  constructor(folder: string) {
    this.#folder = folder
  }

  /** The file at a path such as `/call.html`, or null. Only names that a build makes are looked for. */
  async at(path: string): Promise<Response | null> {
    if (!/^\/(assets\/)?[a-z0-9][a-z0-9._-]{0,80}$/i.test(path)) return null
    const page = this.#pages.get(path) ?? (await this.#read(path))
    return page === null ? null : new Response(page.bytes, { headers: page.headers })
  }

  async #read(path: string): Promise<Page | null> {
    const file = Bun.file(join(this.#folder, path))
    // What is not there is not remembered, so that guessing names fills nothing.
    if (!(await file.exists())) return null
    const caching = path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache'
    const headers = { ...HEADERS, 'content-type': file.type, 'cache-control': caching }
    const page = { bytes: await file.bytes(), headers }
    this.#pages.set(path, page)
    return page
  }
}
