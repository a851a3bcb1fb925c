// What slow links and busy machines do to a call on a line, and that it is as it was afterwards.
import { expect, test } from 'bun:test'
import type { Browser } from 'playwright-core'
import { BUSY, lineInTrouble } from '../browser/line-trouble.ts'
import { pass } from '../kit/hostile-relay.ts'
import { describeWith } from '../kit/need.ts'

describeWith('chromium', 'a line in more trouble', (chromium) => {
  const scene = lineInTrouble(chromium)

  test('after a stall of 300 ms the delay is as it was within half a second', async () => {
    const { a, b } = await scene.talking()
    const before = await scene.usual(a, b)
    const over: number[] = []
    const all = await scene.listen(a, b, async () => {
      for (let i = 0; i < 3; i++) {
        scene.relay.stop('up', 'down')
        await Bun.sleep(300)
        scene.relay.go()
        over.push(Date.now())
        await Bun.sleep(1_700)
      }
    })
    const after = all
      .filter(({ at, delay }) => over.some((time) => at - delay > time + 500 && at < time + 1_700))
      .map(({ delay }) => delay)
    expect(after.length).toBeGreaterThan(0)
    expect(Math.min(...after)).toBeLessThan(before + BUSY)
  })

  test('a link of 2.5 Mbit/s loses nothing', async () => {
    const { a, b } = await scene.talking()
    scene.relay.cap(2_500_000)
    const lost = async () =>
      ((await b.report())?.numbers.lost ?? 0) + ((await b.report())?.numbers.droppedHere ?? 0)
    // In one of some pieces of time: a machine that is busy with other things loses by itself.
    let less = Number.POSITIVE_INFINITY
    let all: { delay: number }[] = []
    for (let i = 0; i < 5 && less > 0; i++) {
      const before = await lost()
      all = await scene.listen(a, b, () => Bun.sleep(3_000))
      less = (await lost()) - before
    }
    expect(less).toBe(0)
    expect(Math.min(...all.map(({ delay }) => delay))).toBeLessThan(40 + BUSY)
  })

  test.each([
    ['one end reads nothing for 2 s', ['down']],
    ['both directions stall together for 2 s', ['up', 'down']],
  ] as const)('%s, and then it is as it was', async (_, ways) => {
    const { a, b } = await scene.talking()
    const before = await scene.usual(a, b)
    for (const passage of ways.length === 1 ? scene.relay.open.slice(1) : scene.relay.open)
      passage.stop(...ways)
    await Bun.sleep(2_000)
    scene.relay.go()
    await Bun.sleep(1_000)
    await scene.recovers(a, b, before + BUSY)
  })

  test('a page that is frozen for 150 ms, or busy 200 ms of each second, is as before', async () => {
    const { a, b } = await scene.talking()
    const before = await scene.usual(a, b)
    for (const browser of scene.browsers) await freeze(browser, 150)
    await scene.recovers(a, b, before + BUSY)
    for (const { page } of [a, b]) await page.evaluate(busy)
    await scene.recovers(a, b, before + BUSY)
  })

  test('a way that becomes 240 ms longer is learned, and nothing more is lost', async () => {
    const { a, b } = await scene.talking()
    scene.relay.meddler = (message) => void setTimeout(() => pass(message), 120)
    await scene.recovers(a, b, 500, 8)
    expect((await b.report())?.peer).toBe('here')
  })
})

/** Stops the processes in which pages run. */
async function freeze(browser: Browser, ms: number): Promise<void> {
  const devtools = await browser.newBrowserCDPSession()
  const { processInfo } = await devtools.send('SystemInfo.getProcessInfo')
  const pids = processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => id)
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  await Bun.sleep(ms)
  for (const pid of pids) process.kill(pid, 'SIGCONT')
  await devtools.detach()
}

/** Runs in the page. */
function busy(): void {
  setInterval(() => {
    const start = performance.now()
    while (performance.now() - start < 200);
  }, 1_000)
}
