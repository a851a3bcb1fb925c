/** Icons, drawn for these pages on a grid of 24. They say nothing by themselves: what they stand on has the name. */
import type { ComponentChildren } from 'preact'

function Icon({ children, filled = false }: { children: ComponentChildren; filled?: boolean }) {
  return (
    <svg class={filled ? 'icon filled' : 'icon'} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      {children}
    </svg>
  )
}

export const Mark = () => (
  <svg class="mark" viewBox="0 0 40 24" aria-hidden="true" focusable="false">
    <circle cx="7" cy="12" r="5" />
    <circle cx="33" cy="12" r="5" />
    <path d="M16 12h.01M20 12h.01M24 12h.01" />
  </svg>
)

export const Microphone = ({ off }: { off: boolean }) => (
  <Icon>
    {off ? (
      <>
        <path d="M15 9.5V6a3 3 0 0 0-5.7-1.3M9 9v2a3 3 0 0 0 4.6 2.5" />
        <path d="M5 11a7 7 0 0 0 11.2 5.6M18.6 13.4A7 7 0 0 0 19 11M12 18v3M4 4l16 16" />
      </>
    ) : (
      <>
        <rect x="9" y="3" width="6" height="11" rx="3" />
        <path d="M5 11a7 7 0 0 0 14 0M12 18v3" />
      </>
    )}
  </Icon>
)

export const HangUp = () => (
  <Icon filled>
    <path d="M2.6 14.4c0-1.2.5-2.3 1.5-3C6.3 9.9 9 9.1 12 9.1s5.7.8 7.9 2.3c1 .7 1.5 1.8 1.5 3v.9c0 .9-.8 1.6-1.7 1.5l-2.9-.4c-.7-.1-1.2-.6-1.2-1.3l-.1-1.7c-1.1-.3-2.3-.5-3.5-.5s-2.4.2-3.5.5l-.1 1.7c0 .7-.5 1.2-1.2 1.3l-2.9.4c-.9.1-1.7-.6-1.7-1.5z" />
  </Icon>
)

/** The receiver of HangUp, lifted. */
export const PickUp = () => (
  <Icon filled>
    <path
      transform="rotate(-135 12 13)"
      d="M2.6 14.4c0-1.2.5-2.3 1.5-3C6.3 9.9 9 9.1 12 9.1s5.7.8 7.9 2.3c1 .7 1.5 1.8 1.5 3v.9c0 .9-.8 1.6-1.7 1.5l-2.9-.4c-.7-.1-1.2-.6-1.2-1.3l-.1-1.7c-1.1-.3-2.3-.5-3.5-.5s-2.4.2-3.5.5l-.1 1.7c0 .7-.5 1.2-1.2 1.3l-2.9.4c-.9.1-1.7-.6-1.7-1.5z"
    />
  </Icon>
)

export const Lock = ({ open = false }: { open?: boolean }) => (
  <Icon>
    <rect x="5" y="11" width="14" height="9.5" rx="2.5" />
    <path d={open ? 'M8 11V7.5a4 4 0 0 1 7.6-1.8' : 'M8 11V8a4 4 0 0 1 8 0v3'} />
  </Icon>
)

export const Warning = () => (
  <Icon>
    <path d="M12 4L2.8 19.5h18.4zM12 10v4.5M12 17h.01" />
  </Icon>
)

export const Route = ({ relayed }: { relayed: boolean }) => (
  <Icon>
    <circle cx="4.5" cy="12" r="2" />
    <circle cx="19.5" cy="12" r="2" />
    {relayed ? <path d="M6.5 12H9M15 12h2.5M12 9l3 3l-3 3l-3 -3z" /> : <path d="M6.5 12h11" />}
  </Icon>
)

export const Copy = () => (
  <Icon>
    <rect x="9" y="9" width="11" height="11" rx="2.5" />
    <path d="M15 5.5A1.5 1.5 0 0 0 13.5 4h-8A1.5 1.5 0 0 0 4 5.5v8A1.5 1.5 0 0 0 5.5 15" />
  </Icon>
)

export const Check = () => (
  <Icon>
    <path d="M5 12.5l4.5 4.5L19 7.5" />
  </Icon>
)

export const Share = () => (
  <Icon>
    <path d="M12 15V4M8 7.5L12 3.5l4 4M5 12v6a2 2 0 0 0 2 2h10a2 2 0 0 0 2-2v-6" />
  </Icon>
)

export const Speaker = () => (
  <Icon>
    <path d="M4 9.5v5h3.5L12 19V5L7.5 9.5zM15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a7.8 7.8 0 0 1 0 11" />
  </Icon>
)

export const Wheel = () => (
  <Icon>
    <circle cx="12" cy="12" r="9" />
    <circle cx="12" cy="12" r="2.5" />
    <path d="M9.5 11.5L3.2 10M14.5 11.5l6.3-1.5M12 14.5V21" />
  </Icon>
)

export const Person = () => (
  <Icon>
    <circle cx="12" cy="8" r="4" />
    <path d="M4 20.5a8 8 0 0 1 16 0" />
  </Icon>
)
