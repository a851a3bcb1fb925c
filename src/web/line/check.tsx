/** The four words that two people compare, and whether they have. */
import { useState } from 'preact/hooks'
import { Button } from '../parts/button.tsx'
import { Check, Lock } from '../parts/icons.tsx'
import { words } from './text.ts'

export interface CheckProps {
  /** Null until both browsers have agreed on them. */
  readonly four: readonly string[] | null
  readonly isCompared: boolean
  readonly onCompared: () => void
}

export function CheckCard({ four, isCompared, onCompared }: CheckProps) {
  const [isOpen, setOpen] = useState(false)
  if (isCompared && !isOpen) {
    return (
      <p class="facts">
        <button type="button" class="fact sure" aria-expanded={false} onClick={() => setOpen(true)}>
          <Lock />
          {words.check.done}
        </button>
      </p>
    )
  }
  return (
    <section class="card check" aria-labelledby="check-title">
      <div class="titled">
        <h2 id="check-title">{words.check.title}</h2>
        {isCompared ? (
          <Button kind="quiet" onPress={() => setOpen(false)}>
            {words.check.hide}
          </Button>
        ) : (
          four !== null && (
            <Button
              onPress={() => {
                setOpen(false)
                onCompared()
              }}
            >
              <Check />
              {words.check.match}
            </Button>
          )
        )}
      </div>
      {four !== null && (
        <ol class="words" lang="en" dir="ltr">
          {four.map((word, at) => (
            <li key={at}>{word}</li>
          ))}
        </ol>
      )}
      <p class="hint">{four === null ? words.check.working : words.check.why}</p>
    </section>
  )
}
