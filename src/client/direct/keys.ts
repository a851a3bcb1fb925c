/**
 * What this client knows of other people's keys, and whether the server's directory still tells the same story. A key
 * is trusted the first time it is seen; from then on its history may only grow, by changes that are chained to what
 * was seen before. Anything else is a server that lies, or one that lost its data; neither goes unsaid.
 *
 * What one client alone cannot see: a wrong key from the very first time on (safety numbers show it), and a server that
 * tells two people two stories (their heads show it, see `agrees`). Deliberately not here: the wire.
 */
import type { DirectDown, KeyChange } from '../../protocol/direct.ts'
import { chained } from '../../protocol/directory.ts'
import { NO_HEAD } from '../../protocol/media-proof.ts'
import { digest } from './bytes.ts'

/** A key as the directory shows it. */
export type ShownKey = (DirectDown & { type: 'PKD_RESULT' })['payload']

/** How the directory is asked. Both reject when there is no answer to be had now. */
export interface KeyDirectory {
  /** Null: it has no such key. */
  lookup(clientId: string): Promise<ShownKey | null>
  /** Every change after this version, oldest first. */
  history(clientId: string, after: number): Promise<readonly KeyChange[]>
}

/** What is kept of one key. Plain JSON. */
export interface KnownKey {
  /** The key that is trusted; another one is a warning until it is trusted too. */
  readonly trusted: string
  /** The last change that was seen. */
  readonly publicKey: string
  readonly version: number
  readonly changedAt: number
  /** Hashes of the last changes seen, the last one last. */
  readonly hashes: readonly string[]
  /** The two people have compared their safety number, with the trusted key. */
  readonly compared: boolean
  /** Calls with the trusted key were signed by it; from then on one that is not is a warning. */
  readonly signs: boolean
}

/** Where it is kept. `load` resolves with null for what was never saved. */
export interface KeyMemory {
  load(clientId: string): Promise<KnownKey | null>
  save(clientId: string, known: KnownKey): Promise<void>
}

/** How the directory was found to lie. */
export type KeyTrouble =
  /** The key, its fingerprint and its hash do not belong together. */
  | 'inconsistent'
  /** The history does not lead to the key that is shown. */
  | 'broken_chain'
  /** What was seen before is not in the history any more. */
  | 'rewritten'
  /** An older key is shown than the one seen before. */
  | 'rolled_back'
  /** A key was seen before, and now there is none. */
  | 'withheld'
  /** The owner of the key, or the other party, was shown another history. */
  | 'forked'

export type KeyStatus =
  /** Seen for the first time. */
  | 'new'
  | 'same'
  /** Not the key that is trusted. */
  | 'changed'
  | 'lying'

export interface PeerKey {
  readonly clientId: string
  readonly status: KeyStatus
  readonly publicKey: string
  /** SHA-256 of the key, base64url. */
  readonly fingerprint: string
  /** How often the key was set. */
  readonly version: number
  /** Milliseconds since 1970, by the server. */
  readonly changedAt: number
  /** The key that was trusted before, when this one is not. */
  readonly before: string | null
  readonly compared: boolean
  readonly trouble: KeyTrouble | null
}

/** Hashes kept of one history. */
const KEPT = 256

export class KeyBook {
  readonly #directory: KeyDirectory
  readonly #memory: KeyMemory
  /** Checks of one key run one after another. */
  readonly #work = new Map<string, Promise<unknown>>()

  constructor(directory: KeyDirectory, memory: KeyMemory) {
    this.#directory = directory
    this.#memory = memory
  }

