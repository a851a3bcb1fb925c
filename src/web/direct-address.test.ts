import { expect, test } from 'bun:test'
import { linkThatCalls, readAddress, signalUrl } from './direct-address.ts'

const PAGE = 'https://calls.example/direct.html'

test('a link that calls somebody is read as such, and carries nothing else along', () => {
  const link = linkThatCalls('anna_b-1', `${PAGE}?call=old&relay=1#x`)
  expect(link).toBe(`${PAGE}?call=anna_b-1`)
  expect(readAddress(link)).toEqual({ peer: 'anna_b-1', relayOnly: false })
})

test('a relay is asked for by the address', () => {
  expect(readAddress(`${PAGE}?relay=1`)).toEqual({ peer: '', relayOnly: true })
  expect(readAddress(`${PAGE}?relay=0`).relayOnly).toBe(false)
})

test('a secure page connects securely', () => {
  expect(signalUrl(`${PAGE}?a=b#c`)).toBe('wss://calls.example/signal')
  expect(signalUrl('http://localhost:47880/direct.html')).toBe('ws://localhost:47880/signal')
})
