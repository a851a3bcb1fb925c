import { expect, test } from 'bun:test'
import { identityProofs } from '../../auth/identity.ts'
import { identityText, rotationText } from '../../protocol/identity.ts'
import { canSign, identityOf, makeKeyPair, verifies } from './identity.ts'

const claim = { host: 'calls.example.com', clientId: 'alice', nonce: 'n0nce' }
const pairs = {
  'ECDSA P-256': makeKeyPair,
  Ed25519: async () =>
    (await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify'])) as CryptoKeyPair,
}

for (const [name, make] of Object.entries(pairs)) {
  test(`the server takes every proof of ${name}, and no other one`, async () => {
    const server = identityProofs(null)
    const identity = await identityOf(await make())
    const next = await identityOf(await make())
    // WebCrypto makes the higher s half of the time.
    for (let i = 0; i < 16; i++) {
      const nonce = `nonce${i}`
      const signature = await identity.sign(identityText({ ...claim, nonce }))
      expect(server.provesIdentity(identity.publicKey, signature, { ...claim, nonce })).toBe(true)
      expect(server.provesIdentity(next.publicKey, signature, { ...claim, nonce })).toBe(false)
    }
    const rotation = { ...claim, newKey: next.publicKey }
    const signature = await identity.sign(rotationText(rotation))
    expect(server.provesRotation(identity.publicKey, signature, rotation)).toBe(true)
  })

  test(`a signature by ${name} holds for its text and its key alone`, async () => {
    const identity = await identityOf(await make())
    const other = await identityOf(await make())
    const signature = await identity.sign('text')
    expect(await verifies(identity.publicKey, signature, 'text')).toBe(true)
    expect(await verifies(identity.publicKey, signature, 'texts')).toBe(false)
    expect(await verifies(other.publicKey, signature, 'text')).toBe(false)
    expect(await verifies(identity.publicKey, 'AAAA', 'text')).toBe(false)
    expect(await verifies(identity.publicKey, '!', 'text')).toBe(false)
    expect(canSign(identity.publicKey)).toBe(true)
  })
}

test('what other clients keep in the directory may be no key that signs', async () => {
  for (const key of ['', 'anything', '-----BEGIN', 'A'.repeat(59), 'A'.repeat(122)]) {
    expect(await verifies(key, 'AAAA', 'text')).toBe(false)
  }
  expect(canSign('anything')).toBe(false)
})

test('the private key cannot be taken out', async () => {
  const { privateKey } = await makeKeyPair()
  expect(privateKey.extractable).toBe(false)
})
