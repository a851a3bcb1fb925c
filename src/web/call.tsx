/**
 * `/call.html`: a ride call in a browser. Opens a session and shows the link for the other end, or takes the seat that
 * its address names. The address of a seat is kept as the page's own, so that a reload comes back to the call.
 */
import { render } from 'preact'
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import {
  MicrophoneError,
  openMicrophone,
  RideCall,
  type RideCallState,
  type RideEnd,
  type RideResumption,
} from '../client/index.ts'
import { linkTo, type Place, placeIn, relayOnly, socketUrl } from './address.ts'
import { CallScreen, otherOf } from './call-screen.tsx'
import { keep, takeKept } from './memory.ts'
import { Button } from './parts/button.tsx'
import type { Invite } from './parts/invite.tsx'
import type { LineProps } from './parts/line.tsx'
import { Screen } from './parts/screen.tsx'
import { SeatForm } from './parts/seat-form.tsx'
import { clockTime } from './parts/time.ts'
import { ending, type Person, saying, text } from './text.ts'
import { openTrial } from './trial.ts'

type Ended = RideCallState & { at: 'ended' }

type View =
  | { at: 'start' }
  /** `noTrial`: because this server opens no sessions for this page. */
  | { at: 'form'; noTrial: boolean }
  | { at: 'invited'; place: Place }
  /** On the way to a session of our own. */
  | { at: 'preparing'; to: 'microphone' | 'server' }
  | { at: 'call'; call: RideCall; place: Place; invite: Invite | null }
  /** `retry`: takes the same seat again, where there was one. */
  | { at: 'over'; ended: Ended; self: Person; retry: (() => void) | null }

function Page() {
  const [view, setView] = useState<View>(viewOfAddress)
  const first = useRef(view)
  const takesFocus = view !== first.current

  const enter = useCallback((place: Place, invite: Invite | null, given: Given = {}) => {
    history.replaceState(null, '', linkTo(place, location.href))
    const call = new RideCall({
      url: socketUrl(location.href),
      seat: place,
      role: place.role ?? undefined,
      resume: given.resume,
      microphone: once(given.microphone),
      iceTransportPolicy: relayOnly(location.href) ? 'relay' : undefined,
    })
    call.on('state', (state) => {
      if (state.at !== 'ended') return
      // What is over has no address.
      if (!canTakeAgain(state.reason)) history.replaceState(null, '', location.pathname)
      setView({ at: 'over', ended: state, self: call.role, retry: () => enter(place, invite) })
    })
    setView({ at: 'call', call, place, invite })
    void call.start()
  }, [])

  const callSomeone = useCallback(async () => {
    setView({ at: 'preparing', to: 'microphone' })
    let microphone: MediaStream | undefined
    try {
      // Before the session, whose time runs.
      microphone = await openMicrophone()
      setView({ at: 'preparing', to: 'server' })
      const trial = await openTrial()
      if (trial === null) {
        stop(microphone)
        return setView({ at: 'form', noTrial: true })
      }
      const invite = {
        link: linkTo(trial.passenger, location.href),
        until: Date.now() + trial.expiresIn * 1000,
      }
      enter(trial.driver, invite, { microphone })
    } catch (error) {
      stop(microphone)
      const reason: RideEnd = error instanceof MicrophoneError ? error.reason : 'unreachable'
      setView({ at: 'over', ended: { at: 'ended', reason, by: null, lasted: null }, self: null, retry: null })
    }
  }, [enter])

  // A page that is loaded again goes on without being asked.
  useEffect(() => {
    if (view.at !== 'invited') return
    const kept = takeKept(view.place)
    if (kept !== null) enter(view.place, kept.invite, { resume: kept.resumption })
  }, [])

  useEffect(() => {
    if (view.at !== 'call') return
    const { call, place, invite } = view
    const leave = () => {
      const { resumption } = call
      if (resumption !== null) keep(place, { resumption, invite })
    }
    addEventListener('pagehide', leave)
    return () => removeEventListener('pagehide', leave)
  }, [view])

  useEffect(() => {
    if (view.at !== 'call') document.title = titleOf(view)
  }, [view])

  switch (view.at) {
    case 'start':
      return (
        <Screen
          key="start"
          head={{ ...text.start, takesFocus }}
          line={lineOf('driver', 'present', 'absent')}
          isStacked
          controls={
            <>
              <Button kind="primary" onPress={() => void callSomeone()}>
                {text.start.button}
              </Button>
              <Button kind="quiet" onPress={() => setView({ at: 'form', noTrial: false })}>
                {text.start.other}
              </Button>
            </>
          }
        />
      )
    case 'form':
      return (
        <SeatForm
          takesFocus={takesFocus}
          noTrial={view.noTrial}
          onSeat={(place) => enter(place, null)}
          onBack={() => setView({ at: 'start' })}
        />
      )
    case 'invited': {
      const { place } = view
      return (
        <Screen
          key="invited"
          head={{ title: text.invited.title, body: text.invited.body(place.role), takesFocus }}
          line={lineOf(place.role, 'present', 'unknown')}
          controls={
            <Button kind="primary" onPress={() => enter(place, null)}>
              {text.invited.button}
            </Button>
          }
        />
      )
    }
    case 'preparing':
      return (
        <Screen
          key="preparing"
          head={{ ...saying({ at: 'connecting', to: view.to }, null, null), takesFocus }}
          line={lineOf('driver', 'arriving', 'absent')}
          controls={null}
        />
      )
    case 'call':
      return (
        <CallScreen takesFocus={takesFocus} call={view.call} role={view.place.role} invite={view.invite} />
      )
    case 'over':
      return <Over view={view} onAgain={() => void callSomeone()} />
  }
}

