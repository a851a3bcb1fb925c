/** Metrics that count nothing. A test that asks for one number puts its own method over it. */
import type { Metrics } from '../../src/core/ports.ts'

export const uncounted: Metrics = {
  callOpened() {},
  callConnected() {},
  callEnded() {},
  relayed() {},
  dropped() {},
  relayTook() {},
  rejected() {},
  resumed() {},
  socketOpened() {},
  socketClosed() {},
  webhook() {},
}
