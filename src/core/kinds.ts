/**
 * What differs between the three kinds of call, as one table: which end has which reason. The machine is the same.
 */
import type { EndReason } from '../protocol/codes.ts'

export type Kind = 'ride' | 'direct' | 'line'

/** Where there are two reasons, the first is for side 0. */
export interface Rules {
  /** A leg of an active call was away for longer than its grace. */
  readonly lost: readonly [EndReason, EndReason]
  /** A leg of an active call said goodbye. */
  readonly left: readonly [EndReason, EndReason]
  /** A leg left, or was away for too long, before the call was active; null: the call goes on waiting for it. */
  readonly leftWaiting: readonly [EndReason | null, EndReason | null]
  readonly hungUp: EndReason
  readonly hungUpWaiting: readonly [EndReason, EndReason]
  readonly declined: EndReason
  /** The two did not both come within the window. */
  readonly nobody: EndReason
}

const rules: Readonly<Record<Kind, Rules>> = {
  // Side 0 is the driver, side 1 the passenger.
  ride: {
    lost: ['disconnect_driver', 'disconnect_passenger'],
    left: ['disconnect_driver', 'disconnect_passenger'],
    leftWaiting: [null, null],
    hungUp: 'user_terminated',
    hungUpWaiting: ['user_terminated', 'user_terminated'],
    declined: 'user_terminated',
    nobody: 'join_timeout',
  },
  // Side 0 is the caller, side 1 the callee, who joins by accepting.
  direct: {
    lost: ['disconnect_caller', 'disconnect_callee'],
    left: ['disconnect_caller', 'disconnect_callee'],
    leftWaiting: ['cancelled', null],
    hungUp: 'ended',
    hungUpWaiting: ['cancelled', 'rejected'],
    declined: 'rejected',
    nobody: 'no_answer',
  },
  // Sides in the order they came.
  line: {
    lost: ['disconnect', 'disconnect'],
    left: ['left', 'left'],
    leftWaiting: ['left', 'left'],
    hungUp: 'left',
    hungUpWaiting: ['left', 'left'],
    declined: 'left',
    nobody: 'left',
  },
}

export function rulesOf(kind: Kind): Rules {
  return rules[kind]
}
