/**
 * Clients of the library on the direct service, all of it made of memory: what a client sends is heard at once, what
 * the server sends arrives with `settle`. Microphones and RTCPeerConnections are fakes.
 */

import {
  FakePeerConnection,
  FakeTrack,
  fakeStream,
  HandClock,
  settle as made,
} from '../../src/client/fakes.ts'
import {
  type DirectCall,
  type DirectCallState,
  DirectClient,
  type DirectClientOptions,
  type Identity,
  identityOf,
  keysInMemory,
  makeKeyPair,
  type PeerKey,
} from '../../src/client/index.ts'
import type { OpenSocket, SocketEvents } from '../../src/client/ports.ts'
import type { DirectRead } from '../../src/protocol/direct.ts'
import { type DirectWorld, HOST, signed, settle as turn } from './direct-world.ts'
import type { Phone } from './phone.ts'

interface Wire {
  readonly phone: Phone<DirectRead>
  readonly on: SocketEvents
  isOver: boolean
}

/** An identity that signs calls with real keys, and registrations as this world reads them. */
export async function worldIdentity(): Promise<Identity> {
  const real = await identityOf(await makeKeyPair())
  return {
    publicKey: real.publicKey,
    async sign(text) {
      const [kind, host = '', clientId = '', third = '', fourth = ''] = text.split('\n')
      const key = real.publicKey
      if (kind === 'ringdown/identity/1') return signed.identity(key, { host, clientId, nonce: third })
      if (kind !== 'ringdown/identity-rotation/1') return real.sign(text)
      return signed.rotation(key, { host, clientId, newKey: third, nonce: fourth })
    },
  }
}

/** One client with everything around it. */
export class Person {
  readonly client: DirectClient
  readonly clock: HandClock
  readonly tracks: FakeTrack[] = []
  readonly connections: FakePeerConnection[] = []
  readonly states: string[] = []
  readonly rung: DirectCall[] = []
  readonly warned: PeerKey[] = []
  readonly troubles: unknown[] = []
  /** No network: sockets do not open. */
  isOffline = false
  /** What a server in the middle makes of what this person is sent. */
  rewrite: (text: string) => string = (text) => text
  #wires: Wire[] = []

  constructor(world: DirectWorld, clientId: string, clock: HandClock, options: Partial<DirectClientOptions>) {
    this.clock = clock
    const { connections, tracks } = this
    const openSocket: OpenSocket = (_, on) => {
      const wire: Wire = { phone: world.connect(), on, isOver: false }
      this.#wires.push(wire)
      queueMicrotask(() => (this.isOffline ? this.#cut(wire) : on.opened()))
      return {
        send: (text) => void wire.phone.sayText(text),
        close: (code) => {
          wire.isOver = true
          wire.phone.end(code === 1000)
        },
      }
    }
    this.client = new DirectClient({
      url: `ws://${HOST}/signal`,
      clientId,
      openSocket,
      timers: clock,
      random: () => 0.5,
      wallNow: () => world.clock.now(),
      microphone: async () => {
        const track = new FakeTrack()
        tracks.push(track)
        return fakeStream(track)
      },
      RTCPeerConnection: class extends FakePeerConnection {
        constructor() {
          super()
          connections.push(this)
        }
      } as never,
      ...options,
    })
    this.client.on('state', ({ at }) => this.states.push(at))
    this.client.on('incoming', (call) => this.rung.push(call))
    this.client.on('key', (key) => this.warned.push(key))
    this.client.on('trouble', (error) => this.troubles.push(error))
  }

  /** What is on its way arrives. True when there was something. */
  deliver(): boolean {
    let was = false
    for (const wire of [...this.#wires]) {
      if (wire.isOver) continue
      for (const text of wire.phone.receive()) {
        was = true
        if (!wire.isOver) wire.on.text(this.rewrite(text))
      }
      if (!wire.phone.open && !wire.isOver) {
        was = true
        this.#cut(wire, wire.phone.code ?? 1006)
      }
    }
    this.#wires = this.#wires.filter(({ isOver }) => !isOver)
    return was
  }

  /** The network is gone, with what was on its way. */
  cut(): void {
    for (const wire of this.#wires) if (!wire.isOver) this.#cut(wire)
  }

  /** The RTCPeerConnection made last. */
  get connection(): FakePeerConnection {
    const last = this.connections.at(-1)
    if (last === undefined) throw new Error('there is no connection')
    return last
  }

  /** The call that rang last. */
  get ringing(): DirectCall {
    const last = this.rung.at(-1)
    if (last === undefined) throw new Error('nothing rang')
    return last
  }

  #cut(wire: Wire, code = 1006): void {
    wire.isOver = true
    wire.phone.end()
    wire.on.closed(code, '')
  }
}

export class Party {
  readonly world: DirectWorld
  readonly clock = new HandClock()
  readonly people: Person[] = []

  constructor(world: DirectWorld) {
    this.world = world
  }

  /** Somebody who is registered, with an identity of their own unless told otherwise. */
  async joins(clientId: string, options: Partial<DirectClientOptions> = {}): Promise<Person> {
    const identity = await worldIdentity()
    const person = new Person(this.world, clientId, this.clock, {
      identity,
      keys: keysInMemory(),
      ...options,
    })
    this.people.push(person)
    person.client.start()
    await this.settle()
    return person
  }

  /** Everything arrives, and what follows from it. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 6; ) {
      await made()
      await turn()
      const was = this.people.map((person) => person.deliver())
      quiet = was.includes(true) ? 0 : quiet + 1
    }
  }

  /** Time passes for the server and for every client. */
  async wind(span: number): Promise<void> {
    for (let left = span; left > 0; left -= 500) {
      this.clock.wind(Math.min(left, 500))
      await this.world.clock.wind(Math.min(left, 500))
      for (const person of this.people) person.deliver()
    }
    await this.settle()
  }
}

/** The names of a call's states from now on. */
export function pathOf(call: DirectCall): string[] {
  const path: string[] = []
  call.on('state', (state) => path.push(nameOf(state)))
  return path
}

export function nameOf(state: DirectCallState): string {
  switch (state.at) {
    case 'preparing':
      return `preparing ${state.to}`
    case 'reconnecting':
      return `reconnecting ${state.who}`
    case 'held':
      return `held ${state.warning}`
    case 'ended':
      return `ended ${state.reason}${state.by === null ? '' : ` by ${state.by}`}`
    default:
      return state.at
  }
}
