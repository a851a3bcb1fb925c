/** A field for a name that others can call. */
import { useId } from 'preact/hooks'

export interface NameFieldProps {
  readonly name: string
  /** A heading says it already. */
  readonly isNameHidden?: boolean
  readonly value: string
  readonly onChange: (value: string) => void
  readonly hint?: string
  /** What is wrong with it, in words. */
  readonly wrong: string | null
}

export function NameField({ name, isNameHidden = false, value, onChange, hint, wrong }: NameFieldProps) {
  const id = useId()
  const below = wrong ?? hint
  return (
    <div class="field">
      <label class={isNameHidden ? 'unseen' : ''} for={id}>
        {name}
      </label>
      <input
        id={id}
        value={value}
        onInput={(event) => onChange(event.currentTarget.value)}
        maxLength={64}
        autocapitalize="off"
        autocorrect="off"
        spellcheck={false}
        enterkeyhint="go"
        aria-invalid={wrong !== null}
        aria-describedby={below === undefined ? undefined : `${id}-below`}
      />
      {below !== undefined && (
        <p
          id={`${id}-below`}
          class={wrong === null ? 'hint' : 'wrong'}
          role={wrong === null ? undefined : 'alert'}
        >
          {below}
        </p>
      )}
    </div>
  )
}
