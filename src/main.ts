/**
 * Builds the server, starts it in order, and stops it in reverse. The one file that knows every room.
 *
 * Order and reason: keys before everything that checks or signs; the store before the services, which take their calls
 * up from it; the calls of all services before the store closes those that nobody took up; the calls before the doors,
 * so that nobody comes in to a call that is not there yet. Stopping goes the other way: say so, let nothing new in, let
 * go of the phones, tell the backend, write down what is left.
 */
import { join } from 'node:path'
import { version as VERSION } from '../package.json'
import { appTokens } from './auth/app-tokens.ts'
import { readCertificate } from './auth/certificate.ts'
import { digest } from './auth/digest.ts'
import { identityProofs } from './auth/identity.ts'
import { type Keys, openKeys } from './auth/keys.ts'
import { directTokens, rideTokens } from './auth/tokens.ts'
import { openTurn } from './auth/turn.ts'
import { SystemClock } from './clock.ts'
import type { Config } from './config/options.ts'
import { callId } from './core/ids.ts'
import type { Alarm, Clock, Log } from './core/ports.ts'
import { WakeHook } from './hooks/wake.ts'
import { HttpDoor } from './http/door.ts'
import { Gate } from './http/gate.ts'
import { Pages } from './http/pages.ts'
import type { Asked } from './http/route.ts'
import { allRoutes } from './http/routes.ts'
import { readiness } from './observe/health.ts'
import { openLog, type ServerLog } from './observe/log.ts'
import { openMetrics } from './observe/metrics.ts'
import { RIDE_PATH } from './protocol/ride.ts'
import { Renewal } from './renewal.ts'
import { Directs } from './services/direct/directs.ts'
import { Lines } from './services/line/lines.ts'
import { Rides } from './services/ride/rides.ts'
import { appTokensOf, certificateFilesOf, isTrial, mysqlOf, secretsOf, turnOf } from './settings.ts'
import { openStore } from './store/store.ts'
import { WsDoor } from './ws/door.ts'

/** What a test brings instead of the real thing. */
export interface World {
  readonly clock: Clock
  readonly log: Log
  /** Folder of the built pages. */
  readonly pages: string
}

export interface Running {
  /** Where it listens: `http://127.0.0.1:47880`. */
  readonly url: string
  readonly port: number
  readonly keys: Keys
  /** Pages to try calls are served. */
  readonly tryPages: boolean
  /** Looks whether the certificate was renewed; nothing where TLS is not its own. */
  renewCertificate(): void
  /** Says that it is going down and lets nothing new begin; what lives goes on. */
  drain(): void
  /** Stops all of it. Calls stay as snapshots, for the next start. Twice is fine. */
  close(): Promise<void>
}

/** How often calls that have been kept long enough are looked for. */
const RETAIN_EVERY = 6 * 3600_000

/** A trial call may last so long, if sessions may. */
const TRIAL_SECONDS = 900

