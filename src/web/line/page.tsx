/**
 * The screens of the line: one button, the call, how it ended. Draws a `Line` and presses its buttons. Deliberately not
 * here: what a line is made of, and where its link comes from.
 */
import { render } from 'preact'
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { GENERATE_LEAF } from '../../audio/leaf.ts'
import { Announcer } from '../parts/announcer.tsx'
import { Button } from '../parts/button.tsx'
import type { LineProps } from '../parts/line.tsx'
import { Screen } from '../parts/screen.tsx'
import { clockTime } from '../parts/time.ts'
import { text } from '../text.ts'
import { CallScreen } from './call-screen.tsx'
import { useView } from './hooks.ts'
import { ending, problemOf, words } from './text.ts'
import type { Line, View } from './view.ts'

/** Shows a line in this element. */
export function showLine(root: Element, line: Line): void {
  render(<Page line={line} />, root)
}

function Page({ line }: { readonly line: Line }) {
  const view = useView(line)
  const [says, say] = useState('')
  const screen = view.phase === 'ready' ? (view.problem ?? 'ready') : view.phase
  // Until another screen took its place.
  const first = useRef<string | null>(screen)
  const takesFocus = screen !== first.current
  if (takesFocus) first.current = null
  const talked = useTalked(view)
  const join = useCallback(() => {
    line.join().catch(() => {
      // What went wrong stands in the view.
    })
  }, [line])
  useEffect(() => {
    if (view.phase !== 'on') document.title = titleOf(view)
  }, [view])
  return (
    <>
      {screenOf()}
      <Announcer says={says} />
    </>
  )

  function screenOf() {
    switch (view.phase) {
      case 'ready':
        return view.problem === null ? (
          <Screen
            key="ready"
            head={{ ...words.ready, takesFocus }}
            line={lineOf('present', 'unknown')}
            controls={
              <Button kind="primary" onPress={join}>
                {words.ready.button}
              </Button>
            }
          />
        ) : (
          <Screen
            key="problem"
            head={{
              ...problemOf(view.problem),
              tone: view.problem === 'no_leaf' ? 'plain' : 'bad',
              takesFocus,
            }}
            line={lineOf('absent', 'absent')}
            controls={
              (view.problem === 'no_leaf' || view.problem === 'bad_leaf') && (
                <Button kind="primary" onPress={startNewLine}>
                  {words.newLine}
                </Button>
              )
            }
          />
        )
      case 'starting':
        return (
          <Screen
            key="starting"
            head={{ ...words.starting, takesFocus }}
            line={lineOf('arriving', 'unknown')}
            controls={null}
          />
        )
      case 'on':
        return <CallScreen key="on" line={line} view={view} takesFocus={takesFocus} say={say} />
      case 'ended': {
        const { title, body, next } = ending(view)
        const lasted = talked === null ? '' : ` ${words.lasted(clockTime(talked))}`
        return (
          <Screen
            key="ended"
            head={{ title, body: body + lasted, tone: next === 'retry' ? 'bad' : 'plain', takesFocus }}
            line={lineOf('absent', 'absent')}
            controls={
              <Button kind="primary" onPress={join}>
                {next === 'retry' ? words.tryAgain : words.joinAgain}
              </Button>
            }
          />
        )
      }
    }
  }
}

/** How long the peer was here, in ms, from when the call is over; null when nobody was. */
function useTalked({ phase, since }: View): number | null {
  const begun = useRef<number | null>(null)
  const talked = useRef<number | null>(null)
  if (phase === 'ended') {
    if (begun.current !== null) talked.current ??= performance.now() - begun.current
  } else {
    begun.current = since ?? (phase === 'on' ? begun.current : null)
    talked.current = null
  }
  return talked.current
}

/** The address asks for a key of its own, which the line sees. */
function startNewLine(): void {
  location.replace(GENERATE_LEAF)
}

function titleOf(view: View): string {
  switch (view.phase) {
    case 'ready':
      return text.tab((view.problem === null ? words.ready : problemOf(view.problem)).title)
    case 'starting':
    case 'on':
      return text.product
    case 'ended':
      return text.tab(ending(view).title)
  }
}

function lineOf(here: LineProps['self']['presence'], there: LineProps['other']['presence']): LineProps {
  return {
    self: { person: null, presence: here, muted: false },
    other: { person: null, presence: there, name: words.other },
    levels: null,
  }
}
