import { describe, expect, test } from 'bun:test'
import { ClientAddresses, limitKey } from './address.ts'

const OURS = ['127.0.0.0/8', '::1', '10.0.0.0/8', '2001:db8:aaaa::/48']

type Row = [what: string, socket: string, forwarded: string | null, real: string | null, client: string]

describe('[WS-3] the client', () => {
  const rows: Row[] = [
    ['is the socket, when nobody stands between', '203.0.113.9', null, null, '203.0.113.9'],
    ['is not what a stranger writes', '203.0.113.9', '198.51.100.1', '198.51.100.2', '203.0.113.9'],
    ['is what our proxy saw', '127.0.0.1', '198.51.100.1', null, '198.51.100.1'],
    [
      'is the right-most, not what it wrote itself',
      '127.0.0.1',
      '1.1.1.1, 198.51.100.1',
      null,
      '198.51.100.1',
    ],
    ['is looked for behind all of our proxies', '10.0.0.1', '198.51.100.1, 10.0.0.2', null, '198.51.100.1'],
    [
      'is not looked for behind a stranger',
      '10.0.0.1',
      '1.1.1.1, 198.51.100.1, 10.0.0.2',
      null,
      '198.51.100.1',
    ],
    ['is the real IP where there is no list', '127.0.0.1', null, '198.51.100.1', '198.51.100.1'],
    ['is the list before the real IP', '127.0.0.1', '198.51.100.1', '198.51.100.2', '198.51.100.1'],
    ['is the real IP when the whole list is ours', '127.0.0.1', '10.0.0.1', '198.51.100.1', '198.51.100.1'],
    ['is the proxy when it says nothing', '127.0.0.1', null, null, '127.0.0.1'],
    ['is the proxy when it says nothing that can be read', '127.0.0.1', 'unknown', 'somebody', '127.0.0.1'],
    ['is nothing left of what cannot be read', '127.0.0.1', '1.1.1.1, unknown', null, '127.0.0.1'],
    ['may come with a port', '127.0.0.1', '198.51.100.1:5060', null, '198.51.100.1'],
    ['may come in brackets', '127.0.0.1', '[2001:db8::1]', null, '2001:db8::1'],
    ['may come in brackets with a port', '127.0.0.1', '[2001:db8::1]:5060', null, '2001:db8::1'],
    ['of a socket for both families is the IPv4 address', '::ffff:203.0.113.9', null, null, '203.0.113.9'],
    ['is asked of a proxy on such a socket', '::ffff:127.0.0.1', '198.51.100.1', null, '198.51.100.1'],
    ['may be written as IPv6 by the proxy', '127.0.0.1', '::FFFF:198.51.100.1', null, '198.51.100.1'],
    ['is found behind a proxy with IPv6', '2001:db8:aaaa::7', '2001:db8::1', null, '2001:db8::1'],
    [
      'is found behind a proxy in the list with IPv6',
      '::1',
      '2001:db8::1, 2001:db8:aaaa::7',
      null,
      '2001:db8::1',
    ],
    ['is not a neighbour of our proxies', '2001:db8:aaab::7', '2001:db8::1', null, '2001:db8:aaab::7'],
    ['may have spaces and empty places around it', '127.0.0.1', ' 198.51.100.1 ', null, '198.51.100.1'],
    ['is not an empty place in the list', '127.0.0.1', '198.51.100.1,', null, '127.0.0.1'],
    ['is not a name', '127.0.0.1', 'localhost', null, '127.0.0.1'],
    ['is not a number that some take for an address', '127.0.0.1', '3325256705', null, '127.0.0.1'],
    ['is not an address in octal', '127.0.0.1', '0306.063.0144.01', null, '127.0.0.1'],
    ['is not a header of 8 KB', '127.0.0.1', '1'.repeat(8_000), null, '127.0.0.1'],
  ]
  test.each(rows)('%s', (_, socket, forwarded, real, client) => {
    const headers = new Headers()
    if (forwarded !== null) headers.set('x-forwarded-for', forwarded)
    if (real !== null) headers.set('x-real-ip', real)
    expect(new ClientAddresses(OURS).of(socket, headers)).toBe(client)
  })

  test('is the socket, whatever is written, where no proxy is ours', () => {
    const headers = new Headers({ 'x-forwarded-for': '198.51.100.1', 'x-real-ip': '198.51.100.1' })
    expect(new ClientAddresses([]).of('127.0.0.1', headers)).toBe('127.0.0.1')
  })

  test('of a thousand forged lists is one client', () => {
    const addresses = new ClientAddresses(OURS)
    const clients = new Set(
      Array.from({ length: 1_000 }, (_, i) =>
        addresses.of(
          '127.0.0.1',
          new Headers({ 'x-forwarded-for': `10.9.${i % 250}.1, ${i}, 198.51.100.1` }),
        ),
      ),
    )
    expect([...clients]).toEqual(['198.51.100.1'])
  })
})

describe('[WS-2] attempts are counted together', () => {
  test.each([
    ['one IPv4 address', '192.0.2.1', '192.0.2.1', true],
    ['two IPv4 addresses', '192.0.2.1', '192.0.2.2', false],
    ['one IPv6 network of a customer', '2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:ffff', true],
    ['the same network, written out', '2001:db8:1:2::1', '2001:0DB8:0001:0002:0000:0000:0000:0009', true],
    ['the network next to it', '2001:db8:1:2::1', '2001:db8:1:3::1', false],
    ['zeros in the middle of the network', '2001:db8::2:0:0:0:1', '2001:db8:0:2::1', true],
    ['zeros that are left out', '2001:db8::1', '2001:db8:0:0:5::', true],
    ['an interface', 'fe80::1%eth0', 'fe80::2%eth1', true],
  ])('for %s: %s and %s', (_, one, other, together) => {
    expect(limitKey(one) === limitKey(other)).toBe(together)
  })
})
