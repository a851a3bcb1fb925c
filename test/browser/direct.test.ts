import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, BrowserContext } from 'playwright-core'
import { TestClock } from '../kit/clock.ts'
import { type Coturn, startCoturn } from '../kit/coturn.ts'
import { describeWith, testWith } from '../kit/need.ts'
import { closeServers, startServer, type TestServer } from '../kit/server.ts'
import { Caller } from './caller.ts'
import { withTone } from './chromium.ts'
import { linkTo } from './link.ts'
import { shareOf } from './tone.ts'

/** In the band of speech, and no harmonic of one another. */
const ALICE_TONE = 500
const BOB_TONE = 1300

const TURN_SECRET = 'not-a-secret-of-anyone-0123456789'

describeWith('chromium', 'the direct page', (chromium) => {
  let folder: string
  let left: Browser
  let right: Browser
  const people: Caller[] = []

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ringdown-tones-'))
    ;[left, right] = await Promise.all([
      withTone(chromium, ALICE_TONE, folder),
      withTone(chromium, BOB_TONE, folder),
    ])
  })

  afterAll(async () => {
    await Promise.all([left?.close(), right?.close()])
    rmSync(folder, { recursive: true, force: true })
  })

  afterEach(async () => {
    await Promise.all(people.splice(0).map((person) => person.close()))
    await closeServers()
  })

  /** The server's clock shows the time that the pages see, and stands still until it is wound. */
  const server = (settings: Record<string, string> = {}) =>
    startServer({ TRY_PAGES: 'true', ...settings }, { clock: new TestClock(Date.now()) })

  /** Somebody who is online under this name. `context`: another page of the same browser profile. */
  async function joins(
    browser: Browser,
    url: string,
    name: string,
    { query = '', context }: { query?: string; context?: BrowserContext } = {},
  ): Promise<Caller> {
    const person = context === undefined ? await Caller.open(browser) : await Caller.in(context)
    people.push(person)
    await person.goto(`${url}/direct.html${query}`)
    await person.page.getByLabel('Your name').fill(name)
    await person.press('Go online')
    await person.sees(`You’re online as ${name}`)
    return person
  }

  async function two(from: TestServer, query = '') {
    const [alice, bob] = await Promise.all([
      joins(left, from.url, 'alice', { query }),
      joins(right, from.url, 'bob', { query }),
    ])
    return { alice, bob }
  }

  async function calls(person: Caller, name: string): Promise<void> {
    await person.page.getByLabel('Their name').fill(name)
    await person.page.getByRole('button', { name: 'Call', exact: true }).click()
  }

  /** Alice rings Bob. */
  async function ringing(from: TestServer, query = '') {
    const { alice, bob } = await two(from, query)
    await calls(alice, 'bob')
    await Promise.all([alice.sees('Ringing bob'), bob.sees('alice is calling')])
    return { alice, bob }
  }

  async function talking(from: TestServer, query = '') {
    const { alice, bob } = await ringing(from, query)
    await bob.press('Answer')
    await Promise.all([alice.sees('Connected'), bob.sees('Connected')])
    return { alice, bob }
  }

  async function logged(from: TestServer) {
    return (await from.ask('GET', '/calls')).body.calls
  }

  test('two people register, ring, answer, hear each other directly, and read how it ended', async () => {
    const from = await server()
    const { alice, bob } = await ringing(from)
    await Promise.all([alice.reads('It rings for'), bob.reads('It rings for')])
    expect(await bob.page.title()).toBe('alice is calling · Ringdown')
    // A bell here, a tone there, until it is answered.
    expect(await bob.notes()).toBeGreaterThan(0)
    expect(await alice.notes()).toBeGreaterThan(0)
    await bob.page.keyboard.press('a')
    await Promise.all([alice.sees('Connected'), bob.sees('Connected')])
    const rung = await bob.notes()
    const [atAlice, atBob] = await Promise.all([alice.hearsTone(BOB_TONE), bob.hearsTone(ALICE_TONE)])
    expect(shareOf(ALICE_TONE, atAlice.samples, atAlice.sampleRate)).toBeLessThan(0.001)
    expect(shareOf(BOB_TONE, atBob.samples, atBob.sampleRate)).toBeLessThan(0.001)
    for (const person of [alice, bob]) {
      await person.reads('Direct')
      await person.reads('Signed with their key')
    }

    // Both see the same number, which is what they compare.
    const number = async (person: Caller) => {
      await person.press('Signed with their key')
      return person.page.getByRole('list', { name: /^Safety number/ }).innerText()
    }
    const [seenByAlice, seenByBob] = await Promise.all([number(alice), number(bob)])
    expect(seenByAlice.replace(/\s+/g, ' ')).toMatch(/^\d{5}( \d{5}){11}$/)
    expect(seenByBob).toBe(seenByAlice)
    await alice.press('They match')
    await alice.reads('Signed and compared')

    await alice.press('Mute')
    await bob.hearsNothing()
    expect(await bob.notes()).toBe(rung)
    await from.clock.wind(2_000)
    await alice.page.keyboard.press('Escape')
    await alice.reads('Press Esc again to hang up')
    await alice.page.keyboard.press('Escape')
    await alice.reads('You hung up. You talked for')
    await bob.reads('alice hung up. You talked for')

    const [row, ...others] = await logged(from)
    expect(others).toEqual([])
    expect(row).toMatchObject({
      service: 'direct',
      driver_id: 'alice',
      passenger_id: 'bob',
      status: 'ended',
      initiated_by: 'alice',
      end_reason: 'ended',
      ended_by: 'caller',
    })
    expect(Date.parse(row.ended_at) - Date.parse(row.connected_at)).toBe(2_000)
    for (const { requests, complaints } of [alice, bob]) {
      expect(complaints).toEqual([])
      expect(requests.filter((url) => new URL(url).host !== new URL(from.url).host)).toEqual([])
    }
  })

  testWith('turnserver', 'two people who only have a relay hear each other through it', async (program) => {
    let coturn: Coturn | undefined
    try {
      coturn = await startCoturn(program, { secrets: [TURN_SECRET], peers: ['127.0.0.1'] })
      const from = await server({ TURN_PROVIDER: 'coturn', TURN_URLS: coturn.url, TURN_SECRET })
      const { alice, bob } = await talking(from, '?relay=1')
      await Promise.all([alice.hearsTone(BOB_TONE), bob.hearsTone(ALICE_TONE)])
      for (const person of [alice, bob]) {
        await person.reads('Through a relay')
        expect(await person.selectedPair()).toMatchObject({ local: 'relay', remote: 'relay' })
      }
    } finally {
      await coturn?.stop()
    }
  })

  test('without a relay, who asks for nothing else has no way through, and reads so', async () => {
    const from = await server()
    const { alice, bob } = await ringing(from, '?relay=1')
    await bob.press('Answer')
    await bob.sees('Answered')
    await alice.sees('bob answered')
    expect(await alice.selectedPair()).toBeNull()
    await alice.press('Hang up')
    await bob.reads('alice hung up.')
  })

  test('a call is rejected, taken back, not answered, or reaches nobody; each says so at both ends', async () => {
    const from = await server()
    const { alice, bob } = await ringing(from)
    await bob.press('Reject')
    await alice.reads('bob doesn’t want to talk now.')
    await bob.reads('You didn’t take alice’s call.')

    await alice.press('Call again')
    await bob.sees('alice is calling')
    await alice.press('Cancel')
    await alice.reads('You took the call back.')
    await bob.reads('alice hung up before you answered.')
    // Whoever reads by ear is told, and taken to where the news is.
    expect(await bob.announced()).toStartWith('Missed call.')
    expect(await bob.page.evaluate(() => document.activeElement?.tagName)).toBe('H1')

    await alice.press('Call again')
    await bob.sees('alice is calling')
    await from.clock.wind(60_500)
    await alice.reads('bob didn’t pick up.')
    await bob.reads('You didn’t answer alice’s call.')

    await alice.press('Back')
    await calls(alice, 'nobody')
    await alice.sees('nobody isn’t online')
    const reasons = (await logged(from)).map(({ end_reason }: { end_reason: string }) => end_reason)
    expect(reasons).toEqual(['no_answer', 'cancelled', 'rejected'])
  })

  test('all devices of one name ring, the first to answer has the call, and a third person finds it busy', async () => {
    const from = await server()
    const phone = await joins(right, from.url, 'bob')
    const [laptop, alice] = await Promise.all([
      joins(right, from.url, 'bob', { context: phone.page.context() }),
      joins(left, from.url, 'alice'),
    ])
    await calls(alice, 'bob')
    await Promise.all([phone.sees('alice is calling'), laptop.sees('alice is calling')])
    await laptop.press('Answer')
    await phone.reads('You took alice’s call on another device.')
    await Promise.all([alice.sees('Connected'), laptop.sees('Connected')])
    await alice.hearsTone(BOB_TONE)

    const carol = await joins(left, from.url, 'carol')
    await calls(carol, 'bob')
    await carol.reads('bob is in another call.')
  })

  test('a name that is somebody’s is not given away', async () => {
    const from = await server()
    await joins(left, from.url, 'alice')
    const other = await Caller.open(right)
    people.push(other)
    await other.goto(`${from.url}/direct.html`)
    await other.page.getByLabel('Your name').fill('alice')
    await other.press('Go online')
    await other.sees('alice belongs to somebody')
    await other.page.getByLabel('Your name').fill('al ice')
    await other.press('Go online')
    await other.reads('Use 1 to 64 letters')
  })

  test('the name and its key are kept over a reload, and a link says whom to call', async () => {
    const from = await server()
    const alice = await joins(left, from.url, 'alice')
    const fingerprint = async () => {
      await alice.page.locator('summary').click()
      return alice.page.locator('.more code').innerText()
    }
    const before = await fingerprint()
    const link = await alice.page.getByLabel('Link that calls you').inputValue()
    await alice.page.reload()
    expect(await alice.page.getByLabel('Your name').inputValue()).toBe('alice')
    await alice.press('Go online')
    await alice.sees('You’re online as alice')
    expect(await fingerprint()).toBe(before)

    // As a browser is left that dies while its key is replaced: the server knows the next one.
    await alice.page.evaluate(async () => {
      const request = indexedDB.open('ringdown')
      await new Promise((opened) => {
        request.onsuccess = opened
      })
      const store = request.result.transaction('identities', 'readwrite').objectStore('identities')
      const kept = store.get('alice')
      await new Promise((read) => {
        kept.onsuccess = read
      })
      store.put(kept.result, 'alice next')
      request.result.close()
      const old = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
      const again = indexedDB.open('ringdown')
      await new Promise((opened) => {
        again.onsuccess = opened
      })
      again.result.transaction('identities', 'readwrite').objectStore('identities').put(old, 'alice')
    })
    await alice.page.reload()
    await alice.press('Go online')
    await alice.sees('You’re online as alice')
    expect(await fingerprint()).toBe(before)

    const bob = await Caller.open(right)
    people.push(bob)
    await bob.goto(link)
    await bob.reads('Pick a name for yourself, then call alice.')
    await bob.page.getByLabel('Your name').fill('bob')
    await bob.page.keyboard.press('Enter')
    await bob.sees('You’re online as bob')
    expect(await bob.page.getByLabel('Their name').inputValue()).toBe('alice')
    await bob.page.getByRole('button', { name: 'Call', exact: true }).click()
    await alice.sees('bob is calling')
  })

  test('a key that changed is a warning before anything is heard, at either end', async () => {
    const from = await server()
    const { alice, bob } = await talking(from)
    await alice.press('Hang up')
    for (const person of [alice, bob]) await person.press('Back')
    await bob.page.locator('summary').click()
    await bob.press('Replace this key')
    await alice.reads('Key changed')

    await alice.press('Call bob')
    await alice.sees('bob’s key has changed')
    await alice.reads('These numbers are new')
    expect(await bob.page.getByText('is calling').count()).toBe(0)
    await alice.press('Don’t call')
    await alice.press('Back')

    await bob.press('Call alice')
    await alice.sees('bob is calling')
    await alice.reads('Not the key you know')
    await alice.press('Answer')
    await alice.sees('bob’s key has changed')
    expect(await alice.selectedPair()).toBeNull()
    await alice.press('Answer anyway')
    await Promise.all([alice.sees('Connected'), bob.sees('Connected')])
    await alice.hearsTone(BOB_TONE)
    await alice.reads('Signed with their key')
  })

  test('a network that breaks is said, heard through, and come back from', async () => {
    // Identities are proved for the address that the pages have.
    const link = await linkTo({ port: 0 })
    try {
      const from = await server({ SITEURL: link.url })
      link.mend(from)
      const { alice, bob } = await talking({ ...from, url: link.url })
      link.cut()
      for (const person of [alice, bob])
        await person.reads('You lost the connection to the server. Trying for')
      // Sound goes from browser to browser, so it needs no server.
      await Promise.all([alice.hearsTone(BOB_TONE), bob.hearsTone(ALICE_TONE)])
      link.mend()
      await Promise.all([alice.sees('Connected'), bob.sees('Connected')])
      await bob.press('Hang up')
      await alice.reads('bob hung up.')
      expect((await logged(from))[0]).toMatchObject({ end_reason: 'ended', ended_by: 'callee' })
    } finally {
      link.close()
    }
  })

  test('nothing is cut off or hidden, however large the screen and long the names', async () => {
    const from = await server()
    const name = 'b'.repeat(64)
    const [it, other] = await Promise.all([
      joins(left, from.url, 'a'.repeat(64)),
      joins(right, from.url, name),
    ])
    const fits = async () => {
      for (const [width, height] of [
        [360, 640],
        [740, 360],
        [1440, 900],
      ] as const) {
        await it.page.setViewportSize({ width, height })
        const over = await it.page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
        expect(over).toBeLessThanOrEqual(0)
        for (const button of await it.page.getByRole('button').all()) {
          const box = await button.boundingBox()
          expect(Math.min(box?.width ?? 0, box?.height ?? 0)).toBeGreaterThanOrEqual(44)
        }
      }
    }
    await fits()
    await calls(other, 'a'.repeat(64))
    await it.sees(`${name} is calling`)
    await fits()
    await it.press('Answer')
    await it.sees('Connected')
    await fits()
    await it.press('Signed with their key')
    await it.reads('Compare these numbers')
    await fits()
    // However long the number is, hanging up is in reach.
    await it.page.setViewportSize({ width: 360, height: 640 })
    const { y = 0, height = 0 } = (await it.button('Hang up').boundingBox()) ?? {}
    expect(y + height).toBeLessThanOrEqual(640)
    await it.press('Hang up')
    await it.sees('Call ended')
    await fits()
    await it.press('Back')
    await fits()
  })
})
