/** The built pages, from memory. Each is read once, when it is first asked for. */
import { join } from 'node:path'

/** Of the pages to try calls. No third party is ever asked for anything, and nothing but our own files runs. */
const TRIAL = {
  'content-security-policy':
    "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'microphone=(self), camera=(), geolocation=()',
  'cache-control': 'no-cache',
}

/** What holds for the page of a line and, as a worker is asked for its own, for every script. */
const STRICT = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-resource-policy': 'same-origin',
}

/** The address of the page holds a key, so it is kept nowhere. */
const LINE = {
  ...STRICT,
  'permissions-policy':
    'microphone=(self), screen-wake-lock=(self), speaker-selection=(self), camera=(), geolocation=()',
  'cache-control': 'no-store',
}

/** Its name changes with its content. */
const ASSET = { ...STRICT, 'cache-control': 'public, max-age=31536000, immutable' }

interface Page {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly headers: Record<string, string>
}

/** Made by the build: SHA-256 by name. */
const HASHES = '/files.json'
const LINE_PAGE = '/line.html'

export class Pages {
  readonly #folder: string
  readonly #trial: boolean
  readonly #pages = new Map<string, Page>()

  /** `trial`: pages to try calls are served. */
  constructor(folder: string, trial: boolean) {
    this.#folder = folder
    this.#trial = trial
  }

  /**
   * The file at a path such as `/call.html`, or null. Only names that a build makes are looked for. The page of a line
   * is not among them: it is for who has a key. What pages are made of is.
   */
  async at(path: string): Promise<Response | null> {
    const [, folder, name = ''] = /^\/(assets\/)?([a-z0-9][a-z0-9._-]{0,80})$/i.exec(path) ?? []
    if (folder !== undefined) return this.#answer(path, ASSET)
    const isTrial = this.#trial && name !== '' && `/${name.toLowerCase()}` !== LINE_PAGE
    return isTrial ? this.#answer(path, TRIAL) : null
  }

  /** The page of a line; null when it was not built. Whether the one who asks may have it was settled before. */
  line(): Promise<Response | null> {
    return this.#answer(LINE_PAGE, LINE)
  }

  /** SHA-256, in hex, of every file by its name, as JSON; null when nothing was built. */
  hashes(): Promise<Response | null> {
    return this.#answer(HASHES, { 'content-type': 'application/json', 'cache-control': 'no-cache' })
  }

  async #answer(path: string, headers: Record<string, string>): Promise<Response | null> {
    const page = this.#pages.get(path) ?? (await this.#read(path, headers))
    return page === null ? null : new Response(page.bytes, { headers: page.headers })
  }

  async #read(path: string, given: Record<string, string>): Promise<Page | null> {
    const file = Bun.file(join(this.#folder, path))
    // What is not there is not remembered, so that guessing names fills nothing.
    if (!(await file.exists())) return null
    const headers = { 'content-type': file.type, ...given }
    const page = { bytes: await file.bytes(), headers }
    this.#pages.set(path, page)
    return page
  }
}
