/**
 * Pairs of parties that are in a call and stay in it, or are only there, for the benchmarks that need many of them: how
 * each of the servers wants to be joined, and what it relays.
 */
import { apiKey, type Server } from '../servers.ts'
import { Backend } from './backend.ts'
import {
  callAccept,
  callIdOf,
  callInitiate,
  directCandidate,
  peerjsCandidate,
  register,
  rideCandidate,
  typeOf,
} from './messages.ts'
import { dial, type Line, type Listener, textFrame } from './socket.ts'

export interface Party {
  line: Line
  /** The frame to send, built once: a candidate for the other party. */
  candidate: Buffer
  /** What the other party's candidate says; checked once, which is enough to know that the right thing is measured. */
  hears: string
  /** Called for each text frame of the size of a candidate. */
  relayed: () => void
}

export interface Pairs {
  parties: Party[]
  /** Frames that were neither candidates nor expected: what they said, and how many. */
  oddities: Map<string, number>
  close(): Promise<void>
}

/** `direct`: two clients in a call. `registered`: two clients in none. */
export type Protocol = 'ride' | 'direct' | 'registered' | 'bare' | 'peerjs'

/** Bytes of JSON in every candidate, on the way in and on the way out, for all servers. */
export const candidateSize = 250

/** What a phone of ours says now and then to show that it lives. */
const beats: Partial<Record<Protocol, Buffer>> = {
  ride: textFrame('{"type":"heartbeat"}'),
  direct: textFrame('{"type":"PING","payload":{}}'),
  registered: textFrame('{"type":"PING","payload":{}}'),
}
const beatEveryMs = 20_000
/** As many connections are being made at a time; more would only fill the listen queue. */
const atATime = 64

/** How one party comes in, and what it expects. */
interface Way {
  path: string
  hello?: string
  /** Type of the message that says it is in; without one it is in once it is connected. */
  joined?: string
  says?: string
  hears?: string
  /** Hears every other message. True when it was one to be expected. */
  heard?(type: string, bytes: Buffer, start: number, length: number): boolean
}

type Opener = (way: Way) => Promise<Party>

export async function openPairs(server: Server, protocol: Protocol, count: number): Promise<Pairs> {
  const parties: Party[] = []
  const oddities = new Map<string, number>()
  const odd = (what: string) => oddities.set(what, (oddities.get(what) ?? 0) + 1)
  let closing = false
  let left = 0
  let allLeft = () => {}

  /** Opens one party; the promise is kept when it is in. */
  const open: Opener = (way) =>
    new Promise((resolve, reject) => {
      const { path, hello, joined, says = '', hears = says } = way
      const listener: Listener = {
        open(line) {
          if (hello !== undefined) line.send(textFrame(hello))
          if (joined === undefined) resolve(party)
        },
        text(_line, bytes, start, length) {
          if (length === candidateSize) {
            party.relayed()
            if (party.hears !== '' && bytes.toString('utf8', start, start + length) !== party.hears)
              odd('changed what it relays')
            party.hears = ''
            return
          }
          const type = typeOf(bytes, start, length)
          if (type === joined) resolve(party)
          else if (!expected.has(type) && way.heard?.(type, bytes, start, length) !== true)
            odd(bytes.toString('utf8', start, start + length))
        },
        close(_line, code) {
          left++
          if (!closing) odd(`closed with ${code}`)
          if (left === parties.length) allLeft()
          reject(
            new Error(`${server.name} closed a connection with ${code}: ${[...oddities.keys()].join(' ')}`),
          )
        },
      }
      // The line is put in once it is made; nothing is heard on it before.
      const party: Party = {
        line: undefined as unknown as Line,
        candidate: textFrame(says),
        hears,
        relayed: () => {},
      }
      parties.push(party)
      dial(server.port, path, listener, (line) => {
        party.line = line
      }).catch(reject)
    })

  const pair = ways[protocol](server, open)
  let next = 0
  const opener = async () => {
    for (let n = next++; n < count; n = next++) await pair(n)
  }
  await Promise.all(Array.from({ length: Math.min(atATime, count) }, opener))

  // Spread out, so that no moment has more of them than another.
  const beat = beats[protocol]
  let beaten = 0
  const slot = setInterval(() => {
    if (beat === undefined) return
    const upTo = (performance.now() - started) * (parties.length / beatEveryMs)
    for (; beaten < upTo; beaten++) parties[beaten % parties.length]?.line.send(beat)
  }, 20)
  const started = performance.now()

  return {
    parties,
    oddities,
    close() {
      clearInterval(slot)
      closing = true
      const gone = new Promise<void>((resolve) => {
        allLeft = resolve
      })
      for (const party of parties) party.line.cut()
      return left === parties.length ? Promise.resolve() : Promise.race([gone, Bun.sleep(5000)])
    },
  }
}

