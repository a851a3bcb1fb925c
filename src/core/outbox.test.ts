import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { BUFFER_CHARS, BUFFER_FRAMES } from '../protocol/limits.ts'
import { Outbox } from './outbox.ts'

const names = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `f${from + i}`)

/** An outbox that has sent f1 to fN. */
function sent(count: number): Outbox {
  const outbox = new Outbox()
  for (const text of names(1, count)) outbox.sent(text)
  return outbox
}

describe('a leg that resumes', () => {
  test('[RIDE-16] gets what it missed, in order, and nothing else', () => {
    expect(sent(5).resume(3)).toEqual({ frames: ['f4', 'f5'], gap: false })
    expect(sent(5).resume(5)).toEqual({ frames: [], gap: false })
  })

  test('[RIDE-16] gets what waited after what it missed', () => {
    const outbox = sent(2)
    expect(outbox.hold('f3')).toBe(true)
    expect(outbox.resume(1)).toEqual({ frames: ['f2', 'f3'], gap: false })
    expect(outbox.waiting).toBe(0)
  })

  test('gets the same once more when it lost that connection too', () => {
    const outbox = sent(3)
    outbox.hold('f4')
    outbox.resume(1)
    expect(outbox.resume(2)).toEqual({ frames: ['f3', 'f4'], gap: false })
  })

  test('[RIDE-17] is refused when it claims more than was sent, and loses nothing by it', () => {
    const outbox = sent(2)
    outbox.hold('f3')
    expect(outbox.resume(3)).toBeNull()
    expect(outbox.resume(0)).toEqual({ frames: names(1, 3), gap: false })
  })

  test('[RIDE-18] is told of a gap when more was missed than is kept', () => {
    const replay = sent(BUFFER_FRAMES + 1).resume(0)
    expect(replay).toEqual({ frames: names(2, BUFFER_FRAMES + 1), gap: true })
  })

  test('gets a last frame that is larger than all that is kept', () => {
    const outbox = sent(1)
    outbox.sent('x'.repeat(BUFFER_CHARS + 1))
    expect(outbox.resume(1)?.frames).toHaveLength(1)
    outbox.sent('y')
    expect(outbox.resume(1)).toEqual({ frames: ['y'], gap: true })
  })

  test('is told of a gap when a notice found no room', () => {
    const outbox = new Outbox()
    for (const text of names(1, BUFFER_FRAMES)) outbox.hold(text)
    outbox.holdNotice('notice')
    expect(outbox.resume(0)).toEqual({ frames: names(1, BUFFER_FRAMES), gap: true })
    outbox.heard()
    expect(outbox.resume(BUFFER_FRAMES)).toEqual({ frames: [], gap: false })
  })

  test('[RIDE-18] is told of a gap again when the answer that said so was lost', () => {
    const outbox = sent(BUFFER_FRAMES + 1)
    expect(outbox.resume(0)).toMatchObject({ gap: true })
    expect(outbox.isUnheard).toBe(true)
    expect(outbox.resume(0)).toEqual({ frames: names(2, BUFFER_FRAMES + 1), gap: true })
    outbox.heard()
    expect(outbox.isUnheard).toBe(false)
    expect(outbox.resume(BUFFER_FRAMES)).toEqual({ frames: [], gap: false })
  })

  test('[RIDE-18] is believed once after a restart of the server, and told of a gap', () => {
    const outbox = sent(3)
    outbox.forget()
    outbox.hold('new')
    expect(outbox.resume(7)).toEqual({ frames: ['new'], gap: true })
    expect(outbox.resume(9)).toBeNull()
    outbox.heard()
    expect(outbox.resume(7)).toEqual({ frames: ['new'], gap: false })
  })
})

test('[RIDE-8] a leg that comes in anew gets what waited, and its count starts again', () => {
  const outbox = sent(5)
  outbox.hold('f6')
  expect(outbox.restart()).toEqual(['f6'])
  expect(outbox.restart()).toEqual([])
  outbox.sent('authenticated')
  expect(outbox.resume(2)).toBeNull()
  expect(outbox.resume(0)).toEqual({ frames: ['authenticated'], gap: false })
})

test('[RIDE-19] a leg that comes in anew is not told what happened to the client before it', () => {
  const outbox = sent(2)
  outbox.hold('offer')
  outbox.holdNotice('the other is back')
  outbox.hold('candidate')
  expect(outbox.restart()).toEqual(['offer', 'candidate'])
  outbox.holdNotice('the other is back')
  expect(outbox.resume(0)).toEqual({ frames: ['the other is back'], gap: false })
})

describe('what waits is bounded', () => {
  test('[RIDE-8] in frames', () => {
    const outbox = new Outbox()
    for (const text of names(1, BUFFER_FRAMES)) expect(outbox.hold(text)).toBe(true)
    expect(outbox.hold('more')).toBe(false)
    expect(outbox.restart()).toHaveLength(BUFFER_FRAMES)
  })

  test('[RIDE-8] in characters', () => {
    const outbox = new Outbox()
    expect(outbox.hold('x'.repeat(BUFFER_CHARS))).toBe(true)
    expect(outbox.hold('y')).toBe(false)
    expect(outbox.hold('')).toBe(true)
  })

  test('and pushes out what was sent before it, not what waits', () => {
    const outbox = sent(BUFFER_FRAMES)
    for (const text of names(1, BUFFER_FRAMES)) expect(outbox.hold(`w${text}`)).toBe(true)
    expect(outbox.resume(BUFFER_FRAMES)?.frames).toEqual(names(1, BUFFER_FRAMES).map((text) => `w${text}`))
  })
})

