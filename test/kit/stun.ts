/**
 * A client of STUN (RFC 8489) and TURN (RFC 8656) over UDP, as far as tests need one: it asks for relays and for
 * permissions, and says what was answered. It sends no data to anybody.
 */
import { createHash, createHmac, randomBytes } from 'node:crypto'
import { isIPv4 } from 'node:net'
import type { udp } from 'bun'

const MAGIC = 0x2112a442
const METHODS = {
  binding: 0x001,
  allocate: 0x003,
  refresh: 0x004,
  createPermission: 0x008,
  channelBind: 0x009,
}
const ATTRIBUTES = {
  username: 0x0006,
  messageIntegrity: 0x0008,
  errorCode: 0x0009,
  channelNumber: 0x000c,
  lifetime: 0x000d,
  xorPeerAddress: 0x0012,
  realm: 0x0014,
  nonce: 0x0015,
  xorRelayedAddress: 0x0016,
  requestedAddressFamily: 0x0017,
  requestedTransport: 0x0019,
  fingerprint: 0x8028,
} as const
type Attribute = readonly [type: number, value: Buffer]
/** Some depend on the transaction's id. */
type Attributes = (id: Buffer) => readonly Attribute[]

const SUCCESS = 0x0100
const ERROR = 0x0110
const UDP = 17
/** Before the first and between two tries. A loaded machine is slow, and UDP may lose. RFC 8489 section 6.2.1. */
const RETRY = 500
const TRIES = 8

export interface Answer {
  /** 0 for a success, else the error code. */
  readonly code: number
  readonly attributes: ReadonlyMap<number, Buffer>
  /** FINGERPRINT was there, and right. */
  readonly fingerprint: boolean
}

export class StunClient {
  #waiting = new Map<string, (message: Buffer) => void>()
  #socket: udp.ConnectedSocket<'buffer'> | null = null
  /** Long-term credentials, once the server has said its realm and nonce. RFC 8489 section 9.2. */
  #user: { username: string; password: string } | null = null
  #realm = ''
  #nonce: Buffer = Buffer.alloc(0)
  #channel = 0x4000

