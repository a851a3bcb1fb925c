/** Every word that the direct page shows or says beside those of text.ts. Written for the person who calls. */
import type {
  CallSecurity,
  DirectCallState,
  DirectEnd,
  DirectRefusal,
  KeyWarning,
  PeerKey,
} from '../client/index.ts'
import type { Saying } from './text.ts'

export const words = {
  start: {
    title: 'Call somebody by name',
    body: 'Pick a name that others can call you by. It stays yours in this browser.',
    calling: (peer: string): string => `Pick a name for yourself, then call ${peer}.`,
    field: 'Your name',
    hint: 'Letters, digits, - and _, without spaces.',
    wrong: 'Use 1 to 64 letters, digits, - or _. No spaces.',
    button: 'Go online',
  },
  connecting: { title: 'Going online', body: 'Reaching the server.' },
  unreachable: (seconds: number | null): Saying => ({
    title: 'Can’t reach the server',
    body: seconds === null || seconds < 1 ? 'Trying again.' : `Trying again in ${seconds} s.`,
  }),
  back: 'Back',
  home: {
    title: (self: string): string => `You’re online as ${self}`,
    body: 'Keep this page open, so that you can be called.',
    dial: 'Whom do you want to call?',
    dialField: 'Their name',
    call: 'Call',
    people: 'People you know',
    nobody: 'To try it alone, open this page in another browser, pick another name there, and call it.',
    self: 'That is you. Open this page in another browser to try a call.',
    link: 'Let somebody call you',
    linkField: 'Link that calls you',
    more: 'Your key',
    mine: 'Fingerprint of your key',
    keyHint: 'Made in this browser and kept in it. It proves that the name is yours, and signs your calls.',
    rotate: 'Replace this key',
    rotateHint: 'People who know you will be warned that it changed.',
    rotated: 'You have a new key',
    leave: 'Go offline',
  },
  person: {
    callThem: (peer: string): string => `Call ${peer}`,
    numberOf: (peer: string): string => `Safety number with ${peer}`,
    compared: 'Compared',
    notCompared: 'Not compared yet',
    changed: 'Key changed',
    noKey: 'No key',
  },
  safety: {
    title: (peer: string): string => `Safety number with ${peer}`,
    working: 'Working it out…',
    why: (peer: string): string =>
      `Compare these numbers with ${peer}, face to face or by another app. If both of you see the same, nobody is listening in between.`,
    compared: (peer: string): string => `You have compared these numbers with ${peer}.`,
    yes: 'They match',
    undo: 'Not sure any more',
    copy: 'Copy',
    copied: 'Copied',
    copyByHand: 'Copy by hand',
    fingerprint: (peer: string): string => `Fingerprint of ${peer}’s key`,
    since: (date: string, version: number): string =>
      version === 1
        ? `Set on ${date}`
        : `Set on ${date}, changed ${version - 1} ${version === 2 ? 'time' : 'times'}`,
    none: (peer: string): string => `${peer} has no key here, so there is nothing to compare.`,
  },
  key: {
    checking: 'Checking their key',
    signed: 'Signed with their key',
    compared: 'Signed and compared',
    unsigned: 'Not signed with a key',
    none: 'They have no key',
    first: 'A key you haven’t seen before',
    known: 'The key you know',
    knownCompared: 'The key you compared',
    warned: 'Not the key you know',
    newNumber: 'These numbers are new',
  },
  route: { direct: 'Direct', relay: 'Through a relay' },
  ring: {
    accept: 'Answer',
    reject: 'Reject',
    silent: 'Touch the page to hear it ring',
    others: (n: number): string =>
      n === 1 ? 'One more person is calling.' : `${n} more people are calling.`,
  },
  held: {
    goOn: (direction: 'in' | 'out'): string => (direction === 'out' ? 'Call anyway' : 'Answer anyway'),
    dont: (direction: 'in' | 'out'): string => (direction === 'out' ? 'Don’t call' : 'Don’t answer'),
  },
  over: { back: 'Back', again: 'Call again', retry: 'Try again' },
} as const

