/** What Chromium counts of the sound that its speaker wanted and did not get, whatever the page did to hide it. */
import type { Page } from 'playwright-core'
import type { LinePerson } from './line-person.ts'

/** As AudioPlaybackStats of the Web Audio API; of all contexts of the page. Brought up to date once a second. */
export interface Playback {
  readonly underrunEvents: number
  /** In seconds. */
  readonly underrunDuration: number
  readonly totalDuration: number
}

/** Before the page goes anywhere. */
export async function watchPlayback(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const contexts: AudioContext[] = []
    const Original = AudioContext
    Object.assign(globalThis, {
      contexts,
      AudioContext: class extends Original {
        constructor(options?: AudioContextOptions) {
          super(options)
          contexts.push(this)
        }
      },
    })
  })
}

/** Since the page was loaded. Throws where the browser counts nothing. */
export async function playbackOf({ ear }: LinePerson): Promise<Playback> {
  const all = (await ear.look('contexts.map(({ playbackStats }) => playbackStats.toJSON())')) as Playback[]
  const sum = (of: (one: Playback) => number) => all.reduce((total, one) => total + of(one), 0)
  return {
    underrunEvents: sum((one) => one.underrunEvents),
    underrunDuration: sum((one) => one.underrunDuration),
    totalDuration: sum((one) => one.totalDuration),
  }
}
