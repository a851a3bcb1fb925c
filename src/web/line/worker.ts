/**
 * The worker of a line: passes the browser to one end of it (end.ts), and messages between that and the page. Nothing is
 * decided here.
 */
import { systemTimers } from '../../client/ports.ts'
import { End, faultOf } from './end.ts'
import type { FromWorker, ToWorker } from './messages.ts'
import type { BinarySocket, BinarySocketEvents, ServerState } from './world.ts'

/** The part of a dedicated worker's global that is used. The types of workers and of pages cannot be had together. */
interface Scope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null
  postMessage(message: FromWorker): void
  addEventListener(type: 'unhandledrejection', heard: (event: PromiseRejectionEvent) => void): void
  addEventListener(type: 'error', heard: (event: ErrorEvent) => void): void
}

const ASKS_FOR_AT_MOST = 5_000

function openSocket(url: string, on: BinarySocketEvents): BinarySocket {
  const socket = new WebSocket(url)
  socket.binaryType = 'arraybuffer'
  socket.onopen = () => on.opened()
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) on.bytes(new Uint8Array(data))
  }
  socket.onclose = ({ code }) => on.closed(code)
  return {
    send: (bytes) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(bytes)
    },
    close: (code, reason) => socket.close(code, reason),
  }
}

/** The page beside the socket takes the same key, and says why when it does not. */
async function askServer(socket: string): Promise<ServerState> {
  const { search } = new URL(socket)
  const page = new URL(`line.html${search}`, socket.replace(/^ws/, 'http'))
  for (const name of ['room', 'seat']) page.searchParams.delete(name)
  try {
    const signal = AbortSignal.timeout(ASKS_FOR_AT_MOST)
    const { status } = await fetch(page, { method: 'HEAD', cache: 'no-store', signal })
    return status === 401 || status === 403 ? 'refused' : status >= 500 ? 'down' : 'there'
  } catch {
    return navigator.onLine ? 'down' : 'offline'
  }
}

function run(scope: Scope): void {
  const end = new End(
    {
      timers: systemTimers(),
      origin: performance.timeOrigin,
      subtle: crypto.subtle,
      fill: (bytes) => crypto.getRandomValues(bytes),
      random: () => Math.random(),
      openSocket,
      askServer,
    },
    (message) => scope.postMessage(message),
  )
  scope.onmessage = ({ data }) => end.take(data)
  scope.addEventListener('unhandledrejection', ({ reason }) => scope.postMessage(faultOf('promise', reason)))
  scope.addEventListener('error', ({ error }) => scope.postMessage(faultOf('worker', error)))
}

run(self as unknown as Scope)
