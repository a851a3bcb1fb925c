/**
 * Pairs of parties that are in a call and stay in it, for the benchmarks that need many live calls: how each of the
 * servers wants to be joined, and what it relays.
 */
import { apiKey, type Server } from '../servers.ts'
import { Backend } from './backend.ts'
import { peerjsCandidate, rideCandidate, typeOf } from './messages.ts'
import { dial, type Line, type Listener, textFrame } from './socket.ts'

export interface Party {
  line: Line
  /** The frame to send, built once: a candidate for the other party. */
  candidate: Buffer
  /** Called for each text frame of the size of a candidate. */
  relayed: () => void
}

export interface Pairs {
  parties: Party[]
  /** Frames that were neither candidates nor expected: what they said, and how many. */
  oddities: Map<string, number>
  close(): Promise<void>
}

export type Protocol = 'ride' | 'bare' | 'peerjs'

/** Bytes of JSON in every candidate, on the way in and on the way out, for all servers. */
export const candidateSize = 250

const heartbeat = textFrame('{"type":"heartbeat"}')
const heartbeatEveryMs = 20_000
/** As many connections are being made at a time; more would only fill the listen queue. */
const atATime = 64

export async function openPairs(server: Server, protocol: Protocol, count: number): Promise<Pairs> {
  const parties: Party[] = []
  const oddities = new Map<string, number>()
  const odd = (what: string) => oddities.set(what, (oddities.get(what) ?? 0) + 1)
  let closing = false
  let left = 0
  let allLeft = () => {}

  /** Opens one party; the promise is kept when it is in its call. `hears` is what the other one sends. */
  const open = (
    path: string,
    hello: string | undefined,
    joined: string | undefined,
    says: string,
    hears: string,
  ) =>
    new Promise<void>((resolve, reject) => {
      let unheard = true
      const listener: Listener = {
        open(line) {
          if (hello !== undefined) line.send(textFrame(hello))
          if (joined === undefined) resolve()
        },
        text(_line, bytes, start, length) {
          if (length === candidateSize) {
            party.relayed()
            // Once is enough to know that the right thing is measured.
            if (unheard && bytes.toString('utf8', start, start + length) !== hears)
              odd('changed what it relays')
            unheard = false
            return
          }
          const type = typeOf(bytes, start, length)
          if (type === joined) resolve()
          else if (!expected.has(type)) odd(bytes.toString('utf8', start, start + length))
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
        relayed: () => {},
      }
      parties.push(party)
      dial(server.port, path, listener, (line) => {
        party.line = line
      }).catch(reject)
    })

  const ways: Record<Protocol, () => Promise<(n: number) => Promise<unknown>>> = {
    async bare() {
      const candidate = rideCandidate(candidateSize)
      return (n) =>
        Promise.all([
          open(`/?id=d${n}&to=p${n}`, undefined, undefined, candidate, candidate),
          open(`/?id=p${n}&to=d${n}`, undefined, undefined, candidate, candidate),
        ])
    },
    async peerjs() {
      const way = (from: string, to: string) =>
        open(
          `/peerjs?key=peerjs&id=${from}&token=t${from}&version=1.5.4`,
          undefined,
          'OPEN',
          peerjsCandidate(candidateSize, from, to),
          peerjsCandidate(candidateSize, to, from),
        )
      return (n) => Promise.all([way(`d${n}`, `p${n}`), way(`p${n}`, `d${n}`)])
    },
    async ride() {
      const backend = new Backend(server.port, apiKey)
      const candidate = rideCandidate(candidateSize)
      const way = (session_id: string, user_id: string) =>
        open(
          '/ws',
          JSON.stringify({ type: 'authenticate', session_id, user_id }),
          'session_joined',
          candidate,
          candidate,
        )
      return async () => {
        const [id, driver, passenger] = await new Promise<[string, string, string]>((resolve, reject) =>
          backend.session((...session) => resolve(session), reject),
        )
        await Promise.all([way(id, driver), way(id, passenger)])
      }
    },
  }

  const way = await ways[protocol]()
  let next = 0
  const opener = async () => {
    for (let n = next++; n < count; n = next++) await way(n)
  }
  await Promise.all(Array.from({ length: Math.min(atATime, count) }, opener))

  // A phone says that it lives; spread out, so that no moment has more of them than another.
  const beats = parties.filter(() => protocol === 'ride')
  let beat = 0
  const slot = setInterval(() => {
    const upTo = (performance.now() - started) * (beats.length / heartbeatEveryMs)
    for (; beat < upTo; beat++) beats[beat % beats.length]?.line.send(heartbeat)
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

const expected = new Set(['authenticated', 'participant_joined', 'pong', 'ice_servers', 'OPEN'])
