/**
 * The least a relay of bytes can be on this runtime: look up the other socket, forward what came. It checks nothing,
 * limits nothing and counts nothing. What Ringdown's line costs is what comes on top of this.
 *
 * Clients connect to /?id=<own id>&to=<id of the other party>.
 */
import type { ServerWebSocket } from 'bun'

interface Ends {
  id: string
  to: string
}

const sockets = new Map<string, ServerWebSocket<Ends>>()

const server = Bun.serve<Ends>({
  hostname: '127.0.0.1',
  port: Number(process.env.PORT ?? 0),
  fetch(request, server) {
    const url = new URL(request.url)
    if (url.pathname === '/health') return new Response('ok')
    const data = { id: url.searchParams.get('id') ?? '', to: url.searchParams.get('to') ?? '' }
    if (server.upgrade(request, { data })) return undefined
    return new Response('a WebSocket is wanted here', { status: 426 })
  },
  websocket: {
    open(ws) {
      ws.binaryType = 'uint8array'
      sockets.set(ws.data.id, ws)
    },
    message(ws, bytes) {
      sockets.get(ws.data.to)?.send(bytes)
    },
    close(ws) {
      sockets.delete(ws.data.id)
    },
  },
})

// A clean exit, so that a profiler's file is written.
process.on('SIGTERM', () => process.exit(0))
console.log(`bare relay of bytes on ${server.url.href}`)
