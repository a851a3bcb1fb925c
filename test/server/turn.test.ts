// [T-D8] The shipped turnserver.conf and the credentials we mint, tried with a real coturn. Addresses outside of this
// machine are only named as peers, never sent anything.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { openTurn, type TurnUser } from '../../src/auth/turn.ts'
import type { Log } from '../../src/core/ports.ts'
import { type Coturn, HAS_IPV6, SHIPPED, startCoturn } from '../kit/coturn.ts'
import { describeWith } from '../kit/need.ts'
import { StunClient } from '../kit/stun.ts'

const SECRET = 'not-a-secret-of-anyone-0123456789'
const NEXT = 'not-a-secret-of-anyone-9876543210'
const HOUR = 3600_000

/** An attribute: RFC 8489 section 14.14. */
const SOFTWARE = 0x8022
/** RFC 8656 section 19. */
const ALLOCATION_QUOTA_REACHED = 486

/** Not of the internet, or with such an address inside. None may be reached from outside through a relay. */
const FORBIDDEN = {
  4: [
    '0.0.0.1',
    '10.0.0.1',
    '10.255.255.254',
    '100.64.0.1',
    '127.0.0.1',
    '127.255.255.254',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.254',
    '192.0.0.192',
    '192.0.2.1',
    '192.88.99.1',
    '192.168.0.1',
    '192.168.255.254',
    '198.18.0.1',
    '198.51.100.1',
    '203.0.113.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
  ],
  6: [
    '::',
    '::1',
    '::127.0.0.1',
    '::10.0.0.1',
    '::ffff:127.0.0.1',
    '::ffff:10.0.0.1',
    '::ffff:169.254.169.254',
    '::ffff:192.168.0.1',
    '64:ff9b::7f00:1',
    '64:ff9b::a9fe:a9fe',
    '64:ff9b:1::7f00:1',
    '100::1',
    '2001::1',
    '2001:db8::1',
    '2002:7f00:1::1',
    '2002:a9fe:a9fe::1',
    'fc00::1',
    'fd00:ec2::254',
    'fe80::1',
    'fec0::1',
    'ff02::1',
    'ff0e::1',
  ],
} as const

/** Of the internet; most are neighbours of what is forbidden. */
const ALLOWED = {
  4: [
    '1.1.1.1',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '126.255.255.255',
    '128.0.0.0',
    '169.253.255.255',
    '172.15.255.255',
    '172.32.0.0',
    '192.167.255.255',
    '192.169.0.0',
    '198.20.0.0',
    '223.255.255.255',
  ],
  6: ['2606:4700:4700::1111', '2001:200::1', '2003::1', '2a00:1450::1'],
} as const

const log: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log }

/** As the server hands it out. */
async function user(coturn: Coturn, more: { secrets?: string[]; callId?: string; ago?: number } = {}) {
  const turn = openTurn(
    { provider: 'coturn', urls: [coturn.url], secrets: more.secrets ?? [SECRET], ttl: HOUR },
    { now: () => Date.now() - (more.ago ?? 0), log },
  )
  const { iceServers } = await turn.credentials({ callId: more.callId ?? 'c4ll.0', seconds: 60 })
  return iceServers[0] as TurnUser
}

