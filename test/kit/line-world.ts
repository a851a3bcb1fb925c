/**
 * The line service with everything around it made of memory: pages on wires that can be cut, a log and snapshots that
 * outlive a restart, and a clock that is wound. For tests of the service by itself. A page is what a service holds as
 * its `BytesPeer`; what the door would do of its own accord, the test does.
 */
import type { BytesEndpoint, BytesSession, Handled } from '../../src/core/door.ts'
import { type CallId, callId } from '../../src/core/ids.ts'
import type { Alarm, BytesPeer, CallRecord, Clock, Snapshot } from '../../src/core/ports.ts'
import { PROBE_TIMEOUT } from '../../src/protocol/limits.ts'
import { readNotice } from '../../src/protocol/line.ts'
import { Lines } from '../../src/services/line/lines.ts'
import { TestClock } from './clock.ts'
import { silentLog } from './log.ts'
import { uncounted } from './metrics.ts'
import { ProcessClock } from './process-clock.ts'

export class Page implements BytesPeer {
  readonly id = 'page'
  readonly room: string
  readonly seat: string
  readonly #clock: Clock
  readonly #session: BytesSession
  #open = true
  #gone = false
  #probes: { verdict: (alive: boolean) => void; alarm: Alarm }[] = []
  /** Answers pings. */
  readonly pongs: boolean
  admitted = false
  /** Does not keep up. */
  slow = false
  /** Frames of the other page. */
  heard: Uint8Array[] = []
  readonly notices: string[] = []
  /** What the server closed with. */
  reason: string | null = null

  constructor(endpoint: BytesEndpoint, clock: Clock, room: string, seat: string, pongs: boolean) {
    this.room = room
    this.seat = seat
    this.pongs = pongs
    this.#clock = clock
    const query = new Map([
      ['room', room],
      ['seat', seat],
    ])
    const asked = { get: (name: string) => query.get(name) ?? null }
    endpoint.check(asked)
    this.#session = endpoint.open(this, asked)
  }

  get open(): boolean {
    return this.#open
  }

  send(bytes: Uint8Array): boolean {
    if (!this.#open) return false
    const notice = readNotice(bytes)
    if (notice === null) this.heard.push(bytes)
    else this.notices.push(notice.notice === 'missed' ? `missed ${notice.missed}` : notice.notice)
    return true
  }

  offer(bytes: Uint8Array): boolean {
    return !this.slow && this.send(bytes)
  }

  close(_code: number, reason: string): void {
    if (!this.#open) return
    this.#open = false
    this.reason = reason
  }

  admit(): void {
    this.admitted = true
  }

  probe(verdict: (alive: boolean) => void): void {
    const alarm = this.#clock.alarm(this.#clock.now() + PROBE_TIMEOUT, () => this.#answer(false))
    this.#probes.push({ verdict, alarm })
  }

  /** The page sends a frame. */
  say(bytes: Uint8Array): Handled {
    return this.#session.frame(bytes, this.#clock.now())
  }

  /** The page closes, or its connection is lost. */
  end(goodbye: boolean): void {
    if (this.#gone) return
    this.#gone = true
    const closedHere = !this.#open
    this.#open = false
    this.#answer(false)
    this.#session.closed(goodbye && !closedHere)
  }

  /** What is on the wire arrives. */
  flush(): void {
    if (!this.#open) this.end(false)
    else if (this.pongs) this.#answer(true)
  }

  #answer(alive: boolean): void {
    for (const { verdict, alarm } of this.#probes.splice(0)) {
      alarm.cancel()
      verdict(alive)
    }
  }
}

export const GRACE = 15_000

export class LineWorld {
  readonly clock = new TestClock()
  /** Every record, in the order it was told. */
  readonly log: CallRecord[] = []
  readonly snapshots = new Map<CallId, string>()
  pages: Page[] = []
  #made = 0
  #process: ProcessClock
  lines: Lines

  constructor() {
    this.#process = new ProcessClock(this.clock)
    this.lines = this.#start(this.#process)
  }

  /** `room` and `seat` as short texts. */
  connect(room: string, seat: string, pongs = true): Page {
    const page = new Page(this.lines.endpoint(), this.#process, wire(room), wire(seat), pongs)
    this.pages.push(page)
    return page
  }

  /** Everything that is on a wire arrives. */
  flush(): void {
    for (let before = -1; before !== this.#moved(); ) {
      before = this.#moved()
      for (const page of this.pages) page.flush()
      this.pages = this.pages.filter((page) => page.open)
    }
  }

  /** The process ends, with or without a goodbye, and another takes up what was written. */
  restart(how: 'closed' | 'killed'): void {
    if (how === 'closed') this.lines.close()
    this.#process.kill()
    for (const page of this.pages) page.close(1006, 'the server is gone')
    this.pages = []
    this.#process = new ProcessClock(this.clock)
    this.lines = this.#start(this.#process)
    this.lines.recover()
  }

  #moved(): number {
    return this.pages.length
  }

  #start(clock: ProcessClock): Lines {
    const { log, snapshots } = this
    return new Lines({
      grace: GRACE,
      mostOfKey: 1_000,
      clock,
      callLog: { append: (record) => void log.push(record), synced: async () => {}, retract: () => {} },
      snapshots: {
        // As text, so that a snapshot that is not plain JSON is found out.
        save: (snapshot) => void snapshots.set(snapshot.call.id, JSON.stringify(snapshot)),
        drop: (id) => void snapshots.delete(id),
        load: () => [...snapshots.values()].map((text) => JSON.parse(text) as Snapshot),
      },
      metrics: uncounted,
      log: silentLog,
      newId: () => callId(`call-${this.#made++}`),
      digest: (text) => `#${text}`,
    })
  }
}

/** 16 bytes in base64url. */
function wire(text: string): string {
  return text.padEnd(21, '_').concat('A')
}
