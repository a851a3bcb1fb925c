import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { IN_REAL_TIME } from '../../test/kit/real-time.ts'
import { type LogSettings, openLog } from './log.ts'
import { Lines } from './outlet.ts'

function memory(settings: Partial<LogSettings> = {}) {
  let text = ''
  const outlet = {
    write(more: string) {
      text += more
      return undefined
    },
  }
  const log = openLog({ level: 'debug', format: 'json', outlet, ...settings })
  return {
    log,
    text() {
      log.flush()
      return text
    },
    lines(): Record<string, unknown>[] {
      log.flush()
      return text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line))
    },
  }
}

test('a line is one JSON object with level, time, bound and own context, and message', () => {
  const { log, lines } = memory()
  log.child({ session: 's1' }).child({ role: 'driver' }).info({ reason: 'user_terminated' }, 'call ended')
  const [line] = lines()
  expect(Object.keys(line ?? {})).toEqual(['level', 'time', 'session', 'role', 'reason', 'msg'])
  expect(line).toMatchObject({
    level: 'info',
    session: 's1',
    role: 'driver',
    reason: 'user_terminated',
    msg: 'call ended',
  })
  expect(line?.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
})

test('lines below the level are not written', () => {
  const { log, lines } = memory({ level: 'warn' })
  for (const at of ['debug', 'info', 'warn', 'error'] as const) {
    log[at]({}, at)
    log.child({})[at]({}, at)
  }
  expect(lines().map(({ msg }) => msg)).toEqual(['warn', 'warn', 'error', 'error'])
})

describe('[T-O1] secrets', () => {
  const canary = 'canary-7f3a-secret-value'

  test('are hidden by name, at any depth, in bound context too', () => {
    const { log, text, lines } = memory()
    const names = [
      'api_key',
      'apiKey',
      'X-API-Key',
      'key',
      'keys',
      'join_token',
      'resumeToken',
      'join_tokens',
      'secret',
      'DB_PASSWORD',
      'password',
      'authorization',
      'Cookie',
      'set-cookie',
      'turnCredential',
      'CLIENT_SECRET',
    ]
    for (const name of names) {
      log.info({ [name]: canary, a: { b: [{ [name]: canary }] } }, 'x')
      log.child({ [name]: { deep: canary } }).error({ headers: { [name]: [canary] } }, 'x')
    }
    expect(lines()).toHaveLength(2 * names.length)
    expect(text()).not.toContain('canary')
  })

  test('are hidden by value once they are known, wherever they stand', () => {
    const { log, text, lines } = memory()
    const child = log.child({ early: 1 })
    log.hide([canary, 'with"quote\\and space', 'short'])
    child.info({ url: `/x?k=${canary}&a=1`, [`n${canary}`]: 1 }, `message ${canary}`)
    child.error({ err: new Error(`refused ${canary}`) }, 'x')
    child.error({ text: 'with"quote\\and space', url: encodeURIComponent('with"quote\\and space') }, 'short')
    expect(text()).not.toMatch(/canary|quote/)
    expect(lines().map(({ msg }) => msg)).toEqual(['message [hidden]', 'x', 'short'])
  })

  test('of an error, only the usual fields are told', () => {
    const { log, lines } = memory()
    const cause = Object.assign(new Error('inner'), { sql: canary })
    log.error(
      { err: Object.assign(new TypeError('outer', { cause }), { code: 'E1', request: canary, sql: canary }) },
      'x',
    )
    const [line] = lines()
    expect(line?.err).toMatchObject({
      type: 'TypeError',
      message: 'outer',
      code: 'E1',
      cause: { type: 'Error', message: 'inner' },
    })
    expect(JSON.stringify(line)).not.toContain(canary)
  })

  test('a name that only sounds like one, or a number, is shown', () => {
    const { log, lines } = memory()
    log.info({ tokens: 3, keyboard: 'qwerty', hasKey: true, monkeys: null, code: 'invalid_api_key' }, 'x')
    expect(lines()[0]).toMatchObject({
      tokens: 3,
      keyboard: 'qwerty',
      hasKey: true,
      monkeys: null,
      code: 'invalid_api_key',
    })
  })
})

test('[T-R8] whatever a client sent makes one line that can be parsed, and stays as it was', () => {
  const { log, lines, text } = memory()
  const hostile = [
    'a\nb',
    '\r\n{"level":"error"}',
    '\u001b[31mred',
    '"',
    '\\',
    '\u0000',
    '\u2028',
    '\ud800',
    '\u202eabc',
    '=cmd()',
  ]
  for (const ride of hostile) log.info({ ride, nested: { [ride]: 1 } }, ride)
  expect(text().split('\n')).toHaveLength(hostile.length + 1)
  expect(lines().map(({ ride }) => ride)).toEqual(hostile)
})

test('odd values do not break a line, and no line grows without bound', () => {
  const { log, lines } = memory()
  const circle: Record<string, unknown> = {}
  circle.self = circle
  circle.again = [circle, circle]
  log.info(
    { circle, big: 10n, fn: () => 1, buffer: Buffer.alloc(1e6), nan: Number.NaN, date: new Date(Number.NaN) },
    'odd',
  )
  log.info(JSON.parse(`{"__proto__":{"polluted":1},"long":"${'x'.repeat(1e5)}"}`), 'proto')
  log.info(Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`n${i}`, 'y'.repeat(100)])), 'many')
  const [odd, proto, many] = lines()
  expect(odd).toMatchObject({ big: '10', buffer: '[1000000 bytes]', nan: null, date: null, msg: 'odd' })
  expect(String(proto?.long).length).toBeWithin(2000, 2100)
  expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  expect(JSON.stringify(many).length).toBeLessThan(10_000)
})

