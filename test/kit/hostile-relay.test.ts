import { afterEach, expect, test } from 'bun:test'
import { findSecret, HostileRelay, pass } from './hostile-relay.ts'
import { until } from './until.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

/** Says what it hears. */
function echo() {
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: (request, it) => (it.upgrade(request) ? undefined : new Response('page')),
    websocket: { message: (socket, message) => void socket.send(message) },
  })
  closers.push(() => void server.stop(true))
  return { port: server.port ?? 0 }
}

async function between() {
  const relay = await HostileRelay.start(echo())
  closers.push(() => relay.close())
  const open = async () => {
    const socket = new WebSocket(`${relay.url.replace('http', 'ws')}/line?apikey=secret`)
    socket.binaryType = 'arraybuffer'
    const heard: Uint8Array[] = []
    let isClosed = false
    socket.onmessage = ({ data }) =>
      heard.push(typeof data === 'string' ? Buffer.from(data) : new Uint8Array(data))
    socket.onclose = socket.onerror = () => {
      isClosed = true
    }
    closers.push(() => socket.close())
    await until(() => isClosed || socket.readyState === WebSocket.OPEN, 'the socket')
    const hears = async (count: number) => {
      await until(() => heard.length >= count, `${count} messages`, 4_000)
      return heard
    }
    return { socket, heard, hears, isClosed: () => isClosed }
  }
  return { relay, open }
}

test('passes requests and messages, and keeps what it saw', async () => {
  const { relay, open } = await between()
  expect(await (await fetch(`${relay.url}/page`)).text()).toBe('page')
  const client = await open()
  client.socket.send(new Uint8Array([1, 2, 3]))
  client.socket.send('words')
  client.socket.send(new Uint8Array(5_000).fill(7))
  const heard = await client.hears(3)
  expect(heard.map((bytes) => bytes.length)).toEqual([3, 5, 5_000])
  expect(relay.requests).toEqual(['GET /page HTTP/1.1', 'GET /line?apikey=secret HTTP/1.1'])
  expect(relay.messages.map(({ way, isText, bytes }) => [way, isText, bytes.length])).toEqual(
    expect.arrayContaining([
      ['up', false, 3],
      ['down', true, 5],
      ['down', false, 5_000],
    ]),
  )
  expect(relay.everything.includes('words')).toBe(true)
})

test('changes, repeats, keeps and makes up messages', async () => {
  const { relay, open } = await between()
  const client = await open()
  relay.meddler = (message) => {
    if (message.way === 'up') return pass(message)
    if (message.bytes[0] === 2) return
    pass(
      message,
      message.bytes.map((byte) => byte ^ 1),
    )
    pass(message)
  }
  client.socket.send(new Uint8Array([2]))
  client.socket.send(new Uint8Array([4]))
  expect(await client.hears(2)).toEqual([new Uint8Array([5]), new Uint8Array([4])])
  relay.open[0]?.send('down', new Uint8Array(300))
  expect((await client.hears(3))[2]?.length).toBe(300)
})

test('a slow link lets through what it is told, in order', async () => {
  const { relay, open } = await between()
  const client = await open()
  relay.cap(800_000)
  const start = performance.now()
  for (let i = 0; i < 10; i++) client.socket.send(new Uint8Array(5_000).fill(i))
  const heard = await client.hears(10)
  expect(heard.map((bytes) => bytes[4_999])).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  // 50 kB at 100 kB/s.
  expect(performance.now() - start).toBeGreaterThan(400)
})

test('what is stopped comes later; what is cut does not come back before it is up', async () => {
  const { relay, open } = await between()
  const client = await open()
  relay.stop('up')
  client.socket.send(new Uint8Array([1]))
  const other = await open()
  other.socket.send(new Uint8Array([2]))
  await other.hears(1)
  expect(client.heard).toEqual([])
  relay.go()
  await client.hears(1)
  relay.down()
  await until(client.isClosed, 'the end')
  expect((await open()).isClosed()).toBe(true)
  relay.up()
  expect((await open()).isClosed()).toBe(false)
})

test('a secret is found whole or in part, in every spelling', () => {
  const secret = crypto.getRandomValues(new Uint8Array(32))
  const text = Buffer.from(secret)
  const said = (part: string | Uint8Array) =>
    findSecret(secret, Buffer.concat([Buffer.from('GET /'), Buffer.from(part), Buffer.from(' HTTP')]))
  expect(said('nothing of it')).toEqual([])
  expect(said(text.subarray(9, 17))).toEqual(['bytes from 9'])
  expect(said(text.toString('hex').toUpperCase()).length).toBeGreaterThan(0)
  for (const from of [0, 1, 2, 7]) {
    expect(said(text.subarray(from, from + 9).toString('base64url')).length).toBeGreaterThan(0)
    expect(said(text.subarray(from, from + 9).toString('base64')).length).toBeGreaterThan(0)
  }
})
