/** What the address of the direct page says, and the addresses it hands out. */

export interface DirectAddress {
  /** Whom the link is to call, or empty. */
  readonly peer: string
  /** `?relay=1`: sound goes through a relay or not at all, to try one. */
  readonly relayOnly: boolean
}

export function readAddress(address: string): DirectAddress {
  const { searchParams } = new URL(address)
  return { peer: searchParams.get('call') ?? '', relayOnly: searchParams.get('relay') === '1' }
}

/** The link that calls somebody, on the page that `address` is of. */
export function linkThatCalls(name: string, address: string): string {
  const url = new URL(address)
  url.search = ''
  url.hash = ''
  url.searchParams.set('call', name)
  return url.href
}

/** Where clients of the server that served this page connect to. */
export function signalUrl(address: string): string {
  const url = new URL('/signal', address)
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  return url.href
}
