/**
 * A call on the line as the page has it: what it was asked for, what it has of the browser, and what the worker says.
 * Sound never passes through here; the page only connects those who make it to those who play it, and connects them
 * anew when one of them was lost.
 */
import { newLeaf } from '../../audio/leaf.ts'
import type { Cancel } from '../../client/ports.ts'
import { asksForLeaf, leafIn, profileIn, socketOf, withLeaf, withProfile } from './address.ts'
import { Creep } from './creep.ts'
import { type FromWorker, PROFILES, type Profile, type Report } from './messages.ts'
import { Microphone } from './microphone.ts'
import type { ListedDevice, Ports, Thread } from './ports.ts'
import { Speaker } from './speaker.ts'
import type { Device, Line, View } from './view.ts'

/** The thread says goodbye within this, or is stopped without one. */
const GOODBYE = 1000
const SECOND = 1000
/** A microphone that says nothing of itself hands its sound over in pieces of this. */
const USUAL_CAPTURE = 10
/** What a speaker that cannot be asked holds back: as Firefox did where it was measured. */
const USUAL_OUTPUT = 30

/** What a call has while it goes on. */
interface Call {
  readonly microphone: Microphone
  readonly speaker: Speaker
  readonly creep: Creep
  thread: Thread
  /** The thread died once. */
  isSecondThread: boolean
  stopTicking: Cancel | null
  letSleep: Cancel | null
  /** What the thread was told last of the devices. */
  devices: string
}

export class Engine implements Line {
  readonly #ports: Ports
  readonly #listeners = new Set<() => void>()
  #view: View
  #call: Call | null = null
  /** It was put aside in the middle of a call. */
  #wasPutAside = false

