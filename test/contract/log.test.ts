// The contract of Log (src/core/ports.ts), for every implementation: the lines that a machine reads, those for the eye,
// the log that tests look into, and the silent one.
import { describe, expect, test } from 'bun:test'
import type { Log } from '../../src/core/ports.ts'
import { openLog } from '../../src/observe/log.ts'
import { type LogLine, listLog, silentLog } from '../kit/log.ts'

interface Opened {
  readonly log: Log
  /** Every line so far, as text. */
  text(): string
  /** Every line so far; null where a line cannot be taken apart. */
  readonly lines: (() => LogLine[]) | null
}

function written(format: 'json' | 'pretty'): Opened {
  let text = ''
  const outlet = {
    write(more: string) {
      text += more
      return undefined
    },
  }
  const log = openLog({ level: 'debug', format, outlet })
  const flushed = () => {
    log.flush()
    return text
  }
  const parsed = () => flushed().split('\n').filter(Boolean).map(parse)
  return { log, text: flushed, lines: format === 'json' ? parsed : null }
}

function parse(line: string): LogLine {
  const { level, time, msg, ...context } = JSON.parse(line)
  expect(Math.abs(Date.parse(time) - Date.now())).toBeLessThan(60_000)
  return { level, message: msg, context }
}

const implementations: Record<string, () => Opened> = {
  'lines for a machine': () => written('json'),
  'lines for the eye': () => written('pretty'),
  'the log that tests look into': () => {
    const log = listLog()
    return { log, text: () => JSON.stringify(log.lines), lines: () => log.lines }
  },
  'the silent log': () => ({ log: silentLog, text: () => '', lines: null }),
}

const LEVELS = ['debug', 'info', 'warn', 'error'] as const
const SECRET = 'canary-7f3a-secret-value'

/** What somebody might hand over by mistake. */
function oddities(): Record<string, unknown>[] {
  const circle: Record<string, unknown> = {}
  circle.self = circle
  return [
    circle,
    { big: 10n, symbol: Symbol('x'), nothing: undefined, nan: Number.NaN, made: () => 1 },
    {
      get broken() {
        throw new Error('a getter that throws')
      },
    },
    {
      toJSON() {
        throw new Error('a toJSON that throws')
      },
    },
    { deep: { toJSON: () => SECRET } },
    { err: Object.assign(new Error('with a cause'), { cause: circle, headers: { authorization: SECRET } }) },
    { buffer: Buffer.alloc(1e6), long: 'x'.repeat(1e6), many: Array.from({ length: 1e5 }, () => 'y') },
    { date: new Date(Number.NaN), map: new Map([['a', 1]]), nested: [[[[[[[[[[1]]]]]]]]]] },
    Object.create(null),
    JSON.parse('{"__proto__": {"polluted": 1}, "constructor": 1, "hasOwnProperty": 1}'),
  ]
}

for (const [name, open] of Object.entries(implementations)) {
  describe(name, () => {
    test('takes anything and never throws, also as bound context', () => {
      const { log, text } = open()
      for (const oddity of oddities()) {
        for (const level of LEVELS) {
          log[level](oddity, 'odd')
          log.child(oddity).child({})[level](oddity, 'odd')
        }
      }
      expect(text()).not.toContain(SECRET)
      expect(text().length).toBeLessThan(2_000_000)
      expect(({} as Record<string, unknown>).polluted).toBeUndefined()
    })

    test('shows no secret, whether it is bound, deep, or comes with the line', () => {
      const { log, text } = open()
      for (const field of ['token', 'joinToken', 'api_key', 'key', 'password', 'Authorization', 'secret']) {
        log.info({ [field]: SECRET, deep: { list: [{ [field]: SECRET }] } }, 'here')
        log.child({ [field]: SECRET }).info({}, 'bound')
      }
      expect(text()).not.toContain(SECRET)
    })

    test('can be used by its methods alone', () => {
      const { info, warn, child } = open().log
      expect(() => {
        info({}, 'x')
        warn({}, 'x')
        child({ a: 1 }).error({}, 'x')
      }).not.toThrow()
    })

    const { lines } = open()
    if (lines === null) return
    const lists = open as () => Opened & { lines: () => LogLine[] }

    test('keeps level, message and context of each line, in the order they were told', () => {
      const { log, lines } = lists()
      const child = log.child({ session: 's1' })
      log.error({ n: 1 }, 'first')
      child.debug({ n: 2 }, 'second')
      log.warn({}, 'third')
      child.info({ n: 4, more: { deep: [true, null, 'x'] } }, 'fourth')
      expect(lines()).toEqual([
        { level: 'error', message: 'first', context: { n: 1 } },
        { level: 'debug', message: 'second', context: { session: 's1', n: 2 } },
        { level: 'warn', message: 'third', context: {} },
        {
          level: 'info',
          message: 'fourth',
          context: { session: 's1', n: 4, more: { deep: [true, null, 'x'] } },
        },
      ])
    })

    test('a child has what is bound to its parents, and what is nearer wins', () => {
      const { log, lines } = lists()
      const child = log.child({ room: 'ws', connection: 'c1' })
      const grandchild = child.child({ connection: 'c2', role: 'driver' })
      grandchild.info({ role: 'passenger' }, 'grandchild')
      child.info({}, 'child')
      log.info({}, 'parent')
      expect(lines().map(({ context }) => context)).toEqual([
        { room: 'ws', connection: 'c2', role: 'passenger' },
        { room: 'ws', connection: 'c1' },
        {},
      ])
    })

    test('a line stays as it was told, whatever becomes of its context', () => {
      const { log, lines } = lists()
      const bound = { state: 'ringing', legs: ['caller'] }
      const own = { deep: { count: 1 } }
      const child = log.child(bound)
      child.info(own, 'then')
      bound.state = 'ended'
      bound.legs.push('callee')
      own.deep.count = 2
      child.info({}, 'now')
      const then = { state: 'ringing', legs: ['caller'] }
      expect(lines().map(({ context }) => context)).toEqual([{ ...then, deep: { count: 1 } }, then])
    })

    test('no context changes what level, time and message a line has', () => {
      const { log, lines } = lists()
      const forged = { level: 'debug', time: 'never', msg: 'nothing happened', message: 'nothing' }
      log.error(forged, 'it broke')
      log.child(forged).error({}, 'it broke')
      for (const line of lines()) expect(line).toMatchObject({ level: 'error', message: 'it broke' })
    })
  })
}
