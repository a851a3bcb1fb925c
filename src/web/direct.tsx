/**
 * `/direct.html`: a messenger's calls in a browser. One picks a name, which is bound to a key that this browser makes
 * and keeps; calls somebody, or is called; and sees whether the other is the one they say.
 */
import { render } from 'preact'
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import {
  type DirectCall,
  type DirectCallState,
  DirectClient,
  type DirectRefusal,
  fingerprintOf,
  type PeerKey,
} from '../client/index.ts'
import { CLIENT_ID } from '../protocol/directory.ts'
import { readAddress, signalUrl } from './direct-address.ts'
import { CallScreen } from './direct-call.tsx'
import { Home } from './direct-home.tsx'
import { useClient } from './direct-hooks.ts'
import { type DirectMemory, keepName, lastName, openMemory } from './direct-memory.ts'
import { endingOf, refusalOf, words } from './direct-text.ts'
import { Announcer } from './parts/announcer.tsx'
import { Button } from './parts/button.tsx'
import { Frame } from './parts/frame.tsx'
import { Head } from './parts/head.tsx'
import { useTick } from './parts/hooks.ts'
import { NameField } from './parts/name-field.tsx'
import { Ringer } from './parts/ringer.ts'
import { Screen } from './parts/screen.tsx'
import { clockTime, secondsLeft } from './parts/time.ts'
import { text } from './text.ts'

/** Somebody who is online, with what belongs to it. */
interface Session {
  /** Tells one from the next of the same name. */
  readonly n: number
  readonly client: DirectClient
  readonly memory: DirectMemory
  readonly ringer: Ringer
}

type View =
  | { at: 'start'; refused: { reason: DirectRefusal | null; self: string } | null }
  | { at: 'online'; session: Session }

const address = readAddress(location.href)

function Page() {
  const [view, setView] = useState<View>({ at: 'start', refused: null })
  const isFirst = useRef(true)
  const goOnline = useCallback(async (self: string) => {
    isFirst.current = false
    keepName(self)
    // Made now, while the page is being touched: a bell needs that.
    const ringer = new Ringer()
    const memory = await openMemory()
    const client = new DirectClient({
      url: signalUrl(location.href),
      clientId: self,
      identity: await memory.identity(self),
      keys: memory.keysOf(self),
      iceTransportPolicy: address.relayOnly ? 'relay' : undefined,
    })
    client.on('state', (state) => {
      if (state.at !== 'closed') return
      const { reason } = state
      void (async () => {
        ringer.close()
        // The page was closed while its key was being replaced: the server may know the next one already.
        if (reason === 'IDENTITY_INVALID' && (await memory.useNext(self))) return goOnline(self)
        setView({ at: 'start', refused: { reason, self } })
      })()
    })
    setView({ at: 'online', session: { n: Date.now(), client, memory, ringer } })
    client.start()
  }, [])
  if (view.at === 'start') {
    return (
      <Start refused={view.refused} takesFocus={!isFirst.current} onName={(name) => void goOnline(name)} />
    )
  }
  const { session } = view
  return (
    <Online
      key={session.n}
      session={session}
      onLeave={() => {
        session.client.close()
        session.ringer.close()
        setView({ at: 'start', refused: null })
      }}
    />
  )
}

interface StartProps {
  readonly refused: { reason: DirectRefusal | null; self: string } | null
  readonly takesFocus: boolean
  readonly onName: (name: string) => void
}

function Start({ refused, takesFocus, onName }: StartProps) {
  const [name, setName] = useState(lastName)
  const [isWrong, setWrong] = useState(false)
  const { title, body } =
    refused === null
      ? {
          title: words.start.title,
          body: address.peer === '' ? words.start.body : words.start.calling(address.peer),
        }
      : refusalOf(refused.reason, refused.self)
  useEffect(() => {
    document.title = refused === null ? text.product : text.tab(title)
  }, [title])
  const submit = (event: Event) => {
    event.preventDefault()
    if (CLIENT_ID.test(name.trim())) onName(name.trim())
    else setWrong(true)
  }
  return (
    <Frame>
      <Head title={title} body={body} tone={refused === null ? 'plain' : 'bad'} takesFocus={takesFocus} />
      <form class="card form" onSubmit={submit} autocomplete="off">
        <NameField
          name={words.start.field}
          value={name}
          onChange={(value) => {
            setName(value)
            setWrong(false)
          }}
          hint={words.start.hint}
          wrong={isWrong ? words.start.wrong : null}
        />
        <div class="row">
          <button type="submit" class="button primary">
            {words.start.button}
          </button>
        </div>
      </form>
      <Announcer says={refused === null ? '' : `${title}. ${body}`} />
    </Frame>
  )
}

interface OnlineProps {
  readonly session: Session
  readonly onLeave: () => void
}

interface Over {
  readonly call: DirectCall
  readonly state: DirectCallState & { at: 'ended' }
}

