/**
 * What one end of a call hears with and is heard with: the microphone, its switch, both meters. Deliberately not here:
 * the way between the two ends (media.ts), and playing what comes in.
 */
import { LevelMeter } from './level.ts'
import { openMicrophone } from './microphone.ts'

export interface VoiceOptions {
  /** Asked at the start, and again when the microphone was pulled out. The voice stops its tracks. */
  readonly microphone?: (() => Promise<MediaStream>) | undefined
  readonly AudioContext?: (new () => AudioContext) | undefined
  readonly on: {
    /** Another microphone took the place of the one that was pulled out. */
    replaced(track: MediaStreamTrack): void
    trouble(error: unknown): void
  }
}

export class Voice {
  readonly #options: VoiceOptions
  #microphone: MediaStream | null = null
  #remote: MediaStream | null = null
  #sound: AudioContext | null = null
  #meters: { self: LevelMeter | null; other: LevelMeter | null } = { self: null, other: null }
  #muted = false
  #closed = false

  constructor(options: VoiceOptions) {
    this.#options = options
  }

  get muted(): boolean {
    return this.#muted
  }

  get remote(): MediaStream | null {
    return this.#remote
  }

  /** How loud each side is now, from 0 to 1. */
  get levels(): { self: number; other: number } {
    return { self: this.#meters.self?.read() ?? 0, other: this.#meters.other?.read() ?? 0 }
  }

  /** The microphone; null when the voice was closed meanwhile. Rejects with a MicrophoneError. */
  async open(): Promise<MediaStream | null> {
    const microphone = await (this.#options.microphone ?? openMicrophone)()
    if (this.#closed) {
      stop(microphone)
      return null
    }
    this.#microphone = microphone
    this.#applyMute()
    this.#meter(microphone)
    // Comes when the device is pulled out, not when we stop it.
    for (const track of microphone.getAudioTracks()) track.onended = () => void this.#replace()
    return microphone
  }

  mute(muted: boolean): void {
    this.#muted = muted
    this.#applyMute()
  }

  /** The other end's sound, or null when there is none any more. */
  hear(stream: MediaStream | null): void {
    this.#meters.other?.close()
    this.#meters.other = stream && this.#sound && new LevelMeter(this.#sound, stream)
    this.#remote = stream
  }

  /** Twice is fine. */
  close(): void {
    this.#closed = true
    if (this.#microphone !== null) stop(this.#microphone)
    this.#microphone = null
    this.#meters.self?.close()
    this.#meters.self = null
    this.hear(null)
    this.#sound?.close().catch(() => {})
    this.#sound = null
  }

  #meter(microphone: MediaStream): void {
    const Sound = this.#options.AudioContext ?? globalThis.AudioContext
    if (Sound === undefined) return
    if (this.#sound === null) {
      this.#sound = new Sound()
      // A context made without a touch sleeps; the meters then stand still until the page is touched.
      this.#sound.resume().catch((error: unknown) => this.#options.on.trouble(error))
    }
    this.#meters.self?.close()
    this.#meters.self = new LevelMeter(this.#sound, microphone)
  }

  async #replace(): Promise<void> {
    try {
      const track = (await this.open())?.getAudioTracks()[0]
      if (track !== undefined) this.#options.on.replaced(track)
    } catch (error) {
      this.#options.on.trouble(error)
    }
  }

  #applyMute(): void {
    for (const track of this.#microphone?.getAudioTracks() ?? []) track.enabled = !this.#muted
  }
}

function stop(microphone: MediaStream): void {
  for (const track of microphone.getTracks()) track.stop()
}
