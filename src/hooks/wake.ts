/**
 * Webhooks to the app's backend. Here: somebody without a connection is called (`call.wake`), so that the app can wake
 * the phone with a push message; and that call is over (`call.cancel`).
 *
 * Nothing waits for it: a call goes on whatever the backend does. Of one call one message is on its way at a time, in
 * order. What is not taken is tried again with growing pauses: a wake-up while the call rings, a cancellation for a
 * while. All of it is in memory and bounded: what a restart loses is a ring.
 */
import type { CallId, Millis } from '../core/ids.ts'
import type { Clock, Log, Metrics } from '../core/ports.ts'
import type { EndReason } from '../protocol/codes.ts'
import { type Post, poster } from './post.ts'

export interface WakeHookDeps {
  readonly url: string
  /** Each signs. */
  readonly secrets: readonly string[]
  readonly clock: Clock
  readonly metrics: Metrics
  readonly log: Log
  /** A try takes so long at most; 5 s unless a test says otherwise. */
  readonly patience?: Millis
}

const PATIENCE: Millis = 5000
/** Messages that are kept, and that are on their way at once. */
const MOST_KEPT = 1000
const MOST_AT_ONCE = 32
/** Between tries. Doubles with each, and is shortened by up to a half at random. */
const PAUSE: Millis = 500
const LONGEST_PAUSE: Millis = 10_000
/** A cancellation is tried for so long. */
const CANCEL_FOR: Millis = 60_000
/** What is on its way when the server stops has so long to arrive. */
const LAST_EFFORT: Millis = 2000

interface Parcel {
  readonly type: 'call.wake' | 'call.cancel'
  readonly id: string
  readonly body: string
  /** After this instant it is not tried again. */
  until: Millis
  tries: number
}

export class WakeHook {
  readonly #deps: WakeHookDeps
  readonly #post: Post
  /** By call; the first is on its way, or waits to be. */
  readonly #lanes = new Map<CallId, Parcel[]>()
  readonly #stop = new AbortController()
  #kept = 0
  #underway = 0
  /** Who waits for one of those underway to be done. */
  #queue: (() => void)[] = []
  /** Ends the pause of a lane. */
  readonly #pauses = new Map<CallId, () => void>()
  #closing: Promise<void> | null = null
  #whenEmpty: () => void = () => {}

  constructor(deps: WakeHookDeps) {
    this.#deps = deps
    const { url, secrets, clock, patience = PATIENCE } = deps
    this.#post = poster({ url, secrets, patience, now: () => clock.now() })
  }

  wake(call: {
    readonly id: CallId
    readonly callerId: string
    readonly targetId: string
    readonly expiresAt: Millis
    readonly rejectToken: string
  }): void {
    const { id, callerId, targetId, expiresAt, rejectToken } = call
    const body = {
      type: 'call.wake',
      call_id: id,
      caller_id: callerId,
      target_id: targetId,
      expires_at: new Date(expiresAt).toISOString(),
      reject_token: rejectToken,
    }
    this.#send(id, parcel('call.wake', `wake_${id}`, body, expiresAt))
  }

  cancel(call: { readonly id: CallId; readonly targetId: string; readonly reason: EndReason | null }): void {
    const { id, targetId, reason } = call
    const now = this.#deps.clock.now()
    const wake = this.#lanes.get(id)?.[0]
    if (wake !== undefined) {
      wake.until = now
      this.#pauses.get(id)?.()
      // Nobody was told of the call, so nobody needs to be told that it is over.
      if (wake.tries === 0) return
    }
    const body = { type: 'call.cancel', call_id: id, target_id: targetId, reason }
    this.#send(id, parcel('call.cancel', `cancel_${id}`, body, now + CANCEL_FOR))
  }

  /** Lets cancellations that are here arrive, if that is quick, and drops the rest. Twice is fine. */
  close(): Promise<void> {
    this.#closing ??= this.#finish()
    return this.#closing
  }

  async #finish(): Promise<void> {
    for (const [id, lane] of this.#lanes) {
      for (const each of lane) if (each.type === 'call.wake') each.until = 0
      this.#pauses.get(id)?.()
    }
    if (this.#lanes.size === 0) return
    const late = setTimeout(() => this.#stop.abort(), LAST_EFFORT)
    await new Promise<void>((empty) => {
      this.#whenEmpty = empty
    })
    clearTimeout(late)
  }

  #send(id: CallId, it: Parcel): void {
    const { metrics, log } = this.#deps
    if (this.#closing !== null || this.#kept >= MOST_KEPT) {
      metrics.webhook('dropped')
      log.warn({ call: id, type: it.type }, 'a webhook was dropped: too many wait, or the server goes down')
      return
    }
    this.#kept++
    const lane = this.#lanes.get(id)
    if (lane !== undefined) return void lane.push(it)
    const fresh = [it]
    this.#lanes.set(id, fresh)
    void this.#run(id, fresh)
  }

  async #run(id: CallId, lane: Parcel[]): Promise<void> {
    for (let next = lane[0]; next !== undefined; next = lane[0]) {
      await this.#deliver(id, next)
      lane.shift()
      this.#kept--
    }
    this.#lanes.delete(id)
    if (this.#lanes.size === 0) this.#whenEmpty()
  }

  async #deliver(id: CallId, it: Parcel): Promise<void> {
    const { clock, metrics, log } = this.#deps
    for (;;) {
      const refusal = await this.#try(it)
      if (refusal === null) return metrics.webhook('delivered')
      const pause = Math.min(PAUSE * 2 ** (it.tries - 1), LONGEST_PAUSE) * (1 - Math.random() / 2)
      if (this.#closing !== null || clock.now() + pause >= it.until) {
        metrics.webhook('given_up')
        log.warn({ call: id, type: it.type, tries: it.tries, refusal }, 'a webhook was not taken')
        return
      }
      metrics.webhook('retried')
      await this.#pause(id, pause)
    }
  }

  /** Null when it was taken. */
  async #try(it: Parcel): Promise<string | null> {
    if (this.#underway >= MOST_AT_ONCE) await new Promise<void>((turn) => this.#queue.push(turn))
    else this.#underway++
    try {
      if (this.#stop.signal.aborted || this.#deps.clock.now() >= it.until) return 'too late'
      it.tries++
      return await this.#post(it.id, it.body, this.#stop.signal)
    } finally {
      const turn = this.#queue.shift()
      if (turn === undefined) this.#underway--
      else turn()
    }
  }

  #pause(id: CallId, span: Millis): Promise<void> {
    const { clock } = this.#deps
    return new Promise((resume) => {
      const end = () => {
        alarm.cancel()
        this.#pauses.delete(id)
        resume()
      }
      const alarm = clock.alarm(clock.now() + span, end)
      this.#pauses.set(id, end)
    })
  }
}

function parcel(type: Parcel['type'], id: string, body: object, until: Millis): Parcel {
  return { type, id, body: JSON.stringify(body), until, tries: 0 }
}
