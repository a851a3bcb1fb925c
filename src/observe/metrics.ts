/**
 * The numbers for Prometheus. Every series is there from the start, made from closed lists, and what is in no list is
 * not counted: no client can add a series. Spans are in seconds, as Prometheus has it.
 */
import Counter from 'prom-client/lib/counter.js'
import Gauge from 'prom-client/lib/gauge.js'
import Histogram from 'prom-client/lib/histogram.js'
import Registry from 'prom-client/lib/registry.js'
import type { Millis } from '../core/ids.ts'
import type { Kind } from '../core/kinds.ts'
import type { Clock, DropCause, Metrics, WebhookOutcome } from '../core/ports.ts'
import { codes, endReasons } from '../protocol/codes.ts'
import { watchLoop, watchProcess } from './process.ts'

export interface MetricsSettings {
  readonly version: string
  /** How many calls live, for each kind that this server answers. Asked at each scrape. */
  readonly calls: Readonly<Partial<Record<Kind, () => { readonly waiting: number; readonly active: number }>>>
  readonly store: () => StoreState
  readonly clock: Clock
}

/** What the store says of itself. */
export interface StoreState {
  readonly writable: boolean
  readonly reachable: boolean
  /** Rows that the database of the log does not have yet, and since when the oldest waits. */
  readonly backlog: number
  readonly backlogSince: Millis | null
}

export interface ServerMetrics extends Metrics {
  /** In the Prometheus text format, version 0.0.4. */
  text(): Promise<string>
  /** Stops measuring. Twice is fine. */
  close(): void
}

const SET_UP_BUCKETS = [0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120]
const WEBHOOK_OUTCOMES: readonly WebhookOutcome[] = ['delivered', 'retried', 'given_up', 'dropped']
const DROP_CAUSES: readonly DropCause[] = ['alone', 'slow_reader', 'rate', 'wrong']
const RELAY_BUCKETS = [5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1]

