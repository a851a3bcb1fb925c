/** How often, and for how long, this machine lets a thread wait that wants to run: what no sound can be better than. */

/** Sleeps a millisecond at a time, and keeps what took longer than it should. */
const WATCH = `
const none = new Int32Array(new SharedArrayBuffer(4))
let [last, stalls, isAsked] = [performance.now(), [], false]
const look = () => {
  for (let i = 0; i < 50; i++) {
    Atomics.wait(none, 0, 0, 1)
    const now = performance.now()
    if (now - last > 8) stalls.push(now - last)
    last = now
  }
  setTimeout(look)
}
onmessage = () => postMessage(stalls.splice(0))
look()
`

export class Stalls {
  readonly #thread = new Worker(URL.createObjectURL(new Blob([WATCH], { type: 'text/javascript' })))

  /** In ms, of more than 8 ms, since the last time they were asked for. */
  take(): Promise<readonly number[]> {
    return new Promise((done) => {
      this.#thread.onmessage = ({ data }) => done(data)
      this.#thread.postMessage(null)
    })
  }

  close(): void {
    this.#thread.terminate()
  }
}
