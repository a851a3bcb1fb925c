/** What the screen of a line shows, and when: meters and the delay in words. Looked at from within, without a picture. */
import { onsets, type Recording } from '../kit/hearing.ts'
import { CHIRP_MS, TONE_MS } from '../kit/ping.ts'
import type { LinePerson } from './line-person.ts'

export type Side = 'self' | 'other'

/** Half of a meter's way: a ping lies above it, its pause below. */
const HALF = 0.5
/** A meter may be ahead of the ear by what waits to be played. */
const AHEAD_MS = 150
/** A ping and its pause are longer than what is looked for. */
const MOST_LATE_MS = 700

interface Seen {
  readonly at: number
  readonly level: number
}

interface Shown {
  readonly at: number
  /** Of the sentence on the screen, in ms. */
  readonly total: number
  /** Which part of it the browser tells of its devices. */
  readonly devices: number
}

interface Watched {
  readonly self: readonly Seen[]
  readonly other: readonly Seen[]
  readonly delays: readonly Shown[]
}

export class Screen {
  readonly #person: LinePerson

  private constructor(person: LinePerson) {
    this.#person = person
  }

  /** Before the page goes anywhere. */
  static async of(person: LinePerson): Promise<Screen> {
    await person.page.addInitScript(watchScreen)
    return new Screen(person)
  }

  /**
   * How many ms after the level rose, and fell, the meter of this side was beyond the half of it: of each ping in the
   * recording.
   */
  async followed(side: Side, recording: Recording, since: number): Promise<number[]> {
    const seen = (await this.#seen())[side].filter(({ at }) => at >= since)
    return onsets(recording.samples, recording.sampleRate).flatMap(({ index }) => {
      const rose = recording.timeOf(index)
      const fell = rose + CHIRP_MS + TONE_MS
      return [...lags(seen, rose, true), ...lags(seen, fell, false)]
    })
  }

  /** What the screen said since then, and what of it is of the devices, in ms. */
  async delays(since: number): Promise<{ shown: number[]; devices: number[] }> {
    const all = (await this.#seen()).delays.filter(({ at }) => at >= since)
    return { shown: all.map(({ total }) => total), devices: all.map(({ devices }) => devices) }
  }

  async #seen(): Promise<Watched> {
    return (await this.#person.ear.look('watchedScreen')) as Watched
  }
}

/** Ms from a step to when the meter went beyond the half; 700 if it never did, none where nothing was seen at all. */
function lags(seen: readonly Seen[], step: number, upwards: boolean): number[] {
  const isBeyond = ({ level }: Seen) => (upwards ? level > HALF : level < HALF)
  const start = seen.findLastIndex(({ at }) => at <= step - AHEAD_MS)
  // What is not drawn anew is as it was.
  const near = seen.slice(Math.max(0, start)).filter(({ at }) => at < step + MOST_LATE_MS)
  const before = near.findIndex((each) => !isBeyond(each))
  const beyond = before < 0 ? undefined : near.slice(before).find(isBeyond)
  return start < 0 ? [] : [beyond === undefined ? MOST_LATE_MS : beyond.at - step]
}

/** Runs in the page before its own scripts. */
function watchScreen(): void {
  interface Sides {
    self: Seen[]
    other: Seen[]
    delays: Shown[]
  }
  const watched: Sides = { self: [], other: [], delays: [] }
  Object.assign(globalThis, { watchedScreen: watched })
  const now = () => performance.timeOrigin + performance.now()
  const keep = <T>(all: T[], one: T) => {
    all.push(one)
    if (all.length > 2_000) all.splice(0, 1_000)
  }
  const observer = new MutationObserver(() => {
    const [self, other] = document.querySelectorAll<HTMLElement>('.party')
    const levelOf = (party: HTMLElement | undefined) => Number(party?.style.getPropertyValue('--level') ?? 0)
    keep(watched.self, { at: now(), level: levelOf(self) })
    keep(watched.other, { at: now(), level: levelOf(other) })
    const words = document.querySelector('.head .body')?.textContent ?? ''
    const total = Number(/^(\d+) ms/.exec(words)?.[1] ?? Number.NaN)
    // What the ear of a person knows of the report that was drawn.
    const { delay } =
      (globalThis as { overheard?: { delay: { capture: number; output: number } | null } }).overheard ?? {}
    if (delay && !Number.isNaN(total))
      keep(watched.delays, { at: now(), total, devices: delay.capture + delay.output })
  })
  observer.observe(document, { subtree: true, attributes: true, attributeFilter: ['style'] })
}
