/** Every route of the server: for the door, and for `docs/openapi.json`, which is made from the same list. */
import { callRoutes } from './calls.ts'
import { type DirectRouteDeps, directRoutes } from './direct.ts'
import { type HealthDeps, healthRoutes } from './health.ts'
import { type LineRouteDeps, lineRoutes } from './line.ts'
import type { Route } from './route.ts'
import { type SessionsDeps, sessionRoutes } from './sessions.ts'
import { type TryDeps, tryRoutes } from './try.ts'

export type RoutesDeps = HealthDeps & SessionsDeps & DirectRouteDeps & LineRouteDeps & TryDeps

/** What is brought is used only when a route is asked for; the routes that are described need nothing. */
export function allRoutes(deps: RoutesDeps): Route[] {
  return [
    ...healthRoutes(deps),
    ...sessionRoutes(deps),
    ...callRoutes(deps),
    ...directRoutes(deps),
    ...lineRoutes(deps),
    ...tryRoutes(deps),
  ]
}
