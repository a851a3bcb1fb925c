/** Two pages with one leaf: their keys, hellos, frames and words. All bytes in hex. */
import { Buffer } from 'node:buffer'
import type { Bytes } from '../../src/audio/bytes.ts'
import { type Control, writeControl } from '../../src/audio/control.ts'
import { type Head, SealCounter, seal } from '../../src/audio/frame.ts'
import { writeHello } from '../../src/audio/hello.ts'
import { helloKeyOf, type Page, type Pair, pairOf, roomOf } from '../../src/audio/keys.ts'
import { type Leaf, leafFromText } from '../../src/audio/leaf.ts'
import { commitmentOf, wordsOf } from '../../src/audio/words.ts'
import { RAW_BUCKET } from '../../src/protocol/line.ts'

const { subtle } = crypto
const LEAF = 'sywICvC1tnE7D5IOdPahv0NzQC-C3mpNLhluhEEW0vA'

/** Pages in use make their keys themselves, and cannot show them. These are for the vectors alone. */
const PAGES = [
  {
    sid: 'a0a1a2a3a4a5a6a7a8a9aaabacadaeaf',
    capabilities: 3,
    jwk: {
      d: 'z-3ZfZ6fYcMRjNz-dMIRLeZE2YtWYhiATCgYmpIHUA0',
      x: 'LH65TZ5Oq1GjQbNlssW-TUye3t30oI7dBI9x_aLet58',
      y: 'su-K0wFYbBbVwYrHGG5AOBfZR--pbq_x4YqDjqjxDWc',
    },
  },
  {
    sid: '0b1b2b3b4b5b6b7b8b9babbbcbdbebfb',
    capabilities: 1,
    jwk: {
      d: '-ycsFqclZLHACUNRM0mHCFnwHzW9hOuB3EKcvUuLGUg',
      x: 'jSLmFtqrRX8L1itC_spvN5peEqLA465EjYHS-rUXQ4Q',
      y: 'N1IRuS3zuj-N5sj3NYW3VT9XrmRQSwTqyKLZSrxUbQA',
    },
  },
] as const

export async function keys() {
  const { leaf, a, b } = await world()
  return {
    about:
      'HKDF is RFC 5869 with SHA-256. room = HKDF(leaf, salt "line/1", info "room"), 16 bytes; the hello key with info "hello", 32 bytes: see "hellos". Z = ECDH, the x coordinate. transcript = SHA-256(bytes 3 to 84 of the hello with the lower sid || the same of the other). pair = HKDF(leaf || Z, salt transcript); per direction info "key", "salt", "kid" || sid of the sender || sid of the receiver; 32, 12 and 4 bytes. The keys of the directions do not leave a page: see "frames".',
    leaf: { text: LEAF, bytes: hex(leaf) },
    room: await roomOf(subtle, leaf),
    pages: PAGES.map(({ sid, capabilities, jwk }, i) => ({
      sid,
      capabilities,
      privateKey: hex(Buffer.from(jwk.d, 'base64url')),
      publicKey: hex((i === 0 ? a : b).own.publicKey),
    })),
    transcript: hex(a.pair.transcript),
    directions: [a, b].map(({ pair }) => ({
      from: hex(pair.own),
      to: hex(pair.peer),
      salt: hex(pair.out.salt),
      kid: pair.out.kid.toString(16).padStart(8, '0'),
    })),
  }
}

export async function hellos() {
  const { leaf, a, b } = await world()
  const helloKey = await helloKeyOf(subtle, leaf)
  return {
    about: 'Of the pages of "keys".',
    hellos: [
      { page: 0, answerMe: true, bytes: hex(await writeHello(subtle, helloKey, a.own, true)) },
      { page: 1, answerMe: false, bytes: hex(await writeHello(subtle, helloKey, b.own, false)) },
    ],
  }
}

