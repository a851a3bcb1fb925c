/** A person on a line, in a browser whose sound is heard from outside. */
import type { Browser, Page } from 'playwright-core'
import type { Delay, Report } from '../../src/web/line/messages.ts'
import { Ear } from '../kit/ear.ts'
import { until } from '../kit/until.ts'

export const LINE_KEY = `line-${'k'.repeat(72)}`

/** Long enough for a busy machine. */
const SOON = 20_000

export class LinePerson {
  readonly page: Page
  readonly ear: Ear
  /** Addresses that the page asked for. */
  readonly requests: string[] = []
  /** What the page complained about in the console. */
  readonly complaints: string[] = []

  private constructor(page: Page, ear: Ear) {
    this.page = page
    this.ear = ear
    page.setDefaultTimeout(SOON)
    page.on('request', (request) => this.requests.push(request.url()))
    page.on('websocket', (socket) => this.requests.push(socket.url()))
    page.on('pageerror', (error) => this.complaints.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error') this.complaints.push(message.text())
    })
  }

  /** A fresh profile: nothing of another person is remembered. */
  static async open(browser: Browser): Promise<LinePerson> {
    const context = await browser.newContext({ viewport: { width: 360, height: 740 } })
    const page = await context.newPage()
    await page.addInitScript(overhear)
    return new LinePerson(page, await Ear.at(page))
  }

  /** Makes a line on this server, and is on it. Returns the link for the other end. */
  async starts(url: string, query = ''): Promise<string> {
    await this.page.goto(`${url}/line.html?apikey=${LINE_KEY}${query}#generate_leaf`)
    await this.page.waitForURL(/#leaf_/)
    const link = this.page.url()
    await this.joins()
    return link
  }

  async goes(link: string): Promise<void> {
    await this.page.goto(link)
    await this.joins()
  }

  async joins(): Promise<void> {
    await this.press('Join the call')
  }

  async press(name: string): Promise<void> {
    await this.page.getByRole('button', { name }).click()
  }

  /** Waits until the screen's head says this. */
  async sees(title: string): Promise<void> {
    await this.page.getByRole('heading', { level: 1, name: title }).waitFor()
  }

  /** What the worker said last. */
  async report(): Promise<Report | null> {
    return (await this.ear.look('globalThis.overheard ?? null')) as Report | null
  }

  /** Waits until the worker says what is wanted. */
  async knows(wanted: (report: Report) => boolean, what: string, deadline = SOON): Promise<Report> {
    let last: Report | null = null
    await until(
      async () => {
        await Bun.sleep(20)
        last = await this.report()
        return last !== null && wanted(last)
      },
      what,
      deadline,
    )
    return last as unknown as Report
  }

  /** Waits until nothing was missing for so long; in vain on a machine that is too busy, and then it goes on as it is. */
  async settles(quiet = 1_500, deadline = 12_000): Promise<void> {
    const start = Date.now()
    let [concealed, since] = [Number.NaN, start]
    while (Date.now() - since < quiet && Date.now() - start < deadline) {
      await Bun.sleep(100)
      const now = (await this.report())?.numbers.concealedMs ?? Number.NaN
      if (now !== concealed) [concealed, since] = [now, Date.now()]
    }
  }

  /** The delays that were shown since this time, by `Date.now()`. */
  async shown(since: number): Promise<number[]> {
    const all = (await this.ear.look('globalThis.delaysShown ?? []')) as { at: number; delay: Delay }[]
    // What the devices add, an ear in the browser does not hear: it is after the microphone, and before the speaker.
    return all.filter(({ at }) => at >= since).map(({ delay }) => delay.total - delay.capture - delay.output)
  }

  async close(): Promise<void> {
    await this.page.context().close()
  }
}

/** Runs in the page before its own scripts: hears what its worker says. */
export function overhear(): void {
  const Original = Worker
  const delaysShown: { at: number; delay: Delay }[] = []
  Object.assign(globalThis, {
    delaysShown,
    Worker: class extends Original {
      constructor(url: string | URL, options?: WorkerOptions) {
        super(url, options)
        this.addEventListener('message', ({ data }) => {
          if (data?.type === 'report') {
            Object.assign(globalThis, { overheard: data.report })
            const { delay } = data.report
            if (delay) delaysShown.push({ at: performance.timeOrigin + performance.now(), delay })
            if (delaysShown.length > 1_000) delaysShown.splice(0, 500)
          }
          if (data?.type === 'fault') console.error(data.message)
        })
      }
    },
  })
}

/** Two people who hear each other; the second came by `via`, or by the address of the first. */
export async function talkingOnLine(
  first: LinePerson,
  second: LinePerson,
  url: string,
  { query = '', via = url }: { query?: string; via?: string } = {},
): Promise<string> {
  const link = await first.starts(url, query)
  await second.goes(link.replace(url, via))
  await Promise.all([first.sees('Connected'), second.sees('Connected')])
  return link
}
