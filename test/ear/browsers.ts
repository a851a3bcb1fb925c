/** Browsers whose microphone and speaker are those of the sound server, not made up by the browser itself. */
import { type Browser, chromium } from 'playwright-core'

const FLAGS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--use-fake-ui-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
  '--disable-features=WebRtcHideLocalIpsWithMdns',
]

export function realSound(program: string, env: Record<string, string>): Promise<Browser> {
  return chromium.launch({ executablePath: program, args: FLAGS, ignoreDefaultArgs: ['--mute-audio'], env })
}
