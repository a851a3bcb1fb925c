/** The direct service over HTTP: declining a call that one was woken for, and an operator's reset of an identity. */
import { Type } from 'typebox'
import { fail } from '../protocol/codes.ts'
import { rejectCall } from '../protocol/http.ts'
import { BODY_BYTES } from '../protocol/limits.ts'
import { checker } from '../protocol/read.ts'
import type { Directs } from '../services/direct/directs.ts'
import { json, readJson } from './answer.ts'
import type { Route } from './route.ts'

export interface DirectRouteDeps {
  readonly directs: Directs
}

const checkReject = checker(rejectCall)
const nothing = Type.Object({})

export function directRoutes({ directs }: DirectRouteDeps): Route[] {
  return [
    {
      method: 'POST',
      path: '/calls/:id/reject',
      access: 'anybody',
      name: 'rejectCall',
      about: 'Declines a call that rings, with the token of its wake-up instead of a connection.',
      body: rejectCall,
      answers: nothing,
      fails: ['invalid_field', 'call_not_found', 'call_not_ringing'],
      async handle({ id, request }) {
        const { token } = checkReject(await readJson(request, BODY_BYTES))
        directs.rejectByToken(id, token)
        return json({})
      },
    },
    {
      method: 'DELETE',
      path: '/identities/:id',
      access: 'operator',
      name: 'resetIdentity',
      about:
        'Takes away the key that a client id is bound to, and who may change its key in the directory. The key and its history stay.',
      answers: nothing,
      fails: ['invalid_client_id', 'not_found', 'storage_unavailable'],
      async handle({ id }) {
        if (await directs.reset(id)) return json({})
        throw fail('not_found', 'This id is bound to no key.')
      },
    },
  ]
}
