// docs/direct-vectors.json, for those who write other clients: what is published is what this client computes.
import { expect, test } from 'bun:test'
import vectors from '../../../docs/direct-vectors.json'
import { identityProofs } from '../../auth/identity.ts'
import { chained } from '../../protocol/directory.ts'
import { identityText, rotationText } from '../../protocol/identity.ts'
import { fingerprintsOf, mediaText, proofIn, withProof } from '../../protocol/media-proof.ts'
import { digest } from './bytes.ts'
import { verifies } from './identity.ts'
import { safetyNumber } from './safety.ts'

test('safety numbers', async () => {
  for (const { myKey, theirKey, number } of vectors.safetyNumbers) {
    expect(await safetyNumber(myKey, theirKey)).toBe(number)
  }
})

test('[DIRECT-25] fingerprints and the chain of a history', async () => {
  for (const { publicKey, fingerprint } of vectors.fingerprints)
    expect(await digest(publicKey)).toBe(fingerprint)
  const { clientId, changes } = vectors.history
  let previous = ''
  for (const change of changes) {
    expect(change.previous).toBe(previous)
    expect(chained(clientId, change)).toBe(change.text)
    expect(await digest(change.text)).toBe(change.hash)
    previous = change.hash
  }
})

test('[DIRECT-4] proofs of identity', async () => {
  const server = identityProofs(null)
  for (const claim of vectors.identity) {
    expect(identityText(claim)).toBe(claim.text)
    expect(await verifies(claim.publicKey, claim.signature, claim.text)).toBe(true)
    expect(server.provesIdentity(claim.publicKey, claim.signature, claim)).toBe(true)
  }
  for (const claim of vectors.rotation) {
    expect(rotationText(claim)).toBe(claim.text)
    expect(server.provesRotation(claim.publicKey, claim.signature, claim)).toBe(true)
  }
})

test('[DIRECT-32] proofs that bind the sound of a call to a key', async () => {
  for (const { sdp, signed, publicKey, signature, text, ...claim } of vectors.mediaProofs) {
    expect(fingerprintsOf(sdp)).toBe(claim.fingerprints)
    expect(mediaText(claim)).toBe(text)
    expect(withProof(sdp, { ...claim, signature })).toBe(signed)
    expect(proofIn(signed)).toEqual({ own: claim.own, seen: claim.seen, signature })
    expect(await verifies(publicKey, signature, text)).toBe(true)
  }
})
