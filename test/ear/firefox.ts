/** Firefox as Debian has it, driven through WebDriver BiDi. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Subprocess } from 'bun'

/** Of a start: on a busy machine it was seen to take 23 s. */
const START_DEADLINE = 60_000
/** Of an answer; a tab that does not answer within this hangs. */
const DEADLINE = 30_000
/** Until something is to be seen on a page. */
const SOON = 20_000

/** Nobody is there to be asked, and nothing is fetched from elsewhere. */
const PREFERENCES = {
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  'remote.prefs.recommended': true,
  'browser.startup.page': 0,
  'browser.aboutwelcome.enabled': false,
  'datareporting.policy.dataSubmissionPolicyBypassNotification': true,
  'browser.shell.checkDefaultBrowser': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'app.update.disabledForTesting': true,
}

type Answer = { result?: Record<string, unknown>; error?: string; message?: string }

interface Waiting {
  answered(answer: Answer): void
  failed(error: Error): void
}

export class Firefox {
  readonly #folder: string
  readonly #child: Subprocess<'ignore', 'ignore', 'pipe'>
  readonly #waiting = new Map<number, Waiting>()
  #socket: WebSocket | null = null
  #context: unknown = null
  #sent = 0

  private constructor(folder: string, child: Subprocess<'ignore', 'ignore', 'pipe'>) {
    this.#folder = folder
    this.#child = child
  }

  /** Once more, if it fails, and says so. */
  static async start(program: string, env: Record<string, string>): Promise<Firefox> {
    try {
      return await Firefox.#start(program, env)
    } catch (error) {
      console.warn(`Firefox is started again: ${error}`)
      return await Firefox.#start(program, env)
    }
  }

  static async #start(program: string, env: Record<string, string>): Promise<Firefox> {
    const folder = mkdtempSync(join(tmpdir(), 'ringdown-firefox-'))
    const lines = Object.entries(PREFERENCES).map(
      ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});`,
    )
    writeFileSync(join(folder, 'user.js'), lines.join('\n'))
    const child = Bun.spawn(
      [program, '--headless', '--no-remote', '--remote-debugging-port=0', '--profile', folder],
      {
        env: { ...env, HOME: folder, MOZ_CRASHREPORTER_DISABLE: '1' },
        stdin: 'ignore',
        stdout: 'ignore',
        stderr: 'pipe',
      },
    )
    const firefox = new Firefox(folder, child)
    try {
      await firefox.#connect(await listening(child.stderr))
      return firefox
    } catch (error) {
      await firefox.close()
      throw error
    }
  }

  async #connect(address: string): Promise<void> {
    const socket = new WebSocket(`${address}/session`)
    this.#socket = socket
    socket.onmessage = ({ data }) => {
      const answer = JSON.parse(String(data)) as Answer & { id?: number }
      this.#waiting.get(answer.id ?? -1)?.answered(answer)
    }
    await new Promise<void>((opened, failed) => {
      socket.onopen = () => opened()
      socket.onclose = () => {
        const error = new Error('Firefox takes no commands')
        failed(error)
        for (const waiting of [...this.#waiting.values()]) waiting.failed(error)
      }
    })
    await this.#ask('session.new', { capabilities: {} })
    // The first tab goes where a new profile is greeted, some time later.
    const { context } = await this.#ask('browsingContext.create', { type: 'tab' })
    this.#context = context
  }

  async goto(url: string): Promise<void> {
    await this.#ask('browsingContext.navigate', { context: this.#context, url, wait: 'complete' })
  }

  /** Presses the button of this name, once it is there. */
  async press(name: string): Promise<void> {
    await this.#find('button', name, 'it.click()')
  }

  /** Waits until the screen's head says this. */
  async sees(title: string): Promise<void> {
    await this.#find('h1', title, 'null')
  }

  async #find(element: string, text: string, then: string): Promise<void> {
    await this.evaluate(`(async () => {
      const end = performance.now() + ${SOON}
      for (;;) {
        const all = [...document.querySelectorAll(${JSON.stringify(element)})]
        const it = all.find(({ textContent }) => textContent.includes(${JSON.stringify(text)}))
        if (it) return ${then}
        if (performance.now() > end) throw new Error('there is only: ' + document.body.innerText)
        await new Promise((later) => setTimeout(later, 50))
      }
    })()`)
  }

  /** What the expression, or the promise that it is, comes to; as JSON. It counts as a gesture of a person. */
  async evaluate(expression: string): Promise<unknown> {
    const { result, exceptionDetails } = (await this.#ask('script.evaluate', {
      expression: `Promise.resolve(${expression}).then((value) => JSON.stringify(value ?? null))`,
      target: { context: this.#context },
      awaitPromise: true,
      userActivation: true,
    })) as { result?: { value: string }; exceptionDetails?: { text: string } }
    if (exceptionDetails !== undefined) throw new Error(`${expression}: ${exceptionDetails.text}`)
    return JSON.parse(result?.value ?? 'null')
  }

  async #ask(method: string, params: object): Promise<Record<string, unknown>> {
    const id = ++this.#sent
    let late: ReturnType<typeof setTimeout> | undefined
    const asked = new Promise<Answer>((answered, failed) => {
      late = setTimeout(() => failed(new Error(`Firefox does not answer to ${method}`)), DEADLINE)
      this.#waiting.set(id, { answered, failed })
      this.#socket?.send(JSON.stringify({ id, method, params }))
    })
    try {
      const answer = await asked
      if (answer.result === undefined) throw new Error(`${method}: ${answer.error}: ${answer.message}`)
      return answer.result
    } finally {
      clearTimeout(late)
      this.#waiting.delete(id)
    }
  }

  /** Twice is fine. */
  async close(): Promise<void> {
    this.#socket?.close()
    this.#child.kill('SIGKILL')
    await this.#child.exited
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Where it takes commands; it says so when it is ready. */
async function listening(printed: ReadableStream<Uint8Array>): Promise<string> {
  let text = ''
  const late = AbortSignal.timeout(START_DEADLINE)
  const reader = printed.getReader()
  late.addEventListener('abort', () => void reader.cancel())
  for (;;) {
    const { done, value } = await reader.read()
    if (done) throw new Error(`Firefox did not start: ${text}`)
    text += new TextDecoder().decode(value)
    const found = /WebDriver BiDi listening on (ws:\/\/\S+)/.exec(text)?.[1]
    if (found !== undefined) {
      void drain(reader)
      return found
    }
  }
}

async function drain(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  while (!(await reader.read()).done);
}
