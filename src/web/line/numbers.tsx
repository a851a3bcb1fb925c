/** The panel for people who want to see what uncompressed sound does on its way. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { useTick } from '../parts/hooks.ts'
import { type History, paintHistory } from './history.ts'
import { usePageHash } from './hooks.ts'
import type { Delay, Numbers } from './messages.ts'
import { words } from './text.ts'
import type { Line } from './view.ts'

export interface NumbersProps {
  readonly line: Line
  readonly history: History
}

const PARTS = ['capture', 'frame', 'network', 'buffer', 'output'] as const satisfies readonly (keyof Delay)[]

export function NumbersPanel({ line, history }: NumbersProps) {
  const [isOpen, setOpen] = useState(false)
  // Nobody sees numbers in a closed panel, and nobody reads them fifteen times a second.
  useTick(500, isOpen)
  const hash = usePageHash(isOpen)
  const { report } = line.view
  return (
    <details class="more" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{words.numbers.title}</summary>
      {isOpen &&
        (report === null ? (
          <p class="hint">{words.numbers.none}</p>
        ) : (
          <>
            {report.delay === null ? (
              <p class="hint">{words.numbers.noDelay}</p>
            ) : (
              <DelayPicture delay={report.delay} history={history} />
            )}
            <dl class="figures">
              {rowsOf(report.numbers).map(([name, value]) => (
                <div key={name}>
                  <dt>{name}</dt>
                  <dd dir="ltr">{value}</dd>
                </div>
              ))}
              <div>
                <dt>{words.numbers.page}</dt>
                <dd dir="ltr">{hash?.match(/.{8}/g)?.join(' ') ?? '–'}</dd>
              </div>
            </dl>
          </>
        ))}
    </details>
  )
}

function DelayPicture({ delay, history }: { delay: Delay; history: History }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const bar = useRef<HTMLDivElement>(null)
  useEffect(() => {
    if (canvas.current !== null) paintHistory(canvas.current, history.points)
    for (const [at, part] of PARTS.entries()) {
      const piece = bar.current?.children[at]
      if (piece instanceof HTMLElement) piece.style.flexGrow = String(Math.max(0, delay[part]))
    }
  })
  const range = history.range
  return (
    <div class="delays">
      {range !== null && <p class="hint">{words.numbers.history(range.low, range.high)}</p>}
      <canvas ref={canvas} class="history" />
      <div ref={bar} class="split" aria-hidden="true">
        {PARTS.map((part) => (
          <span key={part} class={part} />
        ))}
      </div>
      <dl class="legend">
        {PARTS.map((part) => (
          <div key={part} class={part}>
            <dt>{words.numbers.parts[part]}</dt>
            <dd dir="ltr">{ms(delay[part])}</dd>
          </div>
        ))}
      </dl>
    </div>
  )
}

function rowsOf(n: Numbers): readonly (readonly [string, string])[] {
  const { numbers: names } = words
  return [
    [names.profile, names.profiles[n.profile]],
    [names.out, `${khz(n.rates.capture)} → ${khz(n.rates.out)}`],
    [names.in, `${khz(n.rates.in)} → ${khz(n.rates.speaker)}`],
    [names.bucket, `${count(n.bucket.out)} · ${count(n.bucket.in)} B`],
    [names.mbits, `${n.mbits.out.toFixed(2)} · ${n.mbits.in.toFixed(2)} Mbit/s`],
    [names.roundTrip, `${n.roundTrip === null ? '–' : ms(n.roundTrip)} · ${ms(n.jitter)}`],
    [names.sent, `${count(n.sent)} · ${count(n.received)}`],
    [names.dropped, count(n.droppedHere)],
    [names.lost, `${count(n.lost)} · ${count(n.stale)}`],
    [names.refused, refusals(n.refused)],
    [names.concealed, `${ms(n.concealedMs)} · ${count(n.underruns)}`],
    [names.cut, ms(n.cutMs)],
    [names.buffer, `${ms(n.fill)} · ${ms(n.margin)}`],
    [names.drift, `${n.driftPpm > 0 ? '+' : ''}${n.driftPpm.toFixed(0)} ppm`],
    [names.ratio, n.ratio.toFixed(6)],
  ]
}

function refusals(causes: Readonly<Record<string, number>>): string {
  const some = Object.entries(causes).filter(([, times]) => times > 0)
  return some.length === 0 ? '0' : some.map(([cause, times]) => `${count(times)} ${cause}`).join(', ')
}

function khz(rate: number): string {
  return rate === 0 ? '–' : `${rate / 1000} kHz`
}

function ms(millis: number): string {
  return `${millis.toFixed(millis < 10 ? 1 : 0)} ms`
}

function count(n: number): string {
  return n.toLocaleString('en').replaceAll(',', ' ')
}
