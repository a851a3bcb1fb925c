import { expect, test } from 'bun:test'
import { type Facts, stateOf } from './state.ts'

const talking: Facts = { link: { at: 'up' }, other: { at: 'present' }, media: 'connected', since: 5 }

test('sound both ways is connected', () => {
  expect(stateOf(talking)).toEqual({ at: 'connected', since: 5 })
})

test('nobody there is waiting, whatever the sound last did', () => {
  expect(stateOf({ ...talking, other: { at: 'absent' } })).toEqual({ at: 'waiting' })
})

test('both there without a sound yet is joining', () => {
  expect(stateOf({ ...talking, media: 'connecting', since: null })).toEqual({ at: 'joining' })
})

test('our own way comes before the other, and the other before the sound', () => {
  const lost = { at: 'lost', until: 9 } as const
  const away = { at: 'away', until: 8 } as const
  expect(stateOf({ ...talking, link: lost, other: away, media: 'broken' })).toMatchObject({
    who: 'self',
    until: 9,
  })
  expect(stateOf({ ...talking, other: away, media: 'broken' })).toMatchObject({ who: 'other', until: 8 })
  expect(stateOf({ ...talking, media: 'broken' })).toMatchObject({ who: 'media', until: null, since: 5 })
})
