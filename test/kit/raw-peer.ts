/**
 * A WebSocket client made by hand on a TCP socket (RFC 6455), so that a test can send what no library would: frames in
 * pieces, unmasked, with wrong codes. It keeps every message in order, so nothing is missed and nothing sleeps.
 */
import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'

/** How long a test waits for something that must come. Only a failing test waits that long. */
const DEADLINE = 5_000

export const TEXT = 1
export const BINARY = 2
export const CLOSE = 8
export const PING = 9
export const PONG = 10

export interface Closed {
  /** Code of the close frame; 1005 when it had none, 1006 when the connection just ended. */
  readonly code: number
  readonly reason: string
}

export interface RawPeerOptions {
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Local address to come from, such as 127.0.0.2. */
  readonly from?: string
  /** Answer pings, as every library does. On unless told otherwise. */
  readonly pong?: boolean
}

/** What was answered to a handshake that was refused. */
export class Refused extends Error {
  readonly status: number
  readonly body: string
  constructor(status: number, body: string) {
    super(`the handshake was answered ${status}: ${body}`)
    this.status = status
    this.body = body
  }
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into messages of every shape.
type Message = any

export class RawPeer {
  readonly socket: Socket
  readonly #pong: boolean
  readonly #inbox: string[] = []
  readonly #frames: Buffer[] = []
  readonly #pings: Buffer[] = []
  readonly #pongs: Buffer[] = []
  #unread = Buffer.alloc(0)
  #closed: Closed | null = null
  #ended = false
  #wake: (() => void)[] = []

  private constructor(socket: Socket, rest: Buffer, pong: boolean) {
    this.socket = socket
    this.#pong = pong
    socket.on('data', (data) => this.#read(data as Buffer))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#ended = true
      this.#closed ??= { code: 1006, reason: '' }
      this.#changed()
    })
    this.#read(rest)
  }

  /** Shakes hands. Rejects with `Refused` when the server says no. */
  static async open(url: string, options: RawPeerOptions = {}): Promise<RawPeer> {
    const { hostname, port, host } = new URL(url)
    const socket = connect({
      host: hostname,
      port: Number(port),
      ...(options.from === undefined ? {} : { localAddress: options.from }),
    })
    const headers = {
      Host: host,
      Upgrade: 'websocket',
      Connection: 'Upgrade',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
      ...options.headers,
    }
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    socket.write(`GET ${options.path ?? '/ws'} HTTP/1.1\r\n${lines.join('')}\r\n`)
    const [head, rest] = await readHead(socket)
    const status = Number(head.split(' ')[1])
    if (status === 101) return new RawPeer(socket, rest, options.pong ?? true)
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
    const body = await readBody(socket, rest, length)
    socket.destroy()
    throw new Refused(status, body)
  }

  /** Sends a message as one masked text frame. */
  send(message: object | string): void {
    this.frame(TEXT, Buffer.from(typeof message === 'string' ? message : JSON.stringify(message)))
  }

  /** Sends one frame, as odd as wanted. */
  frame(
    opcode: number,
    payload: Uint8Array | string = '',
    odd: { fin?: boolean; mask?: boolean; rsv?: number } = {},
  ): void {
    this.socket.write(frame(opcode, typeof payload === 'string' ? Buffer.from(payload) : payload, odd))
  }

  ping(payload = ''): void {
    this.frame(PING, payload)
  }

