/**
 * Questions to the server, one at a time: its ERROR does not say what it answers, so there may be only one thing it can
 * be. Deliberately not here: what is asked.
 */
import type { DirectError, DirectUp } from '../../protocol/direct.ts'
import type { Cancel, Millis, Timers } from '../ports.ts'
import type { DirectMessage } from './signalling.ts'

export type RefusalCode = DirectError | 'CONNECTION_LOST' | 'UNREACHABLE'

/** What was asked was refused, or cannot be answered any more. */
export class Refused extends Error {
  readonly code: RefusalCode
  readonly retryAfterMs: number | undefined
  readonly callId: string | undefined

  constructor(
    code: RefusalCode,
    message: string = code,
    more: { retryAfterMs?: number; callId?: string } = {},
  ) {
    super(message)
    this.name = 'Refused'
    this.code = code
    this.retryAfterMs = more.retryAfterMs
    this.callId = more.callId
  }
}

interface Question {
  readonly message: DirectUp
  /** True when this answers it. May throw a Refused. */
  readonly take: (message: DirectMessage) => boolean
  readonly fail: (reason: Refused) => void
}

/** A server that does not answer in this time does not answer. */
export const ANSWERED_WITHIN: Millis = 10_000
/** Answers to what a call said, never to a question. */
const OF_CALLS: readonly string[] = [
  'CALL_NOT_FOUND',
  'CALL_NOT_RINGING',
  'BUFFER_FULL',
] satisfies DirectError[]

export class Questions {
  readonly #timers: Timers
  readonly #send: (message: DirectUp) => boolean
  #waiting: Question[] = []
  #asked: Question | null = null
  #timer: Cancel | null = null

  constructor(timers: Timers, send: (message: DirectUp) => boolean) {
    this.#timers = timers
    this.#send = send
  }

  /** `read` gives the answer out of a message, or undefined when it is none. Rejects with a Refused. */
  ask<T>(message: DirectUp, read: (message: DirectMessage) => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const take = (given: DirectMessage) => {
        const answer = read(given)
        if (answer === undefined) return false
        resolve(answer)
        return true
      }
      this.#waiting.push({ message, take, fail: reject })
      this.#next()
    })
  }

  /** Whether the message was the answer to what was asked. */
  take(message: DirectMessage): boolean {
    const asked = this.#asked
    if (asked === null) return false
    if (message.type === 'ERROR') {
      const { code, message: words, retryAfterMs, callId } = message.payload
      if (OF_CALLS.includes(code)) return false
      const more = {
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
        ...(callId === undefined ? {} : { callId }),
      }
      this.#done()
      asked.fail(new Refused(code, words, more))
    } else {
      try {
        if (!asked.take(message)) return false
      } catch (error) {
        asked.fail(error as Refused)
      }
      this.#done()
    }
    this.#next()
    return true
  }

  /** The connection is gone, and with it what was asked and may have been heard. */
  lost(): void {
    const all = [...(this.#asked === null ? [] : [this.#asked]), ...this.#waiting]
    this.#waiting = []
    this.#done()
    for (const each of all) each.fail(new Refused('CONNECTION_LOST'))
  }

  #next(): void {
    if (this.#asked !== null) return
    const next = this.#waiting.shift()
    if (next === undefined) return
    if (!this.#send(next.message)) {
      next.fail(new Refused('UNREACHABLE'))
      return this.#next()
    }
    this.#asked = next
    this.#timer = this.#timers.after(ANSWERED_WITHIN, () => {
      this.#done()
      next.fail(new Refused('UNREACHABLE'))
      this.#next()
    })
  }

  #done(): void {
    this.#timer?.()
    this.#timer = null
    this.#asked = null
  }
}
