import { expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { Keyring } from './keyring.ts'

const KEY = 'not-a-key-of-anyone-0123456789abcdef'

test('[T-R4] each key of the ring is accepted, and nothing else', () => {
  const ring = new Keyring([KEY, `${KEY}-second`])
  expect(ring.accepts(KEY)).toBe(true)
  expect(ring.accepts(`${KEY}-second`)).toBe(true)
  const wrong = [
    '',
    ' ',
    KEY.slice(0, -1),
    KEY.slice(1),
    `${KEY} `,
    ` ${KEY}`,
    `${KEY},${KEY}`,
    KEY.toUpperCase(),
  ]
  wrong.push('é'.repeat(40), `${KEY}\u0000`, '\ud800', 'x'.repeat(65_536), '__proto__')
  for (let i = 0; i < 1000; i++) wrong.push(randomBytes(27).toString('base64url'))
  for (let i = 0; i < KEY.length; i++) wrong.push(`${KEY.slice(0, i)}~${KEY.slice(i + 1)}`)
  for (const text of wrong) expect(ring.accepts(text), JSON.stringify(text.slice(0, 50))).toBe(false)
})

test('an empty ring opens to nobody', () => {
  expect(new Keyring([]).accepts('')).toBe(false)
})
