/** A call that goes on: its state in words, its clock, both sounds, mute and hang up. */
import { useEffect, useMemo, useState } from 'preact/hooks'
import type { RideCall, RideCallState } from '../client/index.ts'
import { Announcer } from './parts/announcer.tsx'
import { RoundButton } from './parts/button.tsx'
import type { Tone } from './parts/head.tsx'
import { useKeys, useTick, useWakeLock } from './parts/hooks.ts'
import { HangUp, Microphone } from './parts/icons.tsx'
import { type Invite, InviteCard } from './parts/invite.tsx'
import type { Presence } from './parts/line.tsx'
import { Screen } from './parts/screen.tsx'
import { Sound } from './parts/sound.tsx'
import { clockTime, secondsLeft } from './parts/time.ts'
import { type Person, saying, text } from './text.ts'

export type Live = Exclude<RideCallState, { at: 'ended' }>

/** Time to press Escape again. */
const ARMED_FOR = 3_000

export interface CallScreenProps {
  readonly takesFocus: boolean
  readonly call: RideCall
  readonly role: Person
  readonly invite: Invite | null
}

export function CallScreen({ takesFocus, call, role: hint, invite }: CallScreenProps) {
  const { state, muted, remote, role, limit, says, say } = useCall(call)
  const [isArmed, setArmed] = useState(false)
  const self = role ?? hint
  const other = otherOf(self)
  useTick(250, true)
  useWakeLock(true)
  useEffect(() => {
    if (!isArmed) return
    say(text.controls.sureToHangUp)
    const timer = setTimeout(() => setArmed(false), ARMED_FOR)
    return () => clearTimeout(timer)
  }, [isArmed, say])
  useKeys({
    m: () => call.mute(!call.muted),
    escape: () => (isArmed ? call.hangUp() : setArmed(true)),
  })
  const levels = useMemo(() => () => call.levels, [call])
  // Without the countdown, which would be said every second.
  const spoken = state.at === 'ended' ? null : saying(state, other, null)
  useEffect(() => {
    if (spoken === null) return
    say(`${spoken.title}. ${spoken.body}`)
    document.title = text.tab(spoken.title)
  }, [spoken?.title, spoken?.body, say])

  if (state.at === 'ended') return null
  const since = 'since' in state ? state.since : null
  const until =
    state.at === 'reconnecting' && state.until !== null ? secondsLeft(state.until, call.now) : null
  const left = limit === null || since === null ? null : secondsLeft(limit, call.now)
  return (
    <>
      <Screen
        head={{
          ...saying(state, other, until),
          tone: toneOf(state),
          timer: since === null ? null : clockTime(call.now - since),
          left: left === null ? null : text.left(clockTime(left * 1000)),
          takesFocus,
        }}
        line={{
          self: { person: self, presence: presenceOfSelf(state), muted },
          other: { person: other, presence: presenceOfOther(state) },
          levels,
        }}
        controls={
          <>
            <RoundButton
              name={muted ? text.controls.unmute : text.controls.mute}
              icon={<Microphone off={muted} />}
              onPress={() => call.mute(!muted)}
              hotkey="M"
              kind={muted ? 'pressed' : 'plain'}
            />
            <RoundButton
              name={since === null ? text.controls.cancel : text.controls.hangUp}
              icon={<HangUp />}
              onPress={() => call.hangUp()}
              hotkey="Escape"
              kind="danger"
            />
          </>
        }
      >
        {state.at === 'waiting' && invite !== null && (
          <InviteCard invite={invite} guest={other} now={Date.now()} say={say} />
        )}
        <Sound stream={remote} />
        {isArmed ? (
          <p class="toast">{text.controls.sureToHangUp}</p>
        ) : (
          muted && since !== null && <p class="toast">{text.muted}</p>
        )}
      </Screen>
      <Announcer says={says} />
    </>
  )
}

/** What a call says, rendered again whenever it changes. */
function useCall(call: RideCall) {
  const [state, setState] = useState(call.state)
  const [muted, setMuted] = useState(call.muted)
  const [remote, setRemote] = useState(call.remote)
  const [role, setRole] = useState(call.role)
  const [limit, setLimit] = useState<number | null>(null)
  const [says, say] = useState('')
  useEffect(() => {
    const offs = [
      call.on('state', setState),
      call.on('remote', setRemote),
      call.on('role', setRole),
      call.on('muted', (isMuted) => {
        setMuted(isMuted)
        say(isMuted ? text.muted : text.unmuted)
      }),
      call.on('limit', (at) => {
        setLimit(at)
        say(text.leftSpoken(secondsLeft(at, call.now)))
      }),
    ]
    // It may have gone on between the first rendering and now.
    setState(call.state)
    setRemote(call.remote)
    setRole(call.role)
    return () => {
      for (const off of offs) off()
    }
  }, [call])
  return { state, muted, remote, role, limit, says, say }
}

export function otherOf(self: Person): Person {
  if (self === null) return null
  return self === 'driver' ? 'passenger' : 'driver'
}

function toneOf(state: Live): Tone {
  switch (state.at) {
    case 'connected':
      return 'good'
    case 'reconnecting':
      return 'wait'
    case 'idle':
    case 'connecting':
    case 'waiting':
    case 'joining':
      return 'plain'
  }
}

function presenceOfSelf(state: Live): Presence {
  if (state.at === 'idle' || state.at === 'connecting') return 'arriving'
  return state.at === 'reconnecting' && state.who === 'self' ? 'away' : 'present'
}

function presenceOfOther(state: Live): Presence {
  switch (state.at) {
    case 'idle':
    case 'connecting':
    case 'waiting':
      return 'absent'
    case 'joining':
      return 'arriving'
    case 'connected':
      return 'present'
    case 'reconnecting':
      return state.who === 'other' ? 'away' : 'present'
  }
}
