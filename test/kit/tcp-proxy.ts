/** Stands between a client and a server on the loopback, and does to the bytes what the test says. */
import { connect, createServer, type Server, type Socket } from 'node:net'

/** One connection through the proxy. */
export interface Passage {
  toServer(bytes: Buffer): void
  toClient(bytes: Buffer): void
  /** Resets both ends. Bytes that were passed on before still arrive. */
  cut(): void
}

export interface Handling {
  /** Bytes from the client. Passed on as they are unless given. */
  fromClient?(bytes: Buffer, passage: Passage): void
  fromServer?(bytes: Buffer, passage: Passage): void
}

export class TcpProxy {
  readonly #server: Server
  readonly #passages = new Set<Passage>()
  readonly port: number
  /** How many connections there were at most at the same time. */
  most = 0

  private constructor(server: Server) {
    this.#server = server
    this.port = (server.address() as { port: number }).port
  }

  /** Listens on a free port. `handle` is asked for each connection. */
  static async start(target: number, handle: () => Handling = () => ({})): Promise<TcpProxy> {
    let proxy: TcpProxy | null = null
    const server = createServer((client) => proxy?.accept(client, target, handle()))
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
    proxy = new TcpProxy(server)
    return proxy
  }

  /** How many connections there are. */
  get size(): number {
    return this.#passages.size
  }

  accept(client: Socket, target: number, handling: Handling): void {
    const server = connect(target, '127.0.0.1')
    const passage: Passage = {
      toServer: (bytes) => void server.write(bytes),
      toClient: (bytes) => void client.write(bytes),
      cut: () => {
        this.#passages.delete(passage)
        client.destroy()
        server.end()
      },
    }
    this.#passages.add(passage)
    this.most = Math.max(this.most, this.#passages.size)
    const {
      fromClient = (bytes) => passage.toServer(bytes),
      fromServer = (bytes) => passage.toClient(bytes),
    } = handling
    client.on('data', (bytes: Buffer) => fromClient(bytes, passage))
    server.on('data', (bytes: Buffer) => fromServer(bytes, passage))
    for (const socket of [client, server]) {
      socket.setNoDelay(true)
      socket.on('error', () => passage.cut())
      socket.on('close', () => passage.cut())
    }
  }

  /** Cuts everything and listens no more. Twice is fine. */
  close(): void {
    this.#server.close()
    for (const passage of this.#passages) passage.cut()
  }
}
