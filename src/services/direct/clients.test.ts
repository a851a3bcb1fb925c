import { expect, test } from 'bun:test'
import { Clients } from './clients.ts'
import { Device } from './device.ts'

function device(id: string, clientId: string): Device {
  return new Device({ id, clientId, proven: false, identity: null, line: id }, null, null)
}

test('a device is found by its id wherever it is, and rung only where it has its place', () => {
  const clients = new Clients()
  const [one, two] = [device('1', 'alice'), device('2', 'alice')]
  for (const each of [one, two]) clients.add(each)
  clients.keep(one)
  expect([clients.of('alice'), clients.asideOf('alice')]).toEqual([[two], [one]])
  expect([clients.everyOf('alice').length, clients.byId('1')]).toEqual([2, one])
  clients.add(one)
  expect([clients.of('alice'), clients.asideOf('alice')]).toEqual([[two, one], []])
})

test('what is removed leaves nothing behind', () => {
  const clients = new Clients()
  const [one, two] = [device('1', 'alice'), device('2', 'alice')]
  clients.add(one)
  clients.keep(two)
  for (const each of [one, two]) clients.watch(each, 'bob')
  expect([...clients.watchersOf('bob')]).toEqual([one, two])
  clients.remove(one)
  clients.remove(two)
  clients.remove(two)
  expect([clients.size, clients.everyOf('alice').length, [...clients.watchersOf('bob')].length]).toEqual([
    0, 0, 0,
  ])
})
