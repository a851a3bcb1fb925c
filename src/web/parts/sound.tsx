/** Plays the other party's sound, and asks for a touch where the browser wants one first. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { text } from '../text.ts'
import { Button } from './button.tsx'
import { Speaker } from './icons.tsx'

export function Sound({ stream }: { stream: MediaStream | null }) {
  const player = useRef<HTMLAudioElement>(null)
  const [isBlocked, setBlocked] = useState(false)
  const play = () => {
    const element = player.current
    if (element === null || element.srcObject === null) return
    element.play().then(
      () => setBlocked(false),
      // A stream that is replaced while it starts is no refusal.
      (error: unknown) => setBlocked(error instanceof Error && error.name === 'NotAllowedError'),
    )
  }
  useEffect(() => {
    if (player.current === null) return
    player.current.srcObject = stream
    play()
  }, [stream])
  return (
    <>
      {/* biome-ignore lint/a11y/useMediaCaption: a live voice has no captions. */}
      <audio ref={player} />
      {isBlocked && (
        <Button kind="primary" onPress={play}>
          <Speaker />
          {text.controls.hear}
        </Button>
      )}
    </>
  )
}
