/** Real browsers with fake microphones. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Browser, chromium } from 'playwright-core'
import { toneWav } from './tone.ts'

/** Where nobody presses anything before there is sound. */
const NO_GESTURE = '--autoplay-policy=no-user-gesture-required'

const FLAGS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // Without a network there is nobody to resolve the names that would hide local addresses.
  '--disable-features=WebRtcHideLocalIpsWithMdns',
]

/** A browser that gives pages a microphone in which this tone is heard. `folder` takes its WAV file. */
export function withTone(program: string, frequency: number, folder: string): Promise<Browser> {
  return withVoice(program, toneWav(frequency), folder, [NO_GESTURE])
}

/**
 * A browser that gives pages a microphone in which this WAV file is heard, round and round. `without`: what Playwright
 * would start it with, as it is no matter in other tests.
 */
export function withVoice(
  program: string,
  wav: Uint8Array,
  folder: string,
  more: string[] = [],
  without: string[] = [],
): Promise<Browser> {
  const file = join(folder, `${Bun.hash(wav)}.wav`)
  writeFileSync(file, wav)
  const voice = [
    '--use-fake-ui-for-media-stream',
    '--use-fake-device-for-media-stream',
    `--use-file-for-fake-audio-capture=${file}`,
  ]
  return launch(program, [...voice, ...more], without)
}

/** A browser whose person says no to everything. */
export function refusing(program: string): Promise<Browser> {
  return launch(program, [NO_GESTURE, '--use-fake-device-for-media-stream', '--deny-permission-prompts'])
}

function launch(program: string, more: string[], without: string[] = []): Promise<Browser> {
  return chromium.launch({ executablePath: program, args: [...FLAGS, ...more], ignoreDefaultArgs: without })
}
