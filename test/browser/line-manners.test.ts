// What a line owes to people beside its sound: that nobody else gets in, that their browser holds the page to its rules,
// and that devices which were lost are found again. What takes long is in test/soak/line-long.test.ts.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { Page } from 'playwright-core'
import { toBase64url } from '../../src/audio/bytes.ts'
import { describeWith } from '../kit/need.ts'
import { TcpProxy } from '../kit/tcp-proxy.ts'
import { until } from '../kit/until.ts'
import { LINE_KEY } from './line-person.ts'
import { hearsTone, LEFT_TONE, lineScene, RIGHT_TONE } from './line-scene.ts'

describeWith('chromium', 'a line and its manners', (chromium) => {
  const scene = lineScene(chromium, { script: watchTracks })
  const { person, talking } = scene
  /** A site of somebody else. */
  let elsewhere: Bun.Server<undefined>

  beforeAll(() => {
    elsewhere = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch: () =>
        new Response(`<!doctype html><iframe src="${pageOf(LINE_KEY)}"></iframe>`, {
          headers: { 'content-type': 'text/html' },
        }),
    })
  })

  afterAll(() => elsewhere?.stop(true))

  const pageOf = (key: string | null) =>
    `${scene.url}/line.html${key === null ? '' : `?apikey=${key}`}#generate_leaf`
  const socketOf = (key: string | null) =>
    `${scene.url.replace('http', 'ws')}/line?${key === null ? '' : `apikey=${key}&`}room=${anId()}&seat=${anId()}`

  test('a key that is wrong, short or missing opens neither the page nor, from any page, a socket', async () => {
    const { page } = await person(scene.left)
    const wrong = [`${LINE_KEY.slice(0, -1)}x`, LINE_KEY.slice(0, 40), null]
    for (const key of wrong) {
      const answer = await page.goto(pageOf(key))
      expect([answer?.status(), await page.locator('button').count()]).toEqual([401, 0])
    }
    await page.goto(pageOf(LINE_KEY))
    expect(await socketsOf(page, [LINE_KEY, ...wrong].map(socketOf))).toEqual([
      'opened',
      'refused',
      'refused',
      'refused',
    ])
    // A page of somebody else, whose visitor has the right key, gets no socket, no text and no frame of ours.
    await page.goto(elsewhere.url.href)
    expect(await socketsOf(page, [socketOf(LINE_KEY)])).toEqual(['refused'])
    const read = await page.evaluate(
      (url) =>
        fetch(url).then(
          () => 'read',
          () => 'refused',
        ),
      pageOf(LINE_KEY),
    )
    expect(read).toBe('refused')
    const frames = () => page.frames().map((frame) => frame.url().split(':')[0])
    await until(() => frames().join() === 'http,chrome-error', 'a frame that is not shown')
  })

  test('a page whose key is taken back says so, and is silent', async () => {
    const a = await person(scene.left)
    await a.page.goto(pageOf(LINE_KEY))
    await a.page.getByRole('button', { name: 'Join the call' }).waitFor()
    await a.page.evaluate(
      (key) => history.replaceState(null, '', location.href.replace(/apikey=[^#&]*/, `apikey=${key}`)),
      'x'.repeat(72),
    )
    await a.joins()
    await a.sees('This link isn’t accepted')
    expect((await a.ear.take()).ear.samples.every((sample) => sample === 0)).toBe(true)
  })

  test('two pages with other leaves hear nothing of each other, even in one room, and both say why', async () => {
    // Who runs the server can seat anybody beside anybody.
    let room: string | null = null
    const proxy = await TcpProxy.start(scene.server.port, () => ({
      fromClient(bytes, passage) {
        const head = bytes.toString('latin1')
        room ??= /^GET \/line\?\S*(room=[\w-]{22})/.exec(head)?.[1] ?? null
        const isSeat = head.startsWith('GET /line?') && room !== null
        passage.toServer(isSeat ? Buffer.from(head.replace(/room=[\w-]{22}/, room ?? ''), 'latin1') : bytes)
      },
    }))
    try {
      const url = `http://127.0.0.1:${proxy.port}`
      const [a, b] = [await person(scene.left), await person(scene.right)]
      const links = [await a.starts(url), await b.starts(url)]
      expect(new URL(links[0] ?? '').hash).toHaveLength('#leaf_'.length + 43)
      expect(links[0]).not.toBe(links[1])
      await Promise.all([a, b].map((it) => it.sees('Whoever is there has another link')))
      for (const it of [a, b]) {
        expect((await it.ear.take()).ear.samples.every((sample) => sample === 0)).toBe(true)
        const { words, delay, numbers } = (await it.report()) ?? {}
        expect({ words, delay, received: numbers?.received }).toEqual({
          words: null,
          delay: null,
          received: 0,
        })
        expect(it.complaints).toEqual([])
      }
    } finally {
      proxy.close()
    }
  })

  test('the browser holds the page to its strict headers, and the page never comes near them', async () => {
    const a = await person(scene.left)
    await a.page.addInitScript(() => {
      const violations: string[] = []
      Object.assign(globalThis, { violations })
      document.addEventListener('securitypolicyviolation', (event) => {
        violations.push(event.effectiveDirective)
      })
    })
    const violations = () =>
      a.page.evaluate(() => (globalThis as unknown as { violations: string[] }).violations)
    await a.starts(scene.url)
    await a.sees('Waiting for the other person')
    expect(await violations()).toEqual([])
    expect(a.complaints).toEqual([])
    const [worker] = a.page.workers()
    expect([
      await a.page.evaluate(() => crossOriginIsolated),
      await worker?.evaluate(() => crossOriginIsolated),
    ]).toEqual([true, true])
    const own = new URL(scene.url).host
    expect(a.requests.length).toBeGreaterThan(3)
    expect(a.requests.filter((url) => new URL(url).host !== own)).toEqual([])

    const features = await a.page.evaluate(() => {
      const { featurePolicy } = document as unknown as {
        featurePolicy: { allowsFeature(name: string): boolean }
      }
      return ['microphone', 'camera', 'geolocation'].map((name) => featurePolicy.allowsFeature(name))
    })
    expect(features).toEqual([true, false, false])
    // The rules are there: each is broken once.
    await a.page.evaluate((url) => {
      document.head.append(
        Object.assign(document.createElement('script'), { text: 'globalThis.isBroken = 1' }),
      )
      document.body.setAttribute('style', 'color: red')
      document.body.append(Object.assign(new Image(), { src: `${url}a.png` }))
      document.body.append(Object.assign(document.createElement('iframe'), { src: url }))
      fetch(url).catch(() => {})
      try {
        new Worker(URL.createObjectURL(new Blob(['postMessage(1)'])))
      } catch {
        // It is told of all the same.
      }
    }, elsewhere.url.href)
    const broken = ['script-src-elem', 'style-src-attr', 'img-src', 'frame-src', 'connect-src', 'worker-src']
    await until(async () => (await violations()).length >= broken.length, 'what was broken', 5_000)
    expect((await violations()).sort()).toEqual(broken.sort())
    expect(await a.page.evaluate(() => 'isBroken' in globalThis)).toBe(false)
  })

  test('microphone and speaker that a browser loses are found again, and both hear each other', async () => {
    const { a, b } = await talking()
    const before = await b.report()
    // What gives a browser its devices is a process of its own. Without it tracks end and contexts fail, as by a device
    // that is pulled out; the next one that asks for devices starts it again.
    const devtools = await scene.left.newBrowserCDPSession()
    const { processInfo } = await devtools.send('SystemInfo.getProcessInfo')
    const sound = processInfo.find(({ type }) => type.includes('AudioService'))
    if (sound === undefined) throw new Error(`no process has the sound: ${JSON.stringify(processInfo)}`)
    process.kill(sound.id, 'SIGKILL')
    const tracks = async () => (await a.ear.look('watchedTracks')) as { given: number; ended: number }
    await until(async () => (await tracks()).ended === 1, 'the end of the track')
    await until(async () => (await tracks()).given === 2, 'another track')
    await Promise.all([hearsTone(a, RIGHT_TONE, LEFT_TONE), hearsTone(b, LEFT_TONE, RIGHT_TONE)])
    expect((await b.report())?.peerChanges).toBe(before?.peerChanges ?? Number.NaN)
  })
})

/** Runs in the page before its own scripts: counts what it was given, and what of it the browser took away. */
function watchTracks(): void {
  const watchedTracks = { given: 0, ended: 0 }
  Object.assign(globalThis, { watchedTracks })
  const { getUserMedia } = MediaDevices.prototype
  MediaDevices.prototype.getUserMedia = async function (constraints) {
    const stream = await getUserMedia.call(this, constraints)
    watchedTracks.given++
    for (const track of stream.getTracks()) track.addEventListener('ended', () => watchedTracks.ended++)
    return stream
  }
}

function anId(): string {
  return toBase64url(crypto.getRandomValues(new Uint8Array(16)))
}

/** What becomes of sockets that a page opens. */
function socketsOf(page: Page, urls: readonly string[]): Promise<string[]> {
  return page.evaluate(
    (all) =>
      Promise.all(
        all.map(
          (url) =>
            new Promise<string>((done) => {
              const socket = new WebSocket(url)
              socket.onopen = () => {
                done('opened')
                socket.close()
              }
              socket.onclose = () => done('refused')
            }),
        ),
      ),
    urls,
  )
}
