import { expect, test } from 'bun:test'
import { linkTo, type Place, placeIn, relayOnly, socketUrl } from './address.ts'

const place: Place = { sessionId: 's-1', userId: 'José & co', role: 'passenger', joinToken: 'a+b/c=&d' }

test('a link opens the seat it was made for', () => {
  expect(placeIn(linkTo(place, 'https://calls.example/call.html?session=old#token=old'))).toEqual(place)
})

test('a page that asks for a relay makes links that do', () => {
  const page = 'https://calls.example/call.html'
  expect(relayOnly(linkTo(place, page))).toBe(false)
  expect(relayOnly(linkTo(place, `${page}?relay=0`))).toBe(false)
  expect(relayOnly(linkTo(place, `${page}?relay=1`))).toBe(true)
})

test('the token stands behind the hash only', () => {
  const url = new URL(linkTo(place, 'https://calls.example/call.html'))
  expect(url.search).not.toContain('a%2Bb')
  expect(url.hash).toContain('token=')
})

test('a link without a session or a user names no seat', () => {
  expect(placeIn('https://calls.example/call.html')).toBeNull()
  expect(placeIn('https://calls.example/call.html?session=s')).toBeNull()
  expect(placeIn('https://calls.example/call.html?session=s&user=')).toBeNull()
})

test('a role that is none is not taken over', () => {
  expect(placeIn('https://calls.example/call.html?session=s&user=u&role=boss')?.role).toBeNull()
})

test('a secure page connects securely', () => {
  expect(socketUrl('https://calls.example/call.html?a=b#c')).toBe('wss://calls.example/ws')
  expect(socketUrl('http://localhost:47880/call.html')).toBe('ws://localhost:47880/ws')
})
