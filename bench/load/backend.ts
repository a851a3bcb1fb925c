/**
 * The app's backend: a few keep-alive connections that POST /sessions. Raw, for the same reason as `socket.ts`.
 * A connection that the server closes while it is idle is made again when it is needed, as any HTTP client does.
 */
import type { Socket } from 'bun'

interface Wish {
  body: string
  done(sessionId: string): void
  failed(error: Error): void
}

class Connection {
  socket: Socket<Connection> | undefined
  wish: Wish | undefined
  text = ''
  readonly owner: Backend

  constructor(owner: Backend) {
    this.owner = owner
  }

  received(chunk: Buffer): void {
    this.text += chunk.toString('latin1')
    const end = this.text.indexOf('\r\n\r\n')
    if (end < 0) return
    const size = /content-length: *(\d+)/i.exec(this.text)?.[1]
    if (size === undefined) throw new Error(`an answer without Content-Length: ${this.text}`)
    if (this.text.length < end + 4 + Number(size)) return
    const answer = this.text
    const wish = this.wish
    this.text = ''
    this.wish = undefined
    this.owner.free(this)
    const id = /"session_id":\s*"([^"]+)"/.exec(answer)?.[1]
    if (id !== undefined) wish?.done(id)
    else wish?.failed(new Error(`POST /sessions was answered: ${answer}`))
  }
}

const handlers = {
  data(socket: Socket<Connection>, chunk: Buffer) {
    socket.data.received(chunk)
  },
  end(socket: Socket<Connection>) {
    socket.end()
  },
  close(socket: Socket<Connection>) {
    socket.data.owner.lost(socket.data)
  },
  error(_socket: Socket<Connection>, error: Error) {
    throw error
  },
}

export class Backend {
  private readonly idle: Connection[] = []
  private readonly waiting: Wish[] = []
  private readonly port: number
  private readonly head: string
  private readonly most: number
  private open = 0
  private made = 0
  private isClosed = false

  constructor(port: number, apiKey: string, connections = 8) {
    this.port = port
    this.most = connections
    this.head = `POST /sessions HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nX-API-Key: ${apiKey}\r\n`
  }

  /** A new session; `done` gets its id and the user ids of its two parties. */
  session(
    done: (id: string, driver: string, passenger: string) => void,
    failed: (error: Error) => void,
  ): void {
    const n = ++this.made
    const driver = `driver_${n}`
    const passenger = `passenger_${n}`
    const body = `{"ride_id":"ride_${n}","driver_id":"${driver}","passenger_id":"${passenger}"}`
    this.waiting.push({ body, failed, done: (id) => done(id, driver, passenger) })
    const connection = this.idle.pop()
    if (connection !== undefined) this.free(connection)
    else if (this.open < this.most) this.connect()
  }

  close(): void {
    this.isClosed = true
    for (const connection of this.idle) connection.socket?.end()
  }

  /** For its connections: this one has nothing to do. */
  free(connection: Connection): void {
    const wish = this.waiting.shift()
    if (wish === undefined) {
      if (this.isClosed) connection.socket?.end()
      else this.idle.push(connection)
      return
    }
    connection.wish = wish
    connection.socket?.write(`${this.head}Content-Length: ${wish.body.length}\r\n\r\n${wish.body}`)
  }

  /** For its connections: the server has closed this one. */
  lost(connection: Connection): void {
    this.open--
    const at = this.idle.indexOf(connection)
    if (at >= 0) this.idle.splice(at, 1)
    // It was closed as it was asked; nothing was answered, so another one asks.
    if (connection.wish !== undefined) this.waiting.unshift(connection.wish)
    if (this.waiting.length > 0) this.connect()
  }

  private connect(): void {
    this.open++
    const connection = new Connection(this)
    Bun.connect<Connection>({
      hostname: '127.0.0.1',
      port: this.port,
      socket: handlers,
      data: connection,
    }).then(
      (socket) => {
        connection.socket = socket
        this.free(connection)
      },
      (error: Error) => {
        this.open--
        for (const wish of this.waiting.splice(0)) wish.failed(error)
      },
    )
  }
}
