/** The link for the other end: to copy, to share, and as a QR code that is drawn in the page. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { Button } from '../parts/button.tsx'
import { Check, Copy, Share } from '../parts/icons.tsx'
import { Code as CodeIcon } from './icons.tsx'
import { words } from './text.ts'

/** What a code may take on a phone of 360 pixels. */
const WIDEST = 272

export interface InviteProps {
  readonly link: string
  readonly title: string
  /** Says something to those who do not see it. */
  readonly say: (words: string) => void
}

export function Invite({ link, title, say }: InviteProps) {
  const field = useRef<HTMLInputElement>(null)
  const [copied, setCopied] = useState<'no' | 'yes' | 'byHand'>('no')
  // Where there is room for it, it need not be asked for.
  const [isCodeShown, setCodeShown] = useState(
    () => matchMedia('(width >= 40rem) and (height >= 40rem)').matches,
  )
  useEffect(() => {
    if (copied === 'no') return
    const timer = setTimeout(() => setCopied('no'), 4_000)
    return () => clearTimeout(timer)
  }, [copied])

  const copy = async () => {
    field.current?.select()
    try {
      await navigator.clipboard.writeText(link)
      setCopied('yes')
      say(words.invite.copied)
    } catch {
      // No clipboard without HTTPS: the link is selected already.
      setCopied('byHand')
      say(words.invite.copyByHand)
    }
  }
  const share = () => {
    // Rejects when the person thinks better of it.
    navigator.share({ title: words.invite.shareTitle, url: link }).catch(() => {})
  }
  return (
    <section class={isCodeShown ? 'card invite coded' : 'card invite'} aria-labelledby="invite-title">
      <div class="sending">
        <h2 id="invite-title">{title}</h2>
        <input
          ref={field}
          class="link"
          dir="ltr"
          readOnly
          value={link}
          aria-label={words.invite.field}
          onFocus={(event) => event.currentTarget.select()}
        />
        <div class="row">
          <Button kind="primary" onPress={() => void copy()}>
            {copied === 'yes' ? <Check /> : <Copy />}
            {copied === 'yes'
              ? words.invite.copied
              : copied === 'byHand'
                ? words.invite.copyByHand
                : words.invite.copy}
          </Button>
          {'share' in navigator && (
            <Button onPress={share}>
              <Share />
              {words.invite.share}
            </Button>
          )}
          <button
            type="button"
            class="button outline"
            aria-expanded={isCodeShown}
            onClick={() => setCodeShown(!isCodeShown)}
          >
            <CodeIcon />
            {words.invite.showCode}
          </button>
        </div>
        <p class="hint">{words.invite.hint}</p>
      </div>
      {isCodeShown && <Code link={link} />}
    </section>
  )
}

interface Dots {
  readonly size: number
  readonly path: string
}

/** Dark on light whatever the colours of the page are: not every camera reads it the other way round. */
function Code({ link }: { link: string }) {
  const [dots, setDots] = useState<Dots | 'failed' | null>(null)
  useEffect(() => {
    let isWanted = true
    // Loaded now, for it is as large as the rest of this card together.
    import('uqr').then(
      ({ encode }) => {
        if (isWanted) setDots(dotsOf(encode(link, { border: 4 }).data))
      },
      () => setDots('failed'),
    )
    return () => {
      isWanted = false
    }
  }, [link])
  if (dots === 'failed') return <p class="hint">{words.invite.codeFailed}</p>
  return (
    <div class="code">
      {dots !== null && (
        <svg
          width={dots.size * dotOf(dots.size)}
          viewBox={`0 0 ${dots.size} ${dots.size}`}
          role="img"
          aria-label={words.invite.code}
        >
          <path d={dots.path} />
        </svg>
      )}
    </div>
  )
}

/** In CSS pixels. All dots have the same size, or cameras stumble. */
function dotOf(size: number): number {
  return Math.max(2, Math.floor(WIDEST / size))
}

function dotsOf(rows: readonly (readonly boolean[])[]): Dots {
  const path = rows.flatMap((row, y) => row.map((isDark, x) => (isDark ? `M${x} ${y}h1v1h-1z` : ''))).join('')
  return { size: rows.length, path }
}