interface OverProps {
  readonly view: View & { at: 'over' }
  readonly onAgain: () => void
}

function Over({ view: { ended, self, retry }, onAgain }: OverProps) {
  const { title, body, next } = ending(ended.reason, ended.by, self, otherOf(self))
  const lasted = ended.lasted === null ? '' : ` ${text.lasted(clockTime(ended.lasted))}`
  const isRetry = next === 'retry'
  return (
    <Screen
      head={{ title, body: body + lasted, tone: isRetry ? 'bad' : 'plain', takesFocus: true }}
      line={lineOf(self, isRetry ? 'away' : 'absent', 'absent')}
      controls={
        <Button kind="primary" onPress={isRetry && retry !== null ? retry : onAgain}>
          {isRetry
            ? text.controls.tryAgain
            : ended.lasted === null
              ? text.controls.newCall
              : text.controls.again}
        </Button>
      }
    />
  )
}

/** What a new call is given by who was there before it. */
interface Given {
  readonly microphone?: MediaStream
  readonly resume?: RideResumption
}

function viewOfAddress(): View {
  const place = placeIn(location.href)
  return place === null ? { at: 'start' } : { at: 'invited', place }
}

function titleOf(view: Exclude<View, { at: 'call' }>): string {
  switch (view.at) {
    case 'start':
    case 'preparing':
      return text.product
    case 'form':
      return text.tab(text.form.title)
    case 'invited':
      return text.tab(text.invited.title)
    case 'over':
      return text.tab(ending(view.ended.reason, view.ended.by, view.self, otherOf(view.self)).title)
  }
}

function lineOf(
  self: Person,
  here: LineProps['self']['presence'],
  there: LineProps['other']['presence'],
): LineProps {
  return {
    self: { person: self, presence: here, muted: false },
    other: { person: otherOf(self), presence: there },
    levels: null,
  }
}

/** Whether the seat may still be open after such an end. */
function canTakeAgain(reason: RideEnd): boolean {
  return ending(reason, null, null, null).next === 'retry'
}

/** The microphone that is open already; asked again (it was pulled out), a new one. */
function once(given: MediaStream | undefined): () => Promise<MediaStream> {
  let left = given
  return () => {
    const stream = left
    left = undefined
    return stream === undefined ? openMicrophone() : Promise.resolve(stream)
  }
}

function stop(microphone: MediaStream | undefined): void {
  for (const track of microphone?.getTracks() ?? []) track.stop()
}

const root = document.getElementById('page')
if (root !== null) render(<Page />, root)
