// What networks and browsers do to a call on a line, and how soon it is as it was. More of it: test/soak/line-faults.test.ts.
import { expect, test } from 'bun:test'
import { repeats, sent } from '../kit/frames.ts'
import { describeWith } from '../kit/need.ts'
import { lineInTrouble } from './line-trouble.ts'

describeWith('chromium', 'a line in trouble', (chromium) => {
  const scene = lineInTrouble(chromium)

  test('a socket that is cut comes back with the same keys, and no counter comes twice', async () => {
    const { a, b } = await scene.talking()
    const kids = () => new Set(sent(scene.relay.messages).map(({ kid }) => kid))
    const before = kids()
    const since = Date.now()
    scene.relay.cut()
    await a.knows(({ link }) => link.at !== 'open', 'that it is cut')
    await Promise.all(
      [a, b].map((it) => it.knows(({ link, peer }) => link.at === 'open' && peer === 'here', 'the other')),
    )
    await b.ear.hear(1_500)
    expect(kids()).toEqual(before)
    expect(repeats(sent(scene.relay.messages))).toEqual([])
    expect(Date.now() - since).toBeLessThan(8_000)
  })

  test('after a reload of either page there is sound within 3 s', async () => {
    const { a, b } = await scene.talking()
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
    const { a, b } = await scene.talking()
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
    const { a, b } = await scene.talking()
    scene.relay.cap(1_000_000)
    const all = await scene.listen(a, b, async () => {
      await Bun.sleep(6_000)
      await a.knows(({ offerMobile }) => offerMobile, 'the offer')
    })
    expect(all.length).toBeGreaterThan(1)
    for (const { delay } of all) expect(delay).toBeLessThan(250)
    expect((await b.report())?.peer).toBe('here')
    for (const it of [a, b]) await it.press('Use the narrow profile')
    await b.knows(
      ({ numbers }) => numbers.rates.in === 24_000 && numbers.rates.out === 24_000,
      'the narrow profile',
    )
    await scene.recovers(a, b, 150)
  })
})
