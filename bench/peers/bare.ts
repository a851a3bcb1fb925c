/**
 * The least a relay can be on this runtime: parse the message, look up the other socket, forward the string.
 * It checks nothing, limits nothing and records nothing. Ringdown's own cost is what comes on top of this.
 *
 * Run it alone to profile it:  PORT=4000 bun --cpu-prof --cpu-prof-dir=/tmp/prof bench/peers/bare.ts
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
      sockets.set(ws.data.id, ws)
    },
    message(ws, text) {
      const message: unknown = JSON.parse(text as string)
      if (typeof message !== 'object') return
      sockets.get(ws.data.to)?.send(text)
    },
    close(ws) {
      sockets.delete(ws.data.id)
    },
  },
})

// A clean exit, so that a profiler's file is written.
process.on('SIGTERM', () => process.exit(0))
console.log(`bare relay on ${server.url.href}`)
