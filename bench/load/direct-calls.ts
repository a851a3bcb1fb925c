/**
 * Whole direct calls, from the first connect to both connections closed. A call's steps follow one another as fast as
 * the server answers: connect both, REGISTER both, CALL_INITIATE, CALL_ACCEPT, then candidates each way, each sent when
 * the other's has come (so every one travels alone, in a frame and a packet of its own), CALL_END, close. Every call is
 * between two clients that were never there before: one client may begin six calls a minute.
 */
import type { Server } from '../servers.ts'
import { type Begun, type Caller, caller, type Tally } from './caller.ts'
import { callAccept, callEnd, callIdOf, callInitiate, directCandidate, register, typeOf } from './messages.ts'
import { closeFrame, dial, type Line, textFrame } from './socket.ts'

class Call implements Begun {
  private readonly lines: [Line | undefined, Line | undefined] = [undefined, undefined]
  private readonly sentAt: [number, number] = [0, 0]
  private readonly sent: [number, number] = [0, 0]
  private readonly got: [number, number] = [0, 0]
  private id = ''
  private candidateFrame: Buffer = Buffer.alloc(0)
  private registered = 0
  private closed = 0
  private ended = 0
  private isOver = false
  private readonly from = performance.now()
  private readonly server: Server
  private readonly number: number
  private readonly candidatesEachWay: number
  private readonly tally: Tally
  private readonly over: (call: Begun) => void

  constructor(
    server: Server,
    shape: { number: number; candidatesEachWay: number },
    tally: Tally,
    over: (call: Begun) => void,
  ) {
    this.server = server
    this.number = shape.number
    this.candidatesEachWay = shape.candidatesEachWay
    this.tally = tally
    this.over = over
  }

  begin(): void {
    this.tally.begun++
    this.connect(0, `caller_${this.number}`)
    this.connect(1, `callee_${this.number}`)
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

  private connect(side: 0 | 1, clientId: string): void {
    const hello = textFrame(register(clientId))
    dial(
      this.server.port,
      '/signal',
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

  private send(side: 0 | 1, bytes: Buffer): void {
    this.sentAt[side] = performance.now()
    this.lines[side]?.send(bytes)
  }

  private heard(side: 0 | 1, bytes: Buffer, start: number, length: number): void {
    if (this.isOver) return
    const other = side === 0 ? 1 : 0
    switch (typeOf(bytes, start, length)) {
      case 'REGISTERED':
        if (++this.registered === 2) this.send(0, textFrame(callInitiate(`callee_${this.number}`)))
        return
      case 'CALL_RINGING':
        return
      case 'INCOMING_CALL':
        this.time(other)
        this.id = callIdOf(bytes, start, length)
        this.candidateFrame = textFrame(directCandidate(250, this.id))
        this.send(1, textFrame(callAccept(this.id)))
        return
      case 'CALL_ACCEPTED':
        this.time(other)
        this.tally.answered.add(performance.now() - this.from)
        this.candidate(0)
        this.candidate(1)
        return
      case 'ICE_CANDIDATE':
        this.time(other)
        this.got[side]++
        if (this.sent[side] < this.candidatesEachWay) this.candidate(side)
        if (this.got[0] === this.candidatesEachWay && this.got[1] === this.candidatesEachWay)
          this.send(0, textFrame(callEnd(this.id)))
        return
      case 'CALL_ENDED':
        this.ended++
        this.lines[side]?.send(closeFrame)
        return
      default:
        this.fail(`unexpected: ${bytes.toString('utf8', start, start + length)}`)
    }
  }

  private candidate(side: 0 | 1): void {
    this.sent[side]++
    this.send(side, this.candidateFrame)
  }

  private time(from: 0 | 1): void {
    this.tally.relayed.add(performance.now() - this.sentAt[from])
  }

  private gone(code: number): void {
    if (this.isOver) return
    if (this.ended <= this.closed) {
      this.fail(`closed with ${code} before CALL_ENDED`)
      return
    }
    if (++this.closed < 2) return
    this.isOver = true
    this.tally.done++
    this.over(this)
  }
}

/** `shape` is asked for each call. */
export function directCaller(server: Server, shape: { candidatesEachWay: number }): Caller {
  let number = 0
  return caller((tally, over) => new Call(server, { ...shape, number: number++ }, tally, over))
}
