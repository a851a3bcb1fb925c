import { describe, expect, test } from 'bun:test'
import { type Code, type CodeName, codes, endReasons, Failure, fail, NORMAL_CLOSE } from './codes.ts'

const rows = Object.entries(codes) as [CodeName, Code][]

describe('every code', () => {
  test.each(rows)(
    '%s has a name, a sentence and numbers that may be sent',
    (name, { means, close, http }) => {
      expect(name).toMatch(/^[a-z]+(_[a-z]+)*$/)
      // The one that is not a sentence is as the reference document shows it.
      if (name !== 'session_not_found') expect(means).toMatch(/^[A-Z].{8,}\.$/)
      // 1000 is for calls that are over; 1004 to 1006 and 1015 never go over the wire. RFC 6455 section 7.4.1.
      if (close !== null)
        expect([1003, 1008, 1009, 1011].includes(close) || (close >= 4000 && close < 5000)).toBe(true)
      if (http !== null) expect(http >= 400 && http < 600).toBe(true)
    },
  )

  test.each(rows)('[WS-12] %s asks the peer for what its close number says', (_, { close, retry }) => {
    if (close === null) return
    if (retry === 'resume') expect(Math.floor(close / 100)).toBe(41)
    if (Math.floor(close / 100) === 41) expect(retry).not.toBe('no')
    if (Math.floor(close / 100) === 44) expect(retry).toBe('no')
    if (close >= 4000) expect([41, 44]).toContain(Math.floor(close / 100))
  })

  test.each(rows)('%s says "later" for what passes and "no" for what does not', (_, { http, retry }) => {
    if (http === null) return
    const passes = http === 429 || http >= 500
    expect(retry !== 'no').toBe(passes)
  })
})

test('codes that share a close number ask the peer for the same', () => {
  const asks = new Map<number, string>()
  for (const [name, { close, retry }] of rows) {
    if (close === null) continue
    expect(`${name} ${asks.get(close) ?? retry}`).toBe(`${name} ${retry}`)
    asks.set(close, retry)
  }
})

test('no code is the close number of a call that is over', () => {
  expect(NORMAL_CLOSE).toBe(1000)
  expect(rows.filter(([, { close }]) => close === NORMAL_CLOSE)).toEqual([])
})

test('the reasons a call ends for are a closed list', () => {
  // Clients and reports hold on to these names: one may be added, none may go or be renamed.
  expect(Object.keys(endReasons).sort()).toEqual(
    [
      ['user_terminated', 'max_duration_reached', 'disconnect_driver', 'disconnect_passenger'],
      ['ended', 'cancelled', 'rejected', 'busy', 'no_answer', 'answered_elsewhere'],
      ['disconnect_caller', 'disconnect_callee', 'left', 'disconnect'],
      ['join_timeout', 'cancelled_by_backend', 'ended_by_operator', 'server_restart'],
    ]
      .flat()
      .sort(),
  )
})

test.each(Object.entries(endReasons))(
  'the end reason %s has a sentence and a service',
  (_, { means, services }) => {
    expect(means).toMatch(/^[A-Z].{8,}\.$/)
    expect(services.length).toBeGreaterThan(0)
  },
)

describe('a Failure', () => {
  test('says what its row means where nothing more exact is known', () => {
    const failure = fail('buffer_full')
    expect(failure).toBeInstanceOf(Failure)
    expect([failure.code, failure.message, failure.field]).toEqual([
      'buffer_full',
      codes.buffer_full.means,
      undefined,
    ])
  })

  test('carries the sentence, the field and the wait it was given', () => {
    const { message, field, retryAfter } = fail('rate_limited', 'Wait a second.', {
      field: 'x',
      retryAfter: 1000,
    })
    expect([message, field, retryAfter]).toEqual(['Wait a second.', 'x', 1000])
  })
})