  static async open(port: number): Promise<StunClient> {
    const client = new StunClient()
    client.#socket = await Bun.udpSocket({
      connect: { hostname: '127.0.0.1', port },
      socket: {
        // Refused while the server starts; it is asked again.
        error() {},
        data: (_, message) =>
          client.#waiting.get(message.subarray(8, 20).toString('hex'))?.(Buffer.from(message)),
      },
    })
    return client
  }

  /** Whether a Binding request is answered within so many milliseconds. */
  async isAlive(within: number): Promise<boolean> {
    return (await this.#exchange(METHODS.binding, () => [], within, 1)) !== null
  }

  /** Asks for a relay, first without credentials as everybody does. Returns 0 or the error code. */
  async allocate(user: { username: string; credential: string }, family: 4 | 6 = 4): Promise<number> {
    const wanted: Attribute[] = [
      [ATTRIBUTES.requestedTransport, Buffer.from([UDP, 0, 0, 0])],
      ...(family === 6 ? [[ATTRIBUTES.requestedAddressFamily, Buffer.from([2, 0, 0, 0])] as const] : []),
    ]
    this.#user = null
    const challenge = await this.#request(METHODS.allocate, () => wanted)
    if (challenge.code !== 401) throw new Error(`${challenge.code} without credentials`)
    this.#realm = (challenge.attributes.get(ATTRIBUTES.realm) ?? '').toString()
    this.#nonce = challenge.attributes.get(ATTRIBUTES.nonce) ?? this.#nonce
    this.#user = { username: user.username, password: user.credential }
    return (await this.#request(METHODS.allocate, () => wanted)).code
  }

  /** Asks that this peer may send. Nothing is sent to it. Returns 0 or the error code. */
  async createPermission(peer: string): Promise<number> {
    return (
      await this.#request(METHODS.createPermission, (id) => [
        [ATTRIBUTES.xorPeerAddress, xorAddress(peer, id)],
      ])
    ).code
  }

  /** The other way to get a permission. */
  async bindChannel(peer: string): Promise<number> {
    const number = Buffer.alloc(4)
    number.writeUInt16BE(this.#channel++)
    return (
      await this.#request(METHODS.channelBind, (id) => [
        [ATTRIBUTES.channelNumber, number],
        [ATTRIBUTES.xorPeerAddress, xorAddress(peer, id)],
      ])
    ).code
  }

  /** Gives the relay back. */
  async release(): Promise<number> {
    return (await this.#request(METHODS.refresh, () => [[ATTRIBUTES.lifetime, Buffer.alloc(4)]])).code
  }

  async binding(): Promise<Answer> {
    return await this.#request(METHODS.binding, () => [])
  }

  close(): void {
    this.#socket?.close()
  }

  async #request(method: number, attributes: Attributes): Promise<Answer> {
    const answer = await this.#exchange(method, attributes, RETRY, TRIES)
    if (answer === null) throw new Error('no answer from the STUN server')
    return answer
  }

  async #exchange(method: number, attributes: Attributes, wait: number, tries: number) {
    const id = randomBytes(12)
    const request = this.#write(method, id, attributes(id))
    const answered = Promise.withResolvers<Buffer>()
    this.#waiting.set(id.toString('hex'), answered.resolve)
    try {
      for (let i = 0; i < tries; i++) {
        this.#socket?.send(request)
        const late = Promise.withResolvers<null>()
        const timer = setTimeout(() => late.resolve(null), wait)
        const message = await Promise.race([answered.promise, late.promise])
        clearTimeout(timer)
        if (message !== null) return read(message, method)
      }
      return null
    } finally {
      this.#waiting.delete(id.toString('hex'))
    }
  }

  #write(method: number, id: Buffer, attributes: readonly Attribute[]): Buffer {
    const user = this.#user
    if (user === null) return message(method, id, attributes)
    const all: Attribute[] = [
      ...attributes,
      [ATTRIBUTES.username, Buffer.from(user.username)],
      [ATTRIBUTES.realm, Buffer.from(this.#realm)],
      [ATTRIBUTES.nonce, this.#nonce],
    ]
    const key = createHash('md5').update(`${user.username}:${this.#realm}:${user.password}`).digest()
    // The code covers a header whose length counts the code itself. RFC 8489 section 14.5.
    const covered = message(method, id, [...all, [ATTRIBUTES.messageIntegrity, Buffer.alloc(20)]]).subarray(
      0,
      -24,
    )
    const code = createHmac('sha1', key).update(covered).digest()
    return message(method, id, [...all, [ATTRIBUTES.messageIntegrity, code]])
  }
}

function message(type: number, id: Buffer, attributes: readonly Attribute[]): Buffer {
  const body = Buffer.concat(
    attributes.map(([kind, value]) => {
      const padded = Buffer.alloc(4 + Math.ceil(value.length / 4) * 4)
      padded.writeUInt16BE(kind)
      padded.writeUInt16BE(value.length, 2)
      value.copy(padded, 4)
      return padded
    }),
  )
  const header = Buffer.alloc(20)
  header.writeUInt16BE(type)
  header.writeUInt16BE(body.length, 2)
  header.writeUInt32BE(MAGIC, 4)
  id.copy(header, 8)
  return Buffer.concat([header, body])
}

function read(from: Buffer, method: number): Answer {
  const type = from.readUInt16BE()
  if (type !== (method | SUCCESS) && type !== (method | ERROR)) throw new Error(`an answer of type ${type}`)
  const attributes = new Map<number, Buffer>()
  let fingerprint = false
  for (let at = 20; at < from.length; ) {
    const [kind, length] = [from.readUInt16BE(at), from.readUInt16BE(at + 2)]
    const value = from.subarray(at + 4, at + 4 + length)
    attributes.set(kind, value)
    // RFC 8489 section 14.7.
    if (kind === ATTRIBUTES.fingerprint)
      fingerprint = (Bun.hash.crc32(from.subarray(0, at)) ^ 0x5354554e) >>> 0 === value.readUInt32BE()
    at += 4 + Math.ceil(length / 4) * 4
  }
  const error = attributes.get(ATTRIBUTES.errorCode)
  const code = error === undefined ? 0 : (error[2] ?? 0) * 100 + (error[3] ?? 0)
  return { code, attributes, fingerprint }
}

/** Address and port 9, XORed with the magic cookie and, for IPv6, with the transaction id. RFC 8489 section 14.2. */
function xorAddress(peer: string, id: Buffer): Buffer {
  const address = addressBytes(peer)
  const mask = Buffer.alloc(16)
  mask.writeUInt32BE(MAGIC)
  id.copy(mask, 4)
  const port = Buffer.alloc(2)
  port.writeUInt16BE(9 ^ (MAGIC >>> 16))
  const masked = address.map((byte, i) => byte ^ (mask[i] ?? 0))
  return Buffer.concat([Buffer.from([0, address.length === 4 ? 1 : 2]), port, masked])
}

function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number))
  // Writes an IPv4 address at the end in hexadecimal, too.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':'))
  const [first, last] = [groups(head), groups(tail ?? '')]
  const all = [...first, ...Array<string>(8 - first.length - last.length).fill('0'), ...last]
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex')
}
