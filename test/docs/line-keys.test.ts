// The keys, hellos, frames and words of docs/line-vectors.json once more, from its descriptions and by another library.
import { expect, test } from 'bun:test'
import { createDecipheriv, createECDH, createHash, createHmac, hkdfSync } from 'node:crypto'
import vectors from '../../docs/line-vectors.json'
import { WORDS } from '../../src/audio/word-list.ts'

const bytes = (hex: string) => Buffer.from(hex, 'hex')
const sha256 = (...parts: Buffer[]) => createHash('sha256').update(Buffer.concat(parts)).digest()
const hkdf = (ikm: Buffer, salt: Buffer, info: Buffer, size: number) =>
  Buffer.from(hkdfSync('sha256', ikm, salt, info, size))

const leaf = Buffer.from(vectors.keys.leaf.text, 'base64url')
const [one, other] = vectors.keys.pages.map((page) => ({ ...page, sid: bytes(page.sid) }))
if (one === undefined || other === undefined) throw new Error('two pages')
const low = other
const high = one

function face(page: typeof low): Buffer {
  return Buffer.concat([Buffer.of(page.capabilities), page.sid, bytes(page.publicKey)])
}

const transcript = sha256(face(low), face(high))
const ecdh = createECDH('prime256v1')
ecdh.setPrivateKey(bytes(low.privateKey))
const ikm = Buffer.concat([leaf, ecdh.computeSecret(bytes(high.publicKey))])
const derive = (info: Buffer, size: number) => hkdf(ikm, transcript, info, size)

function direction(from: string, to: string) {
  const info = (name: string) => Buffer.concat([Buffer.from(name), bytes(from), bytes(to)])
  return { key: derive(info('key'), 32), salt: derive(info('salt'), 12), kid: derive(info('kid'), 4) }
}

test('[LINE-62] the room, the transcript, and salt and id of each direction', () => {
  const { keys } = vectors
  expect(Buffer.compare(low.sid, high.sid)).toBe(-1)
  expect(hkdf(leaf, Buffer.from('line/1'), Buffer.from('room'), 16).toString('base64url')).toBe(keys.room)
  expect(transcript.toString('hex')).toBe(keys.transcript)
  for (const { from, to, salt, kid } of keys.directions) {
    expect(direction(from, to).salt.toString('hex')).toBe(salt)
    expect(direction(from, to).kid.toString('hex')).toBe(kid)
  }
})

test('[LINE-61] hellos', () => {
  const key = hkdf(leaf, Buffer.from('line/1'), Buffer.from('hello'), 32)
  for (const hello of vectors.hellos.hellos) {
    const head = Buffer.of(1, 1, hello.answerMe ? 1 : 0)
    const body = Buffer.concat([head, face(hello.page === 0 ? one : other), Buffer.alloc(3)])
    const mac = createHmac('sha256', key).update(body).digest()
    expect(Buffer.concat([body, mac]).toString('hex')).toBe(hello.bytes)
  }
})

test('[LINE-63] sealed frames open', () => {
  for (const { from, counter, plain, frame } of vectors.frames.frames) {
    const { to } = vectors.keys.directions.find((each) => each.from === from) as { to: string }
    const { key, salt, kid } = direction(from, to)
    const sealed = bytes(frame)
    expect(sealed.subarray(4, 8)).toEqual(kid)
    expect(Number(sealed.readBigUInt64BE(8))).toBe(counter)
    const nonce = Buffer.from(salt.map((byte, i) => byte ^ (i < 4 ? 0 : (sealed[4 + i] ?? 0))))
    const open = createDecipheriv('aes-256-gcm', key, nonce)
    open.setAAD(sealed.subarray(0, 24))
    open.setAuthTag(sealed.subarray(-16))
    const opened = Buffer.concat([open.update(sealed.subarray(24, -16)), open.final()])
    expect(opened.toString('hex')).toBe(plain)
  }
})

test('[LINE-67] check words', () => {
  const [nonceOne, nonceOther] = vectors.words.nonces.map(bytes) as [Buffer, Buffer]
  const label = Buffer.from('words')
  const commitments = [
    sha256(label, transcript, one.sid, nonceOne),
    sha256(label, transcript, other.sid, nonceOther),
  ].map((hash) => hash.subarray(0, 16).toString('hex'))
  expect(commitments).toEqual(vectors.words.commitments)
  const indexes = derive(Buffer.concat([label, nonceOther, nonceOne]), 4)
  const words = [...indexes].map((byte) => WORDS[byte]).join(' ')
  expect(vectors.words.words).toEqual([words, words])
})
