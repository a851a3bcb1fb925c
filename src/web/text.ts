/** Every word that the pages show or say, in one place. Sentences are written for the person in the call. */
import type { RideCallState, RideEnd } from '../client/index.ts'

export type Person = 'driver' | 'passenger' | null

/** What a screen says: the head, the sentence below it, and what can be done next. */
export interface Saying {
  readonly title: string
  readonly body: string
}

const names = { driver: 'Driver', passenger: 'Passenger' } as const

export const text = {
  product: 'Ringdown',
  you: 'You',
  someone: 'Other person',

  name: (who: Person): string => (who === null ? text.someone : names[who]),
  /** Inside a sentence. */
  the: (who: Person): string => (who === null ? 'the other person' : `the ${who}`),
  /** At its beginning. */
  The: (who: Person): string => (who === null ? 'The other person' : `The ${who}`),

  start: {
    title: 'Start a private call',
    body: 'You get a link for the other person. The sound travels encrypted between your two browsers.',
    button: 'Start a call',
    other: 'Join with a session ID',
  },
  form: {
    title: 'Join with a session ID',
    body: 'Your app’s backend opens sessions. Enter what it gave you.',
    noTrial: 'This server opens sessions for your app’s backend only. Enter what it gave you.',
    session: 'Session ID',
    user: 'User ID',
    token: 'Join token',
    optional: 'optional',
    button: 'Join the call',
    back: 'Back',
  },
  invited: {
    title: 'You’re invited to a call',
    body: (role: Person): string =>
      role === null
        ? 'Your browser will ask for the microphone.'
        : `You join as the ${role}. Your browser will ask for the microphone.`,
    button: 'Join the call',
  },
  invite: {
    title: (who: Person): string => `Send this link to ${text.the(who)}`,
    field: 'Link for the other person',
    copy: 'Copy link',
    copied: 'Copied',
    copyByHand: 'Copy what’s selected',
    share: 'Share…',
    shareTitle: 'Join my call',
    goodFor: (time: string): string => `The link works for ${time}.`,
    expired: 'The link is about to expire.',
  },
  controls: {
    mute: 'Mute',
    unmute: 'Unmute',
    hangUp: 'Hang up',
    cancel: 'Cancel',
    sureToHangUp: 'Press Esc again to hang up',
    hear: 'Turn the sound on',
    again: 'Call again',
    tryAgain: 'Try again',
    newCall: 'Start a new call',
  },
  meters: {
    self: 'Your sound',
    other: (who: Person): string => `Sound of ${text.the(who)}`,
    named: (name: string): string => `Sound of ${name}`,
    silent: 'silent',
    quiet: 'quiet',
    speaking: 'speaking',
    muted: 'muted',
  },
  muted: 'You’re muted',
  unmuted: 'Your microphone is on',
  timer: 'Duration of the call',
  left: (time: string): string => `${time} left`,
  leftSpoken: (seconds: number): string => `${seconds} seconds left`,
  lasted: (time: string): string => `You talked for ${time}.`,
  microphoneGone: 'Your microphone stopped working. The other person can’t hear you.',

  /** The tab of the browser. */
  tab: (state: string): string => `${state} · Ringdown`,
} as const

/** The state of a call that goes on. `other`: who the other party is; `left`: seconds until something is given up. */
export function saying(
  state: Exclude<RideCallState, { at: 'ended' }>,
  other: Person,
  left: number | null,
): Saying {
  switch (state.at) {
    case 'idle':
      return { title: 'Starting', body: '' }
    case 'connecting':
      return state.to === 'microphone'
        ? { title: 'Allow the microphone', body: 'Your browser is asking whether this page may use it.' }
        : { title: 'Connecting', body: 'Reaching the server.' }
    case 'waiting':
      return { title: `Waiting for ${text.the(other)}`, body: 'Keep this page open.' }
    case 'joining':
      return { title: `${text.The(other)} is here`, body: 'Connecting the sound.' }
    case 'connected':
      return { title: 'Connected', body: `You’re talking with ${text.the(other)}.` }
    case 'reconnecting':
      return reconnecting(state.who, other, left)
  }
}

