import { expect, test } from 'bun:test'
import { CLOSE_WATCH, Connection, DEAD, IDLE, OPENS_WITHIN } from './connection.ts'
import { FakeNetwork, HandClock } from './fakes.ts'

function connection() {
  const clock = new HandClock()
  const network = new FakeNetwork()
  const told: string[] = []
  const it = new Connection('ws://here/ws', '{"type":"heartbeat"}', clock, network.open, {
    opened: () => told.push('opened'),
    text: (text) => told.push(text),
    lost: (code) => told.push(`lost ${code}`),
  })
  return { clock, network, told, it, socket: network.last }
}

test('a heartbeat is sent when nothing was heard for a while, and not before', () => {
  const { clock, socket } = connection()
  socket.open()
  clock.wind(IDLE - 1)
  expect(socket.sent).toEqual([])
  clock.wind(1)
  expect(socket.sent).toEqual(['{"type":"heartbeat"}'])
})

test('a connection that talks needs no heartbeat', () => {
  const { clock, socket } = connection()
  socket.open()
  for (let i = 0; i < 20; i++) {
    clock.wind(IDLE / 2)
    socket.say({ type: 'pong' })
  }
  expect(socket.sent).toEqual([])
})

test('a connection on which heartbeats stay unanswered is lost, without a goodbye', () => {
  const { clock, socket, told } = connection()
  socket.open()
  clock.wind(DEAD)
  expect(told).toEqual(['opened', 'lost 1006'])
  expect(socket.closedWith?.code).toBe(4000)
  expect(clock.pending).toBe(0)
})

test('a socket that does not open in time is lost', () => {
  const { clock, told } = connection()
  clock.wind(OPENS_WITHIN)
  expect(told).toEqual(['lost 1006'])
})

test('what comes after a loss is not told', () => {
  const { socket, told } = connection()
  socket.open()
  socket.end(1006)
  socket.say({ type: 'pong' })
  socket.end(1000)
  expect(told).toEqual(['opened', 'lost 1006'])
})

test('closing stops the clock and tells nothing, twice', () => {
  const { clock, socket, told, it } = connection()
  socket.open()
  it.close(1000, '')
  it.close(1000, '')
  socket.end(1000)
  clock.wind(60_000)
  expect(told).toEqual(['opened'])
  expect(clock.pending).toBe(0)
  expect(it.send('x')).toBe(false)
})

test('a connection that is watched more closely from now on is asked before it is called dead', () => {
  const clock = new HandClock()
  const network = new FakeNetwork()
  const told: string[] = []
  let rhythm = { idle: 20_000, dead: 35_000 }
  const on = { opened() {}, text() {}, lost: () => told.push('lost') }
  new Connection('ws://here', 'beat', clock, network.open, on, () => rhythm)
  network.last.open()
  clock.wind(15_000)
  expect(network.last.sent).toEqual([])
  rhythm = CLOSE_WATCH
  clock.wind(1_000)
  expect(network.last.sent).toEqual(['beat'])
  clock.wind(DEAD - IDLE - 1)
  expect(told).toEqual([])
  clock.wind(1_000)
  expect(told).toEqual(['lost'])
})
