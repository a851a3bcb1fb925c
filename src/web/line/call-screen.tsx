/** A call on the line: who is there, both sounds, the words, what is wrong, and what can be done. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { RoundButton } from '../parts/button.tsx'
import type { Tone } from '../parts/head.tsx'
import { useKeys, useTick } from '../parts/hooks.ts'
import { HangUp, Microphone } from '../parts/icons.tsx'
import type { Presence } from '../parts/line.tsx'
import { Screen } from '../parts/screen.tsx'
import { clockTime, secondsLeft } from '../parts/time.ts'
import { text } from '../text.ts'
import { CheckCard } from './check.tsx'
import { History } from './history.ts'
import { levelsOf } from './hooks.ts'
import { Invite } from './invite.tsx'
import { Notices, noticesOf } from './notices.tsx'
import { NumbersPanel } from './numbers.tsx'
import { HeadphonesSwitch, Settings } from './settings.tsx'
import { saying, words } from './text.ts'
import type { Line, View } from './view.ts'

/** Time to press Escape again. */
const ARMED_FOR = 3_000
/** Oftener than a second, for the clock to move evenly; as often as a delay can be read. */
const PACE = 500

export interface CallScreenProps {
  readonly line: Line
  readonly view: View
  readonly takesFocus: boolean
  /** Says something to those who do not see it. */
  readonly say: (words: string) => void
}

export function CallScreen({ line, view, takesFocus, say }: CallScreenProps) {
  const { report, muted } = view
  const peer = report?.peer ?? 'absent'
  const isOpen = report?.link.at === 'open'
  const [isArmed, setArmed] = useState(false)
  const { isCompared, isChanged, onCompared, onSeen } = useCompared(view)
  const notices = noticesOf(view, isChanged)
  const history = useMemo(() => new History(), [line])
  useTick(PACE, true)
  useEffect(() => {
    const timer = setInterval(() => {
      const { delay } = line.view.report ?? {}
      if (delay) history.add(delay.total)
    }, PACE)
    return () => clearInterval(timer)
  }, [line, history])
  useEffect(() => {
    if (!isArmed) return
    say(words.sureToHangUp)
    const timer = setTimeout(() => setArmed(false), ARMED_FOR)
    return () => clearTimeout(timer)
  }, [isArmed, say])
  useKeys({
    m: () => line.mute(!line.view.muted),
    escape: () => (isArmed ? line.leave() : setArmed(true)),
  })
  useSpoken(
    view,
    notices.map((notice) => words.notices[notice]),
    say,
  )

  const levels = useMemo(() => () => levelsOf(line), [line])
  const left =
    report?.link.at === 'reconnecting'
      ? secondsLeft(report.link.retryAt, performance.timeOrigin + performance.now())
      : null
  const said = saying(view, left)
  const delay = line.view.report?.delay ?? null
  const isTalking = isOpen && peer === 'here'
  const isTimed = view.since !== null && (isTalking || !isOpen || peer === 'silent')
  return (
    <Screen
      head={{
        title: said.title,
        body: isTalking && delay !== null ? words.delay(delay.total) : said.body,
        tone: toneOf(view),
        timer: isTimed && view.since !== null ? clockTime(performance.now() - view.since) : null,
        takesFocus,
      }}
      line={{
        self: { person: null, presence: presenceOfSelf(view), muted: muted || view.microphone !== 'on' },
        other: {
          person: null,
          presence: presenceOfOther(view),
          name: words.other,
          muted: report?.peerMuted === true && peer === 'here',
        },
        levels,
      }}
      controls={
        <>
          <RoundButton
            name={muted ? words.unmute : words.mute}
            icon={<Microphone off={muted} />}
            onPress={() => line.mute(!muted)}
            hotkey="M"
            kind={muted ? 'pressed' : 'plain'}
          />
          <RoundButton
            name={words.hangUp}
            icon={<HangUp />}
            onPress={() => line.leave()}
            hotkey="Escape"
            kind="danger"
          />
        </>
      }
    >
      {isArmed ? (
        <p class="toast">{words.sureToHangUp}</p>
      ) : muted ? (
        <p class="toast">{words.muted}</p>
      ) : (
        isTalking && report?.peerMuted === true && <p class="toast">{words.peerMuted}</p>
      )}
      <Notices notices={notices} line={line} onSeen={onSeen} />
      {isOpen && view.link !== null && (peer === 'absent' || peer === 'gone' || peer === 'stranger') && (
        <Invite
          link={view.link}
          title={peer === 'absent' ? words.invite.title : words.invite.again}
          say={say}
        />
      )}
      {isTalking && !report.wordsBroken && (
        <CheckCard four={report.words} isCompared={isCompared} onCompared={onCompared} />
      )}
      <section class="card panel">
        <HeadphonesSwitch line={line} view={view} />
        <Settings line={line} view={view} />
        <NumbersPanel line={line} history={history} />
      </section>
    </Screen>
  )
}