  constructor(ports: Ports) {
    this.#ports = ports
    const { page, microphones } = ports
    this.#view = { ...NOTHING, ...this.#read() }
    page.on('hashchange', () => this.#moved())
    page.on('online', () => this.#call?.thread.post({ type: 'nudge' }))
    page.on('visible', () => this.#seen())
    page.on('leaving', () => this.#putAside())
    page.on('restored', () => {
      if (this.#wasPutAside) page.reload()
    })
    microphones.onChange(() => void this.#listDevices(true))
    const kept = ports.memory.take()
    if (kept === null || !page.isReload) return
    // Loaded again in a call, it goes on without being asked, as it was before; muted above all.
    this.#view = { ...this.#view, ...kept }
    void this.join()
  }

  get view(): View {
    return this.#view
  }

  subscribe(changed: () => void): () => void {
    this.#listeners.add(changed)
    return () => this.#listeners.delete(changed)
  }

  async join(): Promise<void> {
    if (this.#call !== null || this.#view.problem !== null) return
    const { timers, microphones } = this.#ports
    const call: Call = {
      microphone: new Microphone(microphones, {
        track: () => this.#feed(call),
        state: (microphone) => {
          this.#show({ microphone, input: call.microphone.id })
          // Names of devices are told only to who was given a microphone.
          void this.#listDevices(false)
        },
        woke: () => this.#refeed(call),
      }),
      speaker: new Speaker(() => this.#ports.openSound(), timers, {
        sound: () => this.#connect(call),
        state: (speaker) => this.#show({ speaker }),
      }),
      creep: new Creep(),
      thread: this.#openThread(() => call),
      isSecondThread: false,
      stopTicking: null,
      letSleep: null,
      devices: '',
    }
    const isOn = () => call === this.#call
    this.#call = call
    const { muted, headphones, input, output } = this.#view
    this.#show({ ...BEGINNING, phase: 'starting', muted })
    this.#start(call)
    void this.#stayAwake(call)
    call.microphone.mute(muted)
    void call.microphone.useHeadphones(headphones)
    void call.microphone.choose(input)
    void call.speaker.useOutput(choiceOf(output))
    // In this order: who was given the microphone may make sound without another gesture, in a new context only.
    await call.microphone.open()
    if (!isOn()) return
    try {
      await call.speaker.start()
    } catch (error) {
      if (isOn()) this.#break(`no sound: ${String(error)}`)
      return
    }
    if (!isOn()) return
    this.#show({ phase: 'on' })
    this.#tick(call)
  }

  leave(): void {
    if (this.#call === null) return
    this.#end()
    const { report } = this.#view
    this.#show({ report: report && { ...report, link: { at: 'closed', why: 'left' } } })
  }

  mute(muted: boolean): void {
    this.#call?.microphone.mute(muted)
    this.#call?.thread.post({ type: 'mute', muted })
    this.#show({ muted })
  }

  useHeadphones(headphones: boolean): void {
    void this.#call?.microphone.useHeadphones(headphones)
    this.#show({ headphones })
  }

  useProfile(name: Profile['name']): void {
    if (name === this.#view.profile) return
    const { page } = this.#ports
    page.rewrite(withProfile(page.address(), name))
    this.#call?.thread.post({ type: 'profile', profile: PROFILES[name] })
    this.#show({ profile: name, link: this.#view.link && page.address() })
  }

  chooseInput(id: string): void {
    void this.#call?.microphone.choose(id)
    this.#show({ input: id })
  }

  chooseOutput(id: string): void {
    if (!this.#ports.canChooseOutput) return
    if (this.#call === null) return this.#show({ output: id })
    void this.#useOutput(this.#call, choiceOf(id))
  }

  retry(): void {
    const { phase, microphone } = this.#view
    if (phase === 'ended') return void this.join()
    this.#call?.speaker.resume()
    if (phase === 'on' && microphone !== 'on') void this.#call?.microphone.open()
  }

  /** What the address says. Makes the leaf, when it asks for one, in its place. */
  #read(): Pick<View, 'problem' | 'link' | 'profile'> {
    const { page, fill } = this.#ports
    if (page.problem === null && asksForLeaf(page.address()))
      page.rewrite(withLeaf(page.address(), newLeaf(fill)))
    const address = page.address()
    const leaf = leafIn(address)
    const problem = page.problem ?? (typeof leaf === 'string' ? leaf : null)
    return { problem, link: typeof leaf === 'string' ? null : address, profile: profileIn(address) }
  }

  /** Somebody put another link into the address bar of this page. */
  #moved(): void {
    this.#end()
    this.#show({ ...BEGINNING, phase: 'ready', ...this.#read() })
  }

  #seen(): void {
    const call = this.#call
    if (call === null) return
    call.thread.post({ type: 'nudge' })
    call.speaker.resume()
    // The browser takes the lock away with the page out of sight.
    if (call.letSleep === null) void this.#stayAwake(call)
  }

  #putAside(): void {
    if (this.#call === null) return
    const { muted, headphones, input, output } = this.#view
    this.#ports.memory.keep({ muted, headphones, input, output })
    this.#wasPutAside = true
    this.#end()
  }

  /** `call`: it is made after its thread. */
  #openThread(call: () => Call): Thread {
    const thread = this.#ports.openThread({
      heard: (message) => {
        if (this.#call?.thread === thread) this.#heard(call(), message)
      },
      died: (why) => {
        if (this.#call?.thread === thread) this.#died(call(), why)
      },
    })
    return thread
  }

  #start({ thread }: Call): void {
    const { page } = this.#ports
    const leaf = leafIn(page.address())
    if (typeof leaf === 'string') return
    const { profile, muted } = this.#view
    thread.post({ type: 'start', socket: socketOf(page.address()), leaf, profile: PROFILES[profile] })
    if (muted) thread.post({ type: 'mute', muted })
  }

  #heard(call: Call, message: FromWorker): void {
    switch (message.type) {
      case 'report':
        return this.#reported(message.report)
      case 'fault':
        return this.#ports.complain(message.message)
      case 'ended':
        return this.#died(call, 'ended by itself')
    }
  }

  #reported(report: Report): void {
    this.#show({ report, since: this.#sinceOf(report) })
    if (report.link.at === 'closed') this.#end()
  }

  #sinceOf(report: Report): number | null {
    const { since, report: last } = this.#view
    switch (report.peer) {
      case 'here':
        return report.peerChanges === last?.peerChanges && since !== null ? since : this.#ports.timers.now()
      case 'silent':
        return since
      default:
        return null
    }
  }

  /** Once, a new one is put in its place; whatever killed it may have been an accident. */
  #died(call: Call, why: string): void {
    call.thread.stop()
    if (call.isSecondThread) return this.#break(`the worker died again: ${why}`)
    this.#ports.complain(`the worker died: ${why}`)
    call.isSecondThread = true
    call.thread = this.#openThread(() => call)
    call.devices = ''
    this.#show({ trouble: 'restarted', report: null, since: null })
    this.#start(call)
    this.#connect(call)
  }

  /** Gives the thread the context that there is now, and what goes with it. */
  #connect(call: Call): void {
    const { sound } = call.speaker
    if (sound === null) return
    call.creep.reset()
    call.thread.post({ type: 'speaker', port: sound.speak(), rate: sound.rate })
    this.#feed(call)
    this.#show({ output: outputOf(call, this.#view.outputs) })
  }

