/** What pages need from the browser while something goes on. */
import { useEffect, useRef, useState } from 'preact/hooks'

/** Renders again every `span` milliseconds while `isRunning`. */
export function useTick(span: number, isRunning: boolean): void {
  const [, setTicks] = useState(0)
  useEffect(() => {
    if (!isRunning) return
    const timer = setInterval(() => setTicks((ticks) => ticks + 1), span)
    return () => clearInterval(timer)
  }, [span, isRunning])
}

/**
 * Keys of the whole page by name. Not while text is typed or something is chosen from a list by its first letter, nor
 * with Ctrl, Alt or Meta, which belong to the browser.
 */
export function useKeys(keys: Readonly<Record<string, () => void>>): void {
  const latest = useRef(keys)
  latest.current = keys
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return
      if (event.target instanceof HTMLInputElement && !event.target.readOnly) return
      if (event.target instanceof HTMLSelectElement) return
      const act = latest.current[event.key.toLowerCase()]
      if (act === undefined) return
      event.preventDefault()
      act()
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  }, [])
}

/** Keeps the screen of a phone on: a sleeping page loses its call. */
export function useWakeLock(isRunning: boolean): void {
  useEffect(() => {
    if (!isRunning || !('wakeLock' in navigator)) return
    let lock: WakeLockSentinel | null = null
    let over = false
    const take = async () => {
      if (document.visibilityState !== 'visible') return
      try {
        lock = await navigator.wakeLock.request('screen')
        if (over) await lock.release()
      } catch {
        // The battery is low or the page is hidden: then the screen may sleep.
      }
    }
    void take()
    // The browser takes the lock away with the page out of sight.
    document.addEventListener('visibilitychange', take)
    return () => {
      over = true
      document.removeEventListener('visibilitychange', take)
      void lock?.release()
    }
  }, [isRunning])
}
