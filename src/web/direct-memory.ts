/**
 * What the direct page keeps in this browser: a key pair for each name, whose private half cannot be taken out, what is
 * known of other people's keys, and the name used last. Where storage is off, all of it lasts as long as the page.
 */
import {
  type Identity,
  identityOf,
  type KeyMemory,
  type KnownKey,
  keysInMemory,
  makeKeyPair,
} from '../client/index.ts'

const DATABASE = 'ringdown'
const IDENTITIES = 'identities'
const KEYS = 'keys'
const NAME = 'ringdown.name'

export interface DirectMemory {
  /** The identity of a name, made when there is none. */
  identity(self: string): Promise<Identity>
  /** Makes another one, kept beside it until the server took it: `useNext` then. */
  nextIdentity(self: string): Promise<Identity>
  /** From now on it is the one. False when there is none, as when the server never heard of it. */
  useNext(self: string): Promise<boolean>
  keysOf(self: string): KeyMemory
  /** Names whose key was seen under this one. */
  people(self: string): Promise<string[]>
}

export async function openMemory(): Promise<DirectMemory> {
  const database = await openDatabase().catch(() => null)
  return database === null ? passing() : lasting(database)
}

export function lastName(): string {
  try {
    return localStorage.getItem(NAME) ?? ''
  } catch {
    return ''
  }
}

export function keepName(name: string): void {
  try {
    localStorage.setItem(NAME, name)
  } catch {
    // Storage is off: it is asked for again.
  }
}

function lasting(database: IDBDatabase): DirectMemory {
  const read = <T>(store: string, key: string) =>
    asked<T | undefined>(database.transaction(store).objectStore(store).get(key))
  const write = async (store: string, key: string, value: unknown) => {
    await asked(database.transaction(store, 'readwrite').objectStore(store).put(value, key))
  }
  return {
    async identity(self) {
      const kept = await read<CryptoKeyPair>(IDENTITIES, self)
      if (kept !== undefined) return identityOf(kept)
      const made = await makeKeyPair()
      await write(IDENTITIES, self, made)
      return identityOf(made)
    },
    async nextIdentity(self) {
      const made = await makeKeyPair()
      await write(IDENTITIES, nextOf(self), made)
      return identityOf(made)
    },
    async useNext(self) {
      const next = await read<CryptoKeyPair>(IDENTITIES, nextOf(self))
      if (next === undefined) return false
      await write(IDENTITIES, self, next)
      await asked(database.transaction(IDENTITIES, 'readwrite').objectStore(IDENTITIES).delete(nextOf(self)))
      return true
    },
    keysOf: (self) => ({
      load: async (peer) => (await read<KnownKey>(KEYS, `${self} ${peer}`)) ?? null,
      save: (peer, known) => write(KEYS, `${self} ${peer}`, known),
    }),
    async people(self) {
      const keys = await asked(database.transaction(KEYS).objectStore(KEYS).getAllKeys())
      const names = keys.map(String).filter((key) => key.startsWith(`${self} `))
      return names.map((key) => key.slice(self.length + 1)).filter((peer) => peer !== self)
    },
  }
}

function passing(): DirectMemory {
  const pairs = new Map<string, CryptoKeyPair>()
  const seen = new Set<string>()
  const keys = keysInMemory()
  return {
    async identity(self) {
      const pair = pairs.get(self) ?? (await makeKeyPair())
      pairs.set(self, pair)
      return identityOf(pair)
    },
    async nextIdentity(self) {
      const made = await makeKeyPair()
      pairs.set(nextOf(self), made)
      return identityOf(made)
    },
    async useNext(self) {
      const next = pairs.get(nextOf(self))
      if (next === undefined) return false
      pairs.delete(nextOf(self))
      pairs.set(self, next)
      return true
    },
    keysOf: (self) => ({
      load: (peer) => keys.load(`${self} ${peer}`),
      save: (peer, known) => {
        if (peer !== self) seen.add(`${self} ${peer}`)
        return keys.save(`${self} ${peer}`, known)
      },
    }),
    people: async (self) =>
      [...seen].filter((key) => key.startsWith(`${self} `)).map((key) => key.slice(self.length + 1)),
  }
}

/** No name has a space. */
const nextOf = (self: string) => `${self} next`

function openDatabase(): Promise<IDBDatabase> {
  const request = indexedDB.open(DATABASE, 1)
  request.onupgradeneeded = () => {
    for (const store of [IDENTITIES, KEYS]) request.result.createObjectStore(store)
  }
  return asked(request)
}

function asked<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}
