import { expect, test } from 'bun:test'
import { utf8 } from './bytes.ts'
import { digitsOf, safetyNumber } from './safety.ts'

const hex = (text: string) => new Uint8Array(Buffer.from(text, 'hex'))

test('with ids, the digits are those of the test vector that Signal publishes', async () => {
  const alice = hex('0506863bc66d02b40d27b8d49ca7c09e9239236f9d7d25d6fcca5ce13c7064d868')
  const bob = hex('05f781b6fb32fed9ba1cf2de978d4d5da28dc34046ae814402b5c0dbd96fda907b')
  const halves = [await digitsOf(alice, utf8('+14152222222')), await digitsOf(bob, utf8('+14153333333'))]
  expect(halves.sort().join(' ').replaceAll(' ', '')).toBe(
    '300354477692869396892869876765458257569162576843440918079131',
  )
})

test('both ends see the same twelve groups of five, and another key gives other ones', async () => {
  const number = await safetyNumber('MFkw-alice', 'MFkw-bob')
  expect(number).toMatch(/^\d{5}( \d{5}){11}$/)
  expect(await safetyNumber('MFkw-bob', 'MFkw-alice')).toBe(number)
  expect(await safetyNumber('MFkw-bob', 'MFkw-alicf')).not.toBe(number)
})
