/** Who is registered: the devices of each client id, and who watches whose key. */
import type { Device } from './device.ts'

/** Devices that one proven identity may have. */
export const MOST_DEVICES = 5
/** Keys that one device is told of when they change; the oldest is let go of. */
const MOST_WATCHED = 256

const NONE: readonly Device[] = []

export class Clients {
  readonly #byClient = new Map<string, Device[]>()
  /** Those that are not rung: somebody else has their place. */
  readonly #aside = new Map<string, Device[]>()
  readonly #byId = new Map<string, Device>()
  readonly #watchers = new Map<string, Set<Device>>()

  /** A device that can be rung from now on. */
  add(device: Device): void {
    this.#byId.set(device.id, device)
    take(this.#aside, device)
    take(this.#byClient, device)
    put(this.#byClient, device)
  }

  /** A device that may take its call up again, but is not rung, until it is added. */
  keep(device: Device): void {
    this.#byId.set(device.id, device)
    take(this.#byClient, device)
    take(this.#aside, device)
    put(this.#aside, device)
  }

  remove(device: Device): void {
    take(this.#byClient, device)
    take(this.#aside, device)
    this.#byId.delete(device.id)
    for (const clientId of device.watching ?? []) this.#unwatch(device, clientId)
    device.watching = null
  }

  /** The devices of a client that can be rung, in the order they came. */
  of(clientId: string): readonly Device[] {
    return this.#byClient.get(clientId) ?? NONE
  }

  /** Those that are kept aside, in the order they came there. */
  asideOf(clientId: string): readonly Device[] {
    return this.#aside.get(clientId) ?? NONE
  }

  /** All of them. */
  everyOf(clientId: string): readonly Device[] {
    return [...this.of(clientId), ...this.asideOf(clientId)]
  }

  byId(id: string): Device | null {
    return this.#byId.get(id) ?? null
  }

  watch(device: Device, clientId: string): void {
    const watching = device.watching ?? new Set()
    device.watching = watching
    watching.delete(clientId)
    watching.add(clientId)
    const watchers = this.#watchers.get(clientId) ?? new Set()
    this.#watchers.set(clientId, watchers.add(device))
    if (watching.size <= MOST_WATCHED) return
    const [oldest] = watching
    if (oldest === undefined) return
    watching.delete(oldest)
    this.#unwatch(device, oldest)
  }

  watchersOf(clientId: string): Iterable<Device> {
    return this.#watchers.get(clientId) ?? NONE
  }

  all(): Iterable<Device> {
    return this.#byId.values()
  }

  get size(): number {
    return this.#byId.size
  }

  #unwatch(device: Device, clientId: string): void {
    const watchers = this.#watchers.get(clientId)
    watchers?.delete(device)
    if (watchers?.size === 0) this.#watchers.delete(clientId)
  }
}

function put(devices: Map<string, Device[]>, device: Device): void {
  devices.set(device.clientId, [...(devices.get(device.clientId) ?? []), device])
}

function take(devices: Map<string, Device[]>, device: Device): void {
  const others = (devices.get(device.clientId) ?? []).filter((each) => each !== device)
  if (others.length === 0) devices.delete(device.clientId)
  else devices.set(device.clientId, others)
}
