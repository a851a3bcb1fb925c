/**
 * Paints one side's sound as it travels along the line, from the one who speaks towards the other. Silence is a dotted
 * line. Whoever prefers reduced motion gets a plain row of lights instead. Deliberately not here: where levels come
 * from, and when to paint.
 */

/** In CSS pixels. */
const BAR = 3
const STEP = 7
/** Time a bar takes to move on by one step, in milliseconds. */
const PACE = 55
/** In milliseconds. */
const COLOUR_LASTS = 200

export class Trace {
  readonly #canvas: HTMLCanvasElement
  readonly #fromRight: boolean
  /** Newest first: what has left the speaker. */
  #sent: number[] = []
  #loudest = 0
  #stepAt = 0
  #width = 0
  #height = 0
  #colour = ''
  #colourAt = Number.NEGATIVE_INFINITY
  readonly #watch: ResizeObserver

  /** `fromRight`: the speaker is at the right end. */
  constructor(canvas: HTMLCanvasElement, fromRight: boolean) {
    this.#canvas = canvas
    this.#fromRight = fromRight
    this.#watch = new ResizeObserver(() => this.#measure())
    this.#watch.observe(canvas)
    this.#measure()
  }

  /** Paints the line with `level`, 0 to 1, entering it at the instant `now`. */
  paint(level: number, now: number, isStill: boolean): void {
    const context = this.#canvas.getContext('2d')
    if (context === null || this.#width === 0) return
    const scale = this.#canvas.width / this.#width
    context.setTransform(scale, 0, 0, scale, 0, 0)
    context.clearRect(0, 0, this.#width, this.#height)
    context.fillStyle = this.#colourOf(now)
    if (isStill) this.#paintStill(context, level)
    else this.#paintMoving(context, level, now)
  }

  close(): void {
    this.#watch.disconnect()
  }

  /** Asked for now and then: it changes with the state of the call, and asking makes the browser work out all styles. */
  #colourOf(now: number): string {
    if (now - this.#colourAt > COLOUR_LASTS) {
      this.#colour = getComputedStyle(this.#canvas).color
      this.#colourAt = now
    }
    return this.#colour
  }

  get #bars(): number {
    return Math.floor((this.#width - BAR) / STEP) + 1
  }

  #paintMoving(context: CanvasRenderingContext2D, level: number, now: number): void {
    this.#loudest = Math.max(this.#loudest, level)
    // After a pause of the page there is nothing to catch up with.
    if (now - this.#stepAt > 20 * PACE) this.#stepAt = now - PACE
    while (now - this.#stepAt >= PACE) {
      this.#stepAt += PACE
      this.#sent = [this.#loudest, ...this.#sent.slice(0, this.#bars)]
      this.#loudest = level
    }
    const moved = (now - this.#stepAt) / PACE
    for (let i = 0; i <= this.#bars; i++) {
      const at = (i - 1 + moved) * STEP
      // Comes out of one end and goes into the other.
      const fade = Math.min(1, Math.max(0, (at + STEP) / STEP), Math.max(0, (this.#width - at - BAR) / STEP))
      this.#bar(context, at, this.#sent[i] ?? 0, fade)
    }
  }

  #paintStill(context: CanvasRenderingContext2D, level: number): void {
    const lit = Math.round(level * this.#bars)
    for (let i = 0; i < this.#bars; i++) this.#bar(context, i * STEP, i < lit ? 0.75 : 0, 1)
  }

  #bar(context: CanvasRenderingContext2D, at: number, level: number, fade: number): void {
    if (at < 0 || at > this.#width - BAR) return
    // Squared, or everything that is not silence would look alike.
    const height = BAR + level * level * (this.#height - BAR)
    context.globalAlpha = fade * (level === 0 ? 0.4 : 0.45 + 0.55 * Math.min(1, level * 2))
    context.beginPath()
    const x = this.#fromRight ? this.#width - at - BAR : at
    context.roundRect(x, (this.#height - height) / 2, BAR, height, BAR / 2)
    context.fill()
  }

  #measure(): void {
    const { clientWidth, clientHeight } = this.#canvas
    this.#width = clientWidth
    this.#height = clientHeight
    const scale = Math.min(3, globalThis.devicePixelRatio || 1)
    this.#canvas.width = Math.round(clientWidth * scale)
    this.#canvas.height = Math.round(clientHeight * scale)
  }
}
