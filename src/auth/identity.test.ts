import { describe, expect, test } from 'bun:test'
import { createPublicKey, generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto'
import { identityText, lowS, rotationText } from '../protocol/identity.ts'
import type { Proofs } from '../services/direct/trust.ts'
import { identityProofs } from './identity.ts'

const proofs: Proofs = identityProofs(null)
const claim = { host: 'calls.example.com', clientId: 'alice', nonce: proofs.nonce() }
const text = Buffer.from(identityText(claim))

const base64url = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url')
const hex = (digits: string) => Buffer.from(digits, 'hex')

const ed = generateKeyPairSync('ed25519')
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const spki = (pair: { publicKey: typeof ed.publicKey }) =>
  Buffer.from(pair.publicKey.export({ format: 'der', type: 'spki' }))
const [edKey, ecKey] = [spki(ed), spki(ec)]
const signEd = (message: Buffer) => sign(null, message, ed.privateKey)
const signEc = (message: Buffer) =>
  Buffer.from(lowS(sign('sha256', message, { key: ec.privateKey, dsaEncoding: 'ieee-p1363' })))

/** Order of the two groups. */
const ED_ORDER = 2n ** 252n + 27742317777372353535851937790883648493n
const EC_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
const EC_PRIME = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n
const big = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
const bytes = (value: bigint, size = 32) => hex(value.toString(16).padStart(size * 2, '0'))
const littleEndian = (value: bigint) => bytes(value).reverse()

/** DER of a signature, without any care. */
function der(...integers: Buffer[]): Buffer {
  const all = Buffer.concat(integers.map((it) => Buffer.concat([Buffer.from([2, it.length]), it])))
  return Buffer.concat([Buffer.from([0x30, all.length]), all])
}
/** Of a positive integer, as it should be. */
function integer(value: Buffer): Buffer {
  const digits = value.toString('hex').replace(/^(00)+/, '')
  return hex(Number.parseInt(digits.slice(0, 2), 16) >= 0x80 ? `00${digits}` : digits)
}

test('a nonce is 32 bytes, and no two are the same', () => {
  const nonces = new Set(Array.from({ length: 1000 }, () => proofs.nonce()))
  expect(nonces.size).toBe(1000)
  for (const nonce of nonces) expect(Buffer.from(nonce, 'base64url').length).toBe(32)
})

describe('[T-D4] what a browser signs is accepted, in either algorithm', () => {
  for (const [name, algorithm, signing] of [
    ['Ed25519', { name: 'Ed25519' }, { name: 'Ed25519' }],
    ['ECDSA P-256', { name: 'ECDSA', namedCurve: 'P-256' }, { name: 'ECDSA', hash: 'SHA-256' }],
  ] as const) {
    test(name, async () => {
      let high = 0
      for (let i = 0; i < 50; i++) {
        const pair = (await crypto.subtle.generateKey(algorithm as EcKeyGenParams, true, [
          'sign',
          'verify',
        ])) as CryptoKeyPair
        const key = base64url(new Uint8Array(await crypto.subtle.exportKey('spki', pair.publicKey)))
        const fresh = { ...claim, nonce: proofs.nonce() }
        const made = new Uint8Array(
          await crypto.subtle.sign(signing, pair.privateKey, Buffer.from(identityText(fresh))),
        )
        const low = name === 'Ed25519' ? made : lowS(made)
        expect(proofs.provesIdentity(key, base64url(low), fresh)).toBe(true)
        expect(proofs.provesIdentity(key, base64url(low), claim)).toBe(false)
        if (low !== made) {
          high++
          expect(proofs.provesIdentity(key, base64url(made), fresh)).toBe(false)
        }
        const rotation = { ...fresh, newKey: base64url(edKey) }
        const handed = new Uint8Array(
          await crypto.subtle.sign(signing, pair.privateKey, Buffer.from(rotationText(rotation))),
        )
        const lowHanded = base64url(name === 'Ed25519' ? handed : lowS(handed))
        expect(proofs.provesRotation(key, lowHanded, rotation)).toBe(true)
        expect(proofs.provesRotation(key, base64url(low), rotation)).toBe(false)
        expect(proofs.provesIdentity(key, lowHanded, fresh)).toBe(false)
      }
      if (name === 'ECDSA P-256') expect(high).toBeGreaterThan(5)
    })
  }
})

test('ECDSA in DER, as phones sign, is accepted', () => {
  for (let i = 0; i < 300; i++) {
    const fresh = { ...claim, nonce: proofs.nonce() }
    const signature = signEc(Buffer.from(identityText(fresh)))
    const [r, s] = [signature.subarray(0, 32), signature.subarray(32)]
    expect(proofs.provesIdentity(base64url(ecKey), base64url(der(integer(r), integer(s))), fresh)).toBe(true)
  }
})

/** The base point, which is R = [1]B: with a key whose multiple vanishes, it and S = 1 fit any text. RFC 8032 section 5.1. */
const BASE = hex('58'.padEnd(64, '6'))
const FORGED = Buffer.concat([BASE, littleEndian(1n)])
const ED_PREFIX = hex('302a300506032b6570032100')
const EC_PREFIX = hex('3059301306072a8648ce3d020106082a8648ce3d03010703420004')
const SMALL_ORDER: Record<string, Buffer> = {
  'the identity point': littleEndian(1n),
  'the identity point with a sign': littleEndian(1n + 2n ** 255n),
  'the identity point, y not reduced': littleEndian(2n ** 255n - 18n),
  'the identity point, y not reduced, with a sign': littleEndian(2n ** 256n - 18n),
  'a point of order 2': littleEndian(2n ** 255n - 20n),
  'a point of order 2 with a sign': littleEndian(2n ** 256n - 20n),
  'a point of order 4, all zero': Buffer.alloc(32),
  'a point of order 4 with a sign': littleEndian(2n ** 255n),
  'a point of order 4, y not reduced': littleEndian(2n ** 255n - 19n),
  'a point of order 4, y not reduced, with a sign': littleEndian(2n ** 256n - 19n),
  'a point of order 8': hex('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05'),
  'a point of order 8 with a sign': hex('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85'),
  'another point of order 8': hex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a'),
  'another point of order 8 with a sign': hex(
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  ),
}

/** The key and the signature of each must be refused. */
function badOnes(): Record<string, [key: Buffer | string, signature: Buffer | string]> {
  const good = signEd(text)
  const [R, S] = [good.subarray(0, 32), big(Buffer.from(good.subarray(32)).reverse())]
  const edS = (value: bigint) => Buffer.concat([R, littleEndian(value)])
  const flip = (from: Buffer, at: number) => {
    const copy = Buffer.from(from)
    copy[at] = (copy[at] ?? 0) ^ 1
    return copy
  }
  const low = signEc(text)
  const [r, s] = [low.subarray(0, 32), low.subarray(32)]
  const ecSig = (first: Buffer, second: Buffer) => Buffer.concat([first, second])
  const [R_, S_] = [integer(r), integer(s)]
  const other = (type: 'P-384' | 'secp256k1' | 'P-521') =>
    spki(generateKeyPairSync('ec', { namedCurve: type }) as never)
  const point = ecKey.subarray(EC_PREFIX.length)
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return {
    'Ed25519: empty signature': [edKey, ''],
    'Ed25519: 63 bytes': [edKey, good.subarray(0, 63)],
    'Ed25519: 65 bytes': [edKey, Buffer.concat([good, Buffer.alloc(1)])],
    'Ed25519: zeros': [edKey, Buffer.alloc(64)],
    'Ed25519: R changed': [edKey, flip(good, 0)],
    'Ed25519: sign of R changed': [
      edKey,
      Buffer.concat([R.subarray(0, 31), Buffer.from([(R[31] ?? 0) ^ 128]), good.subarray(32)]),
    ],
    'Ed25519: S changed': [edKey, flip(good, 40)],
    'Ed25519: S plus the order': [edKey, edS(S + ED_ORDER)],
    'Ed25519: S plus twice the order': [edKey, edS(S + 2n * ED_ORDER)],
    'Ed25519: S plus seven times the order': [edKey, edS(S + 7n * ED_ORDER)],
    'Ed25519: S with its highest bit': [edKey, edS(S + 2n ** 255n)],
    'Ed25519: S negated': [edKey, edS(ED_ORDER - S)],
    'Ed25519: halves swapped': [edKey, Buffer.concat([good.subarray(32), R])],
    'Ed25519: R the identity': [edKey, Buffer.concat([littleEndian(1n), littleEndian(0n)])],
    'Ed25519: R not reduced': [edKey, Buffer.concat([littleEndian(2n ** 255n - 18n), littleEndian(0n)])],
    'Ed25519: over the bare nonce': [edKey, signEd(Buffer.from(claim.nonce))],
    'Ed25519: over the nonce as bytes': [edKey, signEd(Buffer.from(claim.nonce, 'base64url'))],
    'Ed25519: with a line feed at the end': [edKey, signEd(Buffer.from(`${text}\n`))],
    'Ed25519: over a rotation': [
      edKey,
      signEd(Buffer.from(rotationText({ ...claim, newKey: base64url(edKey) }))),
    ],
    'Ed25519: somebody else’s key': [spki(generateKeyPairSync('ed25519')), good],
    'Ed25519: a point not on the curve': [Buffer.concat([ED_PREFIX, littleEndian(2n)]), FORGED],
    'Ed25519: a raw key of 32 bytes': [edKey.subarray(ED_PREFIX.length), good],
    'Ed25519: a byte after the key': [Buffer.concat([edKey, Buffer.alloc(1)]), good],
    'Ed25519: a key that says X25519': [
      Buffer.concat([hex('302a300506032b656e032100'), edKey.subarray(12)]),
      good,
    ],
    'Ed25519: a key with padding': [`${base64url(edKey)}=`, good],
    'Ed25519: a signature with padding': [edKey, `${base64url(good)}==`],
    'Ed25519: a signature in base64': [edKey, `${'+'}${base64url(good).slice(1)}`],
    'Ed25519: a signature with a line feed': [edKey, `${base64url(good)}\n`],
    'ECDSA: empty signature': [ecKey, ''],
    'ECDSA: 63 bytes': [ecKey, low.subarray(0, 63)],
    'ECDSA: 65 bytes': [ecKey, Buffer.concat([low, Buffer.alloc(1)])],
    'ECDSA: high S': [ecKey, ecSig(r, bytes(EC_ORDER - big(s)))],
    'ECDSA: r is zero': [ecKey, ecSig(Buffer.alloc(32), s)],
    'ECDSA: s is zero': [ecKey, ecSig(r, Buffer.alloc(32))],
    'ECDSA: both are zero': [ecKey, Buffer.alloc(64)],
    'ECDSA: r is the order': [ecKey, ecSig(bytes(EC_ORDER), s)],
    'ECDSA: s is the order': [ecKey, ecSig(r, bytes(EC_ORDER))],
    'ECDSA: both are one': [ecKey, ecSig(bytes(1n), bytes(1n))],
    'ECDSA: r and s swapped': [ecKey, ecSig(s, r)],
    'ECDSA: all ones': [ecKey, Buffer.alloc(64, 0xff)],
    'ECDSA: over the bare nonce': [ecKey, signEc(Buffer.from(claim.nonce))],
    'ECDSA: DER with high S': [ecKey, der(R_, integer(bytes(EC_ORDER - big(s))))],
    'ECDSA: DER with a needless zero': [ecKey, der(Buffer.concat([Buffer.alloc(1), R_]), S_)],
    'ECDSA: DER with a negative r': [ecKey, der(Buffer.concat([Buffer.from([0xff]), r]), S_)],
    'ECDSA: DER with zeros': [ecKey, der(Buffer.alloc(1), Buffer.alloc(1))],
    'ECDSA: DER with empty integers': [ecKey, der(Buffer.alloc(0), Buffer.alloc(0))],
    'ECDSA: DER with a third integer': [ecKey, der(R_, S_, Buffer.from([1]))],
    'ECDSA: DER with one integer': [ecKey, der(R_)],
    'ECDSA: DER with a byte after it': [ecKey, Buffer.concat([der(R_, S_), Buffer.alloc(1)])],
    'ECDSA: DER cut short': [ecKey, der(R_, S_).subarray(0, -1)],
    'ECDSA: DER of a length in two bytes': [ecKey, Buffer.concat([hex('3081'), der(R_, S_).subarray(1)])],
    'ECDSA: DER with r plus 2^256': [ecKey, der(Buffer.concat([Buffer.from([1]), r]), S_)],
    'ECDSA: the point at infinity': [hex('3019301306072a8648ce3d020106082a8648ce3d030107030200' + '00'), low],
    'ECDSA: a point of zeros': [Buffer.concat([EC_PREFIX, Buffer.alloc(64)]), low],
    'ECDSA: a point not on the curve': [flip(ecKey, 90), low],
    'ECDSA: x not reduced': [Buffer.concat([EC_PREFIX, bytes(EC_PRIME), point.subarray(32)]), low],
    'ECDSA: a compressed point': [
      Buffer.concat([
        hex('3039301306072a8648ce3d020106082a8648ce3d030107032200'),
        Buffer.from([2 + ((point[63] ?? 0) & 1)]),
        point.subarray(0, 32),
      ]),
      low,
    ],
    'ECDSA: a byte after the key': [Buffer.concat([ecKey, Buffer.alloc(1)]), low],
    'ECDSA: P-384': [other('P-384'), low],
    'ECDSA: P-521': [other('P-521'), low],
    'ECDSA: a key that says secp256k1': [
      Buffer.concat([hex('3056301006072a8648ce3d020106052b8104000a03420004'), point]),
      low,
    ],
    'a key of the other algorithm': [edKey, low],
    'a key of the other algorithm, the other way': [ecKey, good],
    RSA: [spki(rsa as never), sign('sha256', text, rsa.privateKey)],
    'no key': ['', good],
    'a key of zeros': [Buffer.alloc(44), good],
    'a key in PEM': [ed.publicKey.export({ format: 'pem', type: 'spki' }).toString(), good],
  }
}

test('[T-D4] no bad key or signature is accepted', () => {
  expect(proofs.provesIdentity(base64url(edKey), base64url(signEd(text)), claim)).toBe(true)
  expect(proofs.provesIdentity(base64url(ecKey), base64url(signEc(text)), claim)).toBe(true)
  const written = (it: Buffer | string) => (typeof it === 'string' ? it : base64url(it))
  for (const [name, [key, signature]] of Object.entries(badOnes())) {
    expect(proofs.provesIdentity(written(key), written(signature), claim), name).toBe(false)
  }
  for (const [name, point] of Object.entries(SMALL_ORDER)) {
    const key = base64url(Buffer.concat([ED_PREFIX, point]))
    for (let i = 0; i < 50; i++) {
      const fresh = { ...claim, nonce: proofs.nonce() }
      expect(proofs.provesIdentity(key, base64url(FORGED), fresh), name).toBe(false)
    }
    // Nor may an id be handed over to one.
    const rotation = { ...claim, newKey: key }
    const signature = base64url(signEd(Buffer.from(rotationText(rotation))))
    expect(proofs.provesRotation(base64url(edKey), signature, rotation), name).toBe(false)
  }
})

test('what is refused here is what the runtime alone would take', () => {
  const key = (point: Buffer) =>
    createPublicKey({ key: Buffer.concat([ED_PREFIX, point]), format: 'der', type: 'spki' })
  const taken = Object.values(SMALL_ORDER).map((point) =>
    Array.from({ length: 100 }, () => verify(null, randomBytes(8), key(point), FORGED)),
  )
  for (const [i, name] of Object.keys(SMALL_ORDER).entries()) expect(taken[i], name).toContain(true)
  const [, high = ''] = badOnes()['ECDSA: high S'] ?? []
  const p1363 = { key: ec.publicKey, dsaEncoding: 'ieee-p1363' } as const
  expect(verify('sha256', text, p1363, high as Buffer)).toBe(true)
})

test('[B34] a proof for one host, id or nonce is none for another', () => {
  for (const [key, signing] of [
    [edKey, signEd],
    [ecKey, signEc],
  ] as const) {
    const signature = base64url(signing(text))
    expect(proofs.provesIdentity(base64url(key), signature, claim)).toBe(true)
    for (const wrong of [
      { ...claim, host: 'calls.example.org' },
      { ...claim, host: 'calls.example.com:8443' },
      { ...claim, clientId: 'bob' },
      { ...claim, clientId: 'Alice' },
      { ...claim, nonce: proofs.nonce() },
      { ...claim, nonce: '' },
    ]) {
      expect(proofs.provesIdentity(base64url(key), signature, wrong)).toBe(false)
    }
  }
})

test('a field cannot reach into the next line', () => {
  const odd = { host: 'a\nb', clientId: 'c', nonce: 'd' }
  const same = { host: 'a', clientId: 'b', nonce: 'c\nd' }
  for (const it of [odd, same, { ...odd, host: '' }, { ...odd, host: 'a b' }, { ...odd, host: 'é' }]) {
    const signature = base64url(signEd(Buffer.from(identityText(it))))
    expect(proofs.provesIdentity(base64url(edKey), signature, it)).toBe(false)
  }
})

test('the old key hands an id over to one new key', () => {
  const rotation = { ...claim, newKey: base64url(ecKey) }
  const signature = base64url(signEd(Buffer.from(rotationText(rotation))))
  expect(proofs.provesRotation(base64url(edKey), signature, rotation)).toBe(true)
  expect(proofs.provesRotation(base64url(ecKey), signature, rotation)).toBe(false)
  for (const wrong of [
    { ...rotation, newKey: base64url(edKey) },
    { ...rotation, clientId: 'bob' },
    { ...rotation, host: 'calls.example.org' },
    { ...rotation, nonce: proofs.nonce() },
  ]) {
    expect(proofs.provesRotation(base64url(edKey), signature, wrong)).toBe(false)
  }
  const unusable = { ...claim, newKey: 'not-a-key' }
  const given = base64url(signEd(Buffer.from(rotationText(unusable))))
  expect(proofs.provesRotation(base64url(edKey), given, unusable)).toBe(false)
})

test('nothing that anybody can send makes it throw', () => {
  for (let i = 0; i < 2000; i++) {
    const cut = (from: Buffer) => from.subarray(0, Math.floor(Math.random() * (from.length + 1)))
    const key = i % 2 === 0 ? cut(edKey) : Buffer.concat([cut(ecKey), randomBytes(i % 70)])
    expect(proofs.provesIdentity(base64url(key), base64url(randomBytes(i % 75)), claim)).toBe(false)
  }
  expect(proofs.provesIdentity('\ud800', '\u0000', { ...claim, host: '\ud800' })).toBe(false)
})

test('without an app that signs tokens, none is good', async () => {
  expect(await proofs.checkToken('a.b.c', 'alice')).toBe(false)
})
