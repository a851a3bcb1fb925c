/**
 * What the client needs from where it runs. Browsers have all of it, so everything defaults to the globals; React
 * Native, Node and Bun pass in what they have. Deliberately not here: anything of a call or of the wire.
 */

/** A span, or an instant of `Timers.now`, in milliseconds. */
export type Millis = number

/** Takes something back; again does nothing. */
export type Cancel = () => void

export interface Timers {
  /** Never goes back. Its zero is arbitrary. */
  now(): Millis
  /** Calls back once, at the earliest after this span. */
  after(span: Millis, ring: () => void): Cancel
}

/** One WebSocket. */
export interface Socket {
  /** Sends one text frame after those before it. Only between `opened` and `closed`. */
  send(text: string): void
  /** Closes with a code that applications may use: 1000 or 4000 to 4999. Repeated calls do nothing. */
  close(code: number, reason: string): void
}

/** What a socket tells its owner: `opened` at most once, then texts in order, then `closed` once. */
export interface SocketEvents {
  opened(): void
  text(text: string): void
  closed(code: number, reason: string): void
}

export type OpenSocket = (url: string, on: SocketEvents) => Socket

/** The part of the WebSocket class that is used; browsers, Node 22, Bun, React Native and `ws` all have it. */
export interface WebSocketClass {
  new (
    url: string,
  ): {
    addEventListener(type: 'open', listener: () => void): void
    addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void
    addEventListener(type: 'close', listener: (event: { code: number; reason: string }) => void): void
    send(text: string): void
    close(code?: number, reason?: string): void
  }
}

export function systemTimers(): Timers {
  return {
    now: () => performance.now(),
    after(span, ring) {
      const timer = setTimeout(ring, span)
      return () => clearTimeout(timer)
    },
  }
}

/** Sockets of this class. Binary frames, which the protocol does not have, are passed over. */
export function socketsOf(WebSocketClass: WebSocketClass): OpenSocket {
  return (url, on) => {
    const socket = new WebSocketClass(url)
    socket.addEventListener('open', () => on.opened())
    socket.addEventListener('message', ({ data }) => {
      if (typeof data === 'string') on.text(data)
    })
    socket.addEventListener('close', ({ code, reason }) => on.closed(code, reason))
    return {
      send: (text) => socket.send(text),
      close: (code, reason) => socket.close(code, reason),
    }
  }
}

/** Rings when this device has a network again, where that can be known. */
export function whenOnline(ring: () => void): Cancel {
  if (typeof globalThis.addEventListener !== 'function') return () => {}
  globalThis.addEventListener('online', ring)
  return () => globalThis.removeEventListener('online', ring)
}