  /** Asks for a key and checks its story. Null: there is none, and there never was. Rejects without an answer. */
  check(clientId: string): Promise<PeerKey | null> {
    return this.#inTurn(clientId, async () =>
      this.#checkShown(clientId, await this.#directory.lookup(clientId)),
    )
  }

  /** The server says that a key is now this one. */
  changed(shown: ShownKey): Promise<PeerKey | null> {
    return this.#inTurn(shown.clientId, () => this.#checkShown(shown.clientId, shown))
  }

  /** What is remembered, without asking. */
  known(clientId: string): Promise<KnownKey | null> {
    return this.#memory.load(clientId)
  }

  /**
   * The person has been warned and goes on with the key as it is now. Where the directory lied, its story is believed
   * anew from the start, if it holds together.
   */
  trust(clientId: string): Promise<PeerKey | null> {
    return this.#inTurn(clientId, async () => {
      const shown = await this.#directory.lookup(clientId)
      if (shown === null) return null
      const known = await this.#memory.load(clientId)
      const key = await this.#checkShown(clientId, shown)
      if (key?.status === 'lying') return this.#verify(clientId, shown, null)
      if (key === null || known === null || key.status !== 'changed') return key
      const grown = await this.#memory.load(clientId)
      if (grown === null) return key
      await this.#memory.save(clientId, { ...grown, trusted: key.publicKey, compared: false, signs: false })
      return { ...key, status: 'same', before: null, compared: false }
    })
  }

  /** The two people compared their safety number with this key. False when it is not the trusted one (any more). */
  compared(clientId: string, publicKey: string, isSame = true): Promise<boolean> {
    return this.#amend(clientId, publicKey, (known) => ({ ...known, compared: isSame }))
  }

  /** A call was signed by this key. */
  signed(clientId: string, publicKey: string): Promise<boolean> {
    return this.#amend(clientId, publicKey, (known) => ({ ...known, signs: true }))
  }

  /** `version.hash` of the last change seen, or `-`. */
  async head(clientId: string): Promise<string> {
    const known = await this.#memory.load(clientId)
    return known === null ? NO_HEAD : `${known.version}.${known.hashes.at(-1)}`
  }

  /**
   * Whether a head that somebody else was shown is of the history that we were shown. One that is ahead of ours makes
   * us ask once more. A server that tells two stories cannot pass this at both ends.
   */
  async agrees(clientId: string, theirs: string): Promise<boolean> {
    if (theirs === NO_HEAD) return true
    const [, number, hash = ''] = /^(\d{1,15})\.(.+)$/.exec(theirs) ?? []
    if (number === undefined) return false
    const version = Number(number)
    let known = await this.#memory.load(clientId)
    if (known === null || known.version < version) {
      if ((await this.check(clientId))?.status === 'lying') return false
      known = await this.#memory.load(clientId)
    }
    if (known === null || known.version < version) return false
    const at = known.hashes.length - 1 - (known.version - version)
    // Older than what is kept: nothing to compare with.
    return at < 0 || known.hashes[at] === hash
  }

  async #checkShown(clientId: string, shown: ShownKey | null): Promise<PeerKey | null> {
    const known = await this.#memory.load(clientId)
    if (shown === null) return known === null ? null : withheld(clientId, known)
    return this.#verify(clientId, shown, known)
  }

  async #verify(clientId: string, shown: ShownKey, known: KnownKey | null): Promise<PeerKey> {
    const lying = (trouble: KeyTrouble) => keyOf(shown, 'lying', known, trouble)
    if (!isShownKey(shown) || shown.clientId !== clientId) return lying('inconsistent')
    if ((await digest(shown.publicKey)) !== shown.fingerprint) return lying('inconsistent')
    if (known !== null && shown.version < known.version) return lying('rolled_back')
    if (known !== null && shown.version === known.version) {
      const isSame =
        shown.hash === known.hashes.at(-1) &&
        shown.publicKey === known.publicKey &&
        shown.changedAt === known.changedAt
      return isSame ? this.#verdict(shown, known) : lying('rewritten')
    }
    const changes = await this.#directory.history(clientId, known?.version ?? 0)
    if (known !== null && changes[0]?.previous !== known.hashes.at(-1)) return lying('rewritten')
    const grown = await follow(clientId, changes, known)
    if (grown === null || !holds(changes, shown)) return lying('broken_chain')
    const last = changes.at(-1)
    if (last === undefined) return lying('broken_chain')
    await this.#memory.save(clientId, grown)
    const fingerprint = await digest(last.publicKey)
    const current = { ...last, clientId, fingerprint }
    return known === null ? keyOf(current, 'new', grown, null) : this.#verdict(current, grown)
  }

  #verdict(shown: ShownKey, known: KnownKey): PeerKey {
    return keyOf(shown, shown.publicKey === known.trusted ? 'same' : 'changed', known, null)
  }

  #amend(clientId: string, publicKey: string, change: (known: KnownKey) => KnownKey): Promise<boolean> {
    return this.#inTurn(clientId, async () => {
      const known = await this.#memory.load(clientId)
      if (known === null || known.trusted !== publicKey) return false
      await this.#memory.save(clientId, change(known))
      return true
    })
  }

  #inTurn<T>(clientId: string, work: () => Promise<T>): Promise<T> {
    const done = (this.#work.get(clientId) ?? Promise.resolve()).then(work, work)
    const settled = done
      .catch(() => {})
      .then(() => {
        if (this.#work.get(clientId) === settled) this.#work.delete(clientId)
      })
    this.#work.set(clientId, settled)
    return done
  }
}

