import { expect, test } from 'bun:test'
import { fingerprintsOf, mediaText, proofIn, withProof } from './media-proof.ts'

const SDP =
  'v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\na=fingerprint:sha-256 BB\r\nm=audio 9 x 0\r\na=fingerprint:sha-256 AA\r\n'
const PROOF = { own: '2.abc', seen: '-', signature: 'c2ln' }

test('the bytes to sign are what is documented', () => {
  const claim = { from: 'alice', to: 'bob', fingerprints: 'sha-256 AA', own: '2.abc', seen: '-' }
  expect(mediaText(claim)).toBe('ringdown/media/1\nalice\nbob\nsha-256 AA\n2.abc\n-')
})

test('every certificate that an SDP allows counts, in any order and once', () => {
  expect(fingerprintsOf(SDP)).toBe('sha-256 AA,sha-256 BB')
  expect(fingerprintsOf(`${SDP}a=fingerprint:sha-256 BB\r\n`)).toBe('sha-256 AA,sha-256 BB')
  expect(fingerprintsOf(SDP.replaceAll('\r\n', '\n'))).toBe('sha-256 AA,sha-256 BB')
  expect(fingerprintsOf('v=0\r\n')).toBe('')
})

test('a proof stands before the media, is found again, and changes nothing else', () => {
  const carried = withProof(SDP, PROOF)
  expect(carried).toContain('a=x-ringdown-proof:1 2.abc - c2ln\r\nm=audio')
  expect(proofIn(carried)).toEqual(PROOF)
  expect(carried.replace(/^a=x-ringdown-proof.*\r\n/m, '')).toBe(SDP)
  expect(proofIn(SDP)).toBeNull()
})

test('of two proofs the first counts', () => {
  expect(proofIn(withProof(withProof(SDP, { ...PROOF, own: '9.z' }), PROOF))?.own).toBe('9.z')
})
