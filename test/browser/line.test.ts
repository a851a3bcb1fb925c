// Two people on a line, in two browsers and over a whole server: that they hear each other, and go on hearing.
import { expect, test } from 'bun:test'
import { describeWith } from '../kit/need.ts'
import { until } from '../kit/until.ts'
import { type LinePerson, talkingOnLine } from './line-person.ts'
import { hearsTone, hearsWell, LEFT_TONE, lineScene, RIGHT_TONE } from './line-scene.ts'

describeWith('chromium', 'a line', (chromium) => {
  const scene = lineScene(chromium, { script: watch })
  const { talking } = scene

  const bothHear = (a: LinePerson, b: LinePerson) =>
    Promise.all([hearsTone(a, RIGHT_TONE, LEFT_TONE), hearsTone(b, LEFT_TONE, RIGHT_TONE)])

  test('two people hear each other, and the page has nothing to complain of', async () => {
    const { a, b } = await talking()
    await bothHear(a, b)
    await Promise.all([hearsWell(a, RIGHT_TONE), hearsWell(b, LEFT_TONE)])
    const [atA, atB] = [await a.report(), await b.report()]
    expect(atA?.words).toHaveLength(4)
    expect(atA?.words).toEqual(atB?.words ?? [])
    expect([a.complaints, b.complaints]).toEqual([[], []])
  })

  test('a page that is loaded again is back in the call without being asked, as muted as it was', async () => {
    const { a, b } = await talking()
    await a.page.reload()
    await bothHear(a, b)
    await a.press('Mute')
    await b.knows(({ peerMuted }) => peerMuted, 'that the other is muted')
    await a.page.reload()
    await b.knows(
      ({ peer, peerMuted, peerChanges }) => peer === 'here' && peerMuted && peerChanges >= 2,
      'mute',
    )
    await a.page.getByRole('button', { name: 'Unmute' }).waitFor()
    expect(await tracksOf(a)).toEqual([{ readyState: 'live', enabled: false, echoCancellation: true }])
  })

  test('headphones turn the echo cancelling off, and the call goes on', async () => {
    const { a, b } = await talking()
    const before = await b.report()
    await a.page.getByRole('switch', { name: 'Headphones' }).click()
    await until(async () => (await tracksOf(a)).length === 2, 'another track')
    await until(async () => (await tracksOf(a))[0]?.readyState === 'ended', 'the end of the last one')
    expect((await tracksOf(a))[1]).toEqual({ readyState: 'live', enabled: true, echoCancellation: false })
    await hearsTone(b, LEFT_TONE, RIGHT_TONE)
    const after = await b.report()
    expect(after?.peerChanges).toBe(before?.peerChanges ?? -1)
  })

  test('a worker that dies is begun anew, and both hear each other again', async () => {
    const { a, b } = await talking()
    await a.page.evaluate(() => {
      const [worker] = (globalThis as unknown as { workers: Worker[] }).workers
      worker?.dispatchEvent(new ErrorEvent('error', { message: 'out of memory' }))
    })
    await b.knows(({ peer, peerChanges }) => peer === 'here' && peerChanges >= 1, 'the other as another page')
    await bothHear(a, b)
  })

  test('a microphone that is taken away is found again', async () => {
    const { a, b } = await talking()
    await a.page.evaluate(() => {
      const [track] = (globalThis as unknown as Watched).tracks
      track?.stop()
      track?.dispatchEvent(new Event('ended'))
    })
    await until(async () => (await tracksOf(a)).length === 2, 'another track')
    await hearsTone(b, LEFT_TONE, RIGHT_TONE)
    expect((await b.report())?.peerChanges).toBe(0)
  })

  test('a browser that lets no worker read its microphone is heard through its context', async () => {
    const a = await scene.person(scene.left)
    await a.page.addInitScript(hideTrackProcessor)
    const b = await scene.person(scene.right)
    await talkingOnLine(a, b, scene.url)
    await bothHear(a, b)
    expect(a.requests.some((url) => url.includes('/assets/capture-'))).toBe(true)
    expect(b.requests.some((url) => url.includes('/assets/capture-'))).toBe(false)
    expect(a.complaints).toEqual([])
  })

  test('who hangs up gives the microphone back, and the other is told', async () => {
    const { a, b } = await talking()
    await a.press('Hang up')
    await b.knows(({ peer }) => peer === 'gone', 'that the other left')
    expect(await tracksOf(a)).toMatchObject([{ readyState: 'ended' }])
    await until(async () => a.page.workers().length === 0, 'the end of the worker')
  })

  test('another link in the address bar is another line, and waits to be asked', async () => {
    const { a, b, link } = await talking()
    await a.page.goto(link.replace(/#leaf_.{4}/, '#leaf_AAAA'))
    await b.knows(({ peer }) => peer === 'gone', 'that the other left')
    await a.page.getByRole('button', { name: 'Join the call' }).waitFor()
    expect(await tracksOf(a)).toMatchObject([{ readyState: 'ended' }])
  })
})

interface Watched {
  readonly tracks: MediaStreamTrack[]
  readonly workers: Worker[]
}

/** What the page was given, in the order in which it was. */
function tracksOf({ page }: LinePerson) {
  return page.evaluate(() =>
    (globalThis as unknown as Watched).tracks.map((track) => ({
      readyState: track.readyState,
      enabled: track.enabled,
      echoCancellation: track.getSettings().echoCancellation,
    })),
  )
}

/** Runs in the page before its own scripts, which do not find it; the ear, which looks later, does. */
function hideTrackProcessor(): void {
  const name = 'MediaStreamTrackProcessor'
  const hidden = Reflect.get(globalThis, name)
  Reflect.deleteProperty(globalThis, name)
  addEventListener('DOMContentLoaded', () => Reflect.set(globalThis, name, hidden))
}

/** Runs in the page before its own scripts: remembers what it asks the browser for. */
function watch(): void {
  const watched: Watched = { tracks: [], workers: [] }
  Object.assign(globalThis, watched)
  const { getUserMedia } = MediaDevices.prototype
  MediaDevices.prototype.getUserMedia = async function (constraints) {
    const stream = await getUserMedia.call(this, constraints)
    watched.tracks.push(...stream.getTracks())
    return stream
  }
  const Original = Worker
  Object.assign(globalThis, {
    Worker: class extends Original {
      constructor(url: string | URL, options?: WorkerOptions) {
        super(url, options)
        watched.workers.push(this)
      }
    },
  })
}
