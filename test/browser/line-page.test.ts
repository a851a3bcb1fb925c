import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { Pages } from '../../src/http/pages.ts'
import { describeWith, testWith } from '../kit/need.ts'
import { until } from '../kit/until.ts'
import { Caller } from './caller.ts'
import { refusing } from './chromium.ts'
import type { Scene, Stage } from './line-page.ts'
import { readability } from './looks.ts'

const WEB = join(import.meta.dir, '../../src/web')
const LEAF = '#leaf_sywICvC1tnE7D5IOdPahv0NzQC-C3mpNLhluhEEW0vA'
const QUERY = '?apikey=8f711a8f43a3d6fbf9c367a8cd1b68b14db2781273c56e206040ecd31761f9d3ABCDEFGH'
const WORDS = ['kangaroo', 'flamingo', 'elephant', 'blossom']

const DEVICES: Scene['view'] = {
  inputs: [
    { id: 'default', name: 'Default - Built-in Microphone of this device (Realtek Audio)' },
    { id: 'usb', name: 'USB Audio CODEC' },
  ],
  outputs: [{ id: 'default', name: 'Built-in speaker' }],
  input: 'default',
}
const ON: Scene['view'] = { phase: 'on', microphone: 'on', speaker: 'on', awake: true, ...DEVICES }
const OPEN: Scene['report'] = { link: { at: 'open' } }
const DELAY = { total: 84.3, capture: 12, frame: 10, network: 13, buffer: 21, output: 28.3 }
const HERE: Scene['report'] = { ...OPEN, peer: 'here', words: WORDS, peerChanges: 1, delay: DELAY }

const on = (report: Scene['report'] = {}, view: Scene['view'] = {}): Scene => ({
  view: { ...ON, ...view },
  report: { ...OPEN, ...report },
})
const talking = (report: Scene['report'] = {}, view: Scene['view'] = {}): Scene => ({
  view: { ...ON, ...view },
  report: { ...HERE, ...report },
  talkedFor: 83_000,
})
const ended = (why: 'busy' | 'refused' | 'replaced' | 'left'): Scene => ({
  view: { phase: 'ended' },
  report: { link: { at: 'closed', why } },
})

