// One child process: started, signalled, awaited. Plain JavaScript, see run.mjs.
import { spawn } from 'node:child_process'
import { constants } from 'node:os'

/**
 * Runs a program to its end and resolves with its exit code (128 + signal number if a signal ended it,
 * 127 if it could not be started). SIGINT, SIGTERM and SIGHUP sent to us go on to the child, and we wait for it.
 *
 * The child leads its own process group, because one Ctrl-C reaches us up to twice: from the terminal, and
 * from npm, which forwards what the terminal has already sent. The child gets it once; a second press, later,
 * is passed on as a second one.
 *
 * - `stdout: 'stderr'` keeps our own standard output for what was asked for.
 * - `onOutput(text)` gets both streams, in the order in which they were written, and nothing is printed.
 * - `deadline` (epoch milliseconds): the whole group is ended then.
 */
export function run(file, args, { cwd, env, stdout = 'inherit', onOutput, deadline } = {}) {
  return new Promise((done) => {
    const child = onOutput
      ? spawn('/bin/sh', ['-c', 'exec "$0" "$@" 2>&1', file, ...args], {
          cwd,
          env,
          detached: true,
          stdio: ['ignore', 'pipe', 'inherit'],
        })
      : spawn(file, args, {
          cwd,
          env,
          detached: true,
          stdio: ['inherit', stdout === 'stderr' ? 2 : stdout, 'inherit'],
        })
    child.stdout?.setEncoding('utf8').on('data', onOutput)

    const last = {}
    const forward = (signal) => {
      const now = performance.now()
      if (now - (last[signal] ?? Number.NEGATIVE_INFINITY) > 500) child.kill(signal)
      last[signal] = now
    }
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
    for (const signal of signals) process.on(signal, forward)

    const endGroup = (signal) => {
      try {
        process.kill(-child.pid, signal)
      } catch {} // It has ended by itself.
    }
    const timers = deadline
      ? [
          setTimeout(endGroup, deadline - Date.now(), 'SIGTERM'),
          setTimeout(endGroup, deadline - Date.now() + 5000, 'SIGKILL'),
        ]
      : []

    const end = (result) => {
      for (const signal of signals) process.off(signal, forward)
      for (const timer of timers) clearTimeout(timer)
      done(result)
    }
    child.on('error', (error) => {
      process.stderr.write(`ringdown: cannot run ${file}: ${error.message}\n`)
      end(127)
    })
    // 'close' comes when all output is read. A grandchild that still holds the pipe must not hold us: then 'exit' does.
    let code = 1
    child.on('exit', (number, signal) => {
      code = number ?? 128 + constants.signals[signal]
      timers.push(setTimeout(() => end(code), 1000))
    })
    child.on('close', () => end(code))
  })
}
