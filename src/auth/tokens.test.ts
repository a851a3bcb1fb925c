import { expect, test } from 'bun:test'
import { createHmac, randomBytes, randomUUID } from 'node:crypto'
import { callId } from '../core/ids.ts'
import type { DirectTokens } from '../services/direct/trust.ts'
import type { RideTokens } from '../services/ride/tokens.ts'
import { directTokens, rideTokens } from './tokens.ts'

const secret = randomBytes(32)
const tokens: RideTokens = rideTokens(secret)
const id = callId(randomUUID())
const other = callId(randomUUID())

test('a join token is always the same for a leg, and good for that leg only', () => {
  const token = tokens.join(id, 0)
  expect(rideTokens(secret).join(id, 0)).toBe(token)
  expect(tokens.isJoin(token, id, 0)).toBe(true)
  expect(tokens.isJoin(token, id, 1)).toBe(false)
  expect(tokens.isJoin(token, other, 0)).toBe(false)
  expect(rideTokens(randomBytes(32)).isJoin(token, id, 0)).toBe(false)
})

test('a join token is HMAC-SHA-256 over its domain and leg', () => {
  expect(tokens.join(id, 1)).toBe(
    createHmac('sha256', secret).update(`ringdown/join/1 1 ${id}`).digest('base64url'),
  )
})

test('a resume token says which leg and which generation it is for', () => {
  for (const claim of [
    { id, side: 0, generation: 1 },
    { id: other, side: 1, generation: 4_294_967_295 },
  ] as const) {
    const token = tokens.resume(claim.id, claim.side, claim.generation)
    expect(token).toMatch(/^[\w-]{90,120}$/)
    expect(rideTokens(secret).readResume(token)).toEqual(claim)
    expect(rideTokens(randomBytes(32)).readResume(token)).toBeNull()
  }
})

test('[T-R5] 1,000 random and every edited token are refused', () => {
  const resume = tokens.resume(id, 0, 1)
  const join = tokens.join(id, 0)
  const wrong: string[] = [
    '',
    '=',
    '.',
    'null',
    `${resume}=`,
    `${resume} `,
    `${resume}A`,
    resume.slice(0, -1),
    join,
  ]
  wrong.push(
    '\ud800',
    'é'.repeat(96),
    'x'.repeat(100_000),
    resume + resume,
    Buffer.from(`${'\0'.repeat(32)}0 1 ${id}`).toString('base64url'),
  )
  wrong.push(
    Buffer.from(resume, 'base64url').toString('base64'),
    Buffer.from(resume, 'base64url').toString('hex'),
  )
  for (let i = 0; i < 1000; i++) wrong.push(randomBytes(72).toString('base64url'))
  for (let i = 0; i < resume.length; i++) {
    for (const char of ['A', 'B', '_', '+', '=', ' ', 'é']) {
      if (resume[i] !== char) wrong.push(resume.slice(0, i) + char + resume.slice(i + 1))
    }
  }
  for (const token of wrong) {
    if (token === resume) continue // Its base64 and base64url may be the same.
    expect(tokens.readResume(token), token.slice(0, 120)).toBeNull()
    if (token !== join) expect(tokens.isJoin(token, id, 0), token.slice(0, 120)).toBe(false)
  }
})

test('another generation, side or call cannot be written into a resume token', () => {
  const code = Buffer.from(tokens.resume(id, 0, 1), 'base64url').subarray(0, 32)
  for (const claim of [`0 2 ${id}`, `1 1 ${id}`, `0 1 ${other}`, `0 01 ${id}`, `0 1 ${id}\n`, `0 1  ${id}`]) {
    expect(
      tokens.readResume(Buffer.concat([code, Buffer.from(claim)]).toString('base64url')),
      claim,
    ).toBeNull()
  }
})

test('a token of one kind never stands for the other', () => {
  expect(tokens.isJoin(tokens.resume(id, 0, 1), id, 0)).toBe(false)
  expect(tokens.readResume(tokens.join(id, 0))).toBeNull()
  // Not even where the text under the two codes would be the same but for the domain.
  const code = Buffer.from(tokens.join(callId(`1 ${id}`), 0), 'base64url')
  expect(tokens.readResume(Buffer.concat([code, Buffer.from(`0 1 ${id}`)]).toString('base64url'))).toBeNull()
})

const direct: DirectTokens = directTokens(secret)

test('the resume token of a device says which it is and which generation it is for', () => {
  for (const claim of [
    { device: id, generation: 1 },
    { device: 'é 2 x', generation: 4_294_967_295 },
  ]) {
    const token = direct.resume(claim.device, claim.generation)
    expect(directTokens(secret).readResume(token)).toEqual(claim)
    expect(directTokens(randomBytes(32)).readResume(token)).toBeNull()
  }
})

test('the token to decline a call is good for that call only', () => {
  const token = direct.reject(id)
  expect(token).toBe(
    createHmac('sha256', secret).update(`ringdown/direct-reject/1 ${id}`).digest('base64url'),
  )
  expect(direct.isReject(token, id)).toBe(true)
  expect(direct.isReject(token, other)).toBe(false)
  expect(directTokens(randomBytes(32)).isReject(token, id)).toBe(false)
})

test('[T-R5] no edited, random or foreign token resumes a device or declines a call', () => {
  const resume = direct.resume(id, 1)
  const reject = direct.reject(id)
  const wrong = ['', '=', `${resume}=`, `${resume}A`, resume.slice(0, -1), '\ud800', 'x'.repeat(100_000)]
  const mac = Buffer.from(resume, 'base64url').subarray(0, 32)
  for (const claim of [`2 ${id}`, `1 ${other}`, `01 ${id}`, `1 ${id} `, `1  ${id}`, '']) {
    wrong.push(Buffer.concat([mac, Buffer.from(claim)]).toString('base64url'))
  }
  for (let i = 0; i < 1000; i++) wrong.push(randomBytes(72).toString('base64url'))
  for (const good of [resume, reject]) {
    for (let i = 0; i < good.length; i++) {
      for (const char of ['A', 'B', '_', '+', '=']) {
        if (good[i] !== char) wrong.push(good.slice(0, i) + char + good.slice(i + 1))
      }
    }
  }
  for (const token of wrong) {
    expect(direct.readResume(token), token.slice(0, 120)).toBeNull()
    expect(direct.isReject(token, id), token.slice(0, 120)).toBe(false)
  }
  expect(direct.isReject(resume, id)).toBe(false)
  expect(direct.readResume(reject)).toBeNull()
})

test('a token of a ride never stands for one of the direct service', () => {
  expect(direct.readResume(tokens.resume(id, 0, 1))).toBeNull()
  expect(tokens.readResume(direct.resume(`1 ${id}`, 0))).toBeNull()
  expect(direct.isReject(tokens.join(id, 0), id)).toBe(false)
})