export async function start(config: Config, world: Partial<World> = {}): Promise<Running> {
  const ownLog =
    world.log === undefined ? openLog({ level: config.LOG_LEVEL, format: config.LOG_FORMAT }) : null
  const log: Log = world.log ?? (ownLog as ServerLog)
  const ownClock =
    world.clock === undefined
      ? new SystemClock((error) => log.error({ err: error }, 'an alarm failed'))
      : null
  const clock = world.clock ?? (ownClock as SystemClock)
  const files = certificateFilesOf(config)
  const certificate = files === null ? null : readCertificate(files)
  const keys = openKeys(config.DATA_DIR, {
    apiKey: config.API_KEY,
    adminKey: config.ADMIN_KEY,
    lineKey: config.APIKEY,
  })
  ownLog?.hide(secretsOf(config, keys))
  const store = openStore({
    dataDir: config.DATA_DIR,
    mysql: mysqlOf(config),
    clock,
    log: log.child({ room: 'store' }),
  })
  let draining = false

  const metrics = openMetrics({
    version: VERSION,
    calls: { ride: () => rides.count(), direct: () => directs.count(), line: () => lines.count() },
    store: () => store.status(),
    clock,
  })
  // Credentials and tokens run out by the wall clock: the other end compares them with its own.
  const turn = openTurn(turnOf(config), { now: Date.now, log })
  const rides = new Rides({
    terms: {
      maxMessageBytes: config.MAX_MESSAGE_BYTES,
      duration: config.SESSION_DURATION,
      maxDuration: config.MAX_SESSION_DURATION,
      joinWindow: config.JOIN_WINDOW,
      maxJoinWindow: config.MAX_JOIN_WINDOW,
      grace: config.RECONNECT_GRACE,
      heartbeat: { interval: config.HEARTBEAT_INTERVAL, timeout: config.HEARTBEAT_TIMEOUT },
      requireJoinToken: config.REQUIRE_JOIN_TOKEN,
    },
    clock,
    callLog: store.callLog,
    snapshots: store.snapshots,
    receipts: store.receipts,
    tokens: rideTokens(keys.secret),
    turn: config.TURN_PROVIDER === 'none' ? null : turn,
    metrics,
    log,
    newId: () => callId(crypto.randomUUID()),
    digest,
  })

  const tokens = appTokensOf(config)
  const waking =
    config.WAKE_WEBHOOK_URL === null
      ? null
      : new WakeHook({
          url: config.WAKE_WEBHOOK_URL,
          secrets: config.WEBHOOK_SECRET ?? [],
          clock,
          metrics,
          log: log.child({ room: 'hooks' }),
        })
  const directs = new Directs({
    terms: {
      identity: config.DIRECT_IDENTITY,
      // Asked for only by connections, when it is known where the server listens.
      get hosts() {
        return hostsOf(config.SITEURL ?? url)
      },
      ringTimeout: config.RING_TIMEOUT,
      grace: config.RECONNECT_GRACE,
    },
    clock,
    callLog: store.callLog,
    snapshots: store.snapshots,
    directory: store.directory,
    proofs: identityProofs(tokens === null ? null : appTokens({ ...tokens, now: Date.now, log })),
    tokens: directTokens(keys.secret),
    turn,
    waking,
    metrics,
    log,
    newId: () => crypto.randomUUID(),
    digest,
  })
  const lines = new Lines({
    mostOfKey: config.LINES_PER_KEY,
    grace: config.RECONNECT_GRACE,
    clock,
    callLog: store.callLog,
    snapshots: store.snapshots,
    metrics,
    log,
    newId: () => callId(crypto.randomUUID()),
    digest,
  })
  rides.recover()
  directs.recover()
  lines.recover()
  store.closeOrphans([...rides.liveIds(), ...directs.liveIds(), ...lines.liveIds()], clock.now())

  const sockets = new WsDoor({
    endpoints: [rides.endpoint(), directs.endpoint(), lines.endpoint()],
    rates: { messagesPerSecond: config.MESSAGES_PER_SECOND, bytesPerMinute: config.BYTES_PER_MINUTE },
    clock,
    log,
    metrics,
  })

  const tryPages = config.TRY_PAGES === 'true' || (config.TRY_PAGES === 'auto' && isTrial(config))
  const socketUrl = (asked: Asked) => `${(config.SITEURL ?? asked.site).replace(/^http/, 'ws')}${RIDE_PATH}`
  const seconds = Math.min(TRIAL_SECONDS, config.MAX_SESSION_DURATION / 1000, config.MAX_JOIN_WINDOW / 1000)
  const pages = new Pages(world.pages ?? PAGES, tryPages)
  const http = new HttpDoor({
    routes: allRoutes({
      readiness: () => readiness(draining, store.status(), clock.now()),
      metrics: () => metrics.text(),
      rides,
      directs,
      history: store.history,
      digest,
      socketUrl,
      trialSeconds: Math.floor(seconds),
      pages,
    }),
    gate: new Gate({
      trustedProxies: config.TRUSTED_PROXIES,
      allowedOrigins: [
        ...config.ALLOWED_ORIGINS,
        ...(config.SITEURL === null ? [] : [originOf(config.SITEURL)]),
      ],
      ratePerMinute: config.RATE_LIMIT_PER_MIN,
      isApiKey: (presented) => keys.api.accepts(presented),
      isAdminKey: (presented) => keys.admin.accepts(presented),
      isLineKey: (presented) => keys.line.accepts(presented),
      trial: config.ENVIRONMENT === 'development' ? 'anybody' : isTrial(config) ? 'this machine' : 'nobody',
      digest,
      tls: certificate !== null,
      clock,
      metrics,
    }),
    sockets,
    maxConnections: config.MAX_CONNECTIONS,
    pages,
    https: certificate !== null || config.SITEURL?.startsWith('https:') === true,
    newConnectionId,
    log,
    metrics,
  })
  const { host, port } = config.SERVER_ADDR
  const listening = http.listen(host, port, certificate)
  const renewal =
    files === null || certificate === null
      ? null
      : new Renewal({
          read: () => readCertificate(files),
          current: certificate,
          apply: (renewed) => listening.renew(renewed),
          clock,
          log,
        })
  const url = `http${certificate === null ? '' : 's'}://${host.includes(':') ? `[${host}]` : host}:${listening.port}`
  log.info({ url }, 'listening')

  let retention: Alarm | null = null
  const retain = () => {
    void store.retain(config.RETENTION_DAYS)
    retention = clock.alarm(clock.now() + RETAIN_EVERY, retain)
  }
  retain()

  const drain = () => {
    draining = true
    rides.drain()
    directs.drain()
    lines.drain()
  }
  let closing: Promise<void> | null = null
  const close = async () => {
    drain()
    renewal?.close()
    listening.stopListening()
    rides.close()
    directs.close()
    lines.close()
    retention?.cancel()
    await sockets.close()
    await waking?.close()
    await listening.close()
    metrics.close()
    await store.close()
    // After the store, whose deadlines it rings.
    ownClock?.close()
    log.info({}, 'stopped')
    await ownLog?.close()
  }
  return {
    url,
    port: listening.port,
    keys,
    tryPages,
    renewCertificate: () => renewal?.look(),
    drain,
    close: () => (closing ??= close()),
  }
}

/** The names a client may know this server by. Without SITEURL that is where it listens, also as localhost. */
function hostsOf(site: string): string[] {
  const { host, hostname, port } = new URL(site)
  const local = ['127.0.0.1', 'localhost', '[::1]']
  return local.includes(hostname) ? [host, ...local.map((name) => `${name}:${port}`)] : [host]
}

/** For who starts it from the source; a built server is told, as it stands elsewhere. */
const PAGES = join(import.meta.dir, '../dist/web')

/** Eight digits for the log. Not cut from a longer text, which would stay in memory with every connection. */
function newConnectionId(): string {
  const [word = 0] = crypto.getRandomValues(new Uint32Array(1))
  return word.toString(16).padStart(8, '0')
}

function originOf(address: string): string {
  return new URL(address).origin
}
