/** Clients of `/signal` for tests: registering, ringing and answering over real sockets. */
import type { RawPeer, RawPeerOptions } from './raw-peer.ts'
import type { TestServer } from './server.ts'

export class SignalPeer {
  readonly raw: RawPeer
  /** Set by `register`. */
  resumeToken = ''

  constructor(raw: RawPeer) {
    this.raw = raw
  }

  /** A connection that has said nothing yet. */
  static async open(server: TestServer, options: RawPeerOptions = {}): Promise<SignalPeer> {
    return new SignalPeer(await server.connect({ path: '/signal', ...options }))
  }

  say(type: string, payload: object = {}): void {
    this.raw.send({ type, payload })
  }

  /** The payload of the next message of this type; what came before it is passed over. */
  async hear(type: string) {
    return (await this.raw.nextOf(type)).payload
  }

  /** The next message. */
  next() {
    return this.raw.next()
  }

  async error(): Promise<string> {
    const message = await this.raw.next()
    if (message.type !== 'ERROR') throw new Error(`${JSON.stringify(message)} instead of an ERROR`)
    return message.payload.code
  }

  async register(clientId: string, more: object = {}): Promise<this> {
    this.say('REGISTER', { clientId, ...more })
    const { resumeToken } = await this.hear('REGISTERED')
    this.resumeToken = resumeToken
    return this
  }
}

export async function registered(
  server: TestServer,
  clientId: string,
  options: RawPeerOptions = {},
): Promise<SignalPeer> {
  return (await SignalPeer.open(server, options)).register(clientId)
}

export interface Ringing {
  readonly caller: SignalPeer
  readonly callee: SignalPeer
  readonly callId: string
}

/** `alice` rings `bob`, and both have been told so. */
export async function ringingCall(
  server: TestServer,
  names: readonly [string, string] = ['alice', 'bob'],
): Promise<Ringing> {
  const caller = await registered(server, names[0])
  const callee = await registered(server, names[1])
  caller.say('CALL_INITIATE', { targetId: names[1], sdpOffer: 'offer' })
  const { callId } = await caller.hear('CALL_RINGING')
  await callee.hear('INCOMING_CALL')
  return { caller, callee, callId }
}

/** `bob` has accepted the call of `alice`. */
export async function answeredCall(server: TestServer, names?: readonly [string, string]): Promise<Ringing> {
  const call = await ringingCall(server, names)
  call.callee.say('CALL_ACCEPT', { callId: call.callId, sdpAnswer: 'answer' })
  await call.caller.hear('CALL_ACCEPTED')
  return call
}
