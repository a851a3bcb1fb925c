/**
 * Who is at the other end of a request: the socket's address, or, only when the socket is one of our own proxies, the
 * address the proxy saw. A header that anybody can write is believed from nobody else.
 */
import { BlockList, isIP } from 'node:net'

export class ClientAddresses {
  readonly #trusted = new BlockList()

  /** `trustedProxies`: addresses and CIDR ranges. */
  constructor(trustedProxies: readonly string[]) {
    for (const entry of trustedProxies) {
      const [address = '', prefix] = entry.split('/')
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
      if (prefix === undefined) this.#trusted.addAddress(address, family)
      else this.#trusted.addSubnet(address, Number(prefix), family)
    }
  }

  /**
   * The client of a request that came from `socket`: the right-most hop of `X-Forwarded-For` that is not ours, else
   * `X-Real-IP`, else the socket itself.
   */
  of(socket: string, headers: Headers): string {
    const peer = fold(socket)
    if (!this.trusts(peer)) return peer
    const hops = (headers.get('x-forwarded-for') ?? '').split(',').map((hop) => fold(hop.trim()))
    for (const hop of hops.reverse()) {
      // Whatever stands left of something unreadable may have been written by anybody.
      if (isIP(hop) === 0) break
      if (!this.trusts(hop)) return hop
    }
    const real = fold((headers.get('x-real-ip') ?? '').trim())
    return isIP(real) === 0 ? peer : real
  }

  trusts(address: string): boolean {
    const family = isIP(address)
    return family !== 0 && this.#trusted.check(address, family === 6 ? 'ipv6' : 'ipv4')
  }
}

/** An IPv4 address written as IPv6 is the IPv4 address; brackets and ports that some proxies add are left out. */
function fold(address: string): string {
  const bare = address.replace(/^\[(.*)\](:\d+)?$/, '$1')
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)
  if (mapped?.[1] !== undefined) return mapped[1]
  return /^\d+\.\d+\.\d+\.\d+:\d+$/.test(bare) ? bare.slice(0, bare.indexOf(':')) : bare
}

/** The part of an address that one customer holds: an IPv4 address, or the /64 of an IPv6 one. */
export function limitKey(address: string): string {
  if (isIP(address) !== 6) return address
  const [head = '', tail] = address.toLowerCase().split('%')[0]?.split('::') ?? []
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? [] : Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0')
  const groups = [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16).toString(16))
  return `${groups.slice(0, 4).join(':')}::/64`
}