/** Every state, its head, and what must stand there besides. */
const STATES: Readonly<Record<string, readonly [Scene, string, ...string[]]>> = {
  ready: [{}, 'A private call for two', 'ask for the microphone', 'nobody in between can listen'],
  'no leaf': [
    { view: { problem: 'no_leaf' } },
    'Start a private line',
    'ask for the whole link',
    'Start a new line',
  ],
  'bad leaf': [{ view: { problem: 'bad_leaf' } }, 'This link is damaged', 'Start a new line'],
  insecure: [{ view: { problem: 'insecure' } }, 'This page needs HTTPS'],
  unable: [{ view: { problem: 'unable' } }, 'This browser can’t join', 'Try a current Chrome'],
  starting: [{ view: { phase: 'starting' } }, 'Allow the microphone'],
  connecting: [on({ link: { at: 'connecting' } }), 'Connecting', 'Reaching the server'],
  waiting: [on(), 'Waiting for the other person', 'Send them this link', 'Headphones'],
  greeting: [on({ peer: 'greeting' }), 'The other person is here', 'Agreeing on the keys'],
  stranger: [on({ peer: 'stranger' }), 'Whoever is there has another link', 'The link for them'],
  here: [talking(), 'Connected', '1:23', '84 ms from mouth to ear', ...WORDS, 'Read them to one another'],
  'before the words': [talking({ words: null, delay: null }), 'Connected', 'They appear as soon as'],
  muted: [talking({}, { muted: true, headphones: true }), 'Connected', 'You’re muted', 'goes out untouched'],
  'peer muted': [talking({ peerMuted: true }), 'Connected', 'The other person is muted'],
  silent: [talking({ peer: 'silent' }), 'Hold on', 'Nothing has come from the other person'],
  gone: [talking({ peer: 'gone' }), 'The other person left', 'The link for them'],
  reconnecting: [
    { ...talking(), retryIn: 60_000 },
    'Reconnecting',
    'The server is being restarted. Trying again in',
  ],
  broken: [talking({ words: null, wordsBroken: true }), 'Connected', 'The check failed', 'stand between you'],
  thin: [talking({ offerMobile: true }), 'Connected', 'Use the narrow profile'],
  stalled: [talking({ sourceStalled: true }), 'Connected', 'Your microphone gives no sound'],
  refused: [talking({}, { microphone: 'refused' }), 'Connected', 'You’re only listening', 'To allow it'],
  'no microphone': [talking({}, { microphone: 'none' }), 'Connected', 'No microphone was found'],
  'microphone in use': [talking({}, { microphone: 'busy' }), 'Connected', 'Your microphone is in use'],
  'microphone lost': [talking({}, { microphone: 'lost' }), 'Connected', 'Your microphone is gone'],
  blocked: [talking({}, { speaker: 'blocked' }), 'Connected', 'Turn the sound on'],
  interrupted: [talking({}, { speaker: 'interrupted' }), 'Connected', 'Something else has the sound'],
  echoes: [talking({}, { echoes: true }), 'Connected', 'may hear themselves'],
  restarted: [on({}, { trouble: 'restarted' }), 'Waiting for', 'The sound was started again'],
  'hung up': [ended('left'), 'Call ended', 'You hung up', 'Join again'],
  busy: [ended('busy'), 'This line is busy', 'Try again'],
  'key refused': [ended('refused'), 'This link isn’t accepted', 'Ask for a new link'],
  replaced: [ended('replaced'), 'Open somewhere else', 'Join again'],
  'worker gone': [{ view: { phase: 'ended', trouble: 'broken' } }, 'Call ended', 'stopped working'],
}

