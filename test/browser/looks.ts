/** Whether what stands on a page can be read. */

/**
 * In the page: words whose contrast with what they stand on is under 4.5, or 3 where they are large (WCAG 2.2, 1.4.3).
 * Grounds that are pictures or gradients are taken as what lies below them.
 */
export function readability(): string[] {
  type Colour = readonly [number, number, number, number]
  const probe = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
  if (probe === null) return ['nothing to measure colours with']
  const colourOf = (css: string): Colour => {
    probe.clearRect(0, 0, 1, 1)
    probe.fillStyle = css
    probe.fillRect(0, 0, 1, 1)
    const [red = 0, green = 0, blue = 0, alpha = 0] = probe.getImageData(0, 0, 1, 1).data
    return [red, green, blue, alpha / 255]
  }
  const over = (top: Colour, below: Colour): Colour => {
    const mix = (at: 0 | 1 | 2) => top[at] * top[3] + below[at] * (1 - top[3])
    return [mix(0), mix(1), mix(2), 1]
  }
  const groundOf = (element: Element | null): Colour => {
    if (element === null) return [255, 255, 255, 1]
    const own = colourOf(getComputedStyle(element).backgroundColor)
    return own[3] === 1 ? own : over(own, groundOf(element.parentElement))
  }
  const luminance = ([red, green, blue]: Colour) => {
    const [r = 0, g = 0, b = 0] = [red, green, blue].map((c) => {
      const s = c / 255
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const found: string[] = []
  for (const element of document.querySelectorAll('body *')) {
    const words = [...element.childNodes].some(
      ({ nodeType, textContent }) => nodeType === 3 && textContent?.trim(),
    )
    if (!words || element.closest('.unseen, noscript, script, option') !== null) continue
    const style = getComputedStyle(element)
    const ground = groundOf(element)
    const [ink, paper] = [luminance(over(colourOf(style.color), ground)), luminance(ground)]
    const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05)
    const size = Number.parseFloat(style.fontSize)
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700)
    if (contrast < (isLarge ? 3 : 4.5))
      found.push(`${contrast.toFixed(2)}: ${element.textContent?.slice(0, 40)}`)
  }
  return found
}
