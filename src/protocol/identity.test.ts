import { expect, test } from 'bun:test'
import { identityText, lowS, rotationText } from './identity.ts'

const claim = { host: 'calls.example.com:8443', clientId: 'alice', nonce: 'n0nce' }

test('the bytes to sign are what is documented', () => {
  expect(identityText(claim)).toBe('ringdown/identity/1\ncalls.example.com:8443\nalice\nn0nce')
  expect(rotationText({ ...claim, newKey: 'MCow' })).toBe(
    'ringdown/identity-rotation/1\ncalls.example.com:8443\nalice\nMCow\nn0nce',
  )
})

test('of the two forms of a signature, the higher becomes the lower, and the lower stays', () => {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const signature = (s: bigint) => Buffer.from('ab'.repeat(32) + s.toString(16).padStart(64, '0'), 'hex')
  for (const low of [1n, 255n, 2n ** 128n + 7n, order / 2n]) {
    expect(Buffer.from(lowS(signature(low)))).toEqual(signature(low))
    expect(Buffer.from(lowS(signature(order - low)))).toEqual(signature(low))
  }
  for (const odd of [new Uint8Array(), new Uint8Array(63), signature(order), signature(2n ** 256n - 1n)]) {
    expect(lowS(odd)).toEqual(odd)
  }
})
