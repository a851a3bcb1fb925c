/**
 * Posts one signed message, once. The backend that gets it may be slow, wrong or hostile: what it answers besides its
 * status is ignored and bounded, nobody is followed to another address, and it has so long and no longer.
 */
import type { Millis } from '../core/ids.ts'
import { signatureHeaders } from './sign.ts'

export interface PostSettings {
  readonly url: string
  readonly secrets: readonly string[]
  /** The wall clock. */
  readonly now: () => Millis
  /** A try takes so long at most. */
  readonly patience: Millis
}

/** Read of an answer, so that the connection can be used again. Of a longer one the connection is cut. */
const ANSWER_BYTES = 16 * 1024

/**
 * Null when it was taken (2xx), else why not, in a word for the log, without the address: it may hold a secret. Never
 * rejects.
 */
export type Post = (id: string, body: string, stop: AbortSignal) => Promise<string | null>

export function poster({ url, secrets, now, patience }: PostSettings): Post {
  return async (id, body, stop) => {
    const signature = signatureHeaders(secrets, { id, seconds: Math.floor(now() / 1000), body })
    try {
      const answer = await fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': 'ringdown',
          'accept-encoding': 'identity',
          ...signature,
        },
        body,
        redirect: 'manual',
        decompress: false,
        signal: AbortSignal.any([stop, AbortSignal.timeout(patience)]),
      })
      await discard(answer)
      return answer.ok ? null : String(answer.status)
    } catch (error) {
      return nameOf(error)
    }
  }
}

async function discard(answer: Response): Promise<void> {
  let left = ANSWER_BYTES
  try {
    for await (const chunk of answer.body ?? []) {
      left -= chunk.length
      if (left < 0) break
    }
  } catch {} // The status counts, and that is here.
}

function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error'
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}
