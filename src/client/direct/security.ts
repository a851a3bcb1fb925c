/**
 * Looks at whom a call is with: what the directory says of their key, whether the call's sound is signed by it, and
 * whether both were shown the same histories. Signs our own descriptions. What is signed: protocol/media-proof.ts.
 */
import { fingerprintsOf, mediaText, proofIn, withProof } from '../../protocol/media-proof.ts'
import { canSign, type Identity, verifies } from './identity.ts'
import type { KeyBook, PeerKey } from './keys.ts'
import type { CallSecurity, KeyWarning } from './state.ts'

export interface SecurityOptions {
  readonly self: string
  readonly peer: string
  readonly keys: KeyBook
  /** What our key in the directory signs with; null where it cannot sign. */
  readonly signer: () => Promise<Identity | null>
  readonly changed: (security: CallSecurity) => void
}

export class Security {
  readonly #options: SecurityOptions
  #now: CallSecurity = { isChecking: true, key: null, isSigned: false, warning: null }
  /** The person was warned and goes on. */
  #isOverruled = false
  /** The certificates of the other end that were looked at. */
  #seen: string | null = null

  constructor(options: SecurityOptions) {
    this.#options = options
  }

  get now(): CallSecurity {
    return this.#now
  }

  /** Asks the directory. A directory that does not answer is no warning: what is remembered still counts. */
  async lookUp(): Promise<void> {
    const { keys, peer } = this.#options
    const key = await keys.check(peer).catch(() => undefined)
    if (key === undefined) return this.#become({ isChecking: false })
    this.#become({ isChecking: false, key, warning: this.#overruled(warningOf(key)) })
  }

  /** Looks at what the other end sent, after the directory was asked. False: the sound may not flow with it as yet. */
  async inspect(sdp: string): Promise<boolean> {
    const fingerprints = fingerprintsOf(sdp)
    // Let through before: a key that changes during a call does not change whom we talk with.
    if (this.#seen === fingerprints) return true
    const { isSigned, warning } = await this.#judge(sdp, fingerprints)
    this.#become({ isSigned, warning: this.#overruled(this.#now.warning ?? warning) })
    if (this.#now.warning !== null) return false
    this.#seen = fingerprints
    return true
  }

  /** The person goes on with the key as it is. */
  async trust(): Promise<void> {
    const { keys, peer } = this.#options
    this.#isOverruled = true
    const key = await keys.trust(peer).catch(() => null)
    this.#become({ key: key ?? this.#now.key, warning: null })
  }

  /** The two people compared their safety number. */
  async compared(isSame: boolean): Promise<void> {
    const { keys, peer } = this.#options
    const { key } = this.#now
    if (key === null || !(await keys.compared(peer, key.publicKey, isSame))) return
    this.#become({ key: { ...key, compared: isSame } })
  }

  /** The server says that the key has just changed. The sound of a call that is on stays bound to the old one. */
  keyChanged(key: PeerKey): void {
    this.#isOverruled = false
    this.#become({ key, warning: warningOf(key) })
  }

  /** A description of ours with its proof, or as it is when our key cannot sign. */
  async sign(sdp: string): Promise<string> {
    const { self, peer, keys, signer } = this.#options
    const identity = await signer()
    const fingerprints = fingerprintsOf(sdp)
    if (identity === null || fingerprints === '') return sdp
    const [own, seen] = await Promise.all([keys.head(self), keys.head(peer)])
    const text = mediaText({ from: self, to: peer, fingerprints, own, seen })
    return withProof(sdp, { own, seen, signature: await identity.sign(text) })
  }

  async #judge(
    sdp: string,
    fingerprints: string,
  ): Promise<{ isSigned: boolean; warning: KeyWarning | null }> {
    const { self, peer, keys } = this.#options
    const proof = proofIn(sdp)
    const known = await keys.known(peer)
    // A directory that does not answer now may have answered before.
    const publicKey = this.#now.key?.publicKey ?? known?.trusted
    if (publicKey === undefined || !canSign(publicKey)) return { isSigned: false, warning: null }
    if (proof === null) return { isSigned: false, warning: known?.signs === true ? 'unsigned' : null }
    const { own, seen, signature } = proof
    const text = mediaText({ from: peer, to: self, fingerprints, own, seen })
    if (!(await verifies(publicKey, signature, text))) return { isSigned: false, warning: 'forged' }
    await keys.signed(peer, publicKey)
    // Without an answer there is nothing to compare; the next call will.
    const agree = (id: string, head: string) => keys.agrees(id, head).catch(() => true)
    const isOneStory = (await agree(peer, own)) && (await agree(self, seen))
    return { isSigned: true, warning: isOneStory ? null : 'forked' }
  }

  #overruled(warning: KeyWarning | null): KeyWarning | null {
    return this.#isOverruled ? null : warning
  }

  #become(change: Partial<CallSecurity>): void {
    this.#now = { ...this.#now, ...change }
    this.#options.changed(this.#now)
  }
}

function warningOf(key: PeerKey | null): KeyWarning | null {
  if (key?.status === 'changed') return 'changed'
  return key?.status === 'lying' ? (key.trouble ?? 'inconsistent') : null
}