  /** Begins a close handshake with a code, or, when it is null, without. */
  close(code: number | null = 1000, reason = ''): void {
    if (code === null) return this.frame(CLOSE)
    const payload = Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)])
    this.frame(CLOSE, payload)
  }

  /** Ends the connection without a word. */
  drop(): void {
    this.socket.destroy()
  }

  /** The next message, parsed. Rejects when the connection closes before one comes. */
  async next(): Promise<Message> {
    return JSON.parse(await this.nextText())
  }

  /** The next message as it came. */
  async nextText(): Promise<string> {
    await this.#until(() => this.#inbox.length > 0 || this.#closed !== null, 'a message')
    const text = this.#inbox.shift()
    if (text === undefined)
      throw new Error(`closed with ${this.#closed?.code} ${this.#closed?.reason} instead of a message`)
    return text
  }

  /** The next message of this type; what came before it is passed over. */
  async nextOf(type: string): Promise<Message> {
    for (;;) {
      const message = await this.next()
      if (message.type === type) return message
    }
  }

  /** The next binary frame. Rejects when the connection closes before one comes. */
  async nextFrame(): Promise<Buffer> {
    await this.#until(() => this.#frames.length > 0 || this.#closed !== null, 'a frame')
    const bytes = this.#frames.shift()
    if (bytes === undefined)
      throw new Error(`closed with ${this.#closed?.code} ${this.#closed?.reason} instead of a frame`)
    return bytes
  }

  /** Takes the binary frames that came. */
  takeFrames(): Buffer[] {
    return this.#frames.splice(0)
  }

  /** Messages that came and were not taken. */
  get waiting(): readonly string[] {
    return this.#inbox
  }

  /** How the server closed. */
  async closed(): Promise<Closed> {
    await this.#until(() => this.#closed !== null, 'a close')
    return this.#closed as Closed
  }

  get isClosed(): boolean {
    return this.#closed !== null
  }

  /** The TCP connection has ended as well. */
  async ended(): Promise<void> {
    await this.#until(() => this.#ended, 'the end of the connection')
  }

  async nextPing(): Promise<Buffer> {
    await this.#until(() => this.#pings.length > 0, 'a ping')
    return this.#pings.shift() as Buffer
  }

  async nextPong(): Promise<Buffer> {
    await this.#until(() => this.#pongs.length > 0, 'a pong')
    return this.#pongs.shift() as Buffer
  }

  /**
   * Everything the server had sent before it answered a ping sent now: afterwards `waiting` is complete, so a test can
   * say that nothing came.
   */
  async settle(): Promise<readonly string[]> {
    const mark = randomBytes(8).toString('hex')
    this.ping(mark)
    while ((await this.nextPong()).toString() !== mark);
    return this.waiting
  }

  async #until(condition: () => boolean, what: string): Promise<void> {
    const deadline = Date.now() + DEADLINE
    while (!condition()) {
      const left = deadline - Date.now()
      if (left <= 0) throw new Error(`waited ${DEADLINE} ms for ${what}; got ${JSON.stringify(this.#inbox)}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  #changed(): void {
    const wake = this.#wake
    this.#wake = []
    for (const each of wake) each()
  }

  #read(data: Buffer): void {
    this.#unread = Buffer.concat([this.#unread, data])
    for (let taken = this.#take(); taken; taken = this.#take());
    this.#changed()
  }

  /** Takes one frame out of what came. A server never fragments or masks; one that did would fail the tests. */
  #take(): boolean {
    const data = this.#unread
    if (data.length < 2) return false
    const opcode = (data[0] ?? 0) & 15
    const short = (data[1] ?? 0) & 127
    const start = short === 126 ? 4 : short === 127 ? 10 : 2
    if (data.length < start) return false
    const length =
      short === 126 ? data.readUInt16BE(2) : short === 127 ? Number(data.readBigUInt64BE(2)) : short
    if (data.length < start + length) return false
    const payload = data.subarray(start, start + length)
    this.#unread = data.subarray(start + length)
    this.#got(opcode, Buffer.from(payload))
    return true
  }

  #got(opcode: number, payload: Buffer): void {
    if (opcode === TEXT) this.#inbox.push(payload.toString())
    if (opcode === BINARY) this.#frames.push(payload)
    if (opcode === PONG) this.#pongs.push(payload)
    if (opcode === PING) {
      this.#pings.push(payload)
      if (this.#pong) this.frame(PONG, payload)
    }
    if (opcode === CLOSE) {
      const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005
      this.#closed ??= { code, reason: payload.subarray(2).toString() }
      this.socket.end()
    }
  }
}

/** The bytes of one frame. Masked and final unless told otherwise. */
export function frame(
  opcode: number,
  payload: Uint8Array,
  odd: { fin?: boolean; mask?: boolean; rsv?: number } = {},
): Buffer {
  const first = ((odd.fin ?? true) ? 0x80 : 0) | ((odd.rsv ?? 0) << 4) | opcode
  const masked = (odd.mask ?? true) ? 0x80 : 0
  const { length } = payload
  const head =
    length < 126
      ? Buffer.from([first, masked | length])
      : length < 65_536
        ? Buffer.from([first, masked | 126, length >> 8, length & 255])
        : Buffer.concat([Buffer.from([first, masked | 127]), bigEndian(length)])
  if (masked === 0) return Buffer.concat([head, payload])
  const mask = randomBytes(4)
  const body = Buffer.from(payload.map((byte, i) => byte ^ (mask[i & 3] ?? 0)))
  return Buffer.concat([head, mask, body])
}

function bigEndian(length: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(length))
  return bytes
}

/** Reads up to the empty line of an HTTP answer. Returns it and what came after it. */
function readHead(socket: Socket): Promise<[head: string, rest: Buffer]> {
  return new Promise((resolve, reject) => {
    let data = Buffer.alloc(0)
    const timer = setTimeout(() => reject(new Error('no answer to the handshake')), DEADLINE)
    const onData = (more: Buffer) => {
      data = Buffer.concat([data, more])
      const end = data.indexOf('\r\n\r\n')
      if (end < 0) return
      done()
      resolve([data.subarray(0, end).toString(), data.subarray(end + 4)])
    }
    const onEnd = () => {
      done()
      reject(new Error(`the connection ended during the handshake: ${data}`))
    }
    const done = () => {
      clearTimeout(timer)
      socket.off('data', onData)
      socket.off('error', onEnd)
      socket.off('close', onEnd)
    }
    socket.on('data', onData)
    socket.on('error', onEnd)
    socket.on('close', onEnd)
  })
}

async function readBody(socket: Socket, rest: Buffer, length: number): Promise<string> {
  let body = rest
  if (body.length < length) {
    for await (const more of socket) {
      body = Buffer.concat([body, more as Buffer])
      if (body.length >= length) break
    }
  }
  return body.toString()
}
