// The client's signalling against a real server, over links that are cut: what it counts must be what the server does.
import { afterEach, expect, test } from 'bun:test'
import { type RideSignal, RideSignalling, socketsOf, systemTimers } from '../../src/client/index.ts'
import { closeServers, type Session, startServer } from '../kit/server.ts'
import { type Link, linkTo } from './link.ts'

const links: Link[] = []

afterEach(async () => {
  for (const link of links.splice(0)) link.close()
  await closeServers()
})

/** A party that keeps every signal in order, so that nothing is missed and nothing sleeps. */
async function party(server: { port: number }, session: Session, user: string) {
  const link = await linkTo(server)
  links.push(link)
  const told: RideSignal[] = []
  let wake = () => {}
  const it = new RideSignalling({
    url: `${link.url.replace('http', 'ws')}/ws`,
    seat: { sessionId: session.session_id, userId: user },
    openSocket: socketsOf(WebSocket),
    timers: systemTimers(),
    random: () => 0.1,
    patience: { first: 10_000, lost: 10_000 },
    tell(signal) {
      told.push(signal)
      wake()
    },
  })
  it.start()
  const until = async (isThere: () => boolean) => {
    while (!isThere()) {
      await new Promise<void>((next) => {
        wake = next
      })
    }
  }
  const count = (is: RideSignal['is']) => told.filter((signal) => signal.is === is).length
  const numbers = () =>
    told.flatMap((signal) =>
      signal.is === 'message' && signal.message.type === 'ice_candidate'
        ? [Number(signal.message.candidate.candidate)]
        : [],
    )
  return { it, link, until, count, numbers }
}

test('what is sent to a party whose link is cut again and again arrives once and in order', async () => {
  const server = await startServer({ MESSAGES_PER_SECOND: '1000' })
  const session = await server.createSession()
  const driver = await party(server, session, 'user_123')
  const passenger = await party(server, session, 'user_789')
  await Promise.all([
    driver.until(() => driver.count('in') > 0),
    passenger.until(() => passenger.count('in') > 0),
  ])

  let sent = 0
  const send = (frames: number) => {
    for (let i = 0; i < frames; i++) {
      driver.it.send({ type: 'ice_candidate', candidate: { candidate: String(sent++) } })
    }
  }
  for (let round = 1; round <= 8; round++) {
    send(10)
    // Some are on the wire, some arrived, some come while nobody is there.
    passenger.link.cut()
    send(10)
    await passenger.until(() => passenger.count('lost') === round)
    send(10)
    passenger.link.mend()
    await passenger.until(() => passenger.count('back') === round)
    await passenger.until(() => passenger.numbers().length === sent)
  }
  expect(passenger.numbers()).toEqual(Array.from({ length: sent }, (_, i) => i))
  expect([passenger.count('in'), driver.count('lost')]).toEqual([1, 0])
  driver.it.close()
  passenger.it.close()
})