/** A memory that lasts as long as the program. */
export function keysInMemory(): KeyMemory {
  const kept = new Map<string, KnownKey>()
  return {
    load: async (clientId) => kept.get(clientId) ?? null,
    save: async (clientId, known) => void kept.set(clientId, known),
  }
}

/** What is known after these changes; null when one of them does not follow from the one before. */
async function follow(
  clientId: string,
  changes: readonly KeyChange[],
  known: KnownKey | null,
): Promise<KnownKey | null> {
  let last: { version: number; hash: string; changedAt: number } = {
    version: known?.version ?? 0,
    hash: known?.hashes.at(-1) ?? '',
    changedAt: known?.changedAt ?? 0,
  }
  const hashes = [...(known?.hashes ?? [])]
  for (const change of changes) {
    const follows =
      change.version === last.version + 1 &&
      change.previous === last.hash &&
      change.changedAt >= last.changedAt &&
      change.hash === (await digest(chained(clientId, change)))
    if (!follows) return null
    hashes.push(change.hash)
    last = change
  }
  const newest = changes.at(-1)
  if (newest === undefined) return null
  const { publicKey, version, changedAt } = newest
  return {
    trusted: known?.trusted ?? publicKey,
    compared: known?.compared ?? false,
    signs: known?.signs ?? false,
    publicKey,
    version,
    changedAt,
    hashes: hashes.slice(-KEPT),
  }
}

/** Whether the key that is shown is one of these changes; there may be newer ones by now. */
function holds(changes: readonly KeyChange[], shown: ShownKey): boolean {
  return changes.some(
    ({ version, publicKey, hash, changedAt }) =>
      version === shown.version &&
      publicKey === shown.publicKey &&
      hash === shown.hash &&
      changedAt === shown.changedAt,
  )
}

/** A lying server may also leave fields out. */
function isShownKey({ publicKey, version, changedAt, fingerprint, hash }: ShownKey): boolean {
  const texts = [publicKey, fingerprint, hash].every((text) => typeof text === 'string')
  return texts && Number.isSafeInteger(version) && version > 0 && Number.isSafeInteger(changedAt)
}

function keyOf(
  { clientId, publicKey, fingerprint, version, changedAt }: Omit<ShownKey, 'hash'>,
  status: KeyStatus,
  known: KnownKey | null,
  trouble: KeyTrouble | null,
): PeerKey {
  const isTrusted = known?.trusted === publicKey
  return {
    clientId,
    status,
    publicKey,
    fingerprint,
    version,
    changedAt,
    before: known !== null && !isTrusted ? known.trusted : null,
    compared: isTrusted && known.compared,
    trouble,
  }
}

function withheld(clientId: string, known: KnownKey): PeerKey {
  return keyOf({ ...known, clientId, fingerprint: '' }, 'lying', known, 'withheld')
}
