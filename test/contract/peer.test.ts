// The contract of Peer (src/core/ports.ts) and of what its Session hears (src/core/door.ts), for every implementation:
// a connection of the door with a real socket, and the phone that tests of a service alone are given.
import { afterEach, describe, expect, test } from 'bun:test'
import type { Peer } from '../../src/core/ports.ts'
import { type CodeName, codes, fail } from '../../src/protocol/codes.ts'
import { PROBE_TIMEOUT } from '../../src/protocol/limits.ts'
import { until } from '../kit/until.ts'
import { FIRST_WORD, type House, houses, type Line, type Script } from './lines.ts'

for (const [name, open] of Object.entries(houses)) {
  describe(name, () => {
    const opened: House[] = []
    const build = () => {
      const house = open()
      opened.push(house)
      return house
    }
    const connect = (script: Script = {}) => build().connect(script)
    afterEach(async () => {
      for (const house of opened.splice(0)) await house.close()
    })

    describe('sending and closing', () => {
      test('what is sent arrives in order, and after it the close with its code and name', async () => {
        const sent = Array.from({ length: 200 }, (_, i) => `${i} ${'x'.repeat(i * 7)} 語`)
        const answers: boolean[] = []
        const { client } = await connect({
          hears(peer) {
            for (const text of sent) answers.push(peer.send(text))
            peer.close(4409, 'taken_over')
          },
        })
        await client.say('go')
        expect(await client.closed()).toEqual({ texts: sent, code: 4409, reason: 'taken_over' })
        expect(answers).toEqual(sent.map(() => true))
      })

      test('once it is closed it is not open, and what is sent goes nowhere', async () => {
        const seen: unknown[] = []
        const { peer, client } = await connect({
          hears(it) {
            seen.push(it.open)
            it.close(1000, 'over')
            seen.push(it.open, it.send('too late'))
          },
          closes: (it) => seen.push(it.open, it.send('much too late')),
        })
        await client.say('go')
        expect((await client.closed()).texts).toEqual([])
        expect(seen).toEqual([true, false, false, false, false])
        expect([peer.open, peer.send('later')]).toEqual([false, false])
      })

      test('the first close counts, and those after it do nothing', async () => {
        const { peer, client, told } = await connect({
          hears(it) {
            it.close(4409, 'taken_over')
            it.close(1000, 'over')
          },
          closes: (it) => it.close(4103, 'draining'),
        })
        await client.say('go')
        expect(await client.closed()).toMatchObject({ code: 4409, reason: 'taken_over' })
        peer.close(4401, 'session_not_found')
        await Bun.sleep(5)
        expect(told).toEqual(['heard go', 'lost'])
      })

      test('the session hears of the end once, last, and after the change in which that was decided', async () => {
        const line: Line = await connect({
          hears(peer) {
            peer.close(4409, 'taken_over')
            peer.probe((alive) => line.told.push(alive ? 'alive' : 'dead'))
            line.told.push('decided')
          },
        })
        await line.client.say('go')
        await line.client.closed()
        await Bun.sleep(5)
        expect(line.told).toEqual(['heard go', 'decided', 'dead', 'lost'])
      })

      test('a session may send and close while it is being made', async () => {
        const { client, told } = await connect({
          opens(peer) {
            peer.send('welcome')
            peer.close(4103, 'draining')
          },
        })
        expect(await client.closed()).toEqual({ texts: ['welcome'], code: 4103, reason: 'draining' })
        expect(told).toEqual(['lost'])
      })

      test('a session that closes hears nothing of what the client still says', async () => {
        const { client, told } = await connect({ hears: (peer) => peer.close(1000, 'over') })
        await client.say('one')
        await client.say('two')
        await client.closed()
        expect(told).toEqual(['heard one', 'lost'])
      })
    })

    describe('an end that the client makes', () => {
      test('is a goodbye with 1000, and a loss with anything else', async () => {
        const heard: (readonly string[])[] = []
        for (const end of [1000, 1001, 4000, 'cut'] as const) {
          const { peer, client, told } = await connect()
          await (end === 'cut' ? client.cut() : client.goodbye(end))
          heard.push(told)
          expect([peer.open, peer.send('x')]).toEqual([false, false])
        }
        expect(heard).toEqual([['goodbye'], ['lost'], ['lost'], ['lost']])
      })
    })

    describe('refusing', () => {
      test('tells each code there is, and closes where its row says so', async () => {
        for (const code of Object.keys(codes) as CodeName[]) {
          const { close } = codes[code]
          const { client, peer } = await connect({
            hears(it, text) {
              if (text === 'go') it.refuse(fail(code))
              else it.close(1000, 'over')
            },
          })
          await client.say('go')
          expect([code, peer.open]).toEqual([code, close === null])
          await client.say('end')
          const end = close === null ? { code: 1000, reason: 'over' } : { code: close, reason: code }
          expect(await client.closed()).toEqual({ texts: [`refused ${code}`], ...end })
        }
      })

      test('a message that the session throws at is refused likewise', async () => {
        const { client } = await connect({
          hears() {
            throw fail('resume_failed')
          },
        })
        await client.say('go')
        expect(await client.closed()).toEqual({
          texts: ['refused resume_failed'],
          code: 4401,
          reason: 'resume_failed',
        })
      })

      test('after a close does nothing', async () => {
        const { client } = await connect({
          hears(peer) {
            peer.close(1000, 'over')
            peer.refuse(fail('resume_failed'))
          },
        })
        await client.say('go')
        expect(await client.closed()).toEqual({ texts: [], code: 1000, reason: 'over' })
      })
    })

    describe('admitting', () => {
      test('lets a connection be silent, twice or when it is being made as well', async () => {
        const admit = (peer: Peer) => {
          peer.admit({ session: 'one' })
          peer.admit({ session: 'two' }, {})
        }
        for (const script of [{ opens: admit }, { hears: admit }]) {
          const house = build()
          const { peer, client } = await house.connect(script)
          if (script.opens === undefined) await client.say('it is me')
          await house.clock.wind(2 * FIRST_WORD)
          expect(peer.open).toBe(true)
          await client.cut()
          expect(house.clock.alarms).toBe(0)
        }
      })

      test('a connection that is closed brings nothing back', async () => {
        const house = build()
        const { peer, client } = await house.connect({
          hears(it) {
            it.close(1000, 'over')
            it.admit({})
          },
          closes: (it) => it.admit({}),
        })
        await client.say('go')
        await client.closed()
        expect([peer.open, house.clock.alarms]).toEqual([false, 0])
      })
    })

    describe('asking for a sign of life', () => {
      async function probed(times = 1) {
        const house = build()
        const line = await house.connect()
        line.peer.admit({})
        const verdicts: boolean[] = []
        for (let i = 0; i < times; i++) line.peer.probe((alive) => verdicts.push(alive))
        return { ...house, ...line, verdicts }
      }
      const all = (verdicts: boolean[], count = 1) =>
        until(() => verdicts.length >= count, 'the verdict', 5_000)

      test('one that answers the ping is alive', async () => {
        const { client, verdicts } = await probed()
        expect(verdicts).toEqual([])
        await client.pong()
        await all(verdicts)
        expect(verdicts).toEqual([true])
      })

      test('one that says anything is alive', async () => {
        const { client, verdicts, told } = await probed()
        await client.say('I am here')
        expect([verdicts, told.at(-1)]).toEqual([[true], 'heard I am here'])
      })

      test('one that is silent is dead in time, and stays open', async () => {
        const { clock, client, peer, verdicts } = await probed()
        await clock.wind(PROBE_TIMEOUT - 100)
        expect(verdicts).toEqual([])
        await clock.wind(200)
        expect([verdicts, peer.open]).toEqual([[false], true])
        await client.say('late')
        await clock.wind(2 * PROBE_TIMEOUT)
        expect(verdicts).toEqual([false])
      })

      test('everyone who asked is answered once, whatever comes after', async () => {
        const { clock, client, verdicts } = await probed(3)
        await client.say('one')
        await client.say('two')
        await clock.wind(2 * PROBE_TIMEOUT)
        await client.cut()
        expect(verdicts).toEqual([true, true, true])
      })

      test('one that is lost meanwhile is dead, and leaves no alarm', async () => {
        const { clock, client, verdicts } = await probed(2)
        await client.cut()
        expect([verdicts, clock.alarms]).toEqual([[false, false], 0])
      })

      test('one that is gone already is dead in time', async () => {
        const house = build()
        const { peer, client, told } = await house.connect()
        await client.cut()
        const verdicts: boolean[] = []
        peer.probe((alive) => verdicts.push(alive))
        await house.clock.wind(PROBE_TIMEOUT + 100)
        expect([verdicts, told, house.clock.alarms]).toEqual([[false], ['lost'], 0])
      })

      test('a ping is told after what was sent before it, its pong once, and no other ping in between', async () => {
        const { client, peer, told, verdicts } = await probed(3)
        expect(told).toEqual(['pinged'])
        for (let i = 0; i < 3; i++) await client.pong()
        await all(verdicts, 3)
        await until(() => told.length === 2, 'the pong')
        peer.probe((alive) => verdicts.push(alive))
        expect(told).toEqual(['pinged', 'ponged', 'pinged'])
        await client.pong()
        await until(() => told.length === 4, 'the pong')
        expect(told.at(-1)).toBe('ponged')
      })

      test('a client that never answers is told of with one ping, however often it is asked', async () => {
        const { clock, peer, told, verdicts } = await probed()
        for (let i = 0; i < 3; i++) {
          await clock.wind(PROBE_TIMEOUT + 100)
          peer.probe((alive) => verdicts.push(alive))
        }
        expect(verdicts).toEqual([false, false, false])
        expect(told).toEqual(['pinged'])
      })
    })

    test('a client that does not read is sent nothing more, and closed as slow_reader after that change', async () => {
      const line: Line = await connect({
        hears(peer) {
          line.client.stopReading()
          while (sent < 2_000 && peer.open) taken = peer.send(`${sent++} ${'x'.repeat(64 * 1024)}`)
          line.told.push(taken ? 'taken' : 'not taken', peer.send('more') ? 'sent' : 'not sent')
        },
      })
      let sent = 0
      let taken = true
      await line.client.say('go')
      const { texts, code, reason } = await line.client.closed()
      expect([code, reason]).toEqual([codes.slow_reader.close, 'slow_reader'])
      expect(texts.map((text) => Number.parseInt(text, 10))).toEqual([...texts.keys()])
      expect(sent).toBeWithin(texts.length, 2_000)
      expect(line.told).toEqual(['heard go', 'not taken', 'not sent', 'lost'])
    })
  })
}