describeWith('chromium', 'the page of a line', (chromium) => {
  let folder: string
  let browser: Browser
  let server: Bun.Server<undefined>
  let address: string
  const callers: Caller[] = []

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ringdown-line-'))
    await buildInto(folder)
    const pages = new Pages(folder, false)
    server = Bun.serve({
      port: 0,
      async fetch(request) {
        const { pathname } = new URL(request.url)
        const page = pathname === '/line.html' ? await pages.line() : await pages.at(pathname)
        return page ?? new Response(null, { status: 404 })
      },
    })
    address = `http://localhost:${server.port}/line.html${QUERY}${LEAF}`
    browser = await refusing(chromium)
  })

  afterAll(async () => {
    await browser?.close()
    await server?.stop(true)
    rmSync(folder, { recursive: true, force: true })
  })

  // Whatever a test does, the content security policy stops nothing, and nobody else is asked for anything.
  afterEach(async () => {
    for (const it of callers.splice(0)) {
      await it.close()
      expect(it.complaints).toEqual([])
      expect(it.requests.filter((url) => new URL(url).host !== `localhost:${server.port}`)).toEqual([])
      expect(it.requests.filter((url) => url.includes(LEAF.slice(6, 14)))).toEqual([])
    }
  })

  async function opened(scene: Scene = {}, viewport?: { width: number; height: number }): Promise<Caller> {
    const it = await Caller.open(browser, viewport)
    callers.push(it)
    await it.goto(address)
    await it.page.getByRole('heading', { level: 1 }).waitFor()
    await shows(it, scene)
    return it
  }

  test('every state says what is, and what can be done', async () => {
    const it = await opened()
    await inEveryState(it, async (name, said) => {
      const main = await it.page.locator('main').innerText()
      for (const words of said) expect(main, name).toContain(words)
    })
  })

  test.each([
    [360, 640],
    [768, 1024],
    [740, 360],
    [1440, 900],
  ])('nothing is cut off or hidden at %d by %d', async (width, height) => {
    const it = await opened({}, { width, height })
    await inEveryState(it, async (name) => {
      expect(await it.page.evaluate(hiddenOnes), name).toEqual([])
    })
  })

  test.each(['light', 'dark'] as const)('every word can be read in %s', async (colorScheme) => {
    const it = await opened()
    await it.page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    await inEveryState(it, async (name) => {
      expect(await it.page.evaluate(readability), name).toEqual([])
    })
  })

  test('every control has a name, and nothing is named twice', async () => {
    const it = await opened(talking({ offerMobile: true, peer: 'here' }))
    await it.sees('Connected')
    const odd = await it.page.evaluate(() => {
      const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id)
      const twice = ids.filter((id, at) => ids.indexOf(id) !== at)
      const named = [...document.querySelectorAll('[aria-labelledby], [aria-describedby]')]
        .flatMap((element) =>
          `${element.getAttribute('aria-labelledby') ?? ''} ${element.getAttribute('aria-describedby') ?? ''}`.split(
            ' ',
          ),
        )
        .filter((id) => id !== '' && document.getElementById(id) === null)
      return [...twice, ...named]
    })
    expect(odd).toEqual([])
    const { page } = it
    expect(await page.getByRole('heading', { level: 1 }).count()).toBe(1)
    for (const name of ['Mute', 'Hang up', 'They match', 'Use the narrow profile']) {
      expect(await it.button(name).count(), name).toBe(1)
    }
    expect(await page.getByRole('switch', { name: 'Headphones' }).getAttribute('aria-checked')).toBe('false')
    expect(await page.getByRole('meter').count()).toBe(2)
  })

  test('all is within reach of the keyboard, in order, and nothing that has the focus is covered', async () => {
    const it = await opened(talking({ offerMobile: true }), { width: 360, height: 640 })
    await it.sees('Connected')
    const reached: string[] = []
    for (let i = 0; i < 7; i++) {
      await it.page.keyboard.press('Tab')
      // It is scrolled to, which takes a moment.
      await until(async () => !(await it.page.evaluate(focused)).isCovered, 'what has the focus to be seen')
      reached.push((await it.page.evaluate(focused)).name)
    }
    expect(reached).toEqual([
      'Use the narrow profile',
      'They match',
      'Headphones',
      'Devices and sound',
      'What the sound does',
      'Mute',
      'Hang up',
    ])
    await it.page.keyboard.press('Enter')
    await it.sees('Call ended')
    // Whoever reads by ear is taken to where the news is.
    await it.page.waitForFunction(() => document.activeElement?.tagName === 'H1')
    await it.page.keyboard.press('Tab')
    await it.page.keyboard.press('Enter')
    expect(await calls(it)).toEqual(['leave', 'join'])
  })

  test('M mutes, but not in a list of devices; Escape hangs up when it is pressed twice', async () => {
    const it = await opened(talking())
    await it.sees('Connected')
    await it.page.keyboard.press('m')
    await it.reads('You’re muted')
    await it.announces('You’re muted')
    await it.page.getByText('Devices and sound').click()
    await it.page.getByRole('combobox', { name: 'Microphone' }).focus()
    await it.page.keyboard.press('m')
    await it.page.getByRole('heading', { level: 1 }).focus()
    await it.page.keyboard.press('Escape')
    await it.reads('Press Esc again to hang up')
    await it.page.keyboard.press('Escape')
    await it.sees('Call ended')
    await it.reads('You hung up. You talked for 1:2')
    expect(await calls(it)).toEqual(['mute true', 'leave'])
  })

  test('what people choose is what the line is asked for', async () => {
    const it = await opened(talking({ offerMobile: true }, { microphone: 'refused' }))
    await it.press('Ask again')
    await it.page.getByRole('switch', { name: 'Headphones' }).click()
    await it.page.getByText('Devices and sound').click()
    await it.page.getByRole('combobox', { name: 'Microphone' }).selectOption('USB Audio CODEC')
    await it.page.getByRole('combobox', { name: 'Speaker' }).selectOption('Built-in speaker')
    await it.page.getByRole('combobox', { name: 'Sound on the line' }).selectOption({ index: 1 })
    await it.press('Use the narrow profile')
    await it.page.locator('main').getByText('Your connection is too thin').waitFor({ state: 'detached' })
    expect(await calls(it)).toEqual([
      'retry',
      'headphones true',
      'input usb',
      'output default',
      'profile quick',
      'profile mobile',
    ])
  })

  test('words that were compared make room, until somebody else may be at the other end', async () => {
    const it = await opened(talking())
    await it.press('They match')
    await it.reads('Words compared')
    expect(await it.page.locator('main').getByText('kangaroo').count()).toBe(0)
    await it.press('Words compared')
    await it.reads('kangaroo')
    await it.press('Hide')
    await shows(it, { report: { peerChanges: 2, words: ['acorn', 'actor', 'album', 'amber'] } })
    await it.reads('The other end changed')
    await it.reads('acorn')
    await it.announces('Compare the words again')
    await it.press('They match')
    await it.page.locator('main').getByText('The other end changed').waitFor({ state: 'detached' })
    await it.reads('Words compared')
  })

  test('the first peer is no change, and one who comes back is', async () => {
    const it = await opened(on({ peerChanges: 0 }))
    await it.sees('Waiting for the other person')
    await shows(it, { report: HERE })
    await it.sees('Connected')
    await it.reads('kangaroo')
    expect(await it.page.locator('main').getByText('The other end changed').count()).toBe(0)
    await shows(it, { report: { peer: 'gone' } })
    await it.sees('The other person left')
    await shows(it, { report: { peer: 'here', peerChanges: 2 } })
    await it.reads('The other end changed')
    await it.press('I see')
    await it.page.locator('main').getByText('The other end changed').waitFor({ state: 'detached' })
  })

  test('changes are said aloud; levels, delays and the countdown are not, and draw nothing anew', async () => {
    const it = await opened(talking())
    await it.sees('Connected')
    await it.announces('Check words: kangaroo, flamingo, elephant, blossom')
    const changes = await it.page.evaluate(async (delay) => {
      const { stage } = globalThis as unknown as { stage: Stage }
      const spoken = document.querySelector('[role=status]')
      const card = document.querySelector('.check')
      if (spoken === null || card === null) throw new Error('nothing to watch')
      let count = 0
      const watch = new MutationObserver((records) => {
        count += records.length
      })
      for (const element of [spoken, card]) {
        watch.observe(element, { childList: true, characterData: true, subtree: true, attributes: true })
      }
      for (let i = 0; i < 40; i++) {
        const own = { rms: -60 + i, peak: -40 + i }
        stage.show({ report: { own, peerLevel: own, delay: { ...delay, total: 80 + i } } })
        await new Promise(requestAnimationFrame)
      }
      return count
    }, DELAY)
    expect(changes).toBe(0)
    // Nor was it thrown away: the meter and the delay follow.
    await it.reads('119 ms from mouth to ear')
    await shows(it, { report: { peer: 'silent' } })
    await it.sees('Hold on')
    await it.announces('Hold on. Nothing has come from the other person for a moment.')
    await shows(it, { retryIn: 60_000 })
    await it.sees('Reconnecting')
    await it.announces('Reconnecting. The server is being restarted. Trying again.')
  })

  test('the meters follow both voices', async () => {
    const it = await opened(talking())
    const heard = () => it.page.getByRole('meter').evaluateAll((meters) => meters.map((m) => m.ariaValueText))
    const becomes = async (...wanted: string[]) => {
      await it.page.waitForFunction(
        (texts) =>
          [...document.querySelectorAll('meter')].map((m) => m.getAttribute('aria-valuetext')).join() ===
          texts,
        wanted.join(),
      )
    }
    await becomes('silent', 'silent')
    await shows(it, { report: { own: { rms: -20, peak: -9 }, peerLevel: { rms: -50, peak: -40 } } })
    await becomes('speaking', 'quiet')
    await shows(it, { view: { muted: true } })
    await becomes('muted', 'quiet')
    expect(await heard()).toHaveLength(2)
  })

  test('who prefers no motion gets none', async () => {
    const it = await opened()
    await it.page.emulateMedia({ reducedMotion: 'reduce' })
    await shows(it, talking({ peer: 'greeting' }))
    await it.sees('The other person is here')
    const endless = await it.page.evaluate(
      () =>
        document
          .getAnimations()
          .filter((it) => it.effect?.getComputedTiming().iterations === Number.POSITIVE_INFINITY).length,
    )
    expect(endless).toBe(0)
  })

  test('the link is copied whole; where there is no clipboard it is selected', async () => {
    const it = await opened(on())
    await it.page.evaluate(() => {
      navigator.clipboard.writeText = () => Promise.reject(new DOMException('', 'NotAllowedError'))
    })
    await it.press('Copy link')
    await it.button('Copy what’s selected').waitFor()
    expect(await it.page.evaluate(() => document.getSelection()?.toString())).toBe(address)

    const other = await opened(on())
    await other.page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
    await other.press('Copy link')
    await other.button('Copied').waitFor()
    expect(await other.announced()).toBe('Copied')
    expect(await other.page.evaluate(() => navigator.clipboard.readText())).toBe(address)
  })

  testWith('zbarimg', 'a camera reads the whole link, leaf and all, off the screen', async (program) => {
    const it = await opened(on())
    await it.page.emulateMedia({ colorScheme: 'dark' })
    expect(await it.page.getByRole('img', { name: 'QR code of the link' }).count()).toBe(0)
    await it.press('QR code')
    const file = join(folder, 'code.png')
    await it.page.getByRole('img', { name: 'QR code of the link' }).screenshot({ path: file })
    const read = Bun.spawnSync([program, '--raw', '--quiet', file])
    expect(read.stdout.toString().trim()).toBe(address)
  })

  test('numbers are there for who opens them', async () => {
    const it = await opened(talking())
    expect(await it.page.getByText('Clock drift').count()).toBe(0)
    await it.page.getByText('What the sound does').click()
    for (const words of [
      '48 kHz → 200 kHz',
      '1.14 · 1.14 Mbit/s',
      '2 replayed, 1 forged',
      '-12 ppm',
      '28 ms',
    ]) {
      await it.reads(words)
    }
    await it.reads('Delay of the last minute')
    const served = new Bun.CryptoHasher('sha256').update(await (await fetch(address)).text()).digest('hex')
    await it.reads(served.replace(/.{8}(?!$)/g, '$& '))
  })

  test('who has a link without a key can begin a line of their own', async () => {
    const it = await opened({ view: { problem: 'no_leaf', link: null } })
    await it.press('Start a new line')
    await it.page.waitForURL(/#generate_leaf$/)
    expect(it.page.url()).toBe(address.replace(LEAF, '#generate_leaf'))
    await shows(it, { view: { problem: null } })
    await it.sees('A private call for two')
    await it.page.waitForFunction(() => document.activeElement?.tagName === 'H1')
  })

  async function calls(it: Caller): Promise<readonly string[]> {
    return await it.page.evaluate(() => [...(globalThis as unknown as { stage: Stage }).stage.calls])
  }

  /** One after the other on the same page, each as if the page had been loaded for it. */
  async function inEveryState(it: Caller, check: (name: string, said: string[]) => Promise<void>) {
    for (const [name, [scene, title, ...said]] of Object.entries(STATES)) {
      await it.page.evaluate((first) => (globalThis as unknown as { stage: Stage }).stage.begin(first), scene)
      await it.sees(title)
      await check(name, said)
    }
  }

  async function shows(it: Caller, scene: Scene): Promise<void> {
    await it.page.evaluate((shown) => (globalThis as unknown as { stage: Stage }).stage.show(shown), scene)
  }
})

