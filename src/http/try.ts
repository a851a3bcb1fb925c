/** `POST /try/session`: a session for the page that tries a call, without an API key. Only where pages to try are on. */
import { Type } from 'typebox'
import { sessionCreated } from '../protocol/http.ts'
import type { Rides } from '../services/ride/rides.ts'
import { json } from './answer.ts'
import type { Asked, Route } from './route.ts'

export interface TryDeps {
  readonly rides: Rides
  readonly socketUrl: (asked: Asked) => string
  /** A trial call may last so many seconds, and its link is good for as long. */
  readonly trialSeconds: number
}

const trialCreated = Type.Object({
  ...sessionCreated.properties,
  driver_id: Type.String(),
  passenger_id: Type.String(),
})

export function tryRoutes({ rides, socketUrl, trialSeconds }: TryDeps): Route[] {
  return [
    {
      method: 'POST',
      path: '/try/session',
      access: 'trial',
      name: 'trySession',
      about:
        'Opens a session for the page to try a call. Only in development, or from this machine before a key is set.',
      answers: trialCreated,
      fails: ['not_found', 'draining', 'storage_unavailable'],
      async handle(asked) {
        const request = {
          ride_id: 'try-it',
          driver_id: 'driver',
          passenger_id: 'passenger',
          max_duration: trialSeconds,
          join_window: trialSeconds,
        }
        const created = await rides.create(request, null)
        const { driver_id, passenger_id } = request
        return json({ ...created, websocket_url: socketUrl(asked), driver_id, passenger_id })
      },
    },
  ]
}
