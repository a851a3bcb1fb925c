/**
 * For tests that hold real time to a bound: a machine may stand still meanwhile, so they are tried again. Not for tests
 * that draw by chance: what only some draws find would be lost.
 */
export const IN_REAL_TIME = { retry: 2 } as const