/** As the build does it, but with the line that a test moves. */
async function buildInto(folder: string): Promise<void> {
  const common = { target: 'browser', outdir: join(folder, 'assets') } as const
  await Bun.build({
    ...common,
    entrypoints: [join(import.meta.dir, 'line-page.ts')],
    define: { 'process.env.NODE_ENV': '"production"' },
    jsx: { runtime: 'automatic', importSource: 'preact', development: false },
    splitting: true,
    publicPath: '/assets/',
    naming: { entry: '[name].[ext]', chunk: '[name]-[hash].[ext]' },
  })
  await Bun.build({ ...common, entrypoints: [join(WEB, 'line.css')] })
  const html = await Bun.file(join(WEB, 'line.html')).text()
  writeFileSync(
    join(folder, 'line.html'),
    html
      .replace('./line.tsx', '/assets/line-page.js')
      .replace('./line.css', '/assets/line.css')
      .replace('./icon.svg', '/assets/icon.svg'),
  )
  writeFileSync(join(folder, 'assets/icon.svg'), await Bun.file(join(WEB, 'icon.svg')).text())
}

/**
 * In the page, with all there is on it and read from either side: what stands out of it, is too small for a finger, holds
 * cut words, or lies under something else.
 */
function hiddenOnes(): string[] {
  const found: string[] = []
  for (const more of document.querySelectorAll('details')) more.open = true
  for (const dir of ['ltr', 'rtl']) {
    document.documentElement.dir = dir
    if (document.documentElement.scrollWidth > innerWidth) found.push(`${dir}: wider than the screen`)
    for (const element of document.querySelectorAll<HTMLElement>('main *')) {
      const { overflowX } = getComputedStyle(element)
      const isText =
        element.childElementCount === 0 && !['INPUT', 'SELECT', 'CANVAS', 'OPTION'].includes(element.tagName)
      if (element.closest('.unseen, svg') !== null) continue
      const name = element.textContent?.slice(0, 40) ?? element.tagName
      if (isText && overflowX !== 'visible' && element.scrollWidth > element.clientWidth + 1)
        found.push(`${dir}: cut: ${name}`)
      const { left, right, width } = element.getBoundingClientRect()
      if (width > 0 && (left < -0.5 || right > innerWidth + 0.5)) found.push(`${dir}: outside: ${name}`)
    }
    for (const control of document.querySelectorAll<HTMLElement>('button, summary, select, input')) {
      const name = control.getAttribute('aria-label') ?? control.textContent ?? control.tagName
      control.scrollIntoView({ block: 'center', behavior: 'instant' })
      const { left, top, width, height } = control.getBoundingClientRect()
      if (Math.min(width, height) < 44) found.push(`${dir}: small: ${name}, ${width} by ${height}`)
      if (control.scrollWidth > control.clientWidth + 1 && control.tagName === 'BUTTON')
        found.push(`${dir}: cut: ${name}`)
      const there = document.elementFromPoint(left + width / 2, top + height / 2)
      if (there === null || !(control.contains(there) || there.closest('label')?.contains(control))) {
        found.push(`${dir}: covered: ${name}`)
      }
    }
  }
  return found
}

/** In the page: what has the focus, and whether something lies upon it. */
function focused(): { name: string; isCovered: boolean } {
  const element = document.activeElement
  if (element === null) return { name: 'nothing', isCovered: true }
  const label = element.getAttribute('aria-labelledby')
  const named = (label === null ? null : document.getElementById(label)) ?? element
  const { left, top, width, height } = element.getBoundingClientRect()
  const isCovered = [0.1, 0.5, 0.9].some((part) => {
    const there = document.elementFromPoint(left + width / 2, top + height * part)
    return there === null || !element.contains(there)
  })
  const name = [...(named.textContent ?? '')].join('').replace(/(M|Esc)$/, '')
  return { name, isCovered }
}
