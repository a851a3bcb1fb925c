// The contract of Metrics (src/core/ports.ts), for every implementation: the numbers for Prometheus, and the ones that
// tests pass where nobody counts. That what happened is counted right: src/observe/metrics.test.ts.
import { afterEach, describe, expect, test } from 'bun:test'
import type { Kind } from '../../src/core/kinds.ts'
import type { Metrics } from '../../src/core/ports.ts'
import { openMetrics } from '../../src/observe/metrics.ts'
import { type CodeName, codes, type EndReason, endReasons } from '../../src/protocol/codes.ts'
import { TestClock } from '../kit/clock.ts'
import { uncounted } from '../kit/metrics.ts'
import { IN_REAL_TIME } from '../kit/real-time.ts'

interface Opened {
  readonly metrics: Metrics
  /** Names with labels of everything that is counted. */
  series(): Promise<string[]>
}

const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

const implementations: Record<string, () => Opened> = {
  'for Prometheus': () => {
    const none = () => ({ waiting: 0, active: 0 })
    const metrics = openMetrics({
      version: '1.2.3',
      calls: { ride: none, direct: none },
      store: () => ({ writable: true, reachable: true, backlog: 0, backlogSince: null }),
      clock: new TestClock(),
    })
    closing.push(() => metrics.close())
    const series = async () =>
      (await metrics.text())
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('#'))
        .map((line) => line.slice(0, line.lastIndexOf(' ')))
    return { metrics, series }
  },
  'that nobody counts': () => ({ metrics: uncounted, series: async () => [] }),
}

/** Says everything once. */
function tell(metrics: Metrics, kind: Kind, reason: EndReason, cause: CodeName, span: number): void {
  metrics.callOpened(kind)
  metrics.callConnected(kind, span)
  metrics.callEnded(kind, reason)
  metrics.relayed(kind)
  metrics.relayTook(kind, span)
  metrics.rejected(cause)
  metrics.resumed(kind)
  metrics.socketOpened()
  metrics.socketClosed()
  metrics.webhook('delivered')
}

const KINDS: readonly Kind[] = ['ride', 'direct']
const SPANS = [0, 0.001, 1, 1e12, -1, Number.NaN, Number.POSITIVE_INFINITY]

for (const [name, open] of Object.entries(implementations)) {
  describe(name, () => {
    test('everything that can happen can be told, by a method without its object too, and adds no series', async () => {
      const { metrics, series } = open()
      const before = await series()
      const { ...loose } = metrics
      for (const kind of KINDS) {
        for (const reason of Object.keys(endReasons) as EndReason[])
          tell(metrics, kind, reason, 'internal', 1)
        for (const cause of Object.keys(codes) as CodeName[]) tell(loose, kind, 'user_terminated', cause, 1)
      }
      expect(await series()).toEqual(before)
    })

    test('an odd span breaks no call', async () => {
      const { metrics, series } = open()
      for (const span of SPANS) {
        expect(() => tell(metrics, 'ride', 'user_terminated', 'internal', span)).not.toThrow()
      }
      await series()
    })

    test('what is in no list is not counted and breaks nothing, however much of it comes', async () => {
      const { metrics, series } = open()
      const before = await series()
      for (let i = 0; i < 20_000; i++) {
        const odd = ['', '__proto__', 'constructor', 'a"b\n', `id-${i}`][i % 5] as never
        tell(metrics, odd, odd, odd, i)
        metrics.callEnded('ride', odd)
      }
      expect(await series()).toEqual(before)
    })

    test('telling of a frame costs next to nothing', IN_REAL_TIME, () => {
      const { metrics } = open()
      const start = performance.now()
      for (let i = 0; i < 1_000_000; i++) metrics.relayed('ride')
      // A few tens of nanoseconds each; fifty times that on a machine that has much else to do.
      expect(performance.now() - start).toBeLessThan(2_000)
    })
  })
}
