import { expect, test } from 'bun:test'
import { HandClock } from '../../client/fakes.ts'
import { Engine } from './engine.ts'
import { type FromWorker, PROFILES, type Report, type Source, type ToWorker } from './messages.ts'
import type { Kept, ListedDevice, PageEvent, Ports, Sound, Thread, ThreadEvents, Track } from './ports.ts'
import type { LinkProblem } from './view.ts'

const KEY = 'k'.repeat(72)
const LEAF = 'sywICvC1tnE7D5IOdPahv0NzQC-C3mpNLhluhEEW0vA'
const ADDRESS = `https://line.example.com/line.html?apikey=${KEY}#leaf_${LEAF}`

class FakeTrack implements Track {
  enabled = true
  isStopped = false
  readonly #settings: { deviceId: string; echoCancellation: boolean }
  /** The browser changes processing on a track that runs. */
  readonly #canChange: boolean
  readonly #listeners: { type: string; heard: () => void }[] = []

  constructor(deviceId: string, echoCancellation: boolean, canChange: boolean) {
    this.#settings = { deviceId, echoCancellation }
    this.#canChange = canChange
  }

  getSettings() {
    return this.#settings
  }

  async applyConstraints({ echoCancellation }: MediaTrackConstraints): Promise<void> {
    if (this.#canChange) this.#settings.echoCancellation = echoCancellation === true
  }

  addEventListener(type: string, heard: () => void): void {
    this.#listeners.push({ type, heard })
  }

  stop(): void {
    this.isStopped = true
  }

  fire(type: 'ended' | 'unmute'): void {
    for (const listener of this.#listeners) if (listener.type === type) listener.heard()
  }
}

class FakeSound implements Sound {
  state: Sound['state'] = 'suspended'
  latency: number | null = 30
  lag: number | null = 0
  output: string | null = null
  resumes = 0
  readonly rate: number
  /** The browser asks for no gesture. */
  readonly #isFree: boolean
  readonly #captures: boolean
  #changed = () => {}

  constructor(rate: number, isFree: boolean, captures: boolean) {
    this.rate = rate
    this.#isFree = isFree
    this.#captures = captures
  }

  onState(heard: () => void): void {
    this.#changed = heard
  }

  become(state: Sound['state']): void {
    this.state = state
    this.#changed()
  }

  resume(): void {
    this.resumes++
    if (this.#isFree && this.state === 'suspended') this.become('running')
  }

  speak(): MessagePort {
    return new MessageChannel().port1
  }

  listen(): Source {
    if (this.#captures) return { from: 'worklet', port: this.speak(), rate: this.rate }
    return { from: 'track', readable: new ReadableStream<AudioData>() }
  }

  async useOutput(id: string | null): Promise<void> {
    if (id === 'broken') throw new Error('no such output')
    this.output = id
  }

  close(): void {
    this.state = 'closed'
  }
}

class FakeThread implements Thread {
  readonly posted: ToWorker[] = []
  readonly on: ThreadEvents
  isStopped = false

  constructor(on: ThreadEvents) {
    this.on = on
  }

  post(message: ToWorker): void {
    this.posted.push(message)
  }

  stop(): void {
    this.isStopped = true
  }

  get types(): string[] {
    return this.posted.map((message) =>
      message.type === 'source' ? `source ${message.source.from}` : message.type,
    )
  }

  last<T extends ToWorker['type']>(type: T): (ToWorker & { type: T }) | undefined {
    return this.posted.findLast((message): message is ToWorker & { type: T } => message.type === type)
  }

  report(change: Partial<Report>): void {
    this.say({ type: 'report', report: { ...QUIET, ...change } })
  }

  say(message: FromWorker): void {
    this.on.heard(message)
  }
}

/** Only what the engine looks at; the rest is passed on as it came. */
const QUIET = { link: { at: 'open' }, peer: 'absent', peerChanges: 0 } as Report

interface Given {
  readonly address?: string
  readonly problem?: LinkProblem
  readonly isReload?: boolean
  readonly kept?: Kept
  readonly canChange?: boolean
  readonly captures?: boolean
  readonly isFree?: boolean
}

/** A browser that does as it is told. */
class World {
  readonly clock = new HandClock()
  readonly tracks: FakeTrack[] = []
  readonly sounds: FakeSound[] = []
  readonly threads: FakeThread[] = []
  readonly asked: MediaTrackConstraints[] = []
  readonly complaints: string[] = []
  /** What getUserMedia throws now. */
  refusal: string | null = null
  inputs = ['default', 'desk']
  outputs = ['default', 'beamer']
  rate = 48_000
  address: string
  kept: Kept | null
  reloads = 0
  locks = 0
  releaseLock = () => {}
  readonly #heard = new Map<PageEvent | 'devices', () => void>()
  readonly engine: Engine

  constructor(given: Given = {}) {
    this.address = given.address ?? ADDRESS
    this.kept = given.kept ?? null
    this.engine = new Engine(this.#ports(given))
  }

  get view() {
    return this.engine.view
  }

  get thread(): FakeThread {
    return at(this.threads, -1)
  }

  get track(): FakeTrack {
    return at(this.tracks, -1)
  }

  get sound(): FakeSound {
    return at(this.sounds, -1)
  }

  fire(event: PageEvent | 'devices'): void {
    this.#heard.get(event)?.()
  }

  async joined(): Promise<this> {
    await this.engine.join()
    await settled()
    return this
  }

  #ports({ problem, isReload, canChange = false, captures = false, isFree = true }: Given): Ports {
    return {
      timers: this.clock,
      page: {
        problem: problem ?? null,
        isReload: isReload ?? false,
        address: () => this.address,
        rewrite: (address) => {
          this.address = address
        },
        reload: () => {
          this.reloads++
        },
        on: (event, heard) => void this.#heard.set(event, heard),
      },
      memory: {
        keep: (kept) => {
          this.kept = kept
        },
        take: () => {
          const { kept } = this
          this.kept = null
          return kept
        },
      },
      microphones: {
        open: async (wishes) => {
          this.asked.push(wishes)
          if (this.refusal !== null) throw new DOMException('', this.refusal)
          const { exact = 'default' } = (wishes.deviceId ?? {}) as { exact?: string }
          if (!this.inputs.includes(exact)) throw new DOMException('', 'OverconstrainedError')
          const track = new FakeTrack(exact, wishes.echoCancellation === true, canChange)
          this.tracks.push(track)
          return track
        },
        list: async () => [...listed('audioinput', this.inputs), ...listed('audiooutput', this.outputs)],
        onChange: (heard) => void this.#heard.set('devices', heard),
      },
      openSound: async () => {
        const sound = new FakeSound(this.rate, isFree, captures)
        this.sounds.push(sound)
        return sound
      },
      capturesInContext: captures,
      canChooseOutput: true,
      openThread: (on) => {
        const thread = new FakeThread(on)
        this.threads.push(thread)
        return thread
      },
      keepAwake: async (released) => {
        this.locks++
        this.releaseLock = released
        return released
      },
      fill: (bytes) => bytes.fill(7),
      complain: (message) => void this.complaints.push(message),
    }
  }
}

function listed(kind: string, ids: readonly string[]): ListedDevice[] {
  return ids.map((deviceId) => ({ kind, deviceId, label: `the ${deviceId}` }))
}

function at<T>(list: readonly T[], index: number): T {
  const item = list.at(index)
  if (item === undefined) throw new Error('there is none')
  return item
}

/** Everything that was promised has happened. */
const settled = () => new Promise<void>((done) => setImmediate(done))

test('an address that asks for a leaf is given one, and keeps what else it says', () => {
  const world = new World({ address: `https://line.example.com/?apikey=${KEY}&mobile=1#generate_leaf` })
  expect(world.address).toMatch(/^https:\/\/line\.example\.com\/\?apikey=k+&mobile=1#leaf_[\w-]{43}$/)
  expect(world.view).toMatchObject({ phase: 'ready', problem: null, link: world.address, profile: 'mobile' })
})

test('an address without a whole leaf says so, and nothing begins', async () => {
  for (const [address, problem] of [
    [ADDRESS.replace(/#.*/, ''), 'no_leaf'],
    [ADDRESS.slice(0, -1), 'bad_leaf'],
  ] as const) {
    const world = await new World({ address }).joined()
    expect(world.view).toMatchObject({ phase: 'ready', problem, link: null })
    expect([world.threads.length, world.asked.length]).toEqual([0, 0])
  }
  expect((await new World({ problem: 'insecure' }).joined()).view).toMatchObject({ problem: 'insecure' })
})

test('another leaf in the address bar is another line', async () => {
  const world = await new World().joined()
  world.address = ADDRESS.replace('#leaf_sy', '#leaf_ab')
  world.fire('hashchange')
  expect(world.view).toMatchObject({ phase: 'ready', problem: null, link: world.address, report: null })
  expect(world.thread.types).toContain('stop')
  await world.joined()
  expect(world.thread.last('start')?.leaf).not.toEqual(at(world.threads, 0).last('start')?.leaf)
})

test('joining asks for the microphone, then for a speaker, and connects both to the worker', async () => {
  const world = new World()
  const joined = world.engine.join()
  expect(world.view.phase).toBe('starting')
  expect(world.sounds).toHaveLength(0)
  await joined
  await settled()
  expect(world.asked).toEqual([
    { echoCancellation: true, noiseSuppression: false, autoGainControl: false, channelCount: 1 },
  ])
  expect(world.view).toMatchObject({
    phase: 'on',
    microphone: 'on',
    speaker: 'on',
    awake: true,
    trouble: null,
  })
  expect(world.view.inputs).toEqual([
    { id: 'default', name: 'the default' },
    { id: 'desk', name: 'the desk' },
  ])
  expect(world.thread.types).toEqual(['start', 'speaker', 'source track', 'devices'])
  const start = world.thread.last('start')
  expect(start).toMatchObject({
    socket: `wss://line.example.com/line?apikey=${KEY}`,
    profile: PROFILES.default,
  })
  expect(start?.leaf).toHaveLength(32)
})

test('a view is a new object after each change, and the last one stays as it was', async () => {
  const world = new World()
  const views = [world.view]
  const stop = world.engine.subscribe(() => void views.push(world.view))
  await world.joined()
  expect(new Set(views).size).toBe(views.length)
  expect(at(views, 0).phase).toBe('ready')
  stop()
  const { length } = views
  world.engine.mute(true)
  expect(views).toHaveLength(length)
})

test('who refuses the microphone hears all the same, and may be asked again', async () => {
  const world = new World()
  world.refusal = 'NotAllowedError'
  await world.joined()
  expect(world.view).toMatchObject({ phase: 'on', microphone: 'refused', speaker: 'on' })
  expect(world.thread.types).toContain('source nowhere')
  world.refusal = null
  world.engine.retry()
  await settled()
  expect(world.view.microphone).toBe('on')
  expect(world.thread.types.at(-1)).toBe('source track')
})

test('who has no microphone is heard when one is plugged in', async () => {
  const world = new World()
  world.refusal = 'NotFoundError'
  world.inputs = []
  await world.joined()
  expect(world.view.microphone).toBe('none')
  world.refusal = null
  world.inputs = ['default']
  world.fire('devices')
  await settled()
  expect(world.view).toMatchObject({ microphone: 'on', input: 'default' })
})

test('a microphone that is pulled out is replaced by another, and taken again when it is back', async () => {
  const world = await new World().joined()
  world.engine.chooseInput('desk')
  await settled()
  const desk = world.track
  expect(at(world.tracks, 0).isStopped).toBe(true)
  expect(world.view.input).toBe('desk')
  world.inputs = ['default']
  desk.fire('ended')
  expect(world.view.microphone).toBe('lost')
  expect(world.thread.types.at(-1)).toBe('source nowhere')
  await settled()
  expect(world.view).toMatchObject({ microphone: 'on', input: 'default' })
  world.inputs = ['default', 'desk']
  world.fire('devices')
  await settled()
  expect(world.view).toMatchObject({ microphone: 'on', input: 'desk' })
})

test('while there is no other microphone the call goes on in silence', async () => {
  const world = await new World().joined()
  world.refusal = 'NotFoundError'
  world.track.fire('ended')
  await settled()
  expect(world.view).toMatchObject({ phase: 'on', microphone: 'lost' })
  world.engine.chooseInput('desk')
  await settled()
  expect(world.view).toMatchObject({ microphone: 'lost' })
})

test('muted is muted at the track and in the worker, also on the next track and after a reload', async () => {
  const world = await new World().joined()
  world.engine.mute(true)
  expect(world.track.enabled).toBe(false)
  expect(world.thread.last('mute')).toEqual({ type: 'mute', muted: true })
  world.engine.chooseInput('desk')
  await settled()
  expect(world.track.enabled).toBe(false)
  world.fire('leaving')
  const { kept } = world
  if (kept === null) throw new Error('nothing was kept')
  expect(JSON.stringify(kept)).not.toContain(LEAF.slice(0, 8))

  const next = new World({ kept, isReload: true })
  await settled()
  expect(next.view.phase).toBe('on')
  expect(next.view.muted).toBe(true)
  expect(next.track.enabled).toBe(false)
  expect(next.thread.types.slice(0, 2)).toEqual(['start', 'mute'])
})

test('a page that is come to anew waits to be asked, whatever was kept', async () => {
  const kept = { muted: true, headphones: false, input: null, output: null }
  const world = new World({ kept })
  await settled()
  expect(world.view).toMatchObject({ phase: 'ready', muted: false })
  expect(world.asked).toHaveLength(0)
  expect(world.kept).toBeNull()
})

test('headphones turn off what takes out the echo: on the track where the browser can, else by a new one', async () => {
  const able = await new World({ canChange: true }).joined()
  able.engine.useHeadphones(true)
  await settled()
  expect(able.tracks).toHaveLength(1)
  expect(able.track.getSettings().echoCancellation).toBe(false)

  const unable = await new World().joined()
  unable.engine.useHeadphones(true)
  await settled()
  expect(unable.tracks).toHaveLength(2)
  expect(unable.track.getSettings().echoCancellation).toBe(false)
  expect(at(unable.tracks, 0).isStopped).toBe(true)
  // From one track to the next: nobody is told that there is none.
  expect(unable.thread.types.filter((type) => type.startsWith('source'))).toEqual([
    'source track',
    'source track',
  ])
})

test('headphones that are put on while the microphone is being asked for count', async () => {
  const world = new World()
  const joined = world.engine.join()
  world.engine.useHeadphones(true)
  await joined
  expect(at(world.asked, 0).echoCancellation).toBe(true)
  expect(world.track.getSettings().echoCancellation).toBe(false)
})

test('a new track that comes too late is stopped', async () => {
  const world = await new World().joined()
  world.engine.chooseInput('desk')
  world.engine.chooseInput('default')
  world.engine.leave()
  await settled()
  expect(world.tracks.every(({ isStopped }) => isStopped)).toBe(true)
})

test('a speaker that wants a gesture says so, and sounds after one', async () => {
  const world = await new World({ isFree: false }).joined()
  expect(world.view.speaker).toBe('off')
  world.clock.wind(500)
  expect(world.view.speaker).toBe('blocked')
  const { resumes } = world.sound
  world.engine.retry()
  expect(world.sound.resumes).toBe(resumes + 1)
  world.sound.become('running')
  expect(world.view.speaker).toBe('on')
})

test('a phone call takes the speaker and gives it back, with another rate', async () => {
  const world = await new World().joined()
  world.sound.become('interrupted')
  expect(world.view.speaker).toBe('interrupted')
  const before = world.sound
  world.rate = 16_000
  before.become('running')
  await settled()
  expect(world.view.speaker).toBe('on')
  expect(world.thread.last('speaker')?.rate).toBe(16_000)
  expect(before.state).toBe('closed')
  expect(world.threads).toHaveLength(1)
})

test('a context of the same rate is kept when devices come and go', async () => {
  const world = await new World().joined()
  const { sound } = world
  world.fire('devices')
  await settled()
  world.clock.wind(300)
  await settled()
  expect(sound.state).toBe('running')
  expect(world.sounds.filter(({ state }) => state !== 'closed')).toEqual([sound])
})

test('a context that the system closed is made anew', async () => {
  const world = await new World().joined()
  world.sound.become('closed')
  await settled()
  expect(world.sounds).toHaveLength(2)
  expect(world.view.speaker).toBe('on')
  expect(world.thread.types.filter((type) => type === 'speaker')).toHaveLength(2)
})

test('another output sounds, echoes without headphones, and is left when it is gone', async () => {
  const world = await new World().joined()
  expect(world.view).toMatchObject({ output: 'default', echoes: false })
  world.engine.chooseOutput('beamer')
  await settled()
  expect(world.sound.output).toBe('beamer')
  expect(world.view).toMatchObject({ output: 'beamer', echoes: true })
  world.engine.useHeadphones(true)
  expect(world.view.echoes).toBe(false)
  world.engine.chooseOutput('broken')
  await settled()
  expect(world.view.output).toBe('beamer')
  world.outputs = ['default']
  world.fire('devices')
  await settled()
  expect(world.sound.output).toBeNull()
  expect(world.view).toMatchObject({ output: 'default', echoes: false })
})

test('a profile is told to the worker and stands in the link', async () => {
  const world = await new World().joined()
  world.engine.useProfile('mobile')
  expect(world.thread.last('profile')?.profile).toEqual(PROFILES.mobile)
  expect(world.view.link).toBe(ADDRESS.replace('#', '&mobile=1#'))
  expect(world.address).toBe(ADDRESS.replace('#', '&mobile=1#'))
  world.engine.useProfile('quick')
  expect(world.address).toBe(ADDRESS.replace('#', '&quick=1#'))
  world.engine.useProfile('default')
  expect(world.view).toMatchObject({ link: ADDRESS, profile: 'default' })
})

test('the worker hears of the delay of devices when it changes', async () => {
  const world = await new World().joined()
  const devices = () => world.thread.posted.filter(({ type }) => type === 'devices')
  expect(devices()).toEqual([{ type: 'devices', capture: 10, output: 30 }])
  world.clock.wind(3000)
  expect(devices()).toHaveLength(1)
  world.sound.latency = 80
  world.clock.wind(1000)
  expect(devices().at(-1)).toEqual({ type: 'devices', capture: 10, output: 80 })
  // A browser that cannot be asked has some, too.
  world.sound.latency = null
  world.clock.wind(1000)
  expect(devices().at(-1)).toEqual({ type: 'devices', capture: 10, output: 30 })
})

test('sound that begins to wait in the browser is taken by a new way, not for a slow clock', async () => {
  const world = await new World({ captures: true }).joined()
  const sources = () => world.thread.types.filter((type) => type === 'source worklet').length
  for (let i = 0; i < 100; i++) {
    world.sound.lag = (world.sound.lag ?? 0) + 0.5
    world.clock.wind(1000)
  }
  expect(sources()).toBe(1)
  world.sound.lag = (world.sound.lag ?? 0) + 150
  world.clock.wind(3000)
  expect(sources()).toBe(2)
  world.clock.wind(10_000)
  expect(sources()).toBe(2)
  world.track.fire('unmute')
  expect(sources()).toBe(3)
})

test('the peer has been here since it was heard first, or since it is another', async () => {
  const world = await new World().joined()
  world.thread.report({ peer: 'greeting' })
  expect(world.view.since).toBeNull()
  world.clock.wind(1000)
  world.thread.report({ peer: 'here', peerChanges: 1 })
  world.clock.wind(5000)
  world.thread.report({ peer: 'silent', peerChanges: 1 })
  world.thread.report({ peer: 'here', peerChanges: 1 })
  expect(world.view.since).toBe(1000)
  world.thread.report({ peer: 'here', peerChanges: 2 })
  expect(world.view.since).toBe(6000)
  world.thread.report({ peer: 'gone', peerChanges: 2 })
  expect(world.view.since).toBeNull()
})

test('a link that is closed ends the call and gives the microphone back', async () => {
  const world = await new World().joined()
  world.thread.report({ link: { at: 'closed', why: 'busy' } })
  expect(world.view).toMatchObject({ phase: 'ended', report: { link: { why: 'busy' } }, awake: false })
  expect(world.track.isStopped).toBe(true)
  expect(world.sound.state).toBe('closed')
})

test('leaving stops all that was started, once, and joining begins anew', async () => {
  const world = await new World().joined()
  const { thread, sound, track } = world
  thread.report({ peer: 'here' })
  world.engine.leave()
  world.engine.leave()
  expect(thread.types.filter((type) => type === 'stop')).toHaveLength(1)
  expect(world.view).toMatchObject({ phase: 'ended', report: { link: { at: 'closed', why: 'left' } } })
  expect([track.isStopped, sound.state, world.view.awake]).toEqual([true, 'closed', false])
  thread.report({ peer: 'here' })
  expect(world.view.phase).toBe('ended')
  world.clock.wind(1000)
  expect(thread.isStopped).toBe(true)
  expect(world.clock.pending).toBe(0)
  await world.joined()
  expect(world.view).toMatchObject({ phase: 'on', report: null })
  expect(world.threads).toHaveLength(2)
})

test('leaving while the microphone is being asked for leaves nothing open', async () => {
  const world = new World()
  const joined = world.engine.join()
  world.engine.leave()
  await joined
  await settled()
  expect(world.tracks.every(({ isStopped }) => isStopped)).toBe(true)
  expect(world.sounds).toHaveLength(0)
  expect(world.view).toMatchObject({ phase: 'ended', microphone: 'unknown', awake: false })
})

test('a worker that dies is begun anew once, with all that it had', async () => {
  const world = await new World().joined()
  world.engine.mute(true)
  const [first] = world.threads
  first?.on.died('out of memory')
  expect(world.view).toMatchObject({ phase: 'on', trouble: 'restarted' })
  expect(world.threads).toHaveLength(2)
  expect(world.thread.types).toEqual(['start', 'mute', 'speaker', 'source track'])
  expect(world.complaints).toHaveLength(1)
  // The first one has nothing to say any more.
  first?.report({ link: { at: 'closed', why: 'left' } })
  expect(world.view.phase).toBe('on')
  world.thread.on.died('again')
  expect(world.view).toMatchObject({ phase: 'ended', trouble: 'broken' })
  expect(world.track.isStopped).toBe(true)
})

test('the screen stays on, also after it was out of sight, and the worker is nudged', async () => {
  const world = await new World().joined()
  world.releaseLock()
  expect(world.view.awake).toBe(false)
  world.fire('visible')
  await settled()
  expect(world.view.awake).toBe(true)
  expect(world.locks).toBe(2)
  world.fire('online')
  expect(world.thread.types.filter((type) => type === 'nudge')).toHaveLength(2)
})

test('a page that was put aside in a call says goodbye, and is loaded again when it is back', async () => {
  const idle = new World()
  idle.fire('leaving')
  idle.fire('restored')
  expect(idle.reloads).toBe(0)
  const world = await new World().joined()
  world.fire('leaving')
  expect(world.thread.types.at(-1)).toBe('stop')
  expect(world.track.isStopped).toBe(true)
  world.fire('restored')
  expect(world.reloads).toBe(1)
  expect(world.kept).not.toBeNull()
})
