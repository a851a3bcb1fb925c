/** Online and in no call: whom one may call, how one is called, and the keys. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { DirectClient, PeerKey } from '../client/index.ts'
import { CLIENT_ID } from '../protocol/directory.ts'
import { linkThatCalls } from './direct-address.ts'
import { useClient } from './direct-hooks.ts'
import { personLine, words } from './direct-text.ts'
import { Announcer } from './parts/announcer.tsx'
import { Button } from './parts/button.tsx'
import { Frame } from './parts/frame.tsx'
import { Head } from './parts/head.tsx'
import { useTick } from './parts/hooks.ts'
import { Check, Lock, PickUp, Warning } from './parts/icons.tsx'
import { NameField } from './parts/name-field.tsx'
import { Safety } from './parts/safety.tsx'
import { secondsLeft } from './parts/time.ts'
import { text } from './text.ts'

export interface HomeProps {
  readonly client: DirectClient
  /** Filled in already. */
  readonly peer: string
  /** Everybody whose key was seen, and the key; null: they have none. */
  readonly people: ReadonlyMap<string, PeerKey | null>
  readonly myFingerprint: string | null
  readonly onCall: (peer: string) => void
  /** Asks for somebody's key again. */
  readonly onLook: (peer: string) => void
  readonly onCompared: (peer: string, publicKey: string, isSame: boolean) => void
  readonly onRotate: () => Promise<void>
  readonly onLeave: () => void
}

export function Home(props: HomeProps) {
  const { client, people, onLeave } = props
  const state = useClient(client)
  const [says, say] = useState('')
  const isOnline = state.at === 'registered'
  useTick(500, !isOnline)
  const left = state.at === 'reconnecting' ? secondsLeft(state.next, client.now) : null
  const { title, body } = isOnline
    ? { title: words.home.title(client.clientId), body: words.home.body }
    : words.unreachable(left)
  useEffect(() => {
    document.title = text.tab(title)
    say(title)
  }, [title])
  return (
    <Frame>
      <Head title={title} body={body} tone={isOnline ? 'plain' : 'bad'} takesFocus />
      <div class="cards">
        <Dial {...props} isOnline={isOnline} />
        {people.size > 0 && <People {...props} isOnline={isOnline} say={say} />}
        <Mine {...props} isOnline={isOnline} say={say} />
      </div>
      <div class="leave">
        <Button kind="quiet" onPress={onLeave}>
          {words.home.leave}
        </Button>
      </div>
      <Announcer says={says} />
    </Frame>
  )
}

function Dial({ client, peer, people, onCall, isOnline }: HomeProps & { isOnline: boolean }) {
  const [name, setName] = useState(peer)
  const [isWrong, setWrong] = useState(false)
  const wanted = name.trim()
  const isSelf = wanted === client.clientId
  const call = (event: Event) => {
    event.preventDefault()
    if (!CLIENT_ID.test(wanted) || isSelf) return setWrong(true)
    onCall(wanted)
  }
  return (
    <form class="card dial" onSubmit={call} autocomplete="off">
      <h2>{words.home.dial}</h2>
      <div class="together">
        <NameField
          name={words.home.dialField}
          isNameHidden
          value={name}
          onChange={(value) => {
            setName(value)
            setWrong(false)
          }}
          wrong={isWrong ? (isSelf ? words.home.self : words.start.wrong) : null}
        />
        <button type="submit" class="button primary" disabled={!isOnline}>
          <PickUp />
          {words.home.call}
        </button>
      </div>
      {people.size === 0 && !isWrong && <p class="hint">{words.home.nobody}</p>}
    </form>
  )
}

interface PeopleProps extends HomeProps {
  readonly isOnline: boolean
  readonly say: (words: string) => void
}

function People({ client, people, isOnline, onCall, onLook, onCompared, say }: PeopleProps) {
  const [open, setOpen] = useState<string | null>(null)
  const myKey = client.publicKey ?? client.identity?.publicKey ?? null
  return (
    <section class="card" aria-labelledby="people">
      <h2 id="people">{words.home.people}</h2>
      <ul class="people">
        {[...people].map(([peer, key]) => (
          <li key={peer}>
            <div class="person">
              <button
                type="button"
                class="who"
                aria-expanded={open === peer}
                aria-label={`${peer}, ${personLine(key)}. ${words.person.numberOf(peer)}`}
                disabled={key === null}
                onClick={() => {
                  if (open !== peer) onLook(peer)
                  setOpen(open === peer ? null : peer)
                }}
              >
                <span class="name">{peer}</span>
                <KeyMark peerKey={key} />
              </button>
              <button
                type="button"
                class="call"
                aria-label={words.person.callThem(peer)}
                disabled={!isOnline}
                onClick={() => onCall(peer)}
              >
                <PickUp />
              </button>
            </div>
            {open === peer && key !== null && myKey !== null && (
              <Safety
                peer={peer}
                myKey={myKey}
                key_={key}
                onCompared={
                  key.status === 'changed' || key.status === 'lying'
                    ? null
                    : (isSame) => onCompared(peer, key.publicKey, isSame)
                }
                say={say}
                withPrint
              />
            )}
          </li>
        ))}
      </ul>
    </section>
  )
}

function KeyMark({ peerKey }: { peerKey: PeerKey | null }) {
  const isBad = peerKey?.status === 'changed' || peerKey?.status === 'lying'
  const kind = isBad ? 'warned' : peerKey?.compared === true ? 'sure' : ''
  return (
    <span class={`mark-of-key ${kind}`}>
      {isBad ? <Warning /> : peerKey?.compared === true ? <Check /> : <Lock open />}
      {personLine(peerKey)}
    </span>
  )
}

function Mine({ client, myFingerprint, onRotate, isOnline, say }: PeopleProps) {
  const field = useRef<HTMLInputElement>(null)
  const [copied, setCopied] = useState(false)
  const link = linkThatCalls(client.clientId, location.href)
  useEffect(() => {
    if (!copied) return
    const timer = setTimeout(() => setCopied(false), 4_000)
    return () => clearTimeout(timer)
  }, [copied])
  const copy = async () => {
    field.current?.select()
    try {
      await navigator.clipboard.writeText(link)
      setCopied(true)
      say(text.invite.copied)
    } catch {
      // No clipboard without HTTPS: the link is selected already.
      say(text.invite.copyByHand)
    }
  }
  return (
    <section class="card" aria-labelledby="mine">
      <h2 id="mine">{words.home.link}</h2>
      <div class="together">
        <input
          ref={field}
          class="link"
          readOnly
          value={link}
          aria-label={words.home.linkField}
          onFocus={(event) => event.currentTarget.select()}
        />
        <Button onPress={() => void copy()}>{copied ? text.invite.copied : text.invite.copy}</Button>
      </div>
      {myFingerprint !== null && (
        <details class="more">
          <summary>{words.home.more}</summary>
          <p class="print">
            <span>{words.home.mine}</span>
            <code>{myFingerprint}</code>
          </p>
          <p class="hint">{words.home.keyHint}</p>
          <div class="row">
            <Button disabled={!isOnline} onPress={() => void onRotate().then(() => say(words.home.rotated))}>
              {words.home.rotate}
            </Button>
            <p class="hint">{words.home.rotateHint}</p>
          </div>
        </details>
      )}
    </section>
  )
}
