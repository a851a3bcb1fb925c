import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { type Control, readControl, writeControl } from './control.ts'

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const time = fc.nat(0xffff).map((tenths) => tenths / 10)
const half = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => new Uint8Array(bytes))
const controls: fc.Arbitrary<Control> = fc.record({
  heard: fc.option(fc.record({ number: u32, clock: u32, hold: time })),
  echo: fc.option(fc.record({ clock: u32, hold: time })),
  muted: fc.boolean(),
  level: fc.nat(255),
  jitter: time,
  capture: time,
  output: time,
  lost: u32,
  underruns: u32,
  commitment: half,
  nonce: fc.option(half),
})

test('[LINE-68] a control frame is read back as it was written', () => {
  fc.assert(
    fc.property(controls, (control) => {
      const bytes = writeControl(control)
      expect(bytes).toHaveLength(64)
      expect(readControl(bytes)).toEqual(control)
    }),
  )
})

test('whatever the bytes, it is read or refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 60, maxLength: 66 }), (bytes) => {
      const control = readControl(new Uint8Array(bytes))
      if (bytes.length !== 64 || (bytes[0] ?? 0) > 15) expect(control).toBeNull()
      else expect(control).not.toBeNull()
    }),
  )
})

test('a time that is too long for its field is the longest there is', () => {
  const control = fc.sample(controls, 1)[0] as Control
  const read = readControl(writeControl({ ...control, jitter: 1e9, capture: -1 }))
  expect(read).toMatchObject({ jitter: 6_553.5, capture: 0 })
})
