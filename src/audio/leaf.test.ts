import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { type Leaf, leafFromHash, leafFromText, leafToHash, leafToText, newLeaf } from './leaf.ts'

const leaves = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => new Uint8Array(bytes) as Leaf)

test('[LINE-60] a leaf is read back from its text and from the address', () => {
  fc.assert(
    fc.property(leaves, (leaf) => {
      expect(leafToText(leaf)).toMatch(/^[\w-]{43}$/)
      expect(leafFromText(leafToText(leaf))).toEqual(leaf)
      expect(leafFromHash(leafToHash(leaf))).toEqual(leaf)
    }),
  )
})

test('[LINE-60] what is read as a leaf is written so again: a leaf has one spelling', () => {
  const texts = fc.string({ unit: fc.constantFrom(...'ABCDwxyz0189-_+/= \n%'), minLength: 40, maxLength: 45 })
  fc.assert(
    fc.property(fc.oneof(texts, fc.string()), (text) => {
      const leaf = leafFromText(text)
      if (leaf !== null) expect(leafToText(leaf)).toBe(text)
    }),
  )
})

test("the document's example is a leaf; what is a character off is none", () => {
  const text = 'sywICvC1tnE7D5IOdPahv0NzQC-C3mpNLhluhEEW0vA'
  expect(leafFromHash(`#leaf_${text}`)).toHaveLength(32)
  for (const other of [
    text.slice(1),
    `${text}A`,
    `${text}\n`,
    `${text.slice(0, -1)}B`,
    text.replace('-', '+'),
  ])
    expect(leafFromText(other)).toBeNull()
  expect(leafFromHash(`leaf_${text}`)).toBeNull()
  expect(leafFromHash('#generate_leaf')).toBeNull()
})

test('a new leaf is 32 bytes of the chance it is given', () => {
  const leaf = newLeaf((bytes) => bytes.fill(7))
  expect(leaf).toEqual(new Uint8Array(32).fill(7) as Leaf)
})