export async function frames() {
  const { a, b } = await world()
  const nonce = new Uint8Array(16).fill(0x90)
  const control: Control = {
    heard: { number: 4_294_967_295, clock: 123_456, hold: 12.3 },
    echo: { clock: 654_321, hold: 4.5 },
    muted: true,
    level: 200,
    jitter: 6.7,
    capture: 8.9,
    output: 30.1,
    lost: 2,
    underruns: 3,
    commitment: new Uint8Array(16).fill(0xc0),
    nonce,
  }
  const sealed = async (from: Pair, counter: number, head: Head, plain: Bytes) => ({
    from: hex(from.own),
    counter,
    head,
    plain: hex(plain),
    frame: hex(await seal(subtle, from.out, new SealCounter(counter), head, plain)),
  })
  const sound = { type: 'audio', gap: false, number: 7, clock: 1_000_000 } as const
  const ramp = (size: number) => Uint8Array.from({ length: size }, (_, i) => i)
  return {
    about:
      'Sealed under the keys of "keys". rate, duration and bucket are indexes: 200000, 96000, 48000, 24000, 16000 a second; 2.5, 5, 10, 20 ms; a quarter, a third, a half, all of the raw size. clock in 0.1 ms. "control" is what the control frame says, times in ms.',
    control: { ...control, commitment: hex(control.commitment), nonce: hex(nonce) },
    frames: [
      await sealed(a.pair, 0, { type: 'control', number: 0, clock: 0 }, new Uint8Array(64)),
      await sealed(
        b.pair,
        4_294_967_296,
        { type: 'control', number: 4_294_967_295, clock: 4_294_967_295 },
        writeControl(control),
      ),
      await sealed(
        a.pair,
        1,
        { ...sound, rate: 4, duration: 0, bucket: RAW_BUCKET, packed: false },
        ramp(80),
      ),
      await sealed(
        b.pair,
        2,
        { ...sound, gap: true, rate: 3, duration: 1, bucket: 1, packed: true },
        ramp(80),
      ),
    ],
  }
}

export async function words() {
  const { a, b } = await world()
  const nonces = [new Uint8Array(16).fill(0x11), new Uint8Array(16).fill(0x22)] as const
  return {
    about:
      'commitment = SHA-256("words" || transcript || sid || nonce), 16 bytes; words = 4 bytes of the pair of "keys", info "words" || nonce of the lower sid || nonce of the other; each an index into the list of src/audio/word-list.ts.',
    nonces: nonces.map(hex),
    commitments: [
      hex(await commitmentOf(subtle, a.pair, a.pair.own, nonces[0])),
      hex(await commitmentOf(subtle, b.pair, b.pair.own, nonces[1])),
    ],
    words: [
      (await wordsOf(a.pair, nonces[0], nonces[1])).join(' '),
      (await wordsOf(b.pair, nonces[1], nonces[0])).join(' '),
    ],
  }
}

async function world() {
  const leaf = leafFromText(LEAF) as Leaf
  const [one, other] = [await pageOf(PAGES[0]), await pageOf(PAGES[1])]
  const pair = async (own: Page, peer: Page) => (await pairOf(subtle, leaf, own, peer)) as Pair
  return {
    leaf,
    a: { own: one, pair: await pair(one, other) },
    b: { own: other, pair: await pair(other, one) },
  }
}

async function pageOf({ sid, capabilities, jwk }: (typeof PAGES)[number]): Promise<Page> {
  const whole = { kty: 'EC', crv: 'P-256', ...jwk }
  const algorithm = { name: 'ECDH', namedCurve: 'P-256' }
  const privateKey = await subtle.importKey('jwk', whole, algorithm, false, ['deriveBits'])
  const point = Buffer.concat([
    Buffer.of(4),
    Buffer.from(jwk.x, 'base64url'),
    Buffer.from(jwk.y, 'base64url'),
  ])
  return { sid: bytes(Buffer.from(sid, 'hex')), publicKey: bytes(point), privateKey, capabilities }
}

function bytes(of: Uint8Array): Bytes {
  return new Uint8Array(of)
}

function hex(of: Uint8Array): string {
  return Buffer.from(of).toString('hex')
}
