/** Both ends of a connection for the contract of peers: with a door and a real socket, and made of memory. */
import type { Session, TextEndpoint } from '../../src/core/door.ts'
import type { Millis } from '../../src/core/ids.ts'
import type { Peer } from '../../src/core/ports.ts'
import { WsDoor } from '../../src/ws/door.ts'
import { TestClock } from '../kit/clock.ts'
import { silentLog } from '../kit/log.ts'
import { uncounted } from '../kit/metrics.ts'
import { Phone } from '../kit/phone.ts'
import { ProcessClock } from '../kit/process-clock.ts'
import { PONG, RawPeer } from '../kit/raw-peer.ts'
import { until } from '../kit/until.ts'

export const FIRST_WORD: Millis = 10_000

/** What the service does with one connection. */
export interface Script {
  opens?(peer: Peer): void
  hears?(peer: Peer, text: string): void
  closes?(peer: Peer): void
}

/** The far end: what a client can do. */
export interface Client {
  /** Resolves when the session has heard it, if it still hears anything. */
  say(text: string): Promise<void>
  /** The next texts, this many. */
  texts(count: number): Promise<string[]>
  /** Answers the next ping. */
  pong(): Promise<void>
  stopReading(): void
  /** Reads to the end. Resolves when the session knows of the end too, with the texts that were not taken yet. */
  closed(): Promise<{ texts: string[]; code: number; reason: string }>
  goodbye(code: number): Promise<void>
  cut(): Promise<void>
}

export interface Line {
  readonly peer: Peer
  readonly client: Client
  /** Everything the session was told, and whatever the test adds. */
  readonly told: string[]
}

export interface House {
  readonly clock: TestClock
  connect(script?: Script): Promise<Line>
  close(): Promise<void>
}

/** An endpoint that writes down what its sessions are told, and does what the script says. */
function endpointOf(script: Script, told: string[], heard: () => void, made: (peer: Peer) => void) {
  const endpoint: TextEndpoint<string> = {
    kind: 'ride',
    speaks: 'text',
    access: 'anybody',
    path: '/ws',
    codec: {
      read(text) {
        heard()
        return text
      },
      failure: ({ code }) => `refused ${code}`,
    },
    maxBytes: 4096,
    firstWordWithin: FIRST_WORD,
    tooLate: 'authenticate_timeout',
    heartbeat: { interval: 20_000, timeout: 30_000 },
    open(peer): Session<string> {
      made(peer)
      script.opens?.(peer)
      return {
        message(text) {
          told.push(`heard ${text}`)
          script.hears?.(peer, text)
          return false
        },
        closed(goodbye) {
          told.push(goodbye ? 'goodbye' : 'lost')
          script.closes?.(peer)
        },
        pinged: () => void told.push('pinged'),
        ponged: () => void told.push('ponged'),
      }
    },
  }
  return endpoint
}

const isOver = (told: readonly string[]) => told.includes('lost') || told.includes('goodbye')

export const houses: Record<string, () => House> = {
  'a connection of the door': () => {
    const clock = new TestClock()
    const closing: (() => void | Promise<void>)[] = []
    return {
      clock,
      async connect(script = {}) {
        const told: string[] = []
        let heard = 0
        let made: Peer | null = null
        const endpoint = endpointOf(
          script,
          told,
          () => heard++,
          (peer) => {
            made = peer
          },
        )
        const door = new WsDoor({
          endpoints: [endpoint as TextEndpoint<unknown>],
          rates: { messagesPerSecond: 1_000, bytesPerMinute: 1_000_000 },
          clock,
          log: silentLog,
          metrics: uncounted,
        })
        const arrival = { id: 'one', address: '192.0.2.1', query: new URLSearchParams(), giveBack: () => {} }
        const server = Bun.serve({
          hostname: '127.0.0.1',
          port: 0,
          fetch: (request, self) =>
            door.upgrade(request, self, '/ws', arrival) ? undefined : new Response(null, { status: 400 }),
          websocket: door.handlers(),
        })
        closing.push(() => server.stop(true))
        const raw = await RawPeer.open(`http://127.0.0.1:${server.port}`, { pong: false })
        closing.push(() => raw.drop())
        await until(() => made !== null, 'the session')
        const peer = made as unknown as Peer
        const over = () => until(() => isOver(told), 'the session to hear of the end')
        const client: Client = {
          async say(text) {
            const before = heard
            const wasOpen = peer.open
            raw.send(text)
            if (wasOpen) await until(() => heard > before, 'the session to hear')
          },
          async texts(count) {
            const texts: string[] = []
            while (texts.length < count) texts.push(await raw.nextText())
            return texts
          },
          async pong() {
            raw.frame(PONG, await raw.nextPing())
          },
          stopReading: () => void raw.socket.pause(),
          async closed() {
            raw.socket.resume()
            const closed = await raw.closed()
            await over()
            return { texts: [...raw.waiting], ...closed }
          },
          async goodbye(code) {
            raw.close(code)
            await over()
          },
          async cut() {
            raw.drop()
            await over()
          },
        }
        return { peer, client, told }
      },
      async close() {
        for (const each of closing.splice(0).reverse()) await each()
      },
    }
  },

  'a phone made of memory': () => {
    const clock = new TestClock()
    const process = new ProcessClock(clock)
    return {
      clock,
      async connect(script = {}) {
        const told: string[] = []
        const phone = new Phone(
          endpointOf(
            script,
            told,
            () => {},
            () => {},
          ),
          process,
        )
        const waiting: string[] = []
        const client: Client = {
          async say(text) {
            phone.sayText(text)
          },
          async texts(count) {
            waiting.push(...phone.receive())
            return waiting.splice(0, count)
          },
          async pong() {
            waiting.push(...phone.receive())
          },
          stopReading() {
            phone.slow = true
          },
          async closed() {
            waiting.push(...phone.receive())
            phone.end()
            return { texts: waiting.splice(0), code: phone.code ?? 0, reason: phone.reason ?? '' }
          },
          goodbye: async (code) => phone.end(code === 1000),
          cut: async () => phone.end(),
        }
        return { peer: phone, client, told }
      },
      async close() {},
    }
  },
}
