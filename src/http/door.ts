/**
 * The HTTP door: finds the route, asks the gate, and turns what goes wrong into a JSON answer. It opens the one
 * listening socket of the server and hands upgrades to the WebSocket door, which it knows only as `Sockets`.
 */
import { constants } from 'node:crypto'
import type { Server, WebSocketHandler } from 'bun'
import type { Query } from '../core/door.ts'
import type { Log, Metrics } from '../core/ports.ts'
import { Failure, fail } from '../protocol/codes.ts'
import { failure, refuse, sentence } from './answer.ts'
import type { Gate } from './gate.ts'
import type { Pages } from './pages.ts'
import type { Route } from './route.ts'

/** What is known of a connection before it is one. */
export interface Arrival {
  readonly id: string
  /** Address of the client. */
  readonly address: string
  /** What it asked for in the address; never for the log. */
  readonly query: Query
  /** The client has said who it is: its address gets the attempt back. */
  readonly giveBack: () => void
}

/** What the HTTP door needs of the WebSocket door. */
export interface Sockets<Data> {
  readonly paths: readonly string[]
  readonly size: number
  /** Who may connect on a path: anybody, or who shows an API key of the line as `?apikey=`. */
  accessOf(path: string): 'anybody' | 'line'
  /** Whether the address says what its path wants. Throws a Failure. */
  check(path: string, query: Query): void
  /** Answers a handshake; false when the runtime does not take it for one. */
  upgrade(request: Request, server: Server<Data>, path: string, arrival: Arrival): boolean
  handlers(): WebSocketHandler<Data>
}

export interface HttpDeps<Data> {
  readonly routes: readonly Route[]
  readonly gate: Gate
  readonly sockets: Sockets<Data>
  /** Connections that may be open at once. */
  readonly maxConnections: number
  readonly pages: Pages
  /** People reach this server over TLS, its own or that of a proxy. */
  readonly https: boolean
  readonly newConnectionId: () => string
  readonly log: Log
  readonly metrics: Metrics
}

/** The chain of the certificate, and its key: PEM. */
export interface Tls {
  readonly cert: string
  readonly key: string
}

export interface Listening {
  /** Port it listens on, which the system chose when it was asked for 0. */
  readonly port: number
  readonly hostname: string
  /** From now on new connections get this certificate; open ones live on. Only where TLS is spoken. */
  renew(tls: Tls): void
  /** Takes no more connections; open ones live on. */
  stopListening(): void
  /** Cuts what is left. Twice is fine. */
  close(): Promise<void>
}

const FROM_TLS_1_3 = constants.SSL_OP_NO_TLSv1 | constants.SSL_OP_NO_TLSv1_1 | constants.SSL_OP_NO_TLSv1_2

/** Seconds without a byte after which a request is cut; a slow one is cut too. */
const IDLE_SECONDS = 10

/** For dispatch and for `Allow`. */
type Methods = ReadonlyMap<string, Route>

/** `/sessions/:id`: what stands before and after the part that varies, which is one segment. */
interface VariablePath {
  readonly before: string
  readonly after: string
  readonly methods: Methods
}

export class HttpDoor<Data> {
  readonly #deps: HttpDeps<Data>
  /** By path, as it is asked for. */
  readonly #fixed = new Map<string, Methods>()
  readonly #variable: VariablePath[] = []

  constructor(deps: HttpDeps<Data>) {
    this.#deps = deps
    const byPath = Map.groupBy(deps.routes, ({ path }) => path)
    for (const [path, routes] of byPath) {
      const methods = new Map(routes.map((route) => [route.method, route]))
      const [before = '', after] = path.split(':id')
      if (after === undefined) this.#fixed.set(path, methods)
      else this.#variable.push({ before, after, methods })
    }
  }

  /** `tls`: to speak TLS 1.3; plain HTTP without it. */
  listen(hostname: string, port: number, tls: Tls | null = null): Listening {
    // With reusePort below the system would let two servers share the port; this finds out as without it.
    if (tls !== null) Bun.listen({ hostname, port, socket: { data() {} } }).stop(true)
    let current = this.#serve(hostname, port, tls)
    const all = new Set([current])
    const at = current.port ?? port
    return {
      port: at,
      hostname,
      renew: (renewed) => {
        const before = current
        current = this.#serve(hostname, at, renewed)
        all.add(current)
        // Its connections live on, and when the last of them is gone, so is it. Who is shaking hands at this instant is
        // cut by the runtime, and tries again.
        void before.stop(false).then(() => all.delete(before))
      },
      stopListening: () => void current.stop(false),
      async close() {
        await Promise.all([...all].map((server) => server.stop(true)))
      },
    }
  }