function reconnecting(who: 'self' | 'other' | 'media', other: Person, left: number | null): Saying {
  switch (who) {
    case 'self': {
      const trying = left === null ? 'Trying again.' : `Trying for ${left} s more.`
      return { title: 'Reconnecting', body: `You lost the connection to the server. ${trying}` }
    }
    case 'other': {
      const waiting = left === null ? 'Waiting.' : `Waiting ${left} s more.`
      return { title: 'Hold on', body: `${text.The(other)} lost the connection. ${waiting}` }
    }
    case 'media':
      return { title: 'Reconnecting', body: 'The sound was interrupted. Looking for another way.' }
  }
}

/** How it ended, and whether the same call can be tried again. */
export interface Ending extends Saying {
  /** `retry`: what went wrong can be mended and the same seat taken again; `new`: it takes another call. */
  readonly next: 'retry' | 'new'
}

export function ending(reason: RideEnd, by: 'self' | 'other' | null, self: Person, other: Person): Ending {
  const over = (title: string, body: string): Ending => ({ title, body, next: 'new' })
  const retry = (title: string, body: string): Ending => ({ title, body, next: 'retry' })
  switch (reason) {
    case 'user_terminated':
      return by === 'self'
        ? over('Call ended', 'You hung up.')
        : over('Call ended', `${text.The(other)} hung up.`)
    case 'max_duration_reached':
      return over('Time is up', 'The call reached its longest duration.')
    case 'join_timeout':
      return over('Nobody came', `${text.The(other)} didn’t join in time, and the link has expired.`)
    case 'disconnect_driver':
    case 'disconnect_passenger':
      return reason === `disconnect_${self}`
        ? over('Connection lost', 'You were disconnected for too long.')
        : over('Connection lost', `${text.The(other)} lost the connection and didn’t come back.`)
    case 'connection_lost':
      return over('Connection lost', 'The server couldn’t be reached any more.')
    case 'cancelled_by_backend':
      return over('Call cancelled', 'The app ended this call.')
    case 'ended_by_operator':
      return over('Call ended', 'The operator of this server ended the call.')
    case 'server_restart':
      return over('Call ended', 'The server was restarted.')
    case 'session_not_found':
      return over('This link has expired', 'The call is over, or nobody joined in time. Ask for a new link.')
    case 'over_meanwhile':
      return over('Call ended', 'The call ended while you were disconnected.')
    case 'join_token_required':
    case 'join_token_invalid':
      return over(
        'This link isn’t complete',
        'The part after # is missing or wrong. Copy the whole link and open it again.',
      )
    case 'taken_over':
      return over('Open somewhere else', 'This call was opened in another tab or on another device.')
    case 'already_connected':
      return retry(
        'Already in this call',
        'Somebody is in this call from another tab or device. Close it there first.',
      )
    case 'unreachable':
      return retry('Can’t reach the server', 'Check your connection to the internet, then try again.')
    case 'microphone_refused':
      return retry(
        'The microphone is blocked',
        'Allow it for this page: the icon at the left of the address bar shows the permissions.',
      )
    case 'microphone_missing':
      return retry('No microphone found', 'Plug one in, or switch it on, then try again.')
    case 'microphone_busy':
      return retry(
        'The microphone is in use',
        'Another program may be holding it. Close that one, then try again.',
      )
    case 'microphone_insecure':
      return over(
        'This page needs HTTPS',
        'Browsers give the microphone only to pages with a secure address.',
      )
    case 'unsupported':
      return over(
        'This browser can’t make calls',
        'It has no WebRTC. Try a current Chrome, Firefox, Safari or Edge.',
      )
    case 'no_media':
      return over(
        'No way through for the sound',
        'The two networks don’t let sound pass directly. Try another network, such as mobile data.',
      )
    default:
      return over('Call ended', 'Something went wrong on the way.')
  }
}
