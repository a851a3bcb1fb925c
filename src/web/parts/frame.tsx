/** What every page stands in: the name of the product, and one column below it. */
import type { ComponentChildren } from 'preact'
import { text } from '../text.ts'
import { Mark } from './icons.tsx'

export function Frame({ children }: { children: ComponentChildren }) {
  return (
    <>
      <header class="banner">
        <span class="wordmark">
          <Mark />
          {text.product}
        </span>
      </header>
      <main class="column">{children}</main>
    </>
  )
}
