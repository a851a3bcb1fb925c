/**
 * A route as a value: the dispatcher, `docs/openapi.json` and the 405 answers are all made from the list of these.
 */
import type { TSchema } from 'typebox'
import type { CodeName } from '../protocol/codes.ts'

export type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE'

/**
 * Who may ask: anybody; the app's backend by `X-API-Key`; an operator from this machine or by the admin key; whoever
 * may try a call; whoever has a key of the line in the address.
 */
export type Access = 'anybody' | 'backend' | 'operator' | 'trial' | 'line'

/** A request that was let in. */
export interface Asked {
  readonly request: Request
  readonly url: URL
  /** The variable part of the path, `:id`; empty where there is none. */
  readonly id: string
  readonly client: string
  /** Scheme and host as the client wrote them. */
  readonly site: string
  /** Name of the API key's digest that was shown, for scoping; empty when none was needed. */
  readonly keyDigest: string
}

export interface Route {
  readonly method: Method
  /** May hold one `:id`, which is a whole segment. */
  readonly path: string
  readonly access: Access
  /** What generated clients call it. */
  readonly name: string
  /** One sentence for the reference. */
  readonly about: string
  /** Headers that it reads, by name; none is required. */
  readonly headers?: Readonly<Record<string, TSchema>>
  /** What may stand in the query, by name; nothing is required. */
  readonly query?: Readonly<Record<string, TSchema>>
  readonly body?: TSchema
  /** The JSON it answers, with 200 unless `statuses` says otherwise. */
  readonly answers?: TSchema
  readonly statuses?: readonly number[]
  /** Media type of the text it answers instead of JSON, or besides where there are `answers`. */
  readonly text?: string
  /** Codes of its own; those of the gate and of reading a body come with `access` and `body`. */
  readonly fails: readonly CodeName[]
  /** What a refusal says to a person, in one sentence of plain text; where there is none, refusals are JSON. */
  readonly refusal?: (code: CodeName) => string
  handle(asked: Asked): Promise<Response> | Response
}