export function openMetrics({ version, calls, store, clock }: MetricsSettings): ServerMetrics {
  const registry = new Registry()
  const registers = [registry]
  const kinds = Object.keys(calls) as Kind[]
  const counter = (name: string, help: string) => new Counter({ name, help, registers })

  /** A counter with one series for each of these values. */
  function counterOf(name: string, help: string, label: string, values: readonly string[]) {
    const all = new Counter({ name, help, labelNames: [label], registers })
    const series = new Map(values.map((value) => [value, all.labels(value)]))
    for (const one of series.values()) one.inc(0)
    return (value: string) => series.get(value)?.inc()
  }

  function histogramOf(name: string, help: string, buckets: number[]) {
    const all = new Histogram({ name, help, buckets, labelNames: ['service'], registers })
    for (const kind of kinds) all.zero({ service: kind })
    const series = new Map<string, Histogram.Internal<'service'>>(
      kinds.map((kind) => [kind, all.labels(kind)]),
    )
    // The library throws at what is no number, and a sum that falls looks like a restart.
    return (kind: Kind, took: Millis) => {
      if (Number.isFinite(took)) series.get(kind)?.observe(Math.max(0, took) / 1000)
    }
  }

  /** A number that is asked for when it is scraped. */
  function gauge(name: string, help: string, read: () => number) {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  }

  const opened = counterOf('ringdown_calls_opened_total', 'Calls that were opened.', 'service', kinds)
  const connected = counterOf(
    'ringdown_calls_connected_total',
    'Calls that had both parties in.',
    'service',
    kinds,
  )
  const setUp = histogramOf(
    'ringdown_call_setup_seconds',
    'Time from the first party coming in to both being in.',
    SET_UP_BUCKETS,
  )
  const ended = new Counter({
    name: 'ringdown_calls_ended_total',
    help: 'Calls that ended, by the reason the parties were told.',
    labelNames: ['service', 'reason'],
    registers,
  })
  const endings = new Map<string, Counter.Internal>()
  for (const [reason, { services }] of Object.entries<{ services: readonly string[] }>(endReasons)) {
    for (const kind of kinds.filter((it) => services.includes(it))) {
      endings.set(`${kind} ${reason}`, ended.labels(kind, reason))
    }
  }
  for (const one of endings.values()) one.inc(0)
  const resumed = counterOf(
    'ringdown_resumes_total',
    'Parties that came back with a resume token.',
    'service',
    kinds,
  )
  const rejected = counterOf(
    'ringdown_rejects_total',
    'Messages, connections and requests that were refused or cut off, by code.',
    'cause',
    Object.keys(codes),
  )
  const webhook = counterOf(
    'ringdown_webhooks_total',
    "Webhooks to the app's backend, by what became of the try.",
    'outcome',
    WEBHOOK_OUTCOMES,
  )
  const relayTook = histogramOf(
    'ringdown_relay_seconds',
    'Time from reading a frame to handing it on, of a sample of the frames.',
    RELAY_BUCKETS,
  )

  // Counted for every frame, so as plain numbers that are handed over when they are asked for.
  const relayed = new Map(kinds.map((kind) => [kind, { frames: 0, bytes: 0 }]))
  new Counter({
    name: 'ringdown_relayed_frames_total',
    help: 'Frames that were forwarded from one party to the other.',
    labelNames: ['service'],
    registers,
    collect() {
      this.reset()
      for (const [kind, { frames }] of relayed) this.inc({ service: kind }, frames)
    },
  })

  new Counter({
    name: 'ringdown_relayed_bytes_total',
    help: 'Bytes of the frames that were forwarded on lines.',
    registers,
    collect() {
      this.reset()
      this.inc(relayed.get('line')?.bytes ?? 0)
    },
  })
  const dropped = new Map(DROP_CAUSES.map((cause) => [cause, { frames: 0 }]))
  new Counter({
    name: 'ringdown_dropped_frames_total',
    help: 'Frames of lines that were not forwarded, by cause.',
    labelNames: ['cause'],
    registers,
    collect() {
      this.reset()
      for (const [cause, { frames }] of dropped) this.inc({ cause }, frames)
    },
  })

  const socketsOpened = counter('ringdown_sockets_opened_total', 'WebSocket connections that were opened.')
  let sockets = 0
  gauge('ringdown_sockets', 'WebSocket connections that are open.', () => sockets)
  new Gauge({
    name: 'ringdown_calls',
    help: 'Calls that live, by state.',
    labelNames: ['service', 'state'],
    registers,
    collect() {
      for (const kind of kinds) {
        const { waiting = 0, active = 0 } = calls[kind]?.() ?? {}
        this.set({ service: kind, state: 'waiting' }, waiting)
        this.set({ service: kind, state: 'active' }, active)
      }
    },
  })

  gauge('ringdown_store_writable', 'Whether calls can be written down on this machine: 1 or 0.', () =>
    Number(store().writable),
  )
  gauge('ringdown_store_reachable', 'Whether the database of the call log answers: 1 or 0.', () =>
    Number(store().reachable),
  )
  gauge(
    'ringdown_store_backlog_rows',
    'Rows that the database of the call log does not have yet.',
    () => store().backlog,
  )
  gauge('ringdown_store_backlog_age_seconds', 'How long the oldest of those rows has waited.', () => {
    const since = store().backlogSince
    return since === null ? 0 : Math.max(0, clock.now() - since) / 1000
  })

  new Gauge({
    name: 'ringdown_info',
    help: 'Which version runs; always 1.',
    labelNames: ['version'],
    registers,
  })
    .labels(version)
    .set(1)
  watchProcess(registry)
  const stopWatching = watchLoop(registry)

  return {
    callOpened: opened,
    callConnected(kind, took) {
      connected(kind)
      setUp(kind, took)
    },
    callEnded: (kind, reason) => endings.get(`${kind} ${reason}`)?.inc(),
    relayed(kind, bytes = 0) {
      const count = relayed.get(kind)
      if (count === undefined) return
      count.frames++
      count.bytes += bytes
    },
    dropped(cause) {
      const count = dropped.get(cause)
      if (count !== undefined) count.frames++
    },
    relayTook,
    rejected,
    resumed,
    socketOpened() {
      sockets++
      socketsOpened.inc()
    },
    socketClosed() {
      sockets--
    },
    webhook,
    text: () => registry.metrics(),
    close: stopWatching,
  }
}
