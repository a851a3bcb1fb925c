/**
 * The microphone of a call: opened as people wish, opened anew when they wish otherwise, and found again when it was
 * pulled out. One attempt is under way at a time; what an older one brings is stopped.
 */
import type { Microphones, Track } from './ports.ts'
import type { Microphone as State } from './view.ts'

export interface MicrophoneEvents {
  /** Another track to send, or none. The last one is stopped after this. */
  track(track: Track | null): void
  state(state: State): void
  /** The same track sounds again after the browser had held it. */
  woke(): void
}

export class Microphone {
  readonly #microphones: Microphones
  readonly #on: MicrophoneEvents
  #state: State = 'unknown'
  #track: Track | null = null
  #wanted: string | null = null
  #headphones = false
  #muted = false
  #attempt = 0
  #isClosed = false

  constructor(microphones: Microphones, on: MicrophoneEvents) {
    this.#microphones = microphones
    this.#on = on
  }

  get track(): Track | null {
    return this.#track
  }

  /** Of the microphone in use, or else of the one that is wished for. */
  get id(): string | null {
    return this.#track?.getSettings().deviceId ?? this.#wanted
  }

  /** Before `open`, it only notes the wish. */
  mute(muted: boolean): void {
    this.#muted = muted
    if (this.#track !== null) this.#track.enabled = !muted
  }

  /** Likewise. */
  async choose(id: string | null): Promise<void> {
    this.#wanted = id
    if (this.#state !== 'unknown' && id !== this.#track?.getSettings().deviceId) await this.open()
  }

  /** Likewise. */
  async useHeadphones(headphones: boolean): Promise<void> {
    this.#headphones = headphones
    const track = this.#track
    if (track === null) return
    try {
      await track.applyConstraints(processing(headphones))
    } catch {
      // Then by a new track.
    }
    if (this.#track !== track || this.#headphones !== headphones) return
    // Not every browser changes this on a track that runs, and some do as if they had.
    const { echoCancellation } = track.getSettings()
    if (echoCancellation !== undefined && Boolean(echoCancellation) === headphones) await this.open()
  }

  /** Asks for it. Settles when there is one, or when `state` says why there is none; then it may be asked for again. */
  async open(): Promise<void> {
    const attempt = ++this.#attempt
    const isCurrent = () => attempt === this.#attempt && !this.#isClosed
    const headphones = this.#headphones
    const ids = this.#wanted === null ? [null] : [this.#wanted, null]
    let trouble: State = 'none'
    for (const id of ids) {
      try {
        const track = await this.#microphones.open(constraints(id, headphones))
        if (!isCurrent()) return track.stop()
        this.#take(track)
        // While a person was looking for the button that allows it, headphones may have been put on.
        if (headphones !== this.#headphones) await this.useHeadphones(this.#headphones)
        return
      } catch (error) {
        if (!isCurrent()) return
        trouble = troubleOf(error)
        // Without the one that was chosen, any; without leave, none.
        if (trouble === 'refused') break
      }
    }
    // What sounds is better than what was wished for.
    if (this.#track !== null) return
    this.#tell(this.#state === 'lost' && trouble === 'none' ? 'lost' : trouble)
  }

  /** Another list of microphones. */
  async devicesChanged(ids: readonly string[]): Promise<void> {
    if (this.#isClosed) return
    const isWithout = this.#state === 'lost' || this.#state === 'none' || this.#state === 'busy'
    const isBack = this.#wanted !== null && this.id !== this.#wanted && ids.includes(this.#wanted)
    if ((isWithout && ids.length > 0) || (this.#track !== null && isBack)) await this.open()
  }

  /** Stops what is open. Nothing is told any more. Again does nothing. */
  close(): void {
    this.#isClosed = true
    this.#track?.stop()
    this.#track = null
  }

  #take(track: Track): void {
    const last = this.#track
    track.enabled = !this.#muted
    track.addEventListener('ended', () => this.#lost(track))
    track.addEventListener('unmute', () => {
      if (track === this.#track) this.#on.woke()
    })
    this.#track = track
    this.#on.track(track)
    // After the new one is in its place, so that nothing is missing.
    last?.stop()
    this.#tell('on')
  }

  #lost(track: Track): void {
    if (track !== this.#track) return
    this.#track = null
    this.#on.track(null)
    this.#tell('lost')
    // There may be another one: the system has chosen it already.
    void this.open()
  }

  #tell(state: State): void {
    this.#state = state
    this.#on.state(state)
  }
}

/** What is done to the sound before a page has it. Nothing that colours it; the echo is taken out unless nobody makes one. */
function processing(headphones: boolean): MediaTrackConstraints {
  return { echoCancellation: !headphones, noiseSuppression: false, autoGainControl: false, channelCount: 1 }
}

function constraints(id: string | null, headphones: boolean): MediaTrackConstraints {
  return id === null ? processing(headphones) : { ...processing(headphones), deviceId: { exact: id } }
}

/** W3C Media Capture and Streams, section 10.2, and what browsers throw besides. */
function troubleOf(error: unknown): State {
  switch (error instanceof Error ? error.name : '') {
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'none'
    case 'NotReadableError':
    case 'AbortError':
      return 'busy'
    default:
      return 'refused'
  }
}
