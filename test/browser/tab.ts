/**
 * A tab as people have it. Playwright has its pages believe that they are looked at, whatever is before them; so one that is to
 * lie in the background is opened beside it, in the browser's own profile, and told what to do through the browser.
 */
import type { Browser, CDPSession } from 'playwright-core'
import type { Report } from '../../src/web/line/messages.ts'
import { Ear, tap } from '../kit/ear.ts'
import { until } from '../kit/until.ts'
import { overhear } from './line-person.ts'

/** What keeps Playwright's tabs awake and silent, for a browser that is to treat them as people's. */
export const UNWATCHED = [
  '--mute-audio',
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
]

interface Answer {
  readonly id?: number
  readonly result?: unknown
  readonly error?: { readonly message: string }
}

export class Tab {
  readonly #devtools: CDPSession
  readonly #session: string
  readonly #target: string
  readonly #waiting = new Map<number, { answer: (result: unknown) => void; fail: (error: Error) => void }>()
  #asked = 0
  readonly ear: Ear

  private constructor(devtools: CDPSession, target: string, session: string) {
    this.#devtools = devtools
    this.#target = target
    this.#session = session
    devtools.on('Target.receivedMessageFromTarget', ({ sessionId, message }) => {
      if (sessionId === session) this.#heard(JSON.parse(message) as Answer)
    })
    this.ear = new Ear({
      send: (method, params) => this.#send(method, params) as ReturnType<Ear['look']> as never,
    })
  }

  /** In front of the tabs that there are. */
  static async open(browser: Browser): Promise<Tab> {
    const devtools = await browser.newBrowserCDPSession()
    const { targetId } = await devtools.send('Target.createTarget', { url: 'about:blank' })
    const { sessionId } = await devtools.send('Target.attachToTarget', { targetId, flatten: false })
    const tab = new Tab(devtools, targetId, sessionId)
    await tab.#send('Page.enable')
    for (const script of [tap, overhear])
      await tab.#send('Page.addScriptToEvaluateOnNewDocument', { source: `(${script})()` })
    return tab
  }

  async goto(url: string): Promise<void> {
    await this.#send('Page.navigate', { url })
  }

  /** As a person does it. */
  async press(name: string): Promise<void> {
    const find = `[...document.querySelectorAll('button')].find((it) => it.textContent.includes(${JSON.stringify(name)}))`
    await until(async () => (await this.ear.look(`${find} !== undefined`)) === true, `“${name}”`)
    await this.#send('Runtime.evaluate', { expression: `${find}.click()`, userGesture: true })
  }

  async sees(title: string): Promise<void> {
    const heading = `document.querySelector('h1')?.textContent === ${JSON.stringify(title)}`
    await until(async () => (await this.ear.look(heading)) === true, `“${title}”`)
  }

  async report(): Promise<Report | null> {
    return (await this.ear.look('globalThis.overheard ?? null')) as Report | null
  }

  /** Whether the browser says that people do not see it. */
  async isHidden(): Promise<boolean> {
    return (await this.ear.look('document.visibilityState')) === 'hidden'
  }

  async close(): Promise<void> {
    await this.#devtools.send('Target.closeTarget', { targetId: this.#target })
    await this.#devtools.detach()
  }

  #send(method: string, params: object = {}): Promise<unknown> {
    const id = ++this.#asked
    const answered = new Promise((answer, fail) => this.#waiting.set(id, { answer, fail }))
    const message = JSON.stringify({ id, method, params })
    return this.#devtools
      .send('Target.sendMessageToTarget', { sessionId: this.#session, message })
      .then(() => answered)
  }

  #heard({ id = 0, result, error }: Answer): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) waiting?.answer(result)
    else waiting?.fail(new Error(error.message))
  }
}
