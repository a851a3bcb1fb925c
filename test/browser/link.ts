/** A TCP link to the server that can be cut, as a phone's network is. */

import type { AddressInfo } from 'node:net'
import { connect, createServer, type Socket } from 'node:net'

export interface Link {
  /** Where the page is asked for, so that its socket goes the same way. */
  readonly url: string
  /** Cuts every connection; new ones are refused until `mend`. */
  cut(): void
  /** Lets connections through again, from now on to this server where one is given. */
  mend(server?: { port: number }): void
  close(): void
}

export async function linkTo(server: { port: number }): Promise<Link> {
  const open = new Set<Socket>()
  let isCut = false
  let { port } = server
  const listener = createServer((near) => {
    if (isCut) return void near.destroy()
    const far = connect(port, '127.0.0.1')
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one)
      one.pipe(other)
      one.on('error', () => other.destroy())
      one.on('close', () => {
        open.delete(one)
        other.destroy()
      })
    }
  })
  await new Promise<void>((listening) => listener.listen(0, '127.0.0.1', listening))
  const cut = () => {
    isCut = true
    for (const socket of open) socket.resetAndDestroy()
  }
  return {
    url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    cut,
    mend(other) {
      isCut = false
      if (other !== undefined) port = other.port
    },
    close() {
      cut()
      listener.close()
    },
  }
}