/** A call that goes on. `left`: seconds until something is given up. */
export function sayingOf(
  state: Exclude<DirectCallState, { at: 'ended' }>,
  peer: string,
  direction: 'in' | 'out',
  left: number | null,
): Saying {
  switch (state.at) {
    case 'preparing':
      return preparing(state.to, peer, direction)
    case 'held':
      return warningOf(state.warning, peer)
    case 'ringing': {
      const forSeconds = left === null ? '' : ` It rings for ${left} s more.`
      return state.waking
        ? { title: `Waking ${peer}’s phone`, body: `They aren’t connected and were sent word.${forSeconds}` }
        : { title: `Ringing ${peer}`, body: `Waiting for an answer.${forSeconds}` }
    }
    case 'incoming':
      return {
        title: `${peer} is calling`,
        body: left === null ? 'Do you want to talk?' : `It rings for ${left} s more.`,
      }
    case 'joining':
      return direction === 'out'
        ? { title: `${peer} answered`, body: 'Connecting the sound.' }
        : { title: 'Answered', body: 'Connecting the sound.' }
    case 'connected':
      return { title: 'Connected', body: `You’re talking with ${peer}.` }
    case 'reconnecting':
      return reconnecting(state.who, peer, left)
  }
}

function preparing(to: 'key' | 'microphone' | 'server', peer: string, direction: 'in' | 'out'): Saying {
  const title = direction === 'out' ? `Calling ${peer}` : `Answering ${peer}`
  switch (to) {
    case 'microphone':
      return { title, body: 'Your browser may ask whether this page may use the microphone.' }
    case 'key':
      return { title, body: 'Checking their key.' }
    case 'server':
      return { title, body: direction === 'out' ? 'Reaching them.' : 'Connecting.' }
  }
}

function reconnecting(who: 'self' | 'other' | 'media', peer: string, left: number | null): Saying {
  switch (who) {
    case 'self': {
      const trying = left === null ? 'Trying again.' : `Trying for ${left} s more.`
      return { title: 'Reconnecting', body: `You lost the connection to the server. ${trying}` }
    }
    case 'other': {
      const waiting = left === null ? 'Waiting.' : `Waiting ${left} s more.`
      return { title: 'Hold on', body: `${peer} lost the connection. ${waiting}` }
    }
    case 'media':
      return { title: 'Reconnecting', body: 'The sound was interrupted. Looking for another way.' }
  }
}

/** What speaks against somebody's key, and what it may mean. */
export function warningOf(warning: KeyWarning, peer: string): Saying {
  switch (warning) {
    case 'changed':
      return {
        title: `${peer}’s key has changed`,
        body: 'Most likely they use a new browser or phone. It could also be somebody else. Ask them another way, or compare the new numbers, before you talk.',
      }
    case 'withheld':
      return {
        title: `${peer}’s key is gone`,
        body: 'The server showed it before and now says there is none. Don’t talk about anything private.',
      }
    case 'inconsistent':
    case 'broken_chain':
    case 'rewritten':
    case 'rolled_back':
      return {
        title: 'The server’s story doesn’t hold',
        body: `What it says about ${peer}’s key contradicts what it said before. It may have lost its data, or somebody may be deceiving you.`,
      }
    case 'forked':
      return {
        title: 'The server tells two stories',
        body: `You and ${peer} were shown different keys. Somebody may be deceiving you.`,
      }
    case 'unsigned':
      return {
        title: `This call isn’t signed by ${peer}`,
        body: 'Earlier calls were. Somebody may be sitting in between.',
      }
    case 'forged':
      return {
        title: `This call isn’t from ${peer}’s key`,
        body: 'It is signed, but not by the key you know. Somebody may be sitting in between.',
      }
  }
}

/** One line on how sure one can be of the other. `isAnswered`: whether the other has sent anything yet. */
export function keyLine({ isChecking, isSigned, key, warning }: CallSecurity, isAnswered: boolean): string {
  const said = words.key
  if (warning !== null) return said.warned
  if (isChecking) return said.checking
  if (isAnswered) return isSigned ? (key?.compared ? said.compared : said.signed) : said.unsigned
  if (key === null) return said.none
  return key.status === 'new' ? said.first : key.compared ? said.knownCompared : said.known
}

export function personLine(key: Pick<PeerKey, 'status' | 'compared'> | null): string {
  if (key === null) return words.person.noKey
  if (key.status === 'changed' || key.status === 'lying') return words.person.changed
  return key.compared ? words.person.compared : words.person.notCompared
}

/** How it ended, and whether calling again makes sense at once. */
export interface DirectEnding extends Saying {
  readonly isBad: boolean
}

