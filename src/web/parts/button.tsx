/** Buttons: a plain one with words, and the round ones of a call with their name below. */
import type { ComponentChildren } from 'preact'

export interface ButtonProps {
  readonly children: ComponentChildren
  readonly onPress: () => void
  readonly kind?: 'primary' | 'quiet' | 'outline'
  readonly disabled?: boolean
}

export function Button({ children, onPress, kind = 'outline', disabled = false }: ButtonProps) {
  return (
    <button type="button" class={`button ${kind}`} onClick={onPress} disabled={disabled}>
      {children}
    </button>
  )
}

export interface RoundButtonProps {
  readonly name: string
  readonly icon: ComponentChildren
  readonly onPress: () => void
  /** The key that does the same. */
  readonly hotkey: string
  readonly kind: 'plain' | 'pressed' | 'danger' | 'good'
}

export function RoundButton({ name, icon, onPress, hotkey, kind }: RoundButtonProps) {
  return (
    <button type="button" class={`round ${kind}`} onClick={onPress} aria-keyshortcuts={hotkey}>
      <span class="disc">{icon}</span>
      <span class="name">
        {name}
        <span class="key" aria-hidden="true">
          {hotkey === 'Escape' ? 'Esc' : hotkey}
        </span>
      </span>
    </button>
  )
}
