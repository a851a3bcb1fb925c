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
  /** This screen took the place of another: whoever reads by ear or keyboard starts at its head. */
  readonly takesFocus: boolean
}

export function Head({ title, body, tone = 'plain', timer = null, left = null, takesFocus }: HeadProps) {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    if (takesFocus) heading.current?.focus({ preventScroll: true })
  }, [])
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