  #serve(hostname: string, port: number, tls: Tls | null): Server<Data> {
    return Bun.serve<Data>({
      hostname,
      port,
      idleTimeout: IDLE_SECONDS,
      fetch: (request, self) => this.#answer(request, self),
      websocket: this.#deps.sockets.handlers(),
      error: (error) => this.#failed(error),
      // A listener cannot change its certificate, so that a new one begins beside it.
      ...(tls === null
        ? {}
        : { reusePort: true, tls: { cert: tls.cert, key: tls.key, secureOptions: FROM_TLS_1_3 } }),
    })
  }

  async #answer(request: Request, server: Server<Data>): Promise<Response | undefined> {
    const response = await this.#respond(request, server)
    if (this.#deps.https) response?.headers.set('strict-transport-security', HSTS)
    return response
  }

  async #respond(request: Request, server: Server<Data>): Promise<Response | undefined> {
    let route: Route | undefined
    try {
      const url = urlOf(request)
      const socket = server.requestIP(request)?.address ?? ''
      if (this.#deps.sockets.paths.includes(url.pathname)) return this.#upgrade(request, url, socket, server)
      const [methods, id] = this.#find(url.pathname)
      if (methods === null) return await this.#page(request, url.pathname)
      // RFC 9110 section 9.3.2: HEAD is GET without the body, which the runtime leaves out.
      route = methods.get(request.method === 'HEAD' ? 'GET' : request.method)
      if (route === undefined) return refuse('method_not_allowed', { allow: allowed([...methods.keys()]) })
      const client = this.#deps.gate.client(socket, request.headers)
      const shown = { headers: request.headers, query: url.searchParams }
      const keyDigest = this.#deps.gate.admit(route.access, shown, client)
      const site = this.#deps.gate.siteOf(request, socket)
      return await route.handle({ request, url, id, client, site, keyDigest })
    } catch (error) {
      if (route?.refusal === undefined || !(error instanceof Failure)) return this.#failed(error)
      return sentence(error, route.refusal(error.code))
    }
  }

  /** The routes of a path, and the variable part of it. */
  #find(path: string): [Methods | null, id: string] {
    const fixed = this.#fixed.get(path)
    if (fixed !== undefined) return [fixed, '']
    for (const { before, after, methods } of this.#variable) {
      if (!path.startsWith(before) || !path.endsWith(after)) continue
      const id = path.slice(before.length, path.length - after.length)
      if (id !== '' && !id.includes('/')) return [methods, decode(id)]
    }
    return [null, '']
  }

  #upgrade(request: Request, url: URL, socket: string, server: Server<Data>): Response | undefined {
    const { gate, sockets, maxConnections, newConnectionId } = this.#deps
    if (request.method !== 'GET') return refuse('method_not_allowed', { allow: 'GET' })
    checkHandshake(request.headers)
    const client = gate.client(socket, request.headers)
    // Before the attempt is counted, so that who guesses keys uses up no attempt of who has one at the same address.
    gate.admit(sockets.accessOf(url.pathname), { headers: request.headers, query: url.searchParams }, client)
    const giveBack = gate.admitConnection(request.headers, client, gate.siteOf(request, socket))
    if (sockets.size >= maxConnections) throw fail('overloaded', undefined, { retryAfter: 5_000 })
    sockets.check(url.pathname, url.searchParams)
    const arrival = { id: newConnectionId(), address: client, query: url.searchParams, giveBack }
    if (sockets.upgrade(request, server, url.pathname, arrival)) return undefined
    throw fail('bad_request', 'This is not a WebSocket handshake.')
  }

  async #page(request: Request, path: string): Promise<Response> {
    const page = await this.#deps.pages.at(path)
    if (page === null) return refuse('not_found')
    return request.method === 'GET' || request.method === 'HEAD'
      ? page
      : refuse('method_not_allowed', { allow: allowed(['GET']) })
  }

  #failed(error: unknown): Response {
    if (error instanceof Failure) return failure(error, error.code === 'upgrade_required' ? UPGRADE : {})
    this.#deps.log.error({ err: error }, 'a request could not be answered')
    this.#deps.metrics.rejected('internal')
    return refuse('internal')
  }
}

/** RFC 6797 section 6.1: a year. Names below this one are somebody else's. */
const HSTS = 'max-age=31536000'

/** RFC 9110 section 15.5.22 and RFC 6455 section 4.4. */
const UPGRADE = { upgrade: 'websocket', 'sec-websocket-version': '13' }

/**
 * The runtime puts a host before the path only when it can read one. Without any, as HTTP/1.0 health checks come, the
 * path is good enough; one that cannot be read is refused, RFC 9112 section 3.2.
 */
function urlOf(request: Request): URL {
  const hostless = (request.headers.get('host') ?? '') === '' && request.url.startsWith('/')
  try {
    return new URL(hostless ? `http://localhost${request.url}` : request.url)
  } catch {
    throw fail('bad_request', 'The Host header cannot be read.')
  }
}

/** RFC 6455 section 4.2.1. The runtime checks as well, but answers some of these with a status that says nothing. */
function checkHandshake(headers: Headers): void {
  if (!names(headers, 'upgrade', 'websocket') || !names(headers, 'connection', 'upgrade'))
    throw fail('upgrade_required')
  if (headers.get('sec-websocket-version') !== '13') throw fail('upgrade_required')
  if (!/^[A-Za-z0-9+/]{21}[AQgw]==$/.test(headers.get('sec-websocket-key') ?? '')) {
    throw fail('bad_request', 'Sec-WebSocket-Key must be 16 bytes in base64.')
  }
}

/** Whether a header that is a list has this in it. */
function names(headers: Headers, header: string, value: string): boolean {
  const list = (headers.get(header) ?? '').toLowerCase().split(',')
  return list.some((each) => each.trim() === value)
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

function allowed(methods: readonly string[]): string {
  return (methods.includes('GET') ? [...methods, 'HEAD'] : methods).join(', ')
}
