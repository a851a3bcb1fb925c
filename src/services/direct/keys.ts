/**
 * The key directory: who may set whose key, what is answered to who asks, and who is told of a change. Every change is
 * chained to the one before by its hash, so that a client can check that the history it is shown was not rewritten.
 */
import { Limiter } from '../../core/limiter.ts'
import type { BoundIdentity, Clock, Directory, DirectoryKey } from '../../core/ports.ts'
import { fail } from '../../protocol/codes.ts'
import type { DirectDown } from '../../protocol/direct.ts'
import { chained } from '../../protocol/directory.ts'
import type { Clients } from './clients.ts'
import type { Device } from './device.ts'

export interface KeysDeps {
  readonly directory: Directory
  readonly clients: Clients
  readonly clock: Clock
  readonly digest: (text: string) => string
}

/** Owner of a key that a proven identity set. */
export const BY_IDENTITY = 'identity'
/** Owner of a key after an operator's reset. */
export const NOBODY = ''
/** Lookups of one client: 30 at once, and 70 in fifteen minutes, so that nobody copies the directory. */
const LOOKUPS = 30
const LOOKUP_WINDOW = (15 * 60_000 * LOOKUPS) / 70
/** Changes of one key: each is a row for ever, and is told to all who looked it up. */
const CHANGES = 20
const CHANGE_WINDOW = 15 * 60_000
/** Changes in one answer. */
const HISTORY_PAGE = 20
/** Two devices may change a key at once; one tries again. */
const TRIES = 3

export class Keys {
  readonly #deps: KeysDeps
  readonly #lookups: Limiter
  readonly #changes: Limiter

  constructor(deps: KeysDeps) {
    this.#deps = deps
    this.#lookups = new Limiter(LOOKUPS, LOOKUP_WINDOW, deps.clock)
    this.#changes = new Limiter(CHANGES, CHANGE_WINDOW, deps.clock)
  }

  /** Sets a device's own key. Rejects with `key_refused`, `rate_limited`, `storage_unavailable`. */
  async register(device: Device, clientId: string, publicKey: string): Promise<DirectDown> {
    if (clientId !== device.clientId) throw fail('key_refused')
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const { identity, key: before } = await this.#deps.directory.find(clientId)
      const may = mayChange(device, identity, before)
      // Whoever says what is there already changes nothing; but an owner takes over what it did not own yet.
      if (before?.publicKey === publicKey && (!may || before.owner === ownerOf(device))) {
        return this.#result('PKD_RESULT', clientId, before)
      }
      if (!may) throw fail('key_refused')
      const wait = this.#changes.take(clientId)
      if (wait !== null) throw fail('rate_limited', 'Too many changes of a key.', { retryAfter: wait })
      const key = this.#next(clientId, publicKey, before, device)
      if (!(await this.#deps.directory.put(clientId, key))) continue
      this.#tell(device, key)
      return this.#result('PKD_RESULT', clientId, key)
    }
    throw fail('rate_limited', 'The key is being changed by another device.', { retryAfter: 1_000 })
  }

  /** Rejects with `key_not_found`, `rate_limited`, `storage_unavailable`. */
  async lookup(device: Device, clientId: string): Promise<DirectDown> {
    this.#count(device)
    const { key } = await this.#deps.directory.find(clientId)
    if (device.peer !== null) this.#deps.clients.watch(device, clientId)
    if (key === null) throw fail('key_not_found')
    return this.#result('PKD_RESULT', clientId, key)
  }

  async history(device: Device, clientId: string, after: number): Promise<DirectDown> {
    this.#count(device)
    const changes = await this.#deps.directory.history(clientId, after, HISTORY_PAGE + 1)
    if (changes.length === 0 && after === 0) throw fail('key_not_found')
    const shown = changes.slice(0, HISTORY_PAGE).map(({ version, publicKey, changedAt, previous, hash }) => ({
      version,
      publicKey,
      changedAt,
      previous,
      hash,
    }))
    return { type: 'PKD_HISTORY', payload: { clientId, changes: shown, more: changes.length > HISTORY_PAGE } }
  }

  /** What a callee is told of the caller's key. */
  atRing(caller: Device) {
    const { key } = caller
    if (key === null) return null
    const { publicKey, version, changedAt, owner } = key
    const proven = caller.proven && owner === BY_IDENTITY
    return { fingerprint: this.#deps.digest(publicKey), version, changedAt, proven }
  }

  #count(device: Device): void {
    const wait = this.#lookups.take(device.clientId)
    if (wait !== null) throw fail('rate_limited', 'Too many lookups.', { retryAfter: wait })
  }

  #next(clientId: string, publicKey: string, before: DirectoryKey | null, device: Device): DirectoryKey {
    const version = (before?.version ?? 0) + 1
    const changedAt = Math.max(this.#deps.clock.now(), before?.changedAt ?? 0)
    const previous = before?.hash ?? ''
    const hash = this.#deps.digest(chained(clientId, { version, publicKey, changedAt, previous }))
    return { version, publicKey, changedAt, previous, hash, owner: ownerOf(device) }
  }

  /** First the devices of the client know, then those who looked the key up are told. */
  #tell(setter: Device, key: DirectoryKey): void {
    const { clients } = this.#deps
    const { clientId } = setter
    const own = clients.everyOf(clientId)
    // The answer to this change may come after that to the next one.
    if (own.some((device) => (device.key?.version ?? 0) > key.version)) return
    for (const device of own) device.key = key
    const changed = this.#result('PKD_CHANGED', clientId, key)
    for (const watcher of clients.watchersOf(clientId)) if (watcher !== setter) watcher.say(changed)
  }

  #result(type: 'PKD_RESULT' | 'PKD_CHANGED', clientId: string, key: DirectoryKey): DirectDown {
    const { publicKey, version, changedAt, hash } = key
    const fingerprint = this.#deps.digest(publicKey)
    return { type, payload: { clientId, publicKey, version, changedAt, fingerprint, hash } }
  }
}

/**
 * An identity owns the key of its id; where none is bound, the line of connections that set it does. An operator who
 * resets an id frees its key.
 */
function mayChange(device: Device, identity: BoundIdentity | null, key: DirectoryKey | null): boolean {
  // By the identity as it is now: the id may have been handed over since the device proved it. A key that was set
  // before the id was bound is the identity's too: only who had set it could bind it.
  if (identity !== null && device.identity !== null) return device.identity === identity.publicKey
  if (identity !== null) return device.proven
  if (key === null || key.owner === NOBODY) return true
  return key.owner === BY_IDENTITY ? device.proven : key.owner === device.line
}

function ownerOf(device: Device): string {
  return device.proven ? BY_IDENTITY : device.line
}
