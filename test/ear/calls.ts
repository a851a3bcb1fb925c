/** The calls that are measured beside the line: none at all, and one as browsers make them themselves. */
import type { Page } from 'playwright-core'

/** Nothing is taken out of the sound: what is measured is the way it goes. */
const PLAIN = { audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } }

/** An empty page in a secure context, to run such calls in. */
export function emptyPages(): { readonly url: string; close(): void } {
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: () =>
      new Response('<!doctype html><title>Empty</title>', { headers: { 'content-type': 'text/html' } }),
  })
  return { url: `http://127.0.0.1:${server.port}/`, close: () => void server.stop(true) }
}

/** One page, its microphone straight to its speaker: what devices and browser cost before anybody sends anything. */
export async function hearOneself(page: Page): Promise<void> {
  await page.evaluate(async (plain) => {
    const stream = await navigator.mediaDevices.getUserMedia(plain)
    const context = new AudioContext({ latencyHint: 0 })
    await context.resume()
    context.createMediaStreamSource(stream).connect(context.destination)
  }, PLAIN)
}

/** Opus from `from` to `to` over the loopback, with as little buffer as the browser allows. */
export async function callByWebRtc(from: Page, to: Page): Promise<void> {
  const offer = await from.evaluate(async (plain) => {
    const stream = await navigator.mediaDevices.getUserMedia(plain)
    const connection = new RTCPeerConnection()
    Object.assign(globalThis, { connection })
    for (const track of stream.getTracks()) connection.addTrack(track, stream)
    await connection.setLocalDescription()
    await new Promise<void>((done) => {
      connection.onicegatheringstatechange = () => connection.iceGatheringState === 'complete' && done()
      if (connection.iceGatheringState === 'complete') done()
    })
    return connection.localDescription?.sdp ?? ''
  }, PLAIN)
  const answer = await to.evaluate(
    async ({ sdp, plain }) => {
      const connection = new RTCPeerConnection()
      Object.assign(globalThis, { connection })
      connection.ontrack = ({ receiver, track }) => {
        receiver.jitterBufferTarget = 0
        const audio = new Audio()
        audio.srcObject = new MediaStream([track])
        audio.autoplay = true
        void audio.play()
      }
      // Both ways, as a call has it.
      const stream = await navigator.mediaDevices.getUserMedia(plain)
      for (const track of stream.getTracks()) connection.addTrack(track, stream)
      await connection.setRemoteDescription({ type: 'offer', sdp })
      await connection.setLocalDescription()
      await new Promise<void>((done) => {
        connection.onicegatheringstatechange = () => connection.iceGatheringState === 'complete' && done()
        if (connection.iceGatheringState === 'complete') done()
      })
      return connection.localDescription?.sdp ?? ''
    },
    { sdp: offer, plain: PLAIN },
  )
  await from.evaluate(async (sdp) => {
    const { connection } = globalThis as unknown as { connection: RTCPeerConnection }
    await connection.setRemoteDescription({ type: 'answer', sdp })
    await new Promise<void>((done) => {
      connection.onconnectionstatechange = () => connection.connectionState === 'connected' && done()
      if (connection.connectionState === 'connected') done()
    })
  }, answer)
}
