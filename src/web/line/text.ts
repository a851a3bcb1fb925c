/** Every word that the page of the line shows or says. Sentences are written for the person in the call. */
import type { LinkTrouble, PeerState } from './messages.ts'
import type { LinkProblem, View } from './view.ts'

export interface Saying {
  readonly title: string
  readonly body: string
}

export interface Ending extends Saying {
  /** What the button does that is offered next. */
  readonly next: 'again' | 'retry'
}

export const words = {
  other: 'Them',
  ready: {
    title: 'A private call for two',
    body: 'Your browser will ask for the microphone. The sound is encrypted between your two browsers: nobody in between can listen.',
    button: 'Join the call',
  },
  starting: {
    title: 'Allow the microphone',
    body: 'Your browser is asking whether this page may use it.',
  },
  newLine: 'Start a new line',
  invite: {
    title: 'Send them this link',
    again: 'The link for them',
    field: 'Link for the other person',
    copy: 'Copy link',
    copied: 'Copied',
    copyByHand: 'Copy what’s selected',
    share: 'Share…',
    shareTitle: 'Join my call',
    showCode: 'QR code',
    code: 'QR code of the link',
    codeFailed: 'The QR code couldn’t be loaded.',
    hint: 'The link holds the key: who has it can join. Send it a way you trust.',
  },
  check: {
    title: 'Check words',
    why: 'Read them to one another. If both of you see the same four, nobody stands in between.',
    working: 'They appear as soon as both browsers have agreed on them.',
    match: 'They match',
    done: 'Words compared',
    hide: 'Hide',
    spoken: (four: readonly string[]): string => `Check words: ${four.join(', ')}`,
  },
  mute: 'Mute',
  unmute: 'Unmute',
  muted: 'You’re muted',
  unmuted: 'Your microphone is on',
  peerMuted: 'The other person is muted',
  peerUnmuted: 'The other person’s microphone is on',
  hangUp: 'Hang up',
  sureToHangUp: 'Press Esc again to hang up',
  joinAgain: 'Join again',
  tryAgain: 'Try again',
  lasted: (time: string): string => `You talked for ${time}.`,
  delay: (millis: number): string => `${Math.round(millis)} ms from mouth to ear`,
  headphones: {
    name: 'Headphones',
    on: 'Your sound goes out untouched.',
    off: 'Echo is taken out of your sound. With headphones there is none.',
  },
  settings: {
    title: 'Devices and sound',
    input: 'Microphone',
    output: 'Speaker',
    byDefault: 'Default',
    unnamed: (n: number): string => `Device ${n}`,
    profile: 'Sound on the line',
    profiles: {
      default: 'Full: 200 kHz, 1.2 Mbit/s',
      quick: 'Full, least delay: 5 ms frames',
      mobile: 'Narrow: 24 kHz, 0.4 Mbit/s',
    },
    awake: 'This page keeps the screen on.',
    asleep: 'The screen may turn off, and the call with it.',
  },
  numbers: {
    title: 'What the sound does',
    none: 'Numbers appear when the call is on.',
    history: (low: number, high: number): string => `Delay of the last minute: ${low} to ${high} ms`,
    noDelay: 'The delay is measured once the other person is here.',
    parts: {
      capture: 'Microphone',
      frame: 'Frame',
      network: 'Network',
      buffer: 'Buffer',
      output: 'Speaker',
    },
    profile: 'Profile',
    profiles: { default: 'full, 10 ms', quick: 'full, 5 ms', mobile: 'narrow, 20 ms' },
    out: 'Microphone → line',
    in: 'Line → speaker',
    bucket: 'Frame, out · in',
    mbits: 'Bandwidth, out · in',
    roundTrip: 'Round trip · jitter',
    sent: 'Sent · received',
    dropped: 'Held back, link too slow',
    lost: 'Lost · too late',
    refused: 'Refused',
    concealed: 'Concealed · gaps',
    cut: 'Cut to catch up',
    buffer: 'Buffer · margin',
    drift: 'Clock drift',
    ratio: 'Playing ratio',
    page: 'SHA-256 of this page',
  },
  notices: {
    broken: {
      title: 'The check failed',
      body: 'The other end broke its promise about the words. Somebody may stand between you. Hang up, make a new line, and send its link another way.',
    },
    changed: {
      title: 'The other end changed',
      body: 'Somebody else is there now, or the other person’s page was loaded again. Compare the words again before you go on.',
      act: 'I see',
    },
    blocked: {
      title: 'The sound is off',
      body: 'Your browser wants a touch before it plays any.',
      act: 'Turn the sound on',
    },
    interrupted: {
      title: 'Something else has the sound',
      body: 'A phone call or an assistant, perhaps. The line comes back when it’s over.',
      act: 'Try now',
    },
    refused: {
      title: 'You’re only listening',
      body: 'This page may not use the microphone. To allow it, touch the icon at the left of the address bar, then ask again.',
      act: 'Ask again',
    },
    none: {
      title: 'You’re only listening',
      body: 'No microphone was found. Plug one in, or switch it on.',
      act: 'Look again',
    },
    lost: {
      title: 'Your microphone is gone',
      body: 'It was unplugged, or another program took it. The other person can’t hear you.',
      act: 'Look again',
    },
    busy: {
      title: 'Your microphone is in use',
      body: 'Another program may be holding it. The other person can’t hear you.',
      act: 'Try again',
    },
    stalled: {
      title: 'Your microphone gives no sound',
      body: 'The other person can’t hear you. Another program may hold it, or it’s switched off.',
      act: 'Try again',
    },
    echoes: {
      title: 'The other person may hear themselves',
      body: 'Your browser doesn’t take this speaker out of your microphone’s sound. Use headphones, or the default speaker.',
    },
    restarted: {
      title: 'The sound was started again',
      body: 'Something failed in this page. The other person sees a new page: compare the words again.',
    },
    narrow: {
      title: 'Your connection is too thin',
      body: 'Parts of the sound get lost. The narrow profile needs a third as much, for the rest of the call.',
      act: 'Use the narrow profile',
    },
  },
} as const

