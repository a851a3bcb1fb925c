/** `/health`, `/ready` and `/metrics`: is it up, should it get calls, and the numbers. */
import { Type } from 'typebox'
import { json } from './answer.ts'
import type { Route } from './route.ts'

/** Whether the server should be sent new calls. `parts` says what is wrong, in words for an operator. */
export interface Readiness {
  readonly ready: boolean
  readonly degraded: boolean
  readonly parts: Readonly<Record<string, string>>
}

export interface HealthDeps {
  readonly readiness: () => Readiness
  /** In the Prometheus text format. */
  readonly metrics: () => Promise<string>
}

/** The Prometheus text format. */
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

const readiness = Type.Object({
  ready: Type.Boolean(),
  degraded: Type.Boolean(),
  parts: Type.Record(Type.String(), Type.String()),
})

export function healthRoutes(deps: HealthDeps): Route[] {
  return [
    {
      method: 'GET',
      path: '/health',
      access: 'anybody',
      name: 'health',
      about: 'The process runs.',
      answers: Type.Object({ status: Type.Literal('ok') }),
      fails: [],
      handle: () => json({ status: 'ok' }),
    },
    {
      method: 'GET',
      path: '/ready',
      access: 'anybody',
      name: 'ready',
      about: 'Whether to send new calls here: 200, also when degraded; 503 while starting or going down.',
      answers: readiness,
      statuses: [200, 503],
      fails: [],
      handle() {
        const state = deps.readiness()
        return json(state, state.ready ? 200 : 503)
      },
    },
    {
      method: 'GET',
      path: '/metrics',
      access: 'operator',
      name: 'metrics',
      about: 'Numbers for Prometheus.',
      text: METRICS_TYPE,
      fails: [],
      async handle() {
        const headers = { 'content-type': METRICS_TYPE, 'cache-control': 'no-store' }
        return new Response(await deps.metrics(), { headers })
      },
    },
  ]
}
