/** The link for the other end: to read, to copy, to share. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Person } from '../text.ts'
import { text } from '../text.ts'
import { Button } from './button.tsx'
import { Check, Copy, Share } from './icons.tsx'
import { clockTime } from './time.ts'

export interface Invite {
  readonly link: string
  /** When the link stops working, in milliseconds since 1970. */
  readonly until: number
}

type Copied = 'no' | 'yes' | 'byHand'

export interface InviteCardProps {
  readonly invite: Invite
  readonly guest: Person
  /** In milliseconds since 1970. */
  readonly now: number
  /** Says something to those who do not see it. */
  readonly say: (words: string) => void
}

export function InviteCard({ invite, guest, now, say }: InviteCardProps) {
  const field = useRef<HTMLInputElement>(null)
  const [copied, setCopied] = useState<Copied>('no')
  useEffect(() => {
    if (copied === 'no') return
    const timer = setTimeout(() => setCopied('no'), 4_000)
    return () => clearTimeout(timer)
  }, [copied])

  const copy = async () => {
    field.current?.select()
    try {
      await navigator.clipboard.writeText(invite.link)
      setCopied('yes')
      say(text.invite.copied)
    } catch {
      // No clipboard without HTTPS: the link is selected already.
      setCopied('byHand')
      say(text.invite.copyByHand)
    }
  }
  const share = () => {
    // Rejects when the person thinks better of it.
    navigator.share({ title: text.invite.shareTitle, url: invite.link }).catch(() => {})
  }
  const left = invite.until - now
  return (
    <section class="card" aria-labelledby="invite-title">
      <h2 id="invite-title">{text.invite.title(guest)}</h2>
      <input
        ref={field}
        class="link"
        readOnly
        value={invite.link}
        aria-label={text.invite.field}
        onFocus={(event) => event.currentTarget.select()}
      />
      <div class="row">
        <Button kind="primary" onPress={() => void copy()}>
          {copied === 'yes' ? <Check /> : <Copy />}
          {copied === 'yes'
            ? text.invite.copied
            : copied === 'byHand'
              ? text.invite.copyByHand
              : text.invite.copy}
        </Button>
        {'share' in navigator && (
          <Button onPress={share}>
            <Share />
            {text.invite.share}
          </Button>
        )}
        <p class="hint">{left > 0 ? text.invite.goodFor(clockTime(left + 999)) : text.invite.expired}</p>
      </div>
    </section>
  )
}
