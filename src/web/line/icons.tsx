/** Icons of the line alone, on the grid of parts/icons.tsx. */
import type { ComponentChildren } from 'preact'

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      {children}
    </svg>
  )
}

export const Code = () => (
  <Icon>
    <rect x="4" y="4" width="6" height="6" rx="1.5" />
    <rect x="14" y="4" width="6" height="6" rx="1.5" />
    <rect x="4" y="14" width="6" height="6" rx="1.5" />
    <path d="M14 14h2M20 14v2M14 18v2h2M18 18h2v2" />
  </Icon>
)

export const Headphones = () => (
  <Icon>
    <path d="M4 15v-3a8 8 0 0 1 16 0v3" />
    <rect x="3.5" y="14" width="4" height="6" rx="1.75" />
    <rect x="16.5" y="14" width="4" height="6" rx="1.75" />
  </Icon>
)
