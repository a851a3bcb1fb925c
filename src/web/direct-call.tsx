/** A direct call: ringing out, coming in, held because of a key, talking. */
import type { ComponentChildren } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import type { CallSecurity, DirectCall, DirectCallState } from '../client/index.ts'
import { useCall, useRoute } from './direct-hooks.ts'
import { keyLine, sayingOf, words } from './direct-text.ts'
import { Announcer } from './parts/announcer.tsx'
import { Button, RoundButton } from './parts/button.tsx'
import type { Tone } from './parts/head.tsx'
import { useKeys, useTick, useWakeLock } from './parts/hooks.ts'
import { HangUp, Lock, Microphone, PickUp, Route, Warning } from './parts/icons.tsx'
import type { Presence } from './parts/line.tsx'
import type { Ringer } from './parts/ringer.ts'
import { Safety } from './parts/safety.tsx'
import { Screen } from './parts/screen.tsx'
import { Sound } from './parts/sound.tsx'
import { clockTime, secondsLeft } from './parts/time.ts'
import { text } from './text.ts'

type Live = Exclude<DirectCallState, { at: 'ended' }>

/** Time to press Escape again. */
const ARMED_FOR = 3_000

export interface CallScreenProps {
  readonly call: DirectCall
  readonly myKey: string | null
  readonly ringer: Ringer
  /** How many more are calling. */
  readonly others: number
}