function Online({ session: { client, memory, ringer }, onLeave }: OnlineProps) {
  const [wasIn, setWasIn] = useState(client.state.at === 'registered')
  const [calls, setCalls] = useState<readonly DirectCall[]>([])
  const [over, setOver] = useState<Over | null>(null)
  const [peer, setPeer] = useState(address.peer)
  const { people, look, compared } = usePeople(client, memory)
  const [myFingerprint, setMyFingerprint] = useState<string | null>(null)

  const watch = useCallback((call: DirectCall) => {
    setOver(null)
    setCalls(client.calls)
    call.on('state', (state) => {
      setCalls(client.calls)
      if (state.at !== 'ended') return
      setOver({ call, state })
      look(call.peerId)
    })
  }, [])
  useEffect(() => client.on('incoming', watch), [])
  useEffect(() => {
    const off = client.on('state', ({ at }) => {
      if (at === 'registered') setWasIn(true)
    })
    setWasIn(client.state.at === 'registered')
    return off
  }, [])
  useEffect(() => {
    // The others need not wait for somebody who closed the page.
    const leave = () => client.close()
    addEventListener('pagehide', leave)
    return () => removeEventListener('pagehide', leave)
  }, [])
  useEffect(() => {
    const show = (publicKey: string) => void fingerprintOf(publicKey).then(setMyFingerprint)
    if (client.publicKey !== null) show(client.publicKey)
    return client.on('published', show)
  }, [])

  const numbers = useRef(new Map<DirectCall, number>()).current
  const numberOf = (call: DirectCall) => {
    if (!numbers.has(call)) numbers.set(call, numbers.size)
    return numbers.get(call)
  }
  const place = (to: string) => {
    setPeer('')
    const call = client.call(to)
    watch(call)
  }
  const rotate = async () => {
    const identity = await memory.nextIdentity(client.clientId)
    await new Promise<void>((taken) => {
      const off = client.on('published', (publicKey) => {
        if (publicKey !== identity.publicKey) return
        off()
        void memory.useNext(client.clientId).then(() => taken())
      })
      client.rotate(identity)
    })
  }

  // Who talks stays; else the one that is being placed, else who has been calling the longest.
  const call = calls.find(({ state }) => state.at !== 'incoming') ?? calls[0]
  if (call !== undefined) {
    return (
      <CallScreen
        key={numberOf(call)}
        call={call}
        myKey={client.publicKey ?? client.identity?.publicKey ?? null}
        ringer={ringer}
        others={calls.length - 1}
      />
    )
  }
  if (over !== null) return <OverScreen over={over} onAgain={place} onBack={() => setOver(null)} />
  if (!wasIn) return <Connecting client={client} onBack={onLeave} />
  return (
    <Home
      client={client}
      peer={peer}
      people={people}
      myFingerprint={myFingerprint}
      onCall={place}
      onLook={look}
      onCompared={compared}
      onRotate={rotate}
      onLeave={onLeave}
    />
  )
}

/** Everybody whose key was seen, and their key as it was seen last. */
function usePeople(client: DirectClient, memory: DirectMemory) {
  const [people, setPeople] = useState<ReadonlyMap<string, PeerKey | null>>(new Map())
  const put = useCallback((peer: string, key: PeerKey | null) => {
    setPeople((before) => new Map(before).set(peer, key))
  }, [])
  const look = useCallback((peer: string) => {
    client.lookUp(peer).then(
      (key) => (key === null ? undefined : put(peer, key)),
      // Asked too often, or offline: what was seen last stays.
      () => {},
    )
  }, [])
  const compared = useCallback(async (peer: string, publicKey: string, isSame: boolean) => {
    await client.keys.compared(peer, publicKey, isSame)
    look(peer)
  }, [])
  useEffect(() => {
    const remember = async () => {
      for (const peer of await memory.people(client.clientId)) {
        const known = await client.keys.known(peer)
        if (known === null) continue
        const { publicKey, version, changedAt, trusted } = known
        const isTrusted = publicKey === trusted
        put(peer, {
          clientId: peer,
          status: isTrusted ? 'same' : 'changed',
          publicKey,
          fingerprint: await fingerprintOf(publicKey),
          version,
          changedAt,
          before: isTrusted ? null : trusted,
          compared: isTrusted && known.compared,
          trouble: null,
        })
      }
    }
    void remember()
    return client.on('key', (key) => {
      if (key.clientId !== client.clientId) put(key.clientId, key)
    })
  }, [])
  return { people, look, compared }
}

interface OverProps {
  readonly over: Over
  readonly onAgain: (peer: string) => void
  readonly onBack: () => void
}

function OverScreen({ over: { call, state }, onAgain, onBack }: OverProps) {
  const { peerId: peer, direction } = call
  const { title, body, isBad } = endingOf(state.reason, state.by, peer, direction)
  const lasted = state.lasted === null ? '' : ` ${text.lasted(clockTime(state.lasted))}`
  useEffect(() => {
    document.title = text.tab(title)
  }, [title])
  return (
    <>
      <Screen
        key="over"
        head={{ title, body: body + lasted, tone: isBad ? 'bad' : 'plain', takesFocus: true }}
        line={{
          self: { person: null, presence: isBad ? 'away' : 'absent', muted: false },
          other: { person: null, presence: 'absent', name: peer },
          levels: null,
        }}
        controls={
          <>
            <Button kind="primary" onPress={() => onAgain(peer)}>
              {isBad ? words.over.retry : direction === 'in' ? words.person.callThem(peer) : words.over.again}
            </Button>
            <Button kind="quiet" onPress={onBack}>
              {words.over.back}
            </Button>
          </>
        }
      />
      <Announcer says={`${title}. ${body}${lasted}`} />
    </>
  )
}

function Connecting({ client, onBack }: { client: DirectClient; onBack: () => void }) {
  const state = useClient(client)
  useTick(500, true)
  const left = state.at === 'reconnecting' ? secondsLeft(state.next, client.now) : null
  const isLost = state.at === 'reconnecting'
  const { title, body } = isLost ? words.unreachable(left) : words.connecting
  return (
    <>
      <Screen
        key="connecting"
        head={{ title, body, tone: isLost ? 'bad' : 'plain', takesFocus: true }}
        line={{
          self: { person: null, presence: isLost ? 'away' : 'arriving', muted: false },
          other: { person: null, presence: 'absent' },
          levels: null,
        }}
        controls={
          <Button kind="quiet" onPress={onBack}>
            {words.back}
          </Button>
        }
      />
      <Announcer says={title} />
    </>
  )
}

const root = document.getElementById('page')
if (root !== null) render(<Page />, root)
