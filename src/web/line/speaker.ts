/**
 * Where a call sounds: one AudioContext at the rate of the device, made anew when that changes, and started again when
 * the system had taken it away.
 */
import type { Cancel, Timers } from '../../client/ports.ts'
import type { Sound } from './ports.ts'
import type { Speaker as State } from './view.ts'

/** A context starts within this, unless the browser wants a gesture first; it does not say so. */
const START = 500
/** Devices come and go in several steps. */
const SETTLE = 300

export interface SpeakerEvents {
  /** Another context, to be connected. The last one is closed after this. */
  sound(sound: Sound): void
  state(state: State): void
}

export class Speaker {
  readonly #open: () => Promise<Sound>
  readonly #timers: Timers
  readonly #on: SpeakerEvents
  #sound: Sound | null = null
  #state: State = 'off'
  #output: string | null = null
  #isOpening = false
  #isClosed = false
  #stopWaiting: Cancel | null = null
  #stopSettling: Cancel | null = null

  constructor(open: () => Promise<Sound>, timers: Timers, on: SpeakerEvents) {
    this.#open = open
    this.#timers = timers
    this.#on = on
  }

  get sound(): Sound | null {
    return this.#sound
  }

  /** Null: the system's own choice. */
  get output(): string | null {
    return this.#output
  }

  /** From a gesture. Rejects when there can be no context. */
  async start(): Promise<void> {
    const sound = await this.#open()
    if (this.#isClosed) sound.close()
    else await this.#take(sound)
  }

  /** Lets a blocked speaker sound, from a gesture. */
  resume(): void {
    this.#sound?.resume()
  }

  /** Before `start`, it only notes the wish. Says whether it sounds there. */
  async useOutput(id: string | null): Promise<boolean> {
    try {
      await this.#sound?.useOutput(id)
      this.#output = id
      return true
    } catch {
      return false
    }
  }

  /** The context may have the rate of a device that is gone. */
  devicesChanged(): void {
    if (this.#sound === null) return
    this.#stopSettling?.()
    this.#stopSettling = this.#timers.after(SETTLE, () => void this.#renew(false))
  }

  /** Again does nothing. */
  close(): void {
    this.#isClosed = true
    this.#stopWaiting?.()
    this.#stopSettling?.()
    this.#sound?.close()
    this.#sound = null
  }

  /** Makes a context to see whether it would be another one now; `isGone`: it is wanted whatever it is. */
  async #renew(isGone: boolean): Promise<void> {
    if (this.#isClosed || this.#isOpening) return
    this.#isOpening = true
    try {
      const sound = await this.#open()
      if (this.#isClosed || !(isGone || sound.rate !== this.#sound?.rate)) sound.close()
      else await this.#take(sound)
    } catch {
      // The old one may still do; and there will be another change when it can be done.
    } finally {
      this.#isOpening = false
    }
  }

  async #take(sound: Sound): Promise<void> {
    const last = this.#sound
    this.#sound = sound
    sound.onState(() => this.#changed(sound))
    if (this.#output !== null) await this.useOutput(this.#output)
    if (this.#isClosed) return sound.close()
    this.#on.sound(sound)
    last?.close()
    sound.resume()
    this.#changed(sound)
  }

  #changed(sound: Sound): void {
    if (sound !== this.#sound) return
    this.#stopWaiting?.()
    this.#stopWaiting = null
    switch (sound.state) {
      case 'running':
        // Siri and phone calls come with another rate at times, and leave it behind.
        if (this.#state === 'interrupted') void this.#renew(false)
        return this.#tell('on')
      case 'interrupted':
        return this.#tell('interrupted')
      case 'suspended':
        sound.resume()
        this.#stopWaiting = this.#timers.after(START, () => this.#tell('blocked'))
        return
      case 'closed':
        void this.#renew(true)
        return this.#tell('off')
    }
  }

  #tell(state: State): void {
    if (state === this.#state) return
    this.#state = state
    this.#on.state(state)
  }
}
