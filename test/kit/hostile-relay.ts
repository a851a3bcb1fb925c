/**
 * Somebody between a page and the server, who sees every byte and does with WebSocket messages what a test says: passes
 * them, changes, keeps, repeats, makes them up. It stands on TCP itself, so that it can also be slow as a network is: what
 * it does not read stays with the sender.
 *
 *     page ── up ──▶ relay ── up ──▶ server
 *     page ◀─ down ─ relay ◀─ down ─ server
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

export type Way = 'up' | 'down'

const TEXT = 1
const BINARY = 2
/** Opcodes from here on are pings, pongs and closes: they pass as they are. */
const CONTROL = 8
/** A link that is slow holds so much; then it reads no more. */
const SLOW_QUEUE = 16_384
const SLOW_TICK_MS = 4

/** A WebSocket message on its way. */
export interface Message {
  readonly passage: Passage
  readonly way: Way
  readonly isText: boolean
  readonly bytes: Uint8Array
  /** When it came here, by `performance.now()`. */
  readonly at: number
}

/** Gets each binary message instead of the receiver. What goes on, it sends. */
export type Meddler = (message: Message) => void

export interface HostileRelayOptions {
  /** Of each message, keep only so many bytes; all unless told otherwise. For long runs. */
  readonly keep?: number
}

export class HostileRelay {
  readonly #listener: Server
  readonly #all = new Set<Passage>()
  readonly #heard: Uint8Array[] = []
  readonly keep: number
  readonly port: number
  #target: number
  #isDown = false
  /** Of WebSockets, oldest first, closed ones too. */
  readonly passages: Passage[] = []
  /** Every message that came, whatever became of it. */
  readonly messages: Message[] = []
  meddler: Meddler | null = null
  #pace: number | null = null

  private constructor(listener: Server, target: number, keep: number) {
    this.#listener = listener
    this.#target = target
    this.keep = keep
    this.port = (listener.address() as AddressInfo).port
  }

