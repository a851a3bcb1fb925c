/** The two parties and the line between them: who is there, who speaks, and where it is broken. */
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Person } from '../text.ts'
import { text } from '../text.ts'
import { Microphone, Person as PersonIcon, Wheel } from './icons.tsx'
import { Trace } from './trace.ts'

/** `unknown`: may or may not be there. */
export type Presence = 'unknown' | 'absent' | 'arriving' | 'present' | 'away'

export interface Levels {
  readonly self: number
  readonly other: number
}

export interface LineProps {
  readonly self: { readonly person: Person; readonly presence: Presence; readonly muted: boolean }
  /** `name`: of somebody who has one of their own. */
  readonly other: {
    readonly person: Person
    readonly presence: Presence
    readonly name?: string
    readonly muted?: boolean
  }
  /** How loud both are now, from 0 to 1; null where there is nothing to measure. */
  readonly levels: (() => Levels) | null
}

export function Line({ self, other, levels }: LineProps) {
  const whole = useRef<HTMLDivElement>(null)
  const shown = useLevels(whole, levels)
  const isLive = self.presence === 'present' && other.presence === 'present'
  return (
    <div class={isLive ? 'line live' : 'line'} ref={whole}>
      <Party person={self.person} name={text.you} presence={self.presence}>
        {self.muted && <MutedBadge />}
      </Party>
      <Meter side="self" name={text.meters.self} level={shown.self} muted={self.muted} />
      <span class="node" />
      <Meter
        side="other"
        name={other.name === undefined ? text.meters.other(other.person) : text.meters.named(other.name)}
        level={shown.other}
        muted={other.muted === true}
      />
      <Party person={other.person} name={other.name ?? text.name(other.person)} presence={other.presence}>
        {other.muted === true && <MutedBadge />}
      </Party>
    </div>
  )
}

interface PartyProps {
  readonly person: Person
  readonly name: string
  readonly presence: Presence
  readonly children?: ComponentChildren
}

function Party({ person, name, presence, children }: PartyProps) {
  return (
    <div class={`party ${presence}`}>
      <span class="face">
        {person === 'driver' ? <Wheel /> : <PersonIcon />}
        {children}
      </span>
      <span class="name">{name}</span>
    </div>
  )
}

function MutedBadge() {
  return (
    <span class="badge">
      <Microphone off />
    </span>
  )
}

interface MeterProps {
  readonly side: 'self' | 'other'
  readonly name: string
  readonly level: number
  readonly muted: boolean
}

function Meter({ side, name, level, muted }: MeterProps) {
  const { silent, quiet, speaking } = text.meters
  const words = muted ? text.meters.muted : level < 0.05 ? silent : level < 0.4 ? quiet : speaking
  return (
    <div class={`trace ${side}`}>
      <canvas />
      <meter class="unseen" min={0} max={1} value={level} aria-label={name} aria-valuetext={words} />
    </div>
  )
}

const NO_LEVELS: Levels = { self: 0, other: 0 }
/** In milliseconds. Smooth enough for a trace, and a third of what every frame of the screen would cost. */
const PAINTED_EVERY = 40
const SHOWN_EVERY = 500

/** Paints both traces as long as there is something to see, and returns the levels for those who do not see them. */
function useLevels(whole: { current: HTMLDivElement | null }, levels: (() => Levels) | null): Levels {
  const [shown, setShown] = useState(NO_LEVELS)
  useEffect(() => {
    const element = whole.current
    if (element === null) return
    const [left, right] = element.querySelectorAll('canvas')
    const [selfParty, otherParty] = element.querySelectorAll<HTMLElement>('.party')
    if (left === undefined || right === undefined) return
    const traces = [new Trace(left, false), new Trace(right, true)] as const
    const reduced = matchMedia('(prefers-reduced-motion: reduce)')
    let frame = 0
    let shownAt = 0
    let timer: ReturnType<typeof setTimeout> | undefined
    let peak = NO_LEVELS
    const paint = (now: number) => {
      // A frame that is asked for is drawn, even when nothing moves: so none is, until there is something to see.
      const next = () => {
        if (reduced.matches) paint(performance.now())
        else frame = requestAnimationFrame(paint)
      }
      timer = setTimeout(next, levels === null ? SHOWN_EVERY : PAINTED_EVERY)
      const level = levels?.() ?? NO_LEVELS
      peak = { self: Math.max(peak.self, level.self), other: Math.max(peak.other, level.other) }
      const due = now - shownAt >= SHOWN_EVERY
      if (due) {
        shownAt = now
        setShown(peak)
      }
      if (!reduced.matches || due) {
        const seen = reduced.matches ? peak : level
        traces[0].paint(seen.self, now, reduced.matches)
        traces[1].paint(seen.other, now, reduced.matches)
        selfParty?.style.setProperty('--level', seen.self.toFixed(2))
        otherParty?.style.setProperty('--level', seen.other.toFixed(2))
      }
      if (due) peak = NO_LEVELS
    }
    frame = requestAnimationFrame(paint)
    return () => {
      cancelAnimationFrame(frame)
      clearTimeout(timer)
      for (const trace of traces) trace.close()
    }
  }, [whole, levels])
  return shown
}