describe('a pong', () => {
  test('lets go of what was sent before its ping, and of nothing after it', () => {
    const outbox = sent(2)
    outbox.mark()
    outbox.sent('f3')
    outbox.confirm()
    expect(outbox.resume(2)).toEqual({ frames: ['f3'], gap: false })
    // Who claims to have got less than its pong said has lost it for good.
    expect(outbox.resume(1)).toEqual({ frames: ['f3'], gap: true })
  })

  test('that comes late, from the connection before, lets go of nothing', () => {
    const outbox = sent(5)
    outbox.mark()
    outbox.resume(3)
    outbox.confirm()
    expect(outbox.resume(3)).toEqual({ frames: ['f4', 'f5'], gap: false })
  })

  test('does not let go of what waits', () => {
    const outbox = sent(2)
    outbox.mark()
    outbox.hold('f3')
    outbox.confirm()
    expect(outbox.restart()).toEqual(['f3'])
  })
})

// The model: two ends and a wire that holds frames and pings in order, and may be cut with anything still on it.

type Command =
  | { is: 'frame'; chars: number }
  | { is: 'ping' }
  /** So many things on the wire arrive; pongs come back at once. */
  | { is: 'arrive'; count: number }
  | { is: 'cut' }
  | { is: 'resume'; answered: boolean }

class TwoEnds {
  readonly #outbox = new Outbox()
  #wire: ({ is: 'frame'; text: string } | { is: 'ping' })[] = []
  #connected = true
  #number = 0
  /** Everything that was taken for the other end, in order, and what of it has got there. */
  #taken: string[] = []
  #got: string[] = []

  do(command: Command): void {
    switch (command.is) {
      case 'frame':
        this.#frame(`${this.#number++}:`.padEnd(command.chars, 'x'))
        return
      case 'ping':
        // As the door promises: a ping before the pong of the last marks nothing.
        if (!this.#connected || this.#wire.some(({ is }) => is === 'ping')) return
        this.#outbox.mark()
        this.#wire.push({ is: 'ping' })
        return
      case 'arrive':
        for (const thing of this.#wire.splice(0, command.count)) {
          if (thing.is === 'frame') this.#got.push(thing.text)
          else this.#outbox.confirm()
        }
        return
      case 'cut':
        this.#connected = false
        this.#wire = []
        return
      case 'resume':
        this.#resume(command.answered)
    }
  }

  #frame(text: string): void {
    if (this.#connected) {
      this.#outbox.sent(text)
      this.#wire.push({ is: 'frame', text })
      this.#taken.push(text)
    } else if (this.#outbox.hold(text)) {
      this.#taken.push(text)
    } else {
      must(this.#outbox.waiting > 0 || text.length > BUFFER_CHARS, 'there is room for a first frame')
    }
  }

  /** `answered`: the answer arrives, and the client says something; otherwise the connection is lost before that. */
  #resume(answered: boolean): void {
    // A connection that was half open: its end has not been noticed on this side.
    this.#wire = []
    this.#connected = true
    const missed = this.#taken.slice(this.#got.length)
    const replay = this.#outbox.resume(this.#got.length)
    if (replay === null) throw new Error('broken: an honest count is believed')
    const chars = missed.reduce((sum, text) => sum + text.length, 0)
    const fits = missed.length <= BUFFER_FRAMES && chars <= BUFFER_CHARS
    must(!fits || !replay.gap, 'what fits is kept')
    must(replay.gap || replay.frames.length === missed.length, 'what is missing is a gap')
    const late = missed.slice(missed.length - replay.frames.length)
    must(Bun.deepEquals(replay.frames, late), 'what comes is the end of what was missed, in order')
    if (!answered) {
      this.#connected = false
      return
    }
    this.#outbox.heard()
    // Both ends go on from here, and count what was lost as if it had never been.
    this.#taken = [...this.#got, ...replay.frames]
    this.#wire = replay.frames.map((text) => ({ is: 'frame', text }))
  }
}

function must(holds: boolean, promise: string): void {
  if (!holds) throw new Error(`broken: ${promise}`)
}

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc
      .oneof({ weight: 6, arbitrary: fc.nat(300) }, fc.nat(BUFFER_CHARS + 10))
      .map((chars): Command => ({ is: 'frame', chars })),
  },
  { weight: 3, arbitrary: fc.constant<Command>({ is: 'ping' }) },
  { weight: 6, arbitrary: fc.nat(20).map((count): Command => ({ is: 'arrive', count })) },
  { weight: 1, arbitrary: fc.constant<Command>({ is: 'cut' }) },
  { weight: 2, arbitrary: fc.boolean().map((answered): Command => ({ is: 'resume', answered })) },
)

test('nothing is lost unsaid, doubled or out of order, whatever is cut when', () => {
  const lives = fc.property(fc.array(command, { maxLength: 200, size: 'max' }), (commands) => {
    const ends = new TwoEnds()
    for (const each of commands) ends.do(each)
    ends.do({ is: 'resume', answered: true })
  })
  fc.assert(lives, { numRuns: 1000, includeErrorInReport: true })
}, 30_000)
