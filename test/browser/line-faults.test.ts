// What networks and browsers do to a call on a line, and how soon it is as it was. More of it: test/soak/line-faults.test.ts.
import { expect, test } from 'bun:test'
import { repeats, sent } from '../kit/frames.ts'
import { describeWith } from '../kit/need.ts'
import { until } from '../kit/until.ts'
import { lineInTrouble } from './line-trouble.ts'

describeWith('chromium', 'a line in trouble', (chromium) => {
  const scene = lineInTrouble(chromium)

  test('a socket that is cut comes back with the same keys, and no counter comes twice', async () => {
    const { a, b } = await scene.talking({ quiet: 0 })
    const kids = () => new Set(sent(scene.relay.messages).map(({ kid }) => kid))
    const before = kids()
    scene.relay.cut()
    await a.knows(({ link }) => link.at !== 'open', 'that it is cut')
    await Promise.all(
      [a, b].map((it) => it.knows(({ link, peer }) => link.at === 'open' && peer === 'here', 'the other')),
    )
    const { length } = scene.relay.messages
    await until(() => scene.relay.messages.length > length + 300, 'more of the call')
    expect(kids()).toEqual(before)
    expect(repeats(sent(scene.relay.messages))).toEqual([])
  })

  test('after a reload of either page there is sound within 3 s', async () => {
    const { a, b } = await scene.talking({ quiet: 0 })
    for (const [one, other] of [
      [b, a],
      [a, b],
    ] as const) {
      const since = Date.now()
      await one.page.reload()
      await one.knows(({ peer }) => peer === 'here', 'the other')
      await other.knows(({ peer, peerChanges }) => peer === 'here' && peerChanges > 0, 'the one that is new')
      const took = await scene.heardAgain(one, since, 10_000)
      expect(took).toBeLessThan(3_000)
    }
    expect(repeats(sent(scene.relay.messages))).toEqual([])
  })

  test('after a restart of the server there is sound within 5 s', async () => {
    const { a, b } = await scene.talking({ quiet: 0 })
    const since = Date.now()
    await scene.server.kill()
    await a.knows(({ link }) => link.at === 'reconnecting', 'that the server is gone')
    await scene.server.start()
    await Promise.all(
      [a, b].map((it) => it.knows(({ link, peer }) => link.at === 'open' && peer === 'here', 'the other')),
    )
    const took = await scene.heardAgain(b, since, 10_000)
    expect(took).toBeLessThan(5_000)
    expect(repeats(sent(scene.relay.messages))).toEqual([])
  })

  test('a link of 1 Mbit/s is never late, and the narrow profile is offered and fits', async () => {
    const { a, b } = await scene.talking({ quiet: 0 })
    scene.relay.cap(1_000_000)
    await a.knows(({ offerMobile }) => offerMobile, 'the offer')
    // In one of some pieces of time; what waits in queues would be later in each.
    const late: number[] = []
    for (let piece = 0; piece < 6 && !late.some((most) => most < 250); piece++) {
      const heard = await scene.listen(a, b, () => Bun.sleep(3_300))
      if (heard.length > 1) late.push(Math.max(...heard.map(({ delay }) => delay)))
    }
    expect(Math.min(...late)).toBeLessThan(250)
    expect((await b.report())?.peer).toBe('here')
    for (const it of [a, b]) await it.press('Use the narrow profile')
    await b.knows(
      ({ numbers }) => numbers.rates.in === 24_000 && numbers.rates.out === 24_000,
      'the narrow profile',
    )
    await scene.recovers(a, b, 150)
  })
})