const expected = new Set(['authenticated', 'participant_joined', 'pong', 'PONG', 'ice_servers', 'OPEN'])

/** For each protocol, what brings the pair of a number in. */
const ways: Record<Protocol, (server: Server, open: Opener) => (n: number) => Promise<unknown>> = {
  bare(_server, open) {
    const says = rideCandidate(candidateSize)
    return (n) =>
      Promise.all([open({ path: `/?id=d${n}&to=p${n}`, says }), open({ path: `/?id=p${n}&to=d${n}`, says })])
  },
  peerjs(_server, open) {
    const way = (from: string, to: string) =>
      open({
        path: `/peerjs?key=peerjs&id=${from}&token=t${from}&version=1.5.4`,
        joined: 'OPEN',
        says: peerjsCandidate(candidateSize, from, to),
        hears: peerjsCandidate(candidateSize, to, from),
      })
    return (n) => Promise.all([way(`d${n}`, `p${n}`), way(`p${n}`, `d${n}`)])
  },
  ride(server, open) {
    const backend = new Backend(server.port, apiKey)
    const says = rideCandidate(candidateSize)
    const way = (session_id: string, user_id: string) =>
      open({
        path: '/ws',
        hello: JSON.stringify({ type: 'authenticate', session_id, user_id }),
        joined: 'session_joined',
        says,
      })
    return async () => {
      const [id, driver, passenger] = await new Promise<[string, string, string]>((resolve, reject) =>
        backend.session((...session) => resolve(session), reject),
      )
      await Promise.all([way(id, driver), way(id, passenger)])
    }
  },
  registered(_server, open) {
    const way = (clientId: string) =>
      open({ path: '/signal', hello: register(clientId), joined: 'REGISTERED' })
    return (n) => Promise.all([way(`d${n}`), way(`p${n}`)])
  },
  direct(_server, open) {
    const way = (clientId: string, heard: Way['heard']) =>
      open({ path: '/signal', hello: register(clientId), joined: 'REGISTERED', ...(heard && { heard }) })
    return async (n) => {
      let active = (_id: string) => {}
      const callId = new Promise<string>((resolve) => {
        active = resolve
      })
      const [caller, callee] = await Promise.all([
        way(`d${n}`, (type, bytes, start, length) => {
          if (type === 'CALL_ACCEPTED') active(callIdOf(bytes, start, length))
          return type === 'CALL_ACCEPTED' || type === 'CALL_RINGING'
        }),
        way(`p${n}`, (type, bytes, start, length) => {
          if (type !== 'INCOMING_CALL') return false
          callee.line.send(textFrame(callAccept(callIdOf(bytes, start, length))))
          return true
        }),
      ])
      caller.line.send(textFrame(callInitiate(`p${n}`)))
      const candidate = directCandidate(candidateSize, await callId)
      caller.candidate = callee.candidate = textFrame(candidate)
      caller.hears = callee.hears = candidate
    }
  },
}