describeWith('turnserver', 'a real coturn with the shipped file', (program) => {
  let coturn: Coturn
  const clients: StunClient[] = []
  beforeAll(async () => {
    coturn = await startCoturn(program, { secrets: [SECRET] })
  })
  afterAll(async () => await coturn.stop())
  afterEach(() => {
    for (const client of clients.splice(0)) client.close()
  })

  async function client(of: Coturn = coturn): Promise<StunClient> {
    const it = await StunClient.open(of.port)
    clients.push(it)
    return it
  }

  /** What a permission for each of these, asked for in either way, is answered. */
  async function answers(of: Coturn, family: 4 | 6, peers: readonly string[]) {
    const it = await client(of)
    expect(await it.allocate(await user(of, { callId: `peers-${family}.0` }), family)).toBe(0)
    const found: Record<string, [permission: number, channel: number]> = {}
    for (const peer of peers) found[peer] = [await it.createPermission(peer), await it.bindChannel(peer)]
    await it.release()
    return found
  }

  test('gives a relay to who has credentials of ours', async () => {
    const it = await client()
    expect(await it.allocate(await user(coturn))).toBe(0)
    expect(await it.release()).toBe(0)
  })

  test('refuses credentials that ran out, were edited, or come from another secret', async () => {
    const good = await user(coturn)
    const [expires, name] = good.username.split(':')
    const bad: Record<string, TurnUser> = {
      'ran out': await user(coturn, { ago: 200_000 }),
      'a later end': { ...good, username: `${Number(expires) + 3600}:${name}` },
      'another call': { ...good, username: `${expires}:0ther.0` },
      'without an end': { ...good, username: name ?? '' },
      'another password': { ...good, credential: `A${good.credential.slice(1)}=` },
      'no password': { ...good, credential: '' },
      'another secret': await user(coturn, { secrets: [NEXT] }),
      'the secret itself': { username: 'ringdown', credential: SECRET },
    }
    for (const [what, credentials] of Object.entries(bad)) {
      expect(await (await client()).allocate(credentials), what).toBe(401)
    }
    expect(await (await client()).allocate(good)).toBe(0)
  })

  test('marks what it says with a fingerprint, and says nothing of its make', async () => {
    const { code, fingerprint, attributes } = await (await client()).binding()
    expect(code).toBe(0)
    expect(fingerprint).toBe(true)
    expect(attributes.has(SOFTWARE)).toBe(false)
  })

  test('gives one party of one call no more than 24 relays, whenever its credentials were made', async () => {
    const callId = 'gr33dy.1'
    for (let i = 0; i < 24; i++) {
      expect(await (await client()).allocate(await user(coturn, { callId, ago: i * 1000 }))).toBe(0)
    }
    expect(await (await client()).allocate(await user(coturn, { callId }))).toBe(ALLOCATION_QUOTA_REACHED)
    expect(await (await client()).allocate(await user(coturn, { callId: 'gr33dy.0' }))).toBe(0)
  })

  // Skipped on a machine that has no IPv6 at all.
  const over = (family: 4 | 6) => (family === 4 || HAS_IPV6 ? test : test.skip)
  for (const family of [4, 6] as const) {
    over(family)(`relays to no address of the inside, over IPv${family}`, async () => {
      const found = await answers(coturn, family, FORBIDDEN[family])
      for (const peer of FORBIDDEN[family]) expect(found[peer], peer).toEqual([403, 403])
    })

    over(family)(`relays to addresses of the internet, over IPv${family}`, async () => {
      const found = await answers(coturn, family, ALLOWED[family])
      for (const peer of ALLOWED[family]) expect(found[peer], peer).toEqual([0, 0])
    })
  }

  over(6)('would relay to the inside without its lines on IPv6, and this would be seen', async () => {
    const conf = readFileSync(SHIPPED, 'utf8').replace(/^denied-peer-ip=.*:.*$/gm, '')
    const open = await startCoturn(program, { secrets: [SECRET], conf })
    try {
      const found = await answers(open, 6, FORBIDDEN[6])
      const reached = Object.entries(found).flatMap(([peer, codes]) => (codes.includes(0) ? [peer] : []))
      expect(reached).toContain('fd00:ec2::254')
      expect(reached).toContain('fe80::1')
    } finally {
      await open.stop()
    }
  })

  describe('while the secret is changed', () => {
    let both: Coturn
    beforeAll(async () => {
      both = await startCoturn(program, { secrets: [SECRET, NEXT], peers: ['127.0.0.1'] })
    })
    afterAll(async () => await both.stop())

    test('takes what the old one signed and what the new one signs', async () => {
      expect(await (await client(both)).allocate(await user(both, { secrets: [SECRET, NEXT] }))).toBe(0)
      expect(await (await client(both)).allocate(await user(both, { secrets: [NEXT, SECRET] }))).toBe(0)
      expect(await (await client(both)).allocate(await user(both, { secrets: [`${NEXT}x`] }))).toBe(401)
    })

    test('relays to the one peer on loopback that a test lets it', async () => {
      expect(await answers(both, 4, ['127.0.0.1', '127.0.0.2', '10.0.0.1'])).toEqual({
        '127.0.0.1': [0, 0],
        '127.0.0.2': [403, 403],
        '10.0.0.1': [403, 403],
      })
    })
  })

  test('lets nobody in as it is shipped, without a secret', async () => {
    const closed = await startCoturn(program, { secrets: [] })
    try {
      for (const secret of [SECRET, '']) {
        expect(await (await client(closed)).allocate(await user(closed, { secrets: [secret] }))).toBe(401)
      }
    } finally {
      await closed.stop()
    }
  })
})
