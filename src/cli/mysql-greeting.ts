/**
 * Whether a MySQL or MariaDB is at an address, from the greeting it sends to whoever connects. No user is needed.
 * Protocol::HandshakeV10 and ERR_Packet in the MySQL client/server protocol.
 */
export type Greeting =
  | { readonly is: 'version'; readonly version: string }
  | { readonly is: 'refusal'; readonly message: string }
  | { readonly is: 'silence'; readonly why: string }

const PATIENCE = 3000
const HEADER_BYTES = 4
const HANDSHAKE = 10
const REFUSAL = 0xff
const LONGEST = 4096

export async function askGreeting(hostname: string, port: number): Promise<Greeting> {
  const { promise, resolve } = Promise.withResolvers<Greeting>()
  let got = Buffer.alloc(0)
  const timer = setTimeout(() => resolve({ is: 'silence', why: 'no greeting in 3 s' }), PATIENCE)
  const connecting = Bun.connect({
    hostname,
    port,
    socket: {
      data(_, bytes) {
        got = Buffer.concat([got, bytes])
        const greeting = read(got)
        if (greeting !== null) resolve(greeting)
      },
      close: () => resolve({ is: 'silence', why: 'it hangs up' }),
      error: () => resolve({ is: 'silence', why: 'the connection broke' }),
    },
  })
  connecting.catch((error) => resolve({ is: 'silence', why: String(error?.code ?? 'no connection') }))
  const greeting = await promise
  clearTimeout(timer)
  void connecting.then((socket) => socket.terminate()).catch(() => {})
  return greeting
}

/** Null while the packet is not whole. */
function read(bytes: Buffer): Greeting | null {
  if (bytes.length <= HEADER_BYTES) return null
  const kind = bytes[HEADER_BYTES]
  const length = bytes.readUIntLE(0, 3)
  if ((kind !== HANDSHAKE && kind !== REFUSAL) || length > LONGEST) {
    return { is: 'silence', why: 'what answers is not a MySQL' }
  }
  const packet = bytes.subarray(HEADER_BYTES, HEADER_BYTES + length)
  if (packet.length < length) return null
  if (kind === REFUSAL) return { is: 'refusal', message: printable(packet.subarray(3)) }
  return { is: 'version', version: printable(packet.subarray(1, packet.indexOf(0, 1))) }
}

function printable(bytes: Buffer): string {
  return bytes
    .toString('latin1')
    .replace(/[^\x20-\x7e]/g, '')
    .slice(0, 200)
}
