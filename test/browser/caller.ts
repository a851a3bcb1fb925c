/** A person in a browser: presses what a person presses, reads what a person reads, hears what comes in. */
import type { Browser, BrowserContext, Locator, Page } from 'playwright-core'
import { loudness, shareOf } from './tone.ts'

/** Long enough for ICE on a busy machine. */
export const SOON = 15_000

export interface Heard {
  readonly samples: number[]
  readonly sampleRate: number
}

export class Caller {
  readonly page: Page
  /** Addresses that the page asked for. */
  readonly requests: string[] = []
  /** What the page complained about in the console. */
  readonly complaints: string[] = []

  private constructor(page: Page) {
    this.page = page
    page.setDefaultTimeout(SOON)
    page.on('request', (request) => this.requests.push(request.url()))
    page.on('websocket', (socket) => this.requests.push(socket.url()))
    page.on('pageerror', (error) => this.complaints.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error') this.complaints.push(message.text())
    })
  }

  /** A fresh profile: nothing of another caller is remembered. */
  static async open(browser: Browser, viewport = { width: 360, height: 740 }): Promise<Caller> {
    const context = await browser.newContext({ viewport })
    await context.addInitScript(keepWatch)
    return new Caller(await context.newPage())
  }

  /** Another page of a profile that is there already. */
  static async in(context: BrowserContext): Promise<Caller> {
    return new Caller(await context.newPage())
  }

  async goto(url: string): Promise<void> {
    await this.page.goto(url)
  }

  async press(name: string): Promise<void> {
    await this.button(name).click()
  }

  button(name: string): Locator {
    return this.page.getByRole('button', { name })
  }

  /** Waits until the screen's head says this. */
  async sees(title: string): Promise<void> {
    await this.page.getByRole('heading', { level: 1, name: title }).waitFor()
  }

  /** Waits until these words stand somewhere. */
  async reads(words: string): Promise<void> {
    await this.page.locator('main').getByText(words).first().waitFor()
  }

  /** Waits until this is said aloud, by itself or within more. */
  async announces(text: string): Promise<void> {
    await this.page.getByRole('status').filter({ hasText: text }).waitFor({ state: 'attached' })
  }

  /** What a screen reader was told last. */
  announced(): Promise<string> {
    return this.page.getByRole('status').innerText()
  }

  /** Opens a session of its own and waits with the link for the other. */
  async starts(url: string, query = ''): Promise<string> {
    await this.goto(`${url}/call.html${query}`)
    await this.press('Start a call')
    await this.sees('Waiting for the passenger')
    return this.page.getByLabel('Link for the other person').inputValue()
  }

  async joins(link: string): Promise<void> {
    await this.goto(link)
    await this.sees('You’re invited to a call')
    await this.press('Join the call')
  }

  /** The newest 0.7 s of what the page plays. */
  hears(): Promise<Heard> {
    return this.page.evaluate(async () => {
      const stream = document.querySelector('audio')?.srcObject
      if (!(stream instanceof MediaStream)) throw new Error('nothing is played')
      const context = new AudioContext()
      const analyser = new AnalyserNode(context, { fftSize: 32_768 })
      context.createMediaStreamSource(stream).connect(analyser)
      const samples = new Float32Array(analyser.fftSize)
      // The buffer starts empty.
      await new Promise((filled) => setTimeout(filled, (1000 * analyser.fftSize) / context.sampleRate + 100))
      analyser.getFloatTimeDomainData(samples)
      const heard = { samples: [...samples], sampleRate: context.sampleRate }
      await context.close()
      return heard
    })
  }

  /** How many notes of bells and tones were sounded. */
  notes(): Promise<number> {
    return this.page.evaluate(() => (globalThis as { notes?: number }).notes ?? 0)
  }

  /** What kinds of candidates the sound goes between, as the browser itself reports it; null without a way. */
  selectedPair(): Promise<{ local: string; remote: string } | null> {
    return this.page.evaluate(async () => {
      const { connections = [] } = globalThis as { connections?: RTCPeerConnection[] }
      for (const connection of connections) {
        if (connection.connectionState !== 'connected') continue
        // biome-ignore lint/suspicious/noExplicitAny: entries of a report have no common type.
        const stats = (await connection.getStats()) as unknown as Map<string, any>
        for (const { type, selectedCandidatePairId: id } of stats.values()) {
          if (type !== 'transport' || id === undefined) continue
          const { localCandidateId, remoteCandidateId } = stats.get(id)
          const kind = (candidate: string) => stats.get(candidate).candidateType as string
          return { local: kind(localCandidateId), remote: kind(remoteCandidateId) }
        }
      }
      return null
    })
  }

  /** Listens until the tone is most of what comes in, or throws with what came instead. */
  async hearsTone(frequency: number): Promise<Heard> {
    const shares: string[] = []
    for (let i = 0; i < 8; i++) {
      const heard = await this.hears()
      const share = shareOf(frequency, heard.samples, heard.sampleRate)
      if (share > 0.5) return heard
      shares.push(share.toFixed(3))
    }
    throw new Error(`${frequency} Hz is not heard; its share was ${shares.join(', ')}`)
  }

  /** Listens until nothing comes in: what was on its way before a mute is played first. */
  async hearsNothing(): Promise<void> {
    const levels: number[] = []
    while (levels.length < 8) {
      const level = loudness((await this.hears()).samples)
      if (level < -60) return
      levels.push(level)
    }
    throw new Error(`it is not still; there were ${levels.map(Math.round).join(', ')} dB`)
  }

  async close(): Promise<void> {
    await this.page.context().close()
  }
}

/** Runs in the page before its own scripts. */
function keepWatch(): void {
  const connections: RTCPeerConnection[] = []
  const Original = RTCPeerConnection
  Object.assign(globalThis, {
    connections,
    RTCPeerConnection: class extends Original {
      constructor(configuration?: RTCConfiguration) {
        super(configuration)
        connections.push(this)
      }
    },
  })
  const { start } = OscillatorNode.prototype
  const counted = globalThis as { notes?: number }
  OscillatorNode.prototype.start = function (at) {
    if (this.context.state === 'running') counted.notes = (counted.notes ?? 0) + 1
    start.call(this, at)
  }
}
