/** The head of a screen: what is going on, in a few words and a sentence; in a call, the clock is the largest. */
import { useEffect, useRef } from 'preact/hooks'
import { text } from '../text.ts'

export type Tone = 'plain' | 'good' | 'wait' | 'bad'

export interface HeadProps {
  readonly title: string
  readonly body: string
  readonly tone?: Tone
  /** The call's clock, already written. */
  readonly timer?: string | null
  /** Shown beside the clock when the limit is near. */
  readonly left?: string | null
  /** Name of the screen. When another one comes, whoever reads by ear or keyboard starts at its head. */
  readonly screen: string
}

export function Head({ title, body, tone = 'plain', timer = null, left = null, screen }: HeadProps) {
  const heading = useRef<HTMLHeadingElement>(null)
  const shown = useRef(screen)
  useEffect(() => {
    if (shown.current !== screen) heading.current?.focus({ preventScroll: true })
    shown.current = screen
  }, [screen])
  return (
    <div class={`head ${tone}${timer === null ? '' : ' timed'}`}>
      <h1 ref={heading} tabIndex={-1}>
        {title}
      </h1>
      {timer !== null && (
        <p class="clock">
          <span role="timer" aria-label={text.timer}>
            {timer}
          </span>
          {left !== null && <span class="left">{left}</span>}
        </p>
      )}
      <p class="body">{body}</p>
    </div>
  )
}