  static async start(
    server: { port: number },
    { keep = Number.POSITIVE_INFINITY }: HostileRelayOptions = {},
  ): Promise<HostileRelay> {
    let relay: HostileRelay | null = null
    const listener = createServer((near) => relay?.accept(near))
    await new Promise<void>((listening) => listener.listen(0, '127.0.0.1', listening))
    relay = new HostileRelay(listener, server.port, keep)
    return relay
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** The WebSockets that are open, oldest first. */
  get open(): Passage[] {
    return this.passages.filter((passage) => passage.isOpen)
  }

  /** The lines with which requests begin, in order. */
  get requests(): string[] {
    return Buffer.concat(this.#heard)
      .toString('latin1')
      .split('\r\n')
      .filter((line) => / HTTP\/1\.1$/.test(line))
  }

  /** Everything that pages sent, heads and messages, as it was before it was masked. */
  get everything(): Buffer {
    return Buffer.concat([
      ...this.#heard,
      ...this.messages.filter(({ way }) => way === 'up').map(({ bytes }) => bytes),
    ])
  }

  accept(near: Socket): void {
    if (this.#isDown) return void near.resetAndDestroy()
    const passage = new Passage(this, near, connect(this.#target, '127.0.0.1'))
    this.#all.add(passage)
    passage.pace(this.#pace)
  }

  /** Called by passages. */
  heard(bytes: Uint8Array): void {
    this.#heard.push(Uint8Array.from(bytes))
  }

  opened(passage: Passage): void {
    this.passages.push(passage)
  }

  closed(passage: Passage): void {
    this.#all.delete(passage)
  }

  came(message: Message): void {
    this.messages.push(
      message.bytes.length <= this.keep ? message : { ...message, bytes: message.bytes.slice(0, this.keep) },
    )
    if (this.meddler === null || message.isText) pass(message)
    else this.meddler(message)
  }

  /** Every link has so many bit/s each way from now on, as queues before a narrow link; null: as many as there are. */
  cap(bitsPerSecond: number | null): void {
    this.#pace = bitsPerSecond
    for (const passage of this.#all) passage.pace(bitsPerSecond)
  }

  /** What came so far; what is open stays. */
  forget(): void {
    this.#heard.length = 0
    this.messages.length = 0
    this.passages.splice(0, this.passages.length, ...this.open)
  }

  /** Reads nothing more of what goes these ways, until `go`. */
  stop(...ways: Way[]): void {
    for (const passage of this.open) passage.stop(...ways)
  }

  go(): void {
    for (const passage of this.open) passage.go()
  }

  /** Resets every connection. New ones are taken. */
  cut(): void {
    for (const passage of [...this.#all]) passage.cut()
  }

  /** Resets every connection, and every new one, until `up`. */
  down(): void {
    this.#isDown = true
    this.cut()
  }

  /** From now on to this server, where one is given. */
  up(server?: { port: number }): void {
    this.#isDown = false
    if (server !== undefined) this.#target = server.port
  }

  /** Cuts everything and listens no more. Twice is fine. */
  close(): void {
    this.down()
    this.#listener.close()
  }
}

/** As it came, or with other bytes. */
export function pass({ passage, way, isText, bytes }: Message, instead: Uint8Array = bytes): void {
  passage.send(way, instead, isText)
}

/** One connection through the relay. */
export class Passage {
  readonly #relay: HostileRelay
  readonly #near: Socket
  readonly #far: Socket
  readonly #flows: Readonly<Record<Way, Flow>>
  isOpen = true

  constructor(relay: HostileRelay, near: Socket, far: Socket) {
    this.#relay = relay
    this.#near = near
    this.#far = far
    this.#flows = { up: new Flow(near, far), down: new Flow(far, near) }
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      socket.setNoDelay(true)
      socket.on('error', () => this.cut())
      // What it said last, such as why it closed, is still under way to the other.
      socket.on('close', () => this.#over(() => other.end()))
    }
    let head = Buffer.alloc(0)
    let isSocket = false
    const readUp = new FrameReader((opcode, raw, bytes) => this.#frame('up', opcode, raw, bytes))
    const readDown = new FrameReader((opcode, raw, bytes) => this.#frame('down', opcode, raw, bytes))
    near.on('data', (bytes: Buffer) => {
      if (isSocket) return readUp.push(bytes)
      relay.heard(bytes)
      this.#flows.up.write(bytes)
    })
    far.on('data', (bytes: Buffer) => {
      if (isSocket) return readDown.push(bytes)
      head = Buffer.concat([head, bytes])
      const end = head.indexOf('\r\n\r\n')
      isSocket = end >= 0 && head.subarray(0, 12).toString('latin1') === 'HTTP/1.1 101'
      if (!isSocket) {
        // Nothing but the answer to a handshake is looked at.
        if (end >= 0 || head.length > 8_192) head = Buffer.alloc(0)
        return this.#flows.down.write(bytes)
      }
      relay.opened(this)
      const rest = head.subarray(end + 4)
      this.#flows.down.write(bytes.subarray(0, bytes.length - rest.length))
      readDown.push(rest)
    })
  }

  #frame(way: Way, opcode: number, raw: Uint8Array, bytes: Uint8Array): void {
    if (opcode >= CONTROL) return this.#flows[way].write(raw)
    this.#relay.came({ passage: this, way, isText: opcode === TEXT, bytes, at: performance.now() })
  }

  /** As if the other end had sent it. */
  send(way: Way, bytes: Uint8Array, isText = false): void {
    this.#flows[way].write(frame(isText ? TEXT : BINARY, bytes, way === 'up'))
  }

  pace(bitsPerSecond: number | null): void {
    for (const flow of Object.values(this.#flows)) flow.pace(bitsPerSecond)
  }

  stop(...ways: Way[]): void {
    for (const way of ways) this.#flows[way].hold(true)
  }

  go(): void {
    for (const flow of Object.values(this.#flows)) flow.hold(false)
  }

  cut(): void {
    this.#over(() => {
      this.#near.resetAndDestroy()
      this.#far.resetAndDestroy()
    })
  }

  #over(end: () => void): void {
    if (!this.isOpen) return
    this.isOpen = false
    for (const flow of Object.values(this.#flows)) flow.close()
    end()
    this.#relay.closed(this)
  }
}

/** From one socket to the other, held or at a pace. */
class Flow {
  readonly #from: Socket
  readonly #to: Socket
  #queue: Uint8Array[] = []
  #queued = 0
  #isHeld = false
  #bytesPerMs: number | null = null
  #timer: ReturnType<typeof setInterval> | null = null
  #lastTick = 0
  #credit = 0

  constructor(from: Socket, to: Socket) {
    this.#from = from
    this.#to = to
    to.on('drain', () => this.#flow())
  }

  write(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    if (this.#bytesPerMs === null && this.#queue.length === 0) {
      if (!this.#to.write(bytes)) this.#flow()
      return
    }
    this.#queue.push(bytes)
    this.#queued += bytes.length
    this.#flow()
  }

  hold(isHeld: boolean): void {
    this.#isHeld = isHeld
    this.#flow()
  }

  pace(bitsPerSecond: number | null): void {
    this.#bytesPerMs = bitsPerSecond === null ? null : bitsPerSecond / 8_000
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
    this.#credit = 0
    this.#lastTick = performance.now()
    if (bitsPerSecond === null) this.#give(Number.POSITIVE_INFINITY)
    else this.#timer = setInterval(() => this.#tick(), SLOW_TICK_MS)
  }

  #tick(): void {
    const now = performance.now()
    this.#credit += (now - this.#lastTick) * (this.#bytesPerMs ?? 0)
    this.#lastTick = now
    this.#credit = this.#queued === 0 ? 0 : this.#credit - this.#give(this.#credit)
    this.#flow()
  }

  #give(most: number): number {
    let given = 0
    while (given < most) {
      const [first] = this.#queue
      if (first === undefined) break
      const piece = first.subarray(0, Math.min(first.length, Math.ceil(most - given)))
      if (piece.length === first.length) this.#queue.shift()
      else this.#queue[0] = first.subarray(piece.length)
      this.#to.write(piece)
      given += piece.length
    }
    this.#queued -= given
    return given
  }

  #flow(): void {
    // What is not read there is not taken here, as by any link.
    if (this.#isHeld || this.#queued > SLOW_QUEUE || this.#to.writableNeedDrain) this.#from.pause()
    else this.#from.resume()
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#queue = []
  }
}

/** Frames of one way of a WebSocket (RFC 6455, 5.2). Messages in pieces are put together. */
class FrameReader {
  readonly #found: (opcode: number, raw: Uint8Array, bytes: Uint8Array) => void
  #unread = Buffer.alloc(0)
  #pieces: Uint8Array[] = []
  #opcode = 0

  constructor(found: (opcode: number, raw: Uint8Array, bytes: Uint8Array) => void) {
    this.#found = found
  }

  push(bytes: Uint8Array): void {
    this.#unread = Buffer.concat([this.#unread, bytes])
    for (;;) {
      const unread = this.#unread
      if (unread.length < 2) return
      const [first, second] = [unread.readUInt8(0), unread.readUInt8(1)]
      const isMasked = (second & 0x80) !== 0
      const short = second & 0x7f
      const sizeBytes = short === 127 ? 8 : short === 126 ? 2 : 0
      const headSize = 2 + sizeBytes + (isMasked ? 4 : 0)
      if (unread.length < headSize) return
      const size =
        sizeBytes === 0 ? short : sizeBytes === 2 ? unread.readUInt16BE(2) : Number(unread.readBigUInt64BE(2))
      if (unread.length < headSize + size) return
      const raw = Buffer.from(unread.subarray(0, headSize + size))
      this.#unread = unread.subarray(headSize + size)
      const body = Uint8Array.from(raw.subarray(headSize))
      if (isMasked)
        for (let i = 0; i < body.length; i++) body[i] = (body[i] ?? 0) ^ (raw[headSize - 4 + (i % 4)] ?? 0)
      this.#frame(first, raw, body)
    }
  }

  #frame(first: number, raw: Uint8Array, body: Uint8Array): void {
    const opcode = first & 0x0f
    if ((first & 0x70) !== 0) throw new Error('an extension was agreed on')
    if (opcode >= CONTROL) return this.#found(opcode, raw, body)
    if (opcode !== 0) this.#opcode = opcode
    this.#pieces.push(body)
    if ((first & 0x80) === 0) return
    const whole = this.#pieces.length === 1 ? body : new Uint8Array(Buffer.concat(this.#pieces))
    this.#pieces = []
    this.#found(this.#opcode, raw, whole)
  }
}

function frame(opcode: number, bytes: Uint8Array, isMasked: boolean): Uint8Array {
  const long = bytes.length > 125
  if (bytes.length > 0xffff) throw new RangeError('a frame of the line is short')
  const size = long ? [126, bytes.length >> 8, bytes.length & 0xff] : [bytes.length]
  size[0] = (size[0] ?? 0) | (isMasked ? 0x80 : 0)
  // Masked with zeros: the rule is kept, and the bytes are what they are.
  return Buffer.concat([Buffer.from([0x80 | opcode, ...size, ...(isMasked ? [0, 0, 0, 0] : [])]), bytes])
}

/**
 * Where a secret stands in bytes: as it is, in hex, in base64 and base64url, whole or any eight bytes of it. Empty when
 * it is nowhere.
 */
export function findSecret(secret: Uint8Array, bytes: Buffer): string[] {
  const found: string[] = []
  const lower = Buffer.from(bytes.toString('latin1').toLowerCase(), 'latin1')
  for (let from = 0; from + 8 <= secret.length; from++) {
    const part = Buffer.from(secret.subarray(from, from + 8))
    if (bytes.includes(part)) found.push(`bytes from ${from}`)
    if (lower.includes(part.toString('hex'))) found.push(`hex from ${from}`)
  }
  // In base64 a part looks different by where it begins: ten characters stand for any eight bytes less what is cut.
  for (let offset = 0; offset < 3; offset++) {
    const text = Buffer.from(secret.subarray(offset))
    for (const form of ['base64', 'base64url'] as const) {
      const letters = text.toString(form).replaceAll('=', '')
      for (let from = 0; from + 10 <= letters.length; from++)
        if (bytes.includes(letters.slice(from, from + 10))) found.push(`${form} from ${offset}:${from}`)
    }
  }
  return found
}
