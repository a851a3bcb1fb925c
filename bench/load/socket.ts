/**
 * A WebSocket client with nothing in it that the generator does not need: it shares a two-core machine with the
 * server it measures. Frames to send are built and masked once (`textFrame`), incoming ones are told apart by their
 * length, and the payload is only handed over as a place in a buffer.
 *
 * It is not a conforming client: it does not check the handshake's key, and it knows no fragments or extensions.
 */
import type { Socket } from 'bun'

export interface Listener {
  open(line: Line): void
  /** A text frame. `bytes` is valid during the call only. */
  text(line: Line, bytes: Buffer, start: number, length: number): void
  /** A binary frame, where one is expected. `bytes` is valid during the call only. */
  binary?(line: Line, bytes: Buffer, start: number, length: number): void
  /** Called once. `code` is the server's close code, 1006 if the connection just ended. */
  close(line: Line, code: number): void
}

const mask = Buffer.from([0x5a, 0x13, 0xc7, 0x88])

/** One masked client frame. The same bytes may be sent any number of times, on any connection. */
export function frame(opcode: number, payload: Uint8Array): Buffer {
  const size = payload.length
  const head = size < 126 ? 2 : 4
  if (size > 0xffff) throw new RangeError(`a frame of ${size} bytes is more than this client builds`)
  const bytes = Buffer.alloc(head + 4 + size)
  bytes[0] = 0x80 | opcode
  if (head === 2) bytes[1] = 0x80 | size
  else {
    bytes[1] = 0x80 | 126
    bytes.writeUInt16BE(size, 2)
  }
  bytes.set(mask, head)
  for (let i = 0; i < size; i++) bytes[head + 4 + i] = (payload[i] as number) ^ (mask[i & 3] as number)
  return bytes
}

export const textFrame = (text: string): Buffer => frame(0x1, Buffer.from(text))

export const closeFrame = frame(0x8, Buffer.from([0x03, 0xe8]))
const endOfHead = Buffer.from('\r\n\r\n')
const nothing = Buffer.alloc(0)

export class Line {
  private socket: Socket<Line> | undefined
  private rest: Buffer = nothing
  private pending: Buffer[] = []
  private isOpen = false
  private isOver = false
  private code = 1006
  readonly listener: Listener
  private readonly hello: Buffer

  constructor(listener: Listener, hello: Buffer) {
    this.listener = listener
    this.hello = hello
  }

  /** Sends bytes made by `frame` or `textFrame`. What the kernel does not take now goes out when it can. */
  send(bytes: Buffer): void {
    if (this.isOver || this.socket === undefined) return
    if (this.pending.length > 0) {
      this.pending.push(bytes)
      return
    }
    const written = this.socket.write(bytes)
    if (written < bytes.length) this.pending.push(bytes.subarray(Math.max(0, written)))
  }

  /** Sends close 1000; the server is the one to end the connection. */
  close(): void {
    this.send(closeFrame)
  }

  /** Cuts the connection without a word. */
  cut(): void {
    this.socket?.terminate()
  }

  connected(socket: Socket<Line>): void {
    this.socket = socket
    this.send(this.hello)
  }

  drained(): void {
    const waiting = this.pending
    this.pending = []
    for (const bytes of waiting) this.send(bytes)
  }

  ended(): void {
    if (this.isOver) return
    this.isOver = true
    this.listener.close(this, this.code)
  }

  received(chunk: Buffer): void {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk])
    let at = 0
    if (!this.isOpen) {
      const end = bytes.indexOf(endOfHead)
      if (end < 0) {
        this.rest = Buffer.from(bytes)
        return
      }
      if (bytes.toString('latin1', 9, 12) !== '101') {
        throw new Error(`the server refused the WebSocket: ${bytes.toString('latin1', 0, 200)}`)
      }
      this.isOpen = true
      at = end + 4
      this.listener.open(this)
    }
    while (bytes.length - at >= 2) {
      let size = bytes[at + 1] as number
      let head = 2
      if (size === 126) {
        if (bytes.length - at < 4) break
        size = bytes.readUInt16BE(at + 2)
        head = 4
      } else if (size === 127)
        throw new RangeError('a frame of more than 65535 bytes: no server here sends one')
      if (bytes.length - at < head + size) break
      const start = at + head
      at = start + size
      const opcode = (bytes[start - head] as number) & 0x0f
      if (opcode === 0x1) this.listener.text(this, bytes, start, size)
      else if (opcode === 0x2) this.listener.binary?.(this, bytes, start, size)
      else if (opcode === 0x9) this.send(frame(0xa, bytes.subarray(start, at)))
      else if (opcode === 0x8) {
        this.code = size >= 2 ? bytes.readUInt16BE(start) : 1005
        this.send(closeFrame)
        this.socket?.end()
      }
    }
    this.rest = at === bytes.length ? nothing : Buffer.from(bytes.subarray(at))
  }
}

const handlers = {
  open(socket: Socket<Line>) {
    socket.setNoDelay(true)
    socket.data.connected(socket)
  },
  data(socket: Socket<Line>, chunk: Buffer) {
    socket.data.received(chunk)
  },
  drain(socket: Socket<Line>) {
    socket.data.drained()
  },
  // The server ended its side: end ours too.
  end(socket: Socket<Line>) {
    socket.end()
  },
  close(socket: Socket<Line>) {
    socket.data.ended()
  },
  error(_socket: Socket<Line>, error: Error) {
    throw error
  },
}

/**
 * Connects; `listener` hears the rest. `made` gets the line before anything is heard on it. Throws, through the
 * promise, when nobody listens on the port.
 */
export async function dial(
  port: number,
  path: string,
  listener: Listener,
  made?: (line: Line) => void,
): Promise<void> {
  const hello = Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      'Sec-WebSocket-Key: cmluZ2Rvd24gYmVuY2g9PQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
  )
  const line = new Line(listener, hello)
  made?.(line)
  await Bun.connect<Line>({ hostname: '127.0.0.1', port, socket: handlers, data: line })
}
