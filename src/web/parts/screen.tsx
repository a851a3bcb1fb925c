/** One screen of a call: its head, the line with the two parties, what belongs to the moment, and the controls. */
import type { ComponentChildren } from 'preact'
import { Frame } from './frame.tsx'
import { Head, type HeadProps } from './head.tsx'
import { Line, type LineProps } from './line.tsx'

export interface ScreenProps {
  readonly head: HeadProps
  readonly line: LineProps
  readonly controls: ComponentChildren
  /** One control below the other, rather than side by side. */
  readonly isStacked?: boolean
  readonly children?: ComponentChildren
}

export function Screen({ head, line, controls, isStacked = false, children }: ScreenProps) {
  return (
    <Frame>
      <Head {...head} />
      <Line {...line} />
      <div class="extra">{children}</div>
      <div class={isStacked ? 'controls stacked' : 'controls'}>{controls}</div>
    </Frame>
  )
}
