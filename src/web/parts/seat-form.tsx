/** Asks for the seat by hand, where no link names it. */
import { useState } from 'preact/hooks'
import type { Place } from '../address.ts'
import { text } from '../text.ts'
import { Frame } from './frame.tsx'
import { Head } from './head.tsx'

export interface SeatFormProps {
  readonly takesFocus: boolean
  readonly noTrial: boolean
  readonly onSeat: (place: Place) => void
  readonly onBack: () => void
}

export function SeatForm({ takesFocus, noTrial, onSeat, onBack }: SeatFormProps) {
  const [token, setToken] = useState('')
  const [session, setSession] = useState('')
  const [user, setUser] = useState('')
  const submit = (event: Event) => {
    event.preventDefault()
    onSeat({
      sessionId: session.trim(),
      userId: user.trim(),
      role: null,
      joinToken: token.trim() || undefined,
    })
  }
  return (
    <Frame>
      <Head
        title={text.form.title}
        body={noTrial ? text.form.noTrial : text.form.body}
        takesFocus={takesFocus}
      />
      <form class="card form" onSubmit={submit} autocomplete="off">
        <Field name={text.form.session} value={session} onChange={setSession} isNeeded />
        <Field name={text.form.user} value={user} onChange={setUser} isNeeded />
        <Field name={text.form.token} value={token} onChange={setToken} />
        <div class="row">
          <button type="submit" class="button primary">
            {text.form.button}
          </button>
          {!noTrial && (
            <button type="button" class="button quiet" onClick={onBack}>
              {text.form.back}
            </button>
          )}
        </div>
      </form>
    </Frame>
  )
}

interface FieldProps {
  readonly name: string
  readonly value: string
  readonly onChange: (value: string) => void
  readonly isNeeded?: boolean
}

function Field({ name, value, onChange, isNeeded = false }: FieldProps) {
  return (
    <label class="field">
      <span>
        {name}
        {!isNeeded && <em> {text.form.optional}</em>}
      </span>
      <input
        value={value}
        onInput={(event) => onChange(event.currentTarget.value)}
        required={isNeeded}
        pattern={isNeeded ? '.*\\S.*' : undefined}
        autocapitalize="off"
        spellcheck={false}
      />
    </label>
  )
}