/** Why nothing can begin. */
export function problemOf(problem: LinkProblem): Saying {
  switch (problem) {
    case 'no_leaf':
      return {
        title: 'Start a private line',
        body: 'You get a link for the other person. Were you sent this one? Then its part after # is missing: ask for the whole link.',
      }
    case 'bad_leaf':
      return {
        title: 'This link is damaged',
        body: 'The part after # is the key of the call, and some of it is wrong or missing. Copy the whole link and open it again, or start a new line.',
      }
    case 'insecure':
      return {
        title: 'This page needs HTTPS',
        body: 'Browsers give the microphone only to pages with a secure address.',
      }
    case 'unable':
      return {
        title: 'This browser can’t join',
        body: 'It lacks what the sound of a line needs. Try a current Chrome, Edge, Firefox or Safari.',
      }
  }
}

/** The state of a call that goes on. `left`: seconds until the next try; null where nothing is counted. */
export function saying(view: View, left: number | null): Saying {
  const { report } = view
  if (report === null || report.link.at === 'connecting') {
    return { title: 'Connecting', body: 'Reaching the server.' }
  }
  if (report.link.at === 'reconnecting') {
    const trying = left === null || left === 0 ? 'Trying again.' : `Trying again in ${left} s.`
    return { title: 'Reconnecting', body: `${troubles[report.link.trouble]} ${trying}` }
  }
  return peers[report.peer]
}

const troubles: Readonly<Record<LinkTrouble, string>> = {
  lost: 'The connection to the server broke.',
  silent: 'The server has gone quiet.',
  offline: 'Your device is offline.',
  server_down: 'The server can’t be reached.',
  server_restart: 'The server is being restarted.',
}

const peers: Readonly<Record<PeerState, Saying>> = {
  absent: { title: 'Waiting for the other person', body: 'Keep this page open.' },
  greeting: { title: 'The other person is here', body: 'Agreeing on the keys of this call.' },
  stranger: {
    title: 'Whoever is there has another link',
    body: 'You can’t hear each other. Send your link to the person you want to talk to.',
  },
  here: { title: 'Connected', body: 'You’re talking with the other person.' },
  silent: { title: 'Hold on', body: 'Nothing has come from the other person for a moment.' },
  gone: { title: 'The other person left', body: 'The same link brings them back. Keep this page open.' },
}

/** How it ended, and what can be done next. */
export function ending(view: View): Ending {
  if (view.trouble === 'broken') {
    return {
      title: 'Call ended',
      body: 'The part of this page that carries the sound stopped working.',
      next: 'again',
    }
  }
  const link = view.report?.link
  switch (link?.at === 'closed' ? link.why : null) {
    case 'left':
      return { title: 'Call ended', body: 'You hung up.', next: 'again' }
    case 'busy':
      return {
        title: 'This line is busy',
        body: 'Two people are on it already. If one of them is you, close the other page first.',
        next: 'retry',
      }
    case 'refused':
      return {
        title: 'This link isn’t accepted',
        body: 'The server doesn’t know the key in front of the #. Ask for a new link.',
        next: 'retry',
      }
    case 'replaced':
      return {
        title: 'Open somewhere else',
        body: 'This call goes on in another page. You can take it back here.',
        next: 'again',
      }
    case null:
      return { title: 'Call ended', body: 'Something went wrong on the way.', next: 'again' }
  }
}
