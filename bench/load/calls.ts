/**
 * Whole ride calls, from POST /sessions to both connections closed. A call's steps follow one another as fast as the
 * server answers: connect both, authenticate both, offer, answer, then ten candidates each way, each sent when the
 * other's has come (so every one travels alone, in a frame and a packet of its own), `end_call`, close.
 */
import { apiKey, type Server } from '../servers.ts'
import { Backend } from './backend.ts'
import { type Begun, type Caller, caller, type Tally } from './caller.ts'
import { answer, offer, rideCandidate, typeOf } from './messages.ts'
import { closeFrame, dial, type Line, textFrame } from './socket.ts'

export const candidatesEachWay = 10
const offerFrame = textFrame(offer)
const answerFrame = textFrame(answer)
const candidateFrame = textFrame(rideCandidate(250))
const endFrame = textFrame('{"type":"end_call"}')

class Call implements Begun {
  private readonly lines: [Line | undefined, Line | undefined] = [undefined, undefined]
  private readonly sentAt: [number, number] = [0, 0]
  private readonly sent: [number, number] = [0, 0]
  private readonly got: [number, number] = [0, 0]
  private joined = 0
  private closed = 0
  private ended = 0
  private isOver = false
  readonly from = performance.now()
  private readonly server: Server
  private readonly backend: Backend
  private readonly tally: Tally
  private readonly over: (call: Begun) => void

  constructor(server: Server, backend: Backend, tally: Tally, over: (call: Begun) => void) {
    this.server = server
    this.backend = backend
    this.tally = tally
    this.over = over
  }

  begin(): void {
    this.tally.begun++
    this.backend.session(
      (id, driver, passenger) => {
        this.connect(0, id, driver)
        this.connect(1, id, passenger)
      },
      (error) => this.fail(error.message),
    )
  }

  /** Something did not happen or should not have. */
  fail(why: string): void {
    if (this.isOver) return
    this.isOver = true
    this.tally.failed++
    this.tally.faults.set(why, (this.tally.faults.get(why) ?? 0) + 1)
    for (const line of this.lines) line?.cut()
    this.over(this)
  }

  private connect(side: 0 | 1, session_id: string, user_id: string): void {
    const hello = textFrame(JSON.stringify({ type: 'authenticate', session_id, user_id }))
    dial(
      this.server.port,
      '/ws',
      {
        open: (line) => line.send(hello),
        text: (_line, bytes, start, length) => this.heard(side, bytes, start, length),
        close: (_line, code) => this.gone(code),
      },
      (line) => {
        this.lines[side] = line
      },
    ).catch((error: Error) => this.fail(`connect: ${error.message}`))
  }

  private relay(side: 0 | 1, bytes: Buffer): void {
    this.sentAt[side] = performance.now()
    this.lines[side]?.send(bytes)
  }

  private heard(side: 0 | 1, bytes: Buffer, start: number, length: number): void {
    if (this.isOver) return
    const other = side === 0 ? 1 : 0
    switch (typeOf(bytes, start, length)) {
      case 'session_joined':
        if (++this.joined === 2) this.relay(0, offerFrame)
        return
      case 'offer':
        this.time(other)
        this.relay(1, answerFrame)
        return
      case 'answer':
        this.time(other)
        this.tally.answered.add(performance.now() - this.from)
        this.candidate(0)
        this.candidate(1)
        return
      case 'ice_candidate':
        this.time(other)
        this.got[side]++
        if (this.sent[side] < candidatesEachWay) this.candidate(side)
        if (this.got[0] === candidatesEachWay && this.got[1] === candidatesEachWay)
          this.lines[0]?.send(endFrame)
        return
      case 'call_ended':
        this.ended++
        this.lines[side]?.send(closeFrame)
        return
      case 'authenticated':
      case 'participant_joined':
      case 'ice_servers':
      // The end of the other connection may be told before the server has closed this one.
      case 'participant_left':
        return
      default:
        this.fail(`unexpected: ${bytes.toString('utf8', start, start + length)}`)
    }
  }

  private candidate(side: 0 | 1): void {
    this.sent[side]++
    this.relay(side, candidateFrame)
  }

  private time(from: 0 | 1): void {
    this.tally.relayed.add(performance.now() - this.sentAt[from])
  }

  private gone(code: number): void {
    if (this.isOver) return
    if (this.ended <= this.closed) {
      this.fail(`closed with ${code} before call_ended`)
      return
    }
    if (++this.closed < 2) return
    this.isOver = true
    this.tally.done++
    this.over(this)
  }
}

export function rideCaller(server: Server): Caller {
  const backend = new Backend(server.port, apiKey, 16)
  return caller(
    (tally, over) => new Call(server, backend, tally, over),
    () => backend.close(),
  )
}