/**
 * Whether the words on the screen were compared, and whether the peer changed since anybody took note: other words are
 * other words, and a peer that changes makes new ones.
 */
function useCompared({ report }: View) {
  const four = report?.words?.join(' ') ?? null
  const changes = report?.peerChanges ?? 0
  const [compared, setCompared] = useState<string | null>(null)
  const [seen, setSeen] = useState<number | null>(null)
  const isHere = report?.peer === 'here'
  // The first peer is no change.
  useEffect(() => {
    if (isHere && seen === null) setSeen(changes)
  }, [isHere, seen, changes])
  return {
    isCompared: four !== null && compared === four,
    isChanged: seen !== null && changes > seen,
    onCompared: () => {
      setCompared(four)
      setSeen(changes)
    },
    onSeen: () => setSeen(changes),
  }
}

/** Says what changed, once, and never what changes all the time. */
function useSpoken(
  view: View,
  notices: readonly { readonly title: string; readonly body: string }[],
  say: (words: string) => void,
): void {
  const { muted, report } = view
  // Without the countdown, which would be said every second.
  const said = saying(view, null)
  const state = `${said.title}. ${said.body}`
  useEffect(() => {
    say(state)
    document.title = text.tab(said.title)
  }, [state, say])
  const first = useRef(true)
  useEffect(() => {
    if (!first.current) say(muted ? words.muted : words.unmuted)
  }, [muted, say])
  const peerMuted = report?.peerMuted ?? false
  useEffect(() => {
    if (!first.current) say(peerMuted ? words.peerMuted : words.peerUnmuted)
  }, [peerMuted, say])
  const four = report?.words ?? null
  useEffect(() => {
    if (four !== null) say(`${state} ${words.check.spoken(four)}`)
  }, [four?.join(' '), say])
  const odd = notices.map(({ title, body }) => `${title}. ${body}`).join(' ')
  useEffect(() => {
    if (odd !== '') say(odd)
  }, [odd, say])
  useEffect(() => {
    first.current = false
  }, [])
}

function toneOf({ report }: View): Tone {
  if (report === null) return 'plain'
  if (report.link.at === 'reconnecting') return 'wait'
  if (report.link.at !== 'open') return 'plain'
  switch (report.peer) {
    case 'here':
      return 'good'
    case 'silent':
    case 'stranger':
      return 'wait'
    case 'absent':
    case 'greeting':
    case 'gone':
      return 'plain'
  }
}

function presenceOfSelf({ report }: View): Presence {
  if (report === null || report.link.at === 'connecting') return 'arriving'
  return report.link.at === 'open' ? 'present' : 'away'
}

function presenceOfOther({ report }: View): Presence {
  switch (report?.peer ?? 'absent') {
    case 'absent':
    case 'gone':
      return 'absent'
    case 'greeting':
      return 'arriving'
    case 'here':
      return 'present'
    case 'silent':
    case 'stranger':
      return 'away'
  }
}
