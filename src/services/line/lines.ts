/**
 * The line service: finds the line of a room, and lets people in. Source: the reference document of the line, which
 * has two people and a key that never reaches the server; `protocol/line.ts` for the wire. The relay knows nothing of
 * what it carries. Deliberately not here: the API key and the page (http/), WebSocket (ws/), SQL (store/).
 */
import type { BytesEndpoint, BytesSession, Query } from '../../core/door.ts'
import type { CallId } from '../../core/ids.ts'
import type { BytesPeer } from '../../core/ports.ts'
import { fail } from '../../protocol/codes.ts'
import { LINE_BYTES, LINE_PATH, readLineQuery } from '../../protocol/line.ts'
import { Line, type LineDetail, type LineWorld } from './line.ts'
import { LineSession } from './session.ts'

export interface LinesDeps extends Omit<LineWorld, 'empty'> {
  /** Lines that may be open at once under one API key. */
  readonly mostOfKey: number
  /** A collision-free digest of a text. */
  readonly digest: (text: string) => string
}

/** Sound shows at once when a link is gone: it is looked after more closely than one for messages. */
const HEARTBEAT = { interval: 5_000, timeout: 15_000 } as const
/** What a connection may send, over which it is closed: more than twice of what any page of ours sends. 8 Mbit/s. */
const RATES = { messagesPerSecond: 300, bytesPerMinute: 60_000_000, bytesAtOnce: 4_000_000 } as const

export class Lines {
  readonly #deps: LinesDeps
  readonly #world: LineWorld
  /** By digest of the room. */
  readonly #live = new Map<string, Line>()
  /** Under which key each was begun, and how many under each: digests. Lines of the last process are nobody's. */
  readonly #keys = new Map<Line, string>()
  readonly #ofKey = new Map<string, number>()
  #draining = false
  #closed = false

  constructor(deps: LinesDeps) {
    this.#deps = deps
    this.#world = { ...deps, empty: (line) => this.#forget(line) }
  }

  /** Takes up the lines that outlived the last process. Once, before the doors open. */
  recover(): void {
    for (const { call, detail } of this.#deps.snapshots.load('line')) {
      if (call.at === 'ended') continue
      if (!isDetail(detail)) {
        this.#deps.log.error({ session: call.id }, 'the snapshot of this call cannot be taken up')
        continue
      }
      const line = new Line(detail.room, this.#world, { call, detail })
      this.#live.set(line.room, line)
      line.recover()
    }
    if (this.#live.size > 0) this.#deps.log.info({ lines: this.#live.size }, 'lines taken up after a restart')
  }

  /** Lines that live: with one who waits, or with two. */
  count(): { waiting: number; active: number } {
    let active = 0
    for (const line of this.#live.values()) if (line.isActive) active++
    return { waiting: this.#live.size - active, active }
  }

  liveIds(): CallId[] {
    return [...this.#live.values()].map((line) => line.id)
  }

  /** What pages connect to. */
  endpoint(): BytesEndpoint {
    return {
      kind: 'line',
      speaks: 'bytes',
      access: 'line',
      path: LINE_PATH,
      maxBytes: LINE_BYTES,
      heartbeat: HEARTBEAT,
      rates: RATES,
      check: (query) => this.#check(query),
      open: (peer, query) => this.#open(peer, query),
    }
  }

  /** Says that the server goes down. From now on no line begins; what lives goes on. */
  drain(): void {
    if (this.#draining) return
    this.#draining = true
    for (const line of this.#live.values()) line.announce('draining')
  }

  /** Lets go of every connection; the lines stay as snapshots, for the next process. Twice is fine. */
  close(): void {
    this.#draining = true
    this.#closed = true
    for (const line of this.#live.values()) line.suspend()
    this.#live.clear()
    this.#keys.clear()
    this.#ofKey.clear()
  }

  #check(query: Query): void {
    const { room } = readLineQuery(query)
    if (this.#live.has(this.#deps.digest(room))) return
    if (this.#draining) throw fail('draining')
    if ((this.#ofKey.get(this.#keyOf(query)) ?? 0) >= this.#deps.mostOfKey) throw fail('too_many_lines')
  }

  #open(peer: BytesPeer, query: Query): BytesSession {
    if (this.#closed) throw fail('draining')
    const { digest, metrics } = this.#deps
    const { room, seat } = readLineQuery(query)
    const line = this.#lineOf(digest(room), this.#keyOf(query))
    const session = new LineSession(peer, line, metrics)
    line.enter({ peer, seat: digest(seat), seated: (taken) => session.sit(taken) })
    return session
  }

  #lineOf(room: string, key: string): Line {
    const live = this.#live.get(room)
    if (live !== undefined) return live
    const line = new Line(room, this.#world)
    this.#live.set(room, line)
    this.#keys.set(line, key)
    this.#ofKey.set(key, (this.#ofKey.get(key) ?? 0) + 1)
    return line
  }

  /** The door has checked it. */
  #keyOf(query: Query): string {
    return this.#deps.digest(query.get('apikey') ?? '')
  }

  #forget(line: Line): void {
    this.#live.delete(line.room)
    const key = this.#keys.get(line)
    if (key === undefined) return
    this.#keys.delete(line)
    const left = (this.#ofKey.get(key) ?? 1) - 1
    if (left > 0) this.#ofKey.set(key, left)
    else this.#ofKey.delete(key)
  }
}

/** Snapshots are our own, but a file can be damaged, or come from another version. */
function isDetail(value: unknown): value is LineDetail {
  if (typeof value !== 'object' || value === null) return false
  const { room, seats, openedAt } = value as Partial<LineDetail>
  const isPair = Array.isArray(seats) && seats.length === 2
  return typeof room === 'string' && typeof openedAt === 'number' && isPair && seats.every(isKey)
}

function isKey(value: unknown): boolean {
  return value === null || typeof value === 'string'
}