export function endingOf(
  reason: DirectEnd,
  by: 'self' | 'other' | null,
  peer: string,
  direction: 'in' | 'out',
): DirectEnding {
  const over = (title: string, body: string): DirectEnding => ({ title, body, isBad: false })
  const bad = (title: string, body: string): DirectEnding => ({ title, body, isBad: true })
  const isOut = direction === 'out'
  switch (reason) {
    case 'ended':
      return over('Call ended', by === 'self' ? 'You hung up.' : `${peer} hung up.`)
    case 'cancelled':
      return by === 'self' && isOut
        ? over('Call cancelled', 'You took the call back.')
        : over('Missed call', `${peer} hung up before you answered.`)
    case 'rejected':
      return by === 'self'
        ? over('Call rejected', `You didn’t take ${peer}’s call.`)
        : over('Call rejected', `${peer} doesn’t want to talk now.`)
    case 'busy':
      return over('Busy', `${peer} is in another call.`)
    case 'no_answer':
      return isOut
        ? over('No answer', `${peer} didn’t pick up.`)
        : over('Missed call', `You didn’t answer ${peer}’s call.`)
    case 'answered_elsewhere':
      return over('Answered elsewhere', `You took ${peer}’s call on another device.`)
    case 'disconnect_caller':
    case 'disconnect_callee':
      return (reason === 'disconnect_caller') === isOut
        ? over('Connection lost', 'You were disconnected for too long.')
        : over('Connection lost', `${peer} lost the connection and didn’t come back.`)
    case 'max_duration_reached':
      return over('Time is up', 'The call reached its longest duration.')
    case 'connection_lost':
      return bad('Connection lost', 'The server couldn’t be reached any more.')
    case 'over_meanwhile':
      return over('Call ended', 'The call ended while you were disconnected.')
    case 'ended_by_operator':
      return over('Call ended', 'The operator of this server ended the call.')
    case 'server_restart':
      return over('Call ended', 'The server was restarted.')
    case 'target_offline':
      return over(
        `${peer} isn’t online`,
        'Nobody of this name can be reached now. Check the name, or try later.',
      )
    case 'rate_limited':
      return bad('Too many calls', 'Wait a minute, then try again.')
    case 'invalid_client_id':
      return bad('There is no such name', words.start.wrong)
    case 'glare':
      return over('You called each other', `${peer} called you at the same moment. Try again.`)
    case 'unreachable':
      return bad('Can’t reach the server', 'Check your connection to the internet, then try again.')
    case 'draining':
      return bad('The server is restarting', 'Try again in a moment.')
    case 'microphone_refused':
      return bad(
        'The microphone is blocked',
        'Allow it for this page: the icon at the left of the address bar shows the permissions.',
      )
    case 'microphone_missing':
      return bad('No microphone found', 'Plug one in, or switch it on, then try again.')
    case 'microphone_busy':
      return bad(
        'The microphone is in use',
        'Another program may be holding it. Close that one, then try again.',
      )
    case 'microphone_insecure':
      return bad('This page needs HTTPS', 'Browsers give the microphone only to pages with a secure address.')
    case 'unsupported':
      return bad(
        'This browser can’t make calls',
        'It has no WebRTC. Try a current Chrome, Firefox, Safari or Edge.',
      )
    case 'no_media':
      return bad(
        'No way through for the sound',
        'The two networks don’t let sound pass. Try another network, such as mobile data.',
      )
    default:
      return bad('Call ended', 'Something went wrong on the way.')
  }
}

/** Why one could not go online, or is offline now. */
export function refusalOf(reason: DirectRefusal | null, self: string): Saying {
  switch (reason) {
    case 'CLIENT_ID_TAKEN':
      return {
        title: `${self} is online already`,
        body: 'Somebody of this name is connected. Pick another name.',
      }
    case 'IDENTITY_INVALID':
      return {
        title: `${self} belongs to somebody`,
        body: 'The name is bound to a key that isn’t in this browser. Pick another name.',
      }
    case 'IDENTITY_REQUIRED':
      return { title: 'This server needs more', body: 'Only clients of its own app can register here.' }
    case 'KEY_REFUSED':
      return { title: `${self} belongs to somebody`, body: 'The name has a key already. Pick another name.' }
    case 'INVALID_CLIENT_ID':
      return { title: 'This name can’t be used', body: words.start.wrong }
    case 'TAKEN_OVER':
      return {
        title: 'Signed out',
        body: `${self} came online somewhere else, with a newer key or connection.`,
      }
    default:
      return { title: 'Offline', body: 'The server closed the connection.' }
  }
}