test('for the eye, a line has time, level, message and fields, a stack below, and no tricks', () => {
  const { log, text } = memory({ format: 'pretty' })
  log.child({ session: 's1' }).warn({ role: 'driver', n: 1, o: { a: 1 } }, 'odd')
  log.error({ err: new Error('broken\u001b[2J\u009b'), ride: 'x\ny\u202e' }, 'failed\u0007')
  const [first, second, ...stack] = text().split('\n')
  expect(first).toMatch(/^\d\d:\d\d:\d\d\.\d{3} warn {2}odd session=s1 role=driver n=1 o={"a":1}$/)
  expect(second).toEndWith('error failed\\u0007 err=broken\\u001b[2J\\u009b ride=x\\u000ay\\u202e')
  expect(stack[0]).toStartWith('    Error: broken')
  for (const trick of '\u001b\u0007\u009b\u202e') expect(text()).not.toContain(trick)
})

test('while the reader is slow lines wait in order, up to a bound, and what was lost is told', async () => {
  const taken: string[] = []
  let release = () => {}
  const lines = new Lines(
    {
      write(text) {
        taken.push(text)
        return new Promise((done) => {
          release = () => done(undefined)
        })
      },
    },
    (lost) => `lost ${lost}\n`,
  )
  lines.push('first\n', true)
  lines.push('second\n', true)
  const line = `${'x'.repeat(999)}\n`
  for (let i = 0; i < 6000; i++) lines.push(line, true)
  expect(taken).toEqual(['first\n'])
  release()
  await Bun.sleep(0)
  expect(taken).toHaveLength(2)
  expect(taken[1]).toStartWith('second\n')
  const kept = (taken[1] ?? '').split(line).length - 1
  expect(kept).toBeWithin(4000, 4300)
  expect(taken[1]).toEndWith(`\nlost ${6000 - kept}\n`)
})

test('an outlet that fails loses lines and breaks nothing', async () => {
  const taken: string[] = []
  let how: 'throw' | 'reject' | 'take' = 'throw'
  const lines = new Lines(
    {
      write(text) {
        if (how === 'throw') throw new Error('ENOSPC')
        if (how === 'reject') return Promise.reject(new Error('EPIPE'))
        taken.push(text)
        return undefined
      },
    },
    (lost) => `lost ${lost}\n`,
  )
  lines.push('1\n', true)
  how = 'reject'
  lines.push('2\n', true)
  await lines.close()
  how = 'take'
  lines.push('3\n', true)
  await lines.close()
  expect(taken.join('')).toBe('3\nlost 2\n')
})

describe('on a real pipe', () => {
  const script = (body: string) => `
    import { openLog } from ${JSON.stringify(join(import.meta.dir, 'log.ts'))}
    const log = openLog({ level: 'info', format: 'auto' })
    ${body}`
  const run = (body: string) =>
    Bun.spawn([process.execPath, '-e', script(body)], { stdout: 'pipe', stderr: 'ignore' })

  test('no line is lost when the process exits or falls over', async () => {
    for (const end of ['process.exit(3)', 'throw new Error("x")', '']) {
      const child = run(`for (let i = 0; i < 200; i++) log.info({ i }, 'line'); ${end}`)
      const lines = (await new Response(child.stdout).text()).trim().split('\n')
      expect(lines, end).toHaveLength(200)
      expect(JSON.parse(lines[199] ?? '')).toMatchObject({ i: 199, msg: 'line' })
    }
  })

  test('a line is there within a moment, without more of them', async () => {
    const child = run(`log.info({}, 'up'); setTimeout(() => {}, 10_000)`)
    const { value } = await child.stdout.getReader().read()
    expect(new TextDecoder().decode(value)).toContain('"msg":"up"')
    child.kill()
    await child.exited
  })

  test('a reader that has stopped reading never makes us wait', IN_REAL_TIME, async () => {
    const child = Bun.spawn(
      [
        process.execPath,
        '-e',
        script(`
        let worst = 0
        for (let i = 0; i < 100; i++) {
          const start = performance.now()
          for (let j = 0; j < 500; j++) log.info({ i, j, pad: 'x'.repeat(100) }, 'line')
          worst = Math.max(worst, performance.now() - start)
          await Bun.sleep(1)
        }
        process.stderr.write(String(worst))
        await log.close()
        process.exit(0)`),
      ],
      { stdout: 'pipe', stderr: 'pipe' },
    )
    const worst = Number(await new Response(child.stderr).text())
    expect(await child.exited).toBe(0)
    expect(worst).toBeWithin(0, 250)
  })
})
