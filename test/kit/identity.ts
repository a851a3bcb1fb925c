/** Identities of `/signal` as a client has them: keys of WebCrypto, and the proofs that REGISTER carries. */
import { identityText, lowS, rotationText } from '../../src/protocol/identity.ts'
import type { RawPeerOptions } from './raw-peer.ts'
import type { TestServer } from './server.ts'
import { SignalPeer } from './signal.ts'

export const CURVES = ['Ed25519', 'P-256'] as const
export type Curve = (typeof CURVES)[number]

const EC = { name: 'ECDSA', namedCurve: 'P-256' }

export class TestIdentity {
  /** As it stands in REGISTER. */
  readonly key: string
  readonly #curve: Curve
  readonly #private: CryptoKey

  private constructor(curve: Curve, key: string, privateKey: CryptoKey) {
    this.#curve = curve
    this.key = key
    this.#private = privateKey
  }

  static async make(curve: Curve = 'Ed25519'): Promise<TestIdentity> {
    const algorithm = curve === 'P-256' ? EC : { name: 'Ed25519' }
    const pair = (await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as CryptoKeyPair
    const spki = await crypto.subtle.exportKey('spki', pair.publicKey)
    return new TestIdentity(curve, Buffer.from(spki).toString('base64url'), pair.privateKey)
  }

  /** Base64url. */
  async sign(text: string): Promise<string> {
    const bytes = new TextEncoder().encode(text)
    if (this.#curve === 'Ed25519') return base64url(await crypto.subtle.sign('Ed25519', this.#private, bytes))
    const made = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, this.#private, bytes)
    return base64url(lowS(new Uint8Array(made)))
  }
}

function base64url(bytes: ArrayBuffer | Uint8Array): string {
  return Buffer.from(bytes as ArrayBuffer).toString('base64url')
}

/** A nonce for this connection. */
export async function nonceOf(peer: SignalPeer): Promise<string> {
  peer.say('HELLO')
  return (await peer.hear('WELCOME')).nonce
}

export function hostOf(server: TestServer): string {
  return new URL(server.url).host
}

/** What REGISTER carries besides the id; with `next`, to hand the id over. */
export async function proofFor(
  server: TestServer,
  peer: SignalPeer,
  clientId: string,
  identity: TestIdentity,
  next: TestIdentity | null = null,
): Promise<object> {
  const host = hostOf(server)
  const nonce = await nonceOf(peer)
  const signature = await identity.sign(identityText({ host, clientId, nonce }))
  if (next === null) return { identityKey: identity.key, signature }
  const newKey = next.key
  const handing = await identity.sign(rotationText({ host, clientId, newKey, nonce }))
  return { identityKey: identity.key, signature, rotation: { newIdentityKey: newKey, signature: handing } }
}

/** A connection that asks to be registered by this identity; what comes back is the test's to hear. */
export async function asking(
  server: TestServer,
  clientId: string,
  identity: TestIdentity,
  next: TestIdentity | null = null,
  options: RawPeerOptions = {},
): Promise<SignalPeer> {
  const peer = await SignalPeer.open(server, options)
  peer.say('REGISTER', { clientId, ...(await proofFor(server, peer, clientId, identity, next)) })
  return peer
}

/** A device of a client that has proved its identity. */
export async function proven(
  server: TestServer,
  clientId: string,
  identity: TestIdentity,
  options: RawPeerOptions = {},
): Promise<SignalPeer> {
  const peer = await asking(server, clientId, identity, null, options)
  peer.resumeToken = (await peer.hear('REGISTERED')).resumeToken
  return peer
}
