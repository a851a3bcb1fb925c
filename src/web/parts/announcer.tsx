/** Says changes aloud to those who use a screen reader. One per page, there from the start, so that it is heard. */
export function Announcer({ says }: { says: string }) {
  return (
    <p class="unseen" role="status" aria-live="polite">
      {says}
    </p>
  )
}
