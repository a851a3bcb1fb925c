/** What a client and its calls say, rendered again whenever it changes. */
import { useEffect, useState } from 'preact/hooks'
import type { DirectCall, DirectClient } from '../client/index.ts'

export function useClient(client: DirectClient) {
  const [state, setState] = useState(client.state)
  useEffect(() => {
    setState(client.state)
    return client.on('state', setState)
  }, [client])
  return state
}

export function useCall(call: DirectCall) {
  const [state, setState] = useState(call.state)
  const [security, setSecurity] = useState(call.security)
  const [muted, setMuted] = useState(call.muted)
  const [remote, setRemote] = useState(call.remote)
  useEffect(() => {
    const offs = [
      call.on('state', setState),
      call.on('security', setSecurity),
      call.on('muted', setMuted),
      call.on('remote', setRemote),
    ]
    // It may have gone on between the first rendering and now.
    setState(call.state)
    setSecurity(call.security)
    setMuted(call.muted)
    setRemote(call.remote)
    return () => {
      for (const off of offs) off()
    }
  }, [call])
  return { state, security, muted, remote }
}

/** Which way the sound goes, looked at now and then: it may find another one. */
export function useRoute(call: DirectCall, isRunning: boolean): 'direct' | 'relay' | null {
  const [route, setRoute] = useState<'direct' | 'relay' | null>(null)
  useEffect(() => {
    if (!isRunning) return setRoute(null)
    let isWanted = true
    const look = () =>
      call.route().then(
        (found) => {
          if (isWanted && found !== null) setRoute(found)
        },
        () => {},
      )
    void look()
    const timer = setInterval(() => void look(), 2_000)
    return () => {
      isWanted = false
      clearInterval(timer)
    }
  }, [call, isRunning])
  return route
}