export function CallScreen({ call, myKey, ringer, others }: CallScreenProps) {
  const { state, security, muted, remote } = useCall(call)
  const [says, say] = useState('')
  const [isArmed, setArmed] = useState(false)
  const [showsNumber, setShowsNumber] = useState(false)
  const { peerId: peer, direction } = call
  const isTalking = state.at === 'connected' || state.at === 'reconnecting' || state.at === 'joining'
  const route = useRoute(call, isTalking)
  useTick(250, true)
  useWakeLock(true)
  useRinging(state, ringer)
  const hangUp = () => (isTalking && !isArmed ? setArmed(true) : call.hangUp())
  useEffect(() => {
    if (!isArmed) return
    say(text.controls.sureToHangUp)
    const timer = setTimeout(() => setArmed(false), ARMED_FOR)
    return () => clearTimeout(timer)
  }, [isArmed])
  useKeys({
    ...(state.at === 'incoming' ? { a: () => void call.accept(), r: () => call.reject() } : {}),
    ...(isTalking ? { m: () => mute(call, say) } : {}),
    ...(state.at === 'incoming' ? {} : { escape: hangUp }),
  })
  const levels = useMemo(() => () => call.levels, [call])
  // Without the countdown, which would be said every second.
  const spoken = state.at === 'ended' ? null : sayingOf(state, peer, direction, null)
  useEffect(() => {
    if (spoken === null) return
    say(`${spoken.title}. ${spoken.body}`)
    document.title = text.tab(spoken.title)
  }, [spoken?.title, spoken?.body])
  if (state.at === 'ended') return null

  const since = 'since' in state ? state.since : null
  const until = 'until' in state && state.until !== null ? secondsLeft(state.until, call.now) : null
  const { key } = security
  const isHeld = state.at === 'held'
  const hasSpoken = direction === 'in' || isTalking
  const canShow = key !== null && key.publicKey !== '' && myKey !== null
  return (
    <>
      <Screen
        head={{
          ...sayingOf(state, peer, direction, until),
          tone: toneOf(state),
          timer: since === null ? null : clockTime(call.now - since),
          takesFocus: true,
        }}
        line={{
          self: { person: null, presence: presenceOfSelf(state), muted },
          other: { person: null, presence: presenceOfOther(state), name: peer },
          levels: isHeld ? null : levels,
        }}
        controls={<Controls {...{ call, state, muted, say }} />}
      >
        <div class="facts">
          {isHeld ? (
            canShow && (
              <span class="fact warned">
                <Warning />
                {words.key.newNumber}
              </span>
            )
          ) : (
            <KeyFact
              security={security}
              line={keyLine(security, hasSpoken)}
              isOpen={showsNumber}
              onPress={canShow ? () => setShowsNumber(!showsNumber) : null}
            />
          )}
          {route !== null && (
            <span class="fact">
              <Route relayed={route === 'relay'} />
              {words.route[route]}
            </span>
          )}
        </div>
        {canShow && (showsNumber || isHeld) && (
          <section class="card">
            <Safety
              peer={peer}
              myKey={myKey}
              key_={key}
              onCompared={isHeld ? null : (isSame) => void call.compared(isSame)}
              say={say}
            />
          </section>
        )}
        {state.at === 'incoming' && others > 0 && <p class="hint">{words.ring.others(others)}</p>}
        {state.at === 'incoming' && ringer.isSilent && <p class="toast">{words.ring.silent}</p>}
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

interface ControlsProps {
  readonly call: DirectCall
  readonly state: Live
  readonly muted: boolean
  readonly say: (words: string) => void
}

function Controls({ call, state, muted, say }: ControlsProps) {
  const { direction } = call
  if (state.at === 'held') {
    return (
      <>
        <Button kind="primary" onPress={() => call.hangUp()}>
          {words.held.dont(direction)}
        </Button>
        <Button onPress={() => void call.trust()}>{words.held.goOn(direction)}</Button>
      </>
    )
  }
  if (state.at === 'incoming') {
    return (
      <>
        <RoundButton
          name={words.ring.reject}
          icon={<HangUp />}
          onPress={() => call.reject()}
          hotkey="R"
          kind="danger"
        />
        <RoundButton
          name={words.ring.accept}
          icon={<PickUp />}
          onPress={() => void call.accept()}
          hotkey="A"
          kind="good"
        />
      </>
    )
  }
  const isAnswered = state.at === 'joining' || state.at === 'connected' || state.at === 'reconnecting'
  return (
    <>
      {isAnswered && (
        <RoundButton
          name={muted ? text.controls.unmute : text.controls.mute}
          icon={<Microphone off={muted} />}
          onPress={() => mute(call, say)}
          hotkey="M"
          kind={muted ? 'pressed' : 'plain'}
        />
      )}
      <RoundButton
        name={isAnswered ? text.controls.hangUp : text.controls.cancel}
        icon={<HangUp />}
        onPress={() => call.hangUp()}
        hotkey="Escape"
        kind="danger"
      />
    </>
  )
}

interface KeyFactProps {
  readonly security: CallSecurity
  readonly line: string
  readonly isOpen: boolean
  readonly onPress: (() => void) | null
}

/** How sure one can be of the other; opens the number to compare. */
function KeyFact({ security, line, isOpen, onPress }: KeyFactProps) {
  const { warning, isSigned, key } = security
  const kind = warning !== null ? 'warned' : isSigned && key?.compared === true ? 'sure' : ''
  const content: ComponentChildren = (
    <>
      {warning !== null ? <Warning /> : <Lock open={!isSigned} />}
      {line}
    </>
  )
  if (onPress === null) return <span class={`fact ${kind}`}>{content}</span>
  return (
    <button type="button" class={`fact ${kind}`} aria-expanded={isOpen} onClick={onPress}>
      {content}
    </button>
  )
}

/** Bell and tone, and their end. */
function useRinging(state: DirectCallState, ringer: Ringer): void {
  const kind = state.at === 'incoming' ? 'bell' : state.at === 'ringing' ? 'tone' : null
  useEffect(() => {
    if (kind === null) return
    ringer.start(kind)
    return () => ringer.stop()
  }, [kind, ringer])
}

function mute(call: DirectCall, say: (words: string) => void): void {
  call.mute(!call.muted)
  say(call.muted ? text.muted : text.unmuted)
}

function toneOf(state: Live): Tone {
  switch (state.at) {
    case 'connected':
      return 'good'
    case 'reconnecting':
      return 'wait'
    case 'held':
      return 'bad'
    case 'preparing':
    case 'ringing':
    case 'incoming':
    case 'joining':
      return 'plain'
  }
}

function presenceOfSelf(state: Live): Presence {
  if (state.at === 'incoming' || state.at === 'held') return 'absent'
  return state.at === 'reconnecting' && state.who === 'self' ? 'away' : 'present'
}

function presenceOfOther(state: Live): Presence {
  switch (state.at) {
    case 'preparing':
      return 'absent'
    case 'held':
      return 'away'
    case 'ringing':
    case 'incoming':
    case 'joining':
      return 'arriving'
    case 'connected':
      return 'present'
    case 'reconnecting':
      return state.who === 'other' ? 'away' : 'present'
  }
}
