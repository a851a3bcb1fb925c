/** The safety number of two people, to be compared, and whose key it is made of. */
import { useEffect, useState } from 'preact/hooks'
import { safetyNumber } from '../../client/index.ts'
import { words } from '../direct-text.ts'
import { Button } from './button.tsx'
import { Check, Copy } from './icons.tsx'

export interface TheirKey {
  readonly publicKey: string
  readonly fingerprint: string
  readonly version: number
  /** Milliseconds since 1970. */
  readonly changedAt: number
  readonly compared: boolean
}

export interface SafetyProps {
  readonly peer: string
  readonly myKey: string
  readonly key_: TheirKey
  /** Null: comparing is not offered here. */
  readonly onCompared: ((isSame: boolean) => void) | null
  readonly say: (words: string) => void
  /** Shows the fingerprint of their key as well. */
  readonly withPrint?: boolean
}

export function Safety({ peer, myKey, key_, onCompared, say, withPrint = false }: SafetyProps) {
  const number = useSafetyNumber(myKey, key_.publicKey)
  const [copied, setCopied] = useState<'no' | 'yes' | 'byHand'>('no')
  useEffect(() => {
    if (copied === 'no') return
    const timer = setTimeout(() => setCopied('no'), 4_000)
    return () => clearTimeout(timer)
  }, [copied])
  const copy = () => {
    navigator.clipboard.writeText(number ?? '').then(
      () => setCopied('yes'),
      // No clipboard without HTTPS.
      () => setCopied('byHand'),
    )
    say(words.safety.copied)
  }
  const date = new Date(key_.changedAt).toLocaleDateString(undefined, { dateStyle: 'medium' })
  return (
    <div class="safety">
      <h3>{words.safety.title(peer)}</h3>
      {number === null ? (
        <p class="hint">{words.safety.working}</p>
      ) : (
        <ol class="number" aria-label={words.safety.title(peer)}>
          {number.split(' ').map((group, i) => (
            <li key={i}>{group}</li>
          ))}
        </ol>
      )}
      <p class="hint">{key_.compared ? words.safety.compared(peer) : words.safety.why(peer)}</p>
      <div class="row">
        {onCompared !== null && !key_.compared && (
          <Button onPress={() => onCompared(true)}>
            <Check />
            {words.safety.yes}
          </Button>
        )}
        <Button onPress={copy} disabled={number === null}>
          {copied === 'yes' ? <Check /> : <Copy />}
          {copied === 'yes'
            ? words.safety.copied
            : copied === 'byHand'
              ? words.safety.copyByHand
              : words.safety.copy}
        </Button>
        {onCompared !== null && key_.compared && (
          <Button kind="quiet" onPress={() => onCompared(false)}>
            {words.safety.undo}
          </Button>
        )}
      </div>
      {withPrint && (
        <p class="print">
          <span>{words.safety.fingerprint(peer)}</span>
          <code>{key_.fingerprint}</code>
          <span>{words.safety.since(date, key_.version)}</span>
        </p>
      )}
    </div>
  )
}

/** Null while it is worked out. */
function useSafetyNumber(myKey: string, theirKey: string): string | null {
  const [number, setNumber] = useState<string | null>(null)
  useEffect(() => {
    let isWanted = true
    setNumber(null)
    void safetyNumber(myKey, theirKey).then((made) => {
      if (isWanted) setNumber(made)
    })
    return () => {
      isWanted = false
    }
  }, [myKey, theirKey])
  return number
}
