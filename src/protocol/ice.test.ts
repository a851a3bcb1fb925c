import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { directCodec, directUp } from './direct.ts'
import { messageReader } from './read.ts'
import { rideCodec, up } from './ride.ts'

const line =
  'candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 0.0.0.0 rport 0 ufrag EsAw'

/** As Chromium, Firefox, Safari and the libraries of phones write it, and the last of all. */
const USUAL: object[] = [
  { candidate: line, sdpMid: '0', sdpMLineIndex: 0, usernameFragment: 'EsAw' },
  { candidate: line, sdpMid: 'audio', sdpMLineIndex: 12 },
  { candidate: line, sdpMid: null, sdpMLineIndex: null, usernameFragment: null },
  { candidate: line, sdpMLineIndex: 0 },
  { candidate: line },
  { candidate: '', sdpMid: '0', sdpMLineIndex: 0, usernameFragment: '\u00e9\u{1f600}' },
]

const rideCandidate = (candidate: unknown) => JSON.stringify({ type: 'ice_candidate', candidate })
const directCandidate = (candidate: unknown, callId = 'c') =>
  JSON.stringify({ type: 'ICE_CANDIDATE', payload: { callId, candidate } })

describe('a candidate as nearly every client writes it', () => {
  test.each(USUAL)('is known by its form: %j', (candidate) => {
    expect(rideCodec.read(rideCandidate(candidate))).toEqual({ type: 'ice_candidate' })
    const told = { type: 'ICE_CANDIDATE', payload: { callId: 'c' } } as const
    for (const each of [candidate, line, null]) expect(directCodec.read(directCandidate(each))).toEqual(told)
  })

  const parsedRide = messageReader(up)
  const parsedDirect = messageReader(directUp)

  /** What of a message the services see, or that it is refused. */
  const seen = (read: (text: string) => { type: string; payload?: unknown }, text: string) => {
    try {
      const { type, payload } = read(text)
      const callId = (payload as { callId?: unknown } | undefined)?.callId
      return type.toLowerCase() === 'ice_candidate' ? { type, callId } : 'something else'
    } catch {
      return 'refused'
    }
  }

  const isReadAsParsed = (text: string) => {
    expect(seen(rideCodec.read, text)).toEqual(seen(parsedRide, text))
    expect(seen(directCodec.read, text)).toEqual(seen(parsedDirect, text))
  }

  test.each(['00', '01', '-1', '-0', '1.5', '1e1', '+1', '1234567890', '1e999', 'nul', '"0"', '{}', ''])(
    'is read as the parser and the schema read it, with the index %s',
    (index) => {
      for (const text of [rideCandidate(USUAL[0]), directCandidate(USUAL[0])]) {
        isReadAsParsed(text.replace('"sdpMLineIndex":0', `"sdpMLineIndex":${index}`))
      }
    },
  )

  test('is read as the parser and the schema read it, whatever is changed in it', () => {
    const odd = fc.constantFrom(
      ...[
        '"',
        '\\',
        '{',
        '}',
        '[',
        ']',
        ',',
        ':',
        ' ',
        '\n',
        '\0',
        '\x1f',
        '\x7f',
        '\u2028',
        '0',
        '00',
        '-',
        '1.5',
        '9',
      ],
      ...[
        'null',
        'nul',
        '""',
        '\\"',
        '\\u0041',
        '"sdpMid":"1",',
        ',"sdpMLineIndex":1',
        '"candidate":',
        '"a":1,',
        '}}',
      ],
    )
    const change = fc.record({ at: fc.nat(400), drop: fc.nat(8), put: fc.oneof(odd, fc.constant('')) })
    const changes = fc.array(change, { maxLength: 3 })
    const usual = fc.constantFrom(
      ...USUAL.map(rideCandidate),
      ...USUAL.map((candidate) => directCandidate(candidate)),
      directCandidate(line, 'c'.repeat(64)),
      directCandidate(line, 'c'.repeat(65)),
      directCandidate(null, ''),
    )
    const same = fc.property(usual, changes, (from, all) => {
      let text = from
      for (const { at, drop, put } of all) {
        const here = at % (text.length + 1)
        text = text.slice(0, here) + put + text.slice(here + drop)
      }
      isReadAsParsed(text)
    })
    fc.assert(same, { numRuns: 5_000, includeErrorInReport: true })
  })

  test('takes no long while to refuse, however it was made up', () => {
    const size = 64 * 1024
    for (const text of [
      rideCandidate({ candidate: 'x'.repeat(size) }).slice(0, -2),
      directCandidate('x'.repeat(size)).slice(0, -1),
      `{"type":"ice_candidate","candidate":{"candidate":${'"'.repeat(size)}`,
    ]) {
      const from = performance.now()
      expect([seen(rideCodec.read, text), seen(directCodec.read, text)]).toEqual(['refused', 'refused'])
      expect(performance.now() - from).toBeLessThan(1_000)
    }
  })
})
