/**
 * A PulseAudio server of our own: no device, no service, no file outside its folder. What its first channel plays is what
 * a mouth says, its second what an ear hears, so that one stereo recording has both on one clock.
 *
 *     mouth ──▶ left ──▶ mic ──▶ first browser        second browser ──▶ ear ──▶ right
 *     mouth2 ─▶ void2 ─▶ mic2 ─▶ second browser       first browser ──▶ void
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Subprocess } from 'bun'
import { wav } from '../kit/ping.ts'
import { goFirst, type Undo } from './priority.ts'

export const SAMPLE_RATE = 48_000
const START_DEADLINE = 10_000

/** Browsers hide sources that are monitors, hence the remapped ones. */
const SCRIPT = `
load-module module-null-sink sink_name=bus norewinds=1 rate=48000 channels=2 channel_map=front-left,front-right
load-module module-remap-sink sink_name=mouth master=bus channels=1 channel_map=mono master_channel_map=front-left remix=no
load-module module-remap-sink sink_name=ear master=bus channels=1 channel_map=mono master_channel_map=front-right remix=no
load-module module-remap-source source_name=mic master=bus.monitor channels=1 channel_map=mono master_channel_map=front-left remix=no
load-module module-null-sink sink_name=void norewinds=1 rate=48000 channels=1
load-module module-null-sink sink_name=void2 norewinds=1 rate=48000 channels=1
load-module module-remap-source source_name=mic2 master=void2.monitor channels=1 channel_map=mono remix=no
set-default-source mic
set-default-sink void
`

export interface Heard {
  /** What the mouth said and what the ear heard in the same time. */
  readonly mouth: Float32Array
  readonly ear: Float32Array
}

export class Pulse {
  readonly #folder: string
  readonly #server: Subprocess
  readonly #children = new Set<Subprocess>()
  readonly #env: Record<string, string>
  #goBack: Undo | null = null

  private constructor(folder: string, server: Subprocess, env: Record<string, string>) {
    this.#folder = folder
    this.#server = server
    this.#env = env
  }

  static async start(program: string): Promise<Pulse> {
    const folder = mkdtempSync(join(tmpdir(), 'ringdown-ear-'))
    const socket = join(folder, 'native')
    const script = join(folder, 'ear.pa')
    writeFileSync(
      script,
      `load-module module-native-protocol-unix auth-anonymous=1 socket=${socket}\n${SCRIPT}`,
    )
    const env = {
      ...(process.env as Record<string, string>),
      HOME: folder,
      XDG_RUNTIME_DIR: folder,
      XDG_CONFIG_HOME: folder,
      PULSE_RUNTIME_PATH: folder,
      PULSE_SERVER: `unix:${socket}`,
    }
    const flags = ['-n', '--daemonize=no', '--exit-idle-time=-1', '--use-pid-file=no', '--disable-shm=yes']
    const server = Bun.spawn([program, ...flags, '--log-target=stderr', '-F', script], {
      env: { ...env, PULSE_SERVER: '' },
      stdin: 'ignore',
      stdout: 'ignore',
      stderr: 'pipe',
    })
    const pulse = new Pulse(folder, server, { PULSE_SERVER: env.PULSE_SERVER })
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, pulse.#interrupted)
    try {
      await pulse.#ready()
      return pulse
    } catch (error) {
      await pulse.close()
      throw new Error(`${error}: ${await new Response(server.stderr).text()}`)
    }
  }

  async #ready(): Promise<void> {
    const start = performance.now()
    while (!(await this.#sources()).includes('mic2')) {
      if (this.#server.exitCode !== null) throw new Error('PulseAudio ended')
      if (performance.now() - start > START_DEADLINE) throw new Error('PulseAudio does not answer')
      await Bun.sleep(20)
    }
  }

  async #sources(): Promise<string> {
    const pactl = Bun.spawn(['pactl', 'list', 'short', 'sources'], {
      env: { ...process.env, ...this.#env },
      stdout: 'pipe',
      stderr: 'ignore',
    })
    return new Response(pactl.stdout).text()
  }

  /** For a program that has this microphone and this speaker. */
  env(source: 'mic' | 'mic2', sink: 'ear' | 'void'): Record<string, string> {
    return {
      ...(process.env as Record<string, string>),
      ...this.#env,
      PULSE_SOURCE: source,
      PULSE_SINK: sink,
    }
  }

  /** For Firefox, which takes the default of the server whatever its environment says. */
  async useSource(source: 'mic' | 'mic2'): Promise<void> {
    const pactl = Bun.spawn(['pactl', 'set-default-source', source], {
      env: { ...process.env, ...this.#env },
    })
    if ((await pactl.exited) !== 0) throw new Error(`${source} cannot be the default`)
  }

  /** Says this into a microphone for so long, and returns what was said and heard meanwhile. */
  async record(voice: Float32Array, seconds: number, sink: 'mouth' | 'void2' = 'mouth'): Promise<Heard> {
    const file = join(this.#folder, 'voice.wav')
    writeFileSync(file, wav(voice, SAMPLE_RATE))
    const says = this.#spawn(['paplay', `--device=${sink}`, '--latency-msec=20', file])
    const format = ['--channels=2', `--rate=${SAMPLE_RATE}`, '--format=s16le', '--latency-msec=10']
    const hears = this.#spawn(['parec', '-d', 'bus.monitor', ...format])
    const goBack = goFirst()
    this.#goBack ??= goBack
    try {
      const wanted = seconds * SAMPLE_RATE * 4
      const bytes = new Uint8Array(wanted)
      let size = 0
      for await (const chunk of hears.stdout) {
        const piece = chunk.subarray(0, wanted - size)
        bytes.set(piece, size)
        size += piece.length
        if (size === wanted) break
      }
      return split(bytes.subarray(0, size - (size % 4)))
    } finally {
      for (const child of [says, hears]) await this.#end(child)
    }
  }

  #spawn(command: string[]): Subprocess<'ignore', 'pipe', 'ignore'> {
    const env = { ...process.env, ...this.#env }
    const child = Bun.spawn(command, { env, stdin: 'ignore', stdout: 'pipe', stderr: 'ignore' })
    this.#children.add(child)
    return child
  }

  async #end(child: Subprocess): Promise<void> {
    child.kill('SIGKILL')
    await child.exited
    this.#children.delete(child)
  }

  readonly #interrupted = () => {
    void this.close().finally(() => process.exit(1))
  }

  /** Ends it and all that it plays and records. Twice is fine. */
  async close(): Promise<void> {
    for (const signal of ['SIGINT', 'SIGTERM']) process.off(signal, this.#interrupted)
    this.#goBack?.()
    for (const child of [...this.#children]) await this.#end(child)
    this.#server.kill('SIGKILL')
    await this.#server.exited
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

function split(bytes: Uint8Array): Heard {
  const both = new Int16Array(bytes.buffer, 0, bytes.length / 2)
  const channel = (offset: number) =>
    Float32Array.from({ length: both.length / 2 }, (_, i) => (both[2 * i + offset] ?? 0) / 32_768)
  return { mouth: channel(0), ear: channel(1) }
}