  /** Gives the thread the track that there is now. */
  #feed(call: Call): void {
    const { sound } = call.speaker
    const { track } = call.microphone
    if (sound === null) return
    try {
      call.thread.post({ type: 'source', source: track === null ? { from: 'nowhere' } : sound.listen(track) })
    } catch (error) {
      this.#ports.complain(`the microphone does not go with the speaker: ${String(error)}`)
      call.thread.post({ type: 'source', source: { from: 'nowhere' } })
    }
  }

  /** The same track by a new way, where the way may hold sound back. */
  #refeed(call: Call): void {
    call.creep.reset()
    if (this.#ports.capturesInContext) this.#feed(call)
  }

  #tick(call: Call): void {
    const { sound } = call.speaker
    if (sound !== null) {
      const lag = this.#ports.capturesInContext && sound.state === 'running' ? sound.lag : null
      if (lag !== null && call.creep.tell(lag)) this.#refeed(call)
      const output = Math.round(sound.latency ?? USUAL_OUTPUT)
      const devices = { capture: captureOf(call.microphone), output }
      const told = `${devices.capture} ${devices.output}`
      if (told !== call.devices) call.thread.post({ type: 'devices', ...devices })
      call.devices = told
    }
    call.stopTicking = this.#ports.timers.after(SECOND, () => this.#tick(call))
  }

  /** `changed`: others are there now. */
  async #listDevices(changed: boolean): Promise<void> {
    const call = this.#call
    // Before a call nobody is told more than that there are some.
    if (call === null) return
    let all: readonly ListedDevice[]
    try {
      all = await this.#ports.microphones.list()
    } catch {
      return
    }
    if (call !== this.#call) return
    const inputs = devicesOf(all, 'audioinput')
    const outputs = this.#ports.canChooseOutput ? devicesOf(all, 'audiooutput') : []
    this.#show({ inputs, outputs, output: outputOf(call, outputs) })
    if (!changed) return
    await call.microphone.devicesChanged(inputs.map(({ id }) => id))
    const { output } = call.speaker
    if (output !== null && !outputs.some(({ id }) => id === output)) await this.#useOutput(call, null)
    call.speaker.devicesChanged()
  }

  async #useOutput(call: Call, output: string | null): Promise<void> {
    await call.speaker.useOutput(output)
    if (call === this.#call) this.#show({ output: outputOf(call, this.#view.outputs) })
  }

  async #stayAwake(call: Call): Promise<void> {
    try {
      const letSleep = await this.#ports.keepAwake(() => {
        call.letSleep = null
        if (call === this.#call) this.#show({ awake: false })
      })
      if (call !== this.#call) return letSleep()
      call.letSleep = letSleep
      this.#show({ awake: true })
    } catch {
      // The battery is low or the page is out of sight: then the screen may sleep.
    }
  }

  #break(why: string): void {
    this.#ports.complain(why)
    this.#end()
    this.#show({ trouble: 'broken' })
  }

  /** Stops everything that was started. The thread says goodbye first. */
  #end(): void {
    const call = this.#call
    if (call === null) return
    this.#call = null
    call.thread.post({ type: 'stop' })
    call.stopTicking?.()
    // It stops itself when it has said goodbye; this is for one that cannot.
    this.#ports.timers.after(GOODBYE, () => call.thread.stop())
    call.microphone.close()
    call.speaker.close()
    call.letSleep?.()
    this.#show({ ...OFF, phase: 'ended' })
  }

  #show(change: Partial<View>): void {
    const view = { ...this.#view, ...change }
    // Browsers take out what goes to the output of the system's choice.
    this.#view = { ...view, echoes: choiceOf(view.output) !== null && !view.headphones }
    for (const listener of this.#listeners) listener()
  }
}

/** What browsers call the output of the system's choice, where they list it. */
const SYSTEM = 'default'

/** Null: the system's. */
function choiceOf(output: string | null): string | null {
  return output === '' || output === SYSTEM ? null : output
}

/** As the list has it. */
function outputOf({ speaker }: Call, outputs: readonly Device[]): string | null {
  return speaker.output ?? outputs.find(({ id }) => id === SYSTEM)?.id ?? null
}

const OFF = { microphone: 'unknown', speaker: 'off', awake: false } as const satisfies Partial<View>

const BEGINNING = { ...OFF, trouble: null, since: null, report: null } as const satisfies Partial<View>

const NOTHING: View = {
  ...BEGINNING,
  phase: 'ready',
  problem: null,
  link: null,
  muted: false,
  headphones: false,
  echoes: false,
  profile: 'default',
  inputs: [],
  outputs: [],
  input: null,
  output: null,
}

function captureOf({ track }: Microphone): number {
  if (track === null) return 0
  const { latency } = track.getSettings()
  return Math.round(track.stats?.latency ?? (latency === undefined ? USUAL_CAPTURE : 1000 * latency))
}

function devicesOf(all: readonly ListedDevice[], kind: string): Device[] {
  return all
    .filter((device) => device.kind === kind && device.deviceId !== '')
    .map(({ deviceId, label }) => ({ id: deviceId, name: label }))
}
