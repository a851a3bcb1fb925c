/** What the screens of a line read of it, no oftener than it can be seen. */
import { useEffect, useState } from 'preact/hooks'
import type { Levels } from '../parts/line.tsx'
import type { Line, View } from './view.ts'

/** Speech lies between these, in dB below full scale. */
const SILENT_DB = -60
const LOUD_DB = -10

/**
 * The view, rendered again when something changed that stands in words. Levels, delays and counts change fifteen times a
 * second: whoever shows them asks `line.view` at a pace of its own.
 */
export function useView(line: Line): View {
  const [view, setView] = useState(line.view)
  useEffect(() => {
    let shown = essenceOf(line.view)
    const look = () => {
      const essence = essenceOf(line.view)
      if (essence === shown) return
      shown = essence
      setView(line.view)
    }
    // It may have gone on between the first rendering and now.
    setView(line.view)
    return line.subscribe(look)
  }, [line])
  return view
}

function essenceOf({ report, ...view }: View): string {
  if (report === null) return JSON.stringify(view)
  const { own: _own, peerLevel: _peer, delay: _delay, numbers: _numbers, ...rest } = report
  return JSON.stringify([view, rest])
}

/** How loud both sides are, from 0 to 1, in even steps of loudness. */
export function levelsOf({ view: { report, muted } }: Line): Levels {
  if (report === null) return { self: 0, other: 0 }
  return {
    self: muted ? 0 : shareOf(report.own.rms),
    other: report.peer === 'here' ? shareOf(report.peerLevel.rms) : 0,
  }
}

function shareOf(decibels: number): number {
  return Math.min(1, Math.max(0, (decibels - SILENT_DB) / (LOUD_DB - SILENT_DB)))
}

/**
 * SHA-256 of the page, as the server has it, in hex: what `ringdown verify` says of the page that was built. It names its
 * scripts by their content. Null until it is known, and when the server does not say.
 */
export function usePageHash(isWanted: boolean): string | null {
  const [hash, setHash] = useState<string | null>(null)
  useEffect(() => {
    if (isWanted && hash === null) void pageHash().then(setHash, () => {})
  }, [isWanted])
  return hash
}

async function pageHash(): Promise<string | null> {
  const answer = await fetch(location.pathname + location.search)
  if (!answer.ok) return null
  const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', await answer.arrayBuffer()))
  return Array.from(sum, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
