/** What is wrong on this side or odd at the other, why, and what to do about it. */
import { Button } from '../parts/button.tsx'
import { Warning } from '../parts/icons.tsx'
import { words } from './text.ts'
import type { Line, View } from './view.ts'

export type Notice = keyof typeof words.notices

/** The gravest first. `isChanged`: another peer came that nobody has taken note of yet. */
export function noticesOf(view: View, isChanged: boolean): readonly Notice[] {
  const { report, microphone, speaker, muted } = view
  const all: readonly [boolean, Notice][] = [
    [report?.wordsBroken === true, 'broken'],
    [isChanged, 'changed'],
    [speaker === 'blocked', 'blocked'],
    [speaker === 'interrupted', 'interrupted'],
    [microphone === 'refused', 'refused'],
    [microphone === 'none', 'none'],
    [microphone === 'busy', 'busy'],
    [microphone === 'lost', 'lost'],
    [microphone === 'on' && report?.sourceStalled === true && !muted, 'stalled'],
    [view.echoes && !view.headphones, 'echoes'],
    [view.trouble === 'restarted' && report?.peer !== 'here', 'restarted'],
    [report?.offerMobile === true && view.profile !== 'mobile', 'narrow'],
  ]
  return all.filter(([holds]) => holds).map(([, notice]) => notice)
}

export interface NoticesProps {
  readonly notices: readonly Notice[]
  readonly line: Line
  /** The change of the peer was taken note of. */
  readonly onSeen: () => void
}

export function Notices({ notices, line, onSeen }: NoticesProps) {
  const act = (notice: Notice) => {
    if (notice === 'changed') onSeen()
    else if (notice === 'narrow') line.useProfile('mobile')
    else line.retry()
  }
  return (
    <>
      {notices.map((notice) => {
        const said: { title: string; body: string; act?: string } = words.notices[notice]
        return (
          <section key={notice} class={notice === 'broken' ? 'notice bad' : 'notice'} aria-label={said.title}>
            <Warning />
            <div>
              <h2>{said.title}</h2>
              <p>{said.body}</p>
              {said.act !== undefined && <Button onPress={() => act(notice)}>{said.act}</Button>}
            </div>
          </section>
        )
      })}
    </>
  )
}
