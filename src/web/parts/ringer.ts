/**
 * The sound of a ring, made as it is heard: a bell for whoever is called, a soft tone for whoever calls. Browsers let a
 * page sound once it was touched; until then it rings silently.
 */

/** Of the bell, in hertz: a chord that is heard through a pocket and does not startle. */
const BELL = [659.25, 830.61, 987.77, 830.61]
const NOTE_EVERY = 0.14
const BELL_EVERY = 2_400
/** Of the tone that a caller hears, as telephones have it: two tones, a second long. */
const TONE = [440, 480]
const TONE_LASTS = 1.2
const TONE_EVERY = 4_000

export class Ringer {
  readonly #context: AudioContext
  #bus: GainNode | null = null
  #timer: ReturnType<typeof setInterval> | undefined

  /** Make it while the page is being touched. */
  constructor(context: AudioContext = new AudioContext()) {
    this.#context = context
    void context.resume().catch(() => {})
  }

  /** The browser lets nothing be heard yet. */
  get isSilent(): boolean {
    return this.#context.state !== 'running'
  }

  /** Rings until `stop`. */
  start(kind: 'bell' | 'tone'): void {
    this.stop()
    const bus = this.#context.createGain()
    bus.connect(this.#context.destination)
    this.#bus = bus
    void this.#context.resume().catch(() => {})
    const sound = () => (kind === 'bell' ? this.#bell(bus) : this.#tone(bus))
    sound()
    this.#timer = setInterval(sound, kind === 'bell' ? BELL_EVERY : TONE_EVERY)
  }

  /** Twice is fine. */
  stop(): void {
    clearInterval(this.#timer)
    const bus = this.#bus
    this.#bus = null
    if (bus === null) return
    // A cut would click.
    bus.gain.setTargetAtTime(0, this.#context.currentTime, 0.02)
    setTimeout(() => bus.disconnect(), 200)
  }

  close(): void {
    this.stop()
    void this.#context.close().catch(() => {})
  }

  #bell(bus: GainNode): void {
    const now = this.#context.currentTime
    for (const round of [0, 5]) {
      for (const [i, frequency] of BELL.entries()) {
        this.#note(bus, frequency, now + (round + i) * NOTE_EVERY, 0.45, 0.2, 'triangle')
      }
    }
    if (!matchMedia('(prefers-reduced-motion: reduce)').matches) navigator.vibrate?.([200, 100, 200])
  }

  #tone(bus: GainNode): void {
    for (const frequency of TONE)
      this.#note(bus, frequency, this.#context.currentTime, TONE_LASTS, 0.025, 'sine')
  }

  #note(
    bus: GainNode,
    frequency: number,
    at: number,
    lasts: number,
    loudness: number,
    type: OscillatorType,
  ): void {
    const oscillator = new OscillatorNode(this.#context, { type, frequency })
    const envelope = new GainNode(this.#context, { gain: 0 })
    envelope.gain.setValueAtTime(0, at)
    envelope.gain.linearRampToValueAtTime(loudness, at + 0.02)
    if (type === 'sine') envelope.gain.setValueAtTime(loudness, at + lasts - 0.05)
    envelope.gain.exponentialRampToValueAtTime(0.0001, at + lasts)
    oscillator.connect(envelope).connect(bus)
    oscillator.start(at)
    oscillator.stop(at + lasts)
  }
}
