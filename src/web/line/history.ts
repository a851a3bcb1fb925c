/** The delay of the last minute, and a small picture of it. */

/** Points of half a second. */
const MOST = 120

export class History {
  #points: number[] = []

  /** Delay in ms. */
  add(delay: number): void {
    this.#points.push(delay)
    if (this.#points.length > MOST) this.#points.shift()
  }

  get points(): readonly number[] {
    return this.#points
  }

  get range(): { readonly low: number; readonly high: number } | null {
    if (this.#points.length === 0) return null
    return { low: Math.round(Math.min(...this.#points)), high: Math.round(Math.max(...this.#points)) }
  }
}

/** Draws the points from the right, the newest last. The picture starts at 0 ms, so that a calm line looks calm. */
export function paintHistory(canvas: HTMLCanvasElement, points: readonly number[]): void {
  const context = canvas.getContext('2d')
  if (context === null) return
  const scale = Math.min(3, globalThis.devicePixelRatio || 1)
  const { clientWidth: width, clientHeight: height } = canvas
  canvas.width = Math.round(width * scale)
  canvas.height = Math.round(height * scale)
  context.setTransform(scale, 0, 0, scale, 0, 0)
  const top = Math.max(100, ...points) * 1.1
  const x = (at: number) => width - ((points.length - 1 - at) * width) / (MOST - 1)
  const y = (delay: number) => height - (delay / top) * height
  const colour = getComputedStyle(canvas).color
  context.beginPath()
  for (const [at, delay] of points.entries()) context.lineTo(x(at), y(delay))
  context.strokeStyle = colour
  context.lineWidth = 1.5
  context.lineJoin = 'round'
  context.stroke()
  context.lineTo(width, height)
  context.lineTo(x(0), height)
  context.globalAlpha = 0.12
  context.fillStyle = colour
  context.fill()
}
