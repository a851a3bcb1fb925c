import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { type Coturn, startCoturn } from '../kit/coturn.ts'
import { describeWith, testWith } from '../kit/need.ts'
import { closeServers, type Session, startServer, type TestServer } from '../kit/server.ts'
import { Caller } from './caller.ts'
import { refusing, withTone } from './chromium.ts'
import { type Link, linkTo } from './link.ts'
import { shareOf } from './tone.ts'

/** In the band of speech, and no harmonic of one another. */
const DRIVER_TONE = 500
const PASSENGER_TONE = 1300

const TURN_SECRET = 'not-a-secret-of-anyone-0123456789'

describeWith('chromium', 'the call page', (chromium) => {
  let folder: string
  let left: Browser
  let right: Browser
  const callers: Caller[] = []
  const links: Link[] = []

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ringdown-tones-'))
    const browsers = [
      withTone(chromium, DRIVER_TONE, folder),
      withTone(chromium, PASSENGER_TONE, folder),
    ] as const
    ;[left, right] = await Promise.all(browsers)
  })

  afterAll(async () => {
    await Promise.all([left?.close(), right?.close()])
    rmSync(folder, { recursive: true, force: true })
  })

  afterEach(async () => {
    await Promise.all(callers.splice(0).map((caller) => caller.close()))
    for (const link of links.splice(0)) link.close()
    await closeServers()
  })

  async function caller(browser: Browser, viewport?: { width: number; height: number }): Promise<Caller> {
    const it = await Caller.open(browser, viewport)
    callers.push(it)
    return it
  }

  async function cuttableLink(server: TestServer): Promise<Link> {
    const link = await linkTo(server)
    links.push(link)
    return link
  }

  const trialServer = () => startServer({ ENVIRONMENT: 'development' })

  /** Driver and passenger in a call that the driver's page opened. `via` is where the passenger's page is. */
  async function talking(server: TestServer, via = server.url, query = '') {
    const [driver, passenger] = await Promise.all([caller(left), caller(right)])
    const link = (await driver.starts(server.url, query)).replace(server.url, via)
    await passenger.joins(link)
    await Promise.all([driver.sees('Connected'), passenger.sees('Connected')])
    return { driver, passenger, link }
  }

  testWith(
    'turnserver',
    '[RIDE-21] two people who only have a relay hear each other through it',
    async (program) => {
      let coturn: Coturn | undefined
      try {
        coturn = await startCoturn(program, { secrets: [TURN_SECRET], peers: ['127.0.0.1'] })
        const turn = { TURN_PROVIDER: 'coturn', TURN_URLS: coturn.url, TURN_SECRET }
        const server = await startServer({ ENVIRONMENT: 'development', ...turn })
        const { driver, passenger } = await talking(server, server.url, '?relay=1')
        await Promise.all([driver.hearsTone(PASSENGER_TONE), passenger.hearsTone(DRIVER_TONE)])
        for (const person of [driver, passenger]) {
          expect(await person.selectedPair()).toEqual({ local: 'relay', remote: 'relay' })
        }
      } finally {
        await coturn?.stop()
      }
    },
  )

  test('two people start, join, hear each other, and read how it ended', async () => {
    const server = await trialServer()
    const { driver, passenger, link } = await talking(server)
    const [atDriver, atPassenger] = await Promise.all([
      driver.hearsTone(PASSENGER_TONE),
      passenger.hearsTone(DRIVER_TONE),
    ])
    expect(shareOf(DRIVER_TONE, atDriver.samples, atDriver.sampleRate)).toBeLessThan(0.001)
    expect(shareOf(PASSENGER_TONE, atPassenger.samples, atPassenger.sampleRate)).toBeLessThan(0.001)

    await server.clock.wind(2_000)
    await passenger.press('Hang up')
    await passenger.reads('You hung up. You talked for')
    await driver.reads('The passenger hung up. You talked for')

    const { body } = await server.ask('GET', '/calls')
    expect(body.calls).toMatchObject([
      {
        session_id: new URL(link).searchParams.get('session'),
        driver_id: 'driver',
        passenger_id: 'passenger',
        status: 'ended',
        initiated_by: 'driver',
        end_reason: 'user_terminated',
        ended_by: 'passenger',
      },
    ])
    const [{ created_at, connected_at, ended_at }] = body.calls
    expect(Date.parse(connected_at)).toBeGreaterThanOrEqual(Date.parse(created_at))
    expect(Date.parse(ended_at) - Date.parse(connected_at)).toBe(2_000)

    const token = new URLSearchParams(new URL(link).hash.slice(1)).get('token') ?? 'none'
    for (const { requests, complaints } of [driver, passenger]) {
      expect(complaints).toEqual([])
      const elsewhere = requests.filter((url) => new URL(url).host !== new URL(server.url).host)
      expect(elsewhere).toEqual([])
      expect(requests.filter((url) => url.includes(token))).toEqual([])
    }
  })

  test('"Call again" opens a new call', async () => {
    const server = await trialServer()
    const { driver } = await talking(server)
    await driver.press('Hang up')
    await driver.press('Call again')
    await driver.sees('Waiting for the passenger')
  })

  test('a caller whose network breaks reads so, comes back, and is heard throughout', async () => {
    const server = await trialServer()
    const link = await cuttableLink(server)
    const { driver, passenger } = await talking(server, link.url)
    link.cut()
    await passenger.reads('You lost the connection to the server. Trying for')
    await driver.reads('The passenger lost the connection. Waiting')
    // Sound goes from browser to browser, so it needs no server.
    await Promise.all([driver.hearsTone(PASSENGER_TONE), passenger.hearsTone(DRIVER_TONE)])
    expect(await driver.announced()).toBe('Hold on. The passenger lost the connection. Waiting.')
    link.mend()
    await Promise.all([driver.sees('Connected'), passenger.sees('Connected')])
    await Promise.all([driver.hearsTone(PASSENGER_TONE), passenger.hearsTone(DRIVER_TONE)])
  })

  test('a caller who stays away too long ends the call for the other', async () => {
    const server = await trialServer()
    const link = await cuttableLink(server)
    const { driver, passenger } = await talking(server, link.url)
    link.cut()
    await driver.sees('Hold on')
    await server.clock.wind(15_500)
    await driver.reads('The passenger lost the connection and didn’t come back.')
    link.mend()
    await passenger.reads('The call ended while you were disconnected.')
  })

  test('a page that is loaded again goes on with the call', async () => {
    const server = await trialServer()
    const { driver, passenger } = await talking(server)
    for (const [reloaded, other] of [
      [passenger, driver],
      [driver, passenger],
    ] as const) {
      await reloaded.page.reload()
      await reloaded.sees('Connected')
      await other.sees('Connected')
      await Promise.all([driver.hearsTone(PASSENGER_TONE), passenger.hearsTone(DRIVER_TONE)])
    }
    await driver.press('Hang up')
    await passenger.reads('The driver hung up')
  })

  test('a page that waits still shows its link when it is loaded again', async () => {
    const server = await trialServer()
    const [driver, passenger] = await Promise.all([caller(left), caller(right)])
    const link = await driver.starts(server.url)
    await driver.page.reload()
    await driver.sees('Waiting for the passenger')
    expect(await driver.page.getByLabel('Link for the other person').inputValue()).toBe(link)
    await passenger.joins(link)
    await Promise.all([driver.sees('Connected'), passenger.sees('Connected')])
    await Promise.all([driver.hearsTone(PASSENGER_TONE), passenger.hearsTone(DRIVER_TONE)])
  })

  test('a call outlives a restart of the server', async () => {
    const server = await trialServer()
    const [driver, passenger] = await Promise.all([caller(left), caller(right)])
    const [near, far] = [await cuttableLink(server), await cuttableLink(server)]
    await passenger.joins((await driver.starts(near.url)).replace(near.url, far.url))
    await Promise.all([driver.sees('Connected'), passenger.sees('Connected')])
    const next = await server.again()
    for (const link of [near, far]) link.mend(next)
    await Promise.all([driver.sees('Reconnecting'), passenger.sees('Reconnecting')])
    await Promise.all([driver.sees('Connected'), passenger.sees('Connected')])
    await Promise.all([driver.hearsTone(PASSENGER_TONE), passenger.hearsTone(DRIVER_TONE)])
    await driver.press('Hang up')
    await passenger.reads('The driver hung up')
    expect((await next.ask('GET', '/calls')).body.calls).toMatchObject([{ end_reason: 'user_terminated' }])
  })

  test('mute silences the microphone, by button and by key, and says so', async () => {
    const server = await trialServer()
    const { driver, passenger } = await talking(server)
    await passenger.hearsTone(DRIVER_TONE)
    await driver.press('Mute')
    await driver.reads('You’re muted')
    expect(await driver.announced()).toBe('You’re muted')
    expect(await driver.button('Unmute').isVisible()).toBe(true)
    await passenger.hearsNothing()
    await driver.page.keyboard.press('m')
    await passenger.hearsTone(DRIVER_TONE)
  })

  test('Escape hangs up only when it is pressed twice', async () => {
    const server = await trialServer()
    const { driver } = await talking(server)
    await driver.page.keyboard.press('Escape')
    await driver.reads('Press Esc again to hang up')
    await driver.sees('Connected')
    await driver.page.keyboard.press('Escape')
    await driver.sees('Call ended')
    // Whoever reads by ear is taken to where the news is.
    expect(await driver.page.evaluate(() => document.activeElement?.tagName)).toBe('H1')
  })

  test('the limit is announced, shown, and ends the call', async () => {
    const server = await startServer({ TRY_PAGES: 'true' })
    const session = await server.createSession({ max_duration: 30 })
    const [driver, passenger] = await Promise.all([caller(left), caller(right)])
    await Promise.all([
      driver.joins(seatUrl(server, session, 'driver')),
      passenger.joins(seatUrl(server, session, 'passenger')),
    ])
    await Promise.all([driver.sees('Connected'), passenger.sees('Connected')])
    await server.clock.wind(15_000)
    await driver.reads('left')
    expect(await driver.announced()).toMatch(/^1[0-5] seconds left$/)
    await server.clock.wind(15_000)
    for (const it of [driver, passenger]) {
      await it.sees('Time is up')
      await it.reads('The call reached its longest duration. You talked for')
    }
  })

  test('where the server opens no sessions, the page asks for the seat', async () => {
    const server = await startServer({ TRY_PAGES: 'true' })
    const session = await server.createSession()
    const driver = await caller(left)
    await driver.goto(`${server.url}/call.html`)
    await driver.press('Start a call')
    await driver.reads('This server opens sessions for your app’s backend only.')
    await driver.page.getByLabel('Session ID').fill(session.session_id)
    await driver.page.getByLabel('User ID').fill('user_123')
    await driver.press('Join the call')
    await driver.sees('Waiting for the other person')
  })

  test('a link that is used up, or cut short, says so', async () => {
    const server = await startServer({ TRY_PAGES: 'true', REQUIRE_JOIN_TOKEN: 'true' })
    const session = await server.createSession()
    const it = await caller(left)
    await it.joins(seatUrl(server, session, 'passenger').replace(/#.*/, ''))
    await it.sees('This link isn’t complete')
    await server.ask('DELETE', `/sessions/${session.session_id}`)
    await it.joins(seatUrl(server, session, 'passenger'))
    await it.sees('This link has expired')
  })

  test('a server that cannot be reached is told from one that says no', async () => {
    const server = await trialServer()
    const link = await cuttableLink(server)
    const it = await caller(left)
    await it.goto(`${link.url}/call.html`)
    link.cut()
    await it.press('Start a call')
    await it.sees('Can’t reach the server')
    link.mend()
    await it.press('Try again')
    await it.sees('Waiting for the passenger')
  })

  test('a microphone that is refused is explained, and nothing is opened for it', async () => {
    const server = await trialServer()
    const browser = await refusing(chromium)
    try {
      const it = await Caller.open(browser)
      await it.goto(`${server.url}/call.html`)
      await it.press('Start a call')
      await it.sees('The microphone is blocked')
      expect(await it.button('Try again').isVisible()).toBe(true)
      expect((await server.ask('GET', '/calls')).body.calls).toEqual([])
    } finally {
      await browser.close()
    }
  })

  test.each([
    [360, 640],
    [768, 1024],
    [740, 360],
    [1440, 900],
  ])('nothing is cut off or hidden at %d by %d', async (width, height) => {
    const server = await trialServer()
    const it = await caller(left, { width, height })
    const fits = async () => {
      const over = await it.page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
      expect(over).toBeLessThanOrEqual(0)
      for (const button of await it.page.getByRole('button').all()) {
        const box = await button.boundingBox()
        expect(Math.min(box?.width ?? 0, box?.height ?? 0)).toBeGreaterThanOrEqual(44)
      }
    }
    await it.goto(`${server.url}/call.html`)
    await it.sees('Start a private call')
    await fits()
    await it.press('Start a call')
    await it.sees('Waiting for the passenger')
    await fits()
    await it.press('Cancel')
    await it.sees('Call ended')
    await fits()
  })

  test('every control can be reached and used by keyboard alone', async () => {
    const server = await trialServer()
    const it = await caller(left)
    await it.goto(`${server.url}/call.html`)
    const focused = () =>
      it.page.evaluate(
        () => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent,
      )
    await it.page.keyboard.press('Tab')
    expect(await focused()).toBe('Start a call')
    await it.page.keyboard.press('Enter')
    await it.sees('Waiting for the passenger')
    const reached: (string | null | undefined)[] = []
    for (let i = 0; i < 4; i++) {
      await it.page.keyboard.press('Tab')
      reached.push(await focused())
    }
    expect(reached).toEqual(['Link for the other person', 'Copy link', 'MuteM', 'CancelEsc'])
    await it.page.keyboard.press('Space')
    await it.sees('Call ended')
  })
})

function seatUrl(server: TestServer, session: Session, role: 'driver' | 'passenger'): string {
  const user = role === 'driver' ? 'user_123' : 'user_789'
  const query = new URLSearchParams({ session: session.session_id, user, role })
  return `${server.url}/call.html?${query}#token=${session.join_tokens[role]}`
}
