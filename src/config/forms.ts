/** The forms a value can have: how its text is read, and what to say when it cannot be. */
import { isIP } from 'node:net'

export interface Form<T> {
  /** What it accepts. Goes into "It accepts ….", into the help and into the reference page. */
  readonly accepts: string
  /** Its value is never shown: not in a message, not in the effective configuration. */
  readonly secret: boolean
  /** The value, or undefined when the text cannot be read. Surrounding space is gone already, but from a secret. */
  read(text: string): T | undefined
  /** What the text is, for the message that it cannot be read. */
  describe(text: string): string
}

const LONGEST_QUOTE = 80

function quote(text: string): string {
  const shown = text.replace(/\/\/[^/]*@/g, '//…@') // An address may hold a password.
  return JSON.stringify(shown.length > LONGEST_QUOTE ? `${shown.slice(0, LONGEST_QUOTE)}…` : shown)
}

function form<T>(accepts: string, read: (text: string) => T | undefined): Form<T> {
  return { accepts, secret: false, read, describe: quote }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for.
const CONTROL = /[\u0000-\u001f\u007f]/

/** Any text in one line. `accepts` says what it stands for. */
export function text(accepts: string, pattern = /^/): Form<string> {
  return form(accepts, (it) => (!CONTROL.test(it) && pattern.test(it) ? it : undefined))
}

export function secretText(accepts: string): Form<string> {
  return { accepts, secret: true, read: (it) => it, describe: () => 'not shown' }
}

export function choice<const T extends string>(...values: T[]): Form<T> {
  return form(values.join(', ').replace(/, ([^,]*)$/, ' or $1'), (it) =>
    values.find((value) => value === it.toLowerCase()),
  )
}

const BOOLEANS: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  on: true,
  1: true,
  false: false,
  no: false,
  off: false,
  0: false,
}

export const boolean: Form<boolean> = form('true or false', (it) =>
  Object.hasOwn(BOOLEANS, it.toLowerCase()) ? BOOLEANS[it.toLowerCase()] : undefined,
)

export function integer(least: number, most: number): Form<number> {
  return form(`a whole number from ${least} to ${most}`, (it) => {
    const value = /^\d{1,15}$/.test(it) ? Number(it) : Number.NaN
    return value >= least && value <= most ? value : undefined
  })
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** A span of time with its unit. The value is in milliseconds. */
export function duration(least: string, most: string): Form<number> {
  const [min, max] = [span(least) ?? 0, span(most) ?? 0]
  const accepts = `a duration with its unit, such as 500ms, 20s, 1m, 2h or 1d, from ${least} to ${most}`
  return form(accepts, (it) => {
    const value = span(it)
    return value !== undefined && value >= min && value <= max ? value : undefined
  })
}

/** `1h30m` is a span as well. */
function span(it: string): number | undefined {
  if (!/^(\d{1,12}(ms|s|m|h|d))+$/.test(it)) return undefined
  const parts = [...it.matchAll(/(\d+)(ms|s|m|h|d)/g)]
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNITS[unit ?? ''] ?? 0), 0)
}

export interface Address {
  readonly host: string
  readonly port: number
}

/** An interface to listen on. Port 0 lets the system choose one. */
export const address: Form<Address> = form(
  'host:port, such as 127.0.0.1:47880, 0.0.0.0:47880 (every interface) or [::1]:47880',
  (it) => {
    const [, six, four, digits] = /^(?:\[([^\]]*)\]|([^:[\]]+)):(\d{1,5})$/.exec(it) ?? []
    const host = six ?? four ?? ''
    const port = Number(digits)
    const known = six === undefined ? isHostName(host) : isIP(six) === 6
    return known && port <= 65_535 ? { host, port } : undefined
  },
)

/** A name or an IPv4 address. What is all digits and dots must be an address, and not `127.0.0.1.1` or `300.0.0.1`. */
function isHostName(host: string): boolean {
  if (/^[\d.]+$/.test(host)) return isIP(host) === 4
  return (
    host.length <= 253 &&
    /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?$/i.test(host)
  )
}

/** A host to connect to: a name or an address, without a port. */
export const host: Form<string> = form('a host name or an address', (it) =>
  isHostName(it) || isIP(it) === 6 ? it : undefined,
)

/** Where people reach something: scheme, host, and a path if need be. The value does not end in a slash. */
export const webAddress: Form<string> = form('an address such as https://calls.example.com', (it) => {
  const url = URL.canParse(it) ? new URL(it) : undefined
  const plain = url !== undefined && url.username + url.password + url.search + url.hash === ''
  const web = url?.protocol === 'https:' || url?.protocol === 'http:'
  return plain && web && !/[?#@\s]/.test(it) ? url.href.replace(/\/+$/, '') : undefined
})

/** What the server itself asks or posts to. A query is fine; a password in it is not. */
export const link: Form<string> = form('an address such as https://app.example.com/hooks/calls', (it) => {
  const url = URL.canParse(it) ? new URL(it) : undefined
  const web = url?.protocol === 'https:' || url?.protocol === 'http:'
  const open = url !== undefined && url.username + url.password + url.hash === ''
  return web && open && !/[#@\s]/.test(it) ? url.href : undefined
})

/** Of a STUN or TURN server: RFC 7064 section 3.1, RFC 7065 section 3.1. */
export const iceUrl: Form<string> = form('the address of a TURN or STUN server', (it) => {
  const [, scheme, six, four, port, transport] =
    /^(stun|turn)s?:(?:\[([^\]]*)\]|([^:[\]?]+))(?::(\d{1,5}))?(\?transport=(?:udp|tcp))?$/.exec(it) ?? []
  const known = six === undefined ? isHostName(four ?? '') : isIP(six) === 6
  const fits = Number(port ?? 1) >= 1 && Number(port ?? 1) <= 65_535
  return known && fits && (scheme === 'turn' || transport === undefined) ? it : undefined
})

/** What a browser sends as `Origin`; apps in a web view send schemes of their own. RFC 6454 section 6.2. */
export const origin: Form<string> = form('an origin', (it) => {
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@\\*]+$/.test(it) || !URL.canParse(it)) return undefined
  return !/^https?:/.test(it) || new URL(it).origin === it ? it : undefined
})

/** An address or a network, as `10.0.0.0/8`. */
export const network: Form<string> = form('an address or a network', (it) => {
  const [, base, bits] = /^([^/]+?)(?:\/(\d{1,3}))?$/.exec(it) ?? []
  const version = isIP(base ?? '')
  return version !== 0 && Number(bits ?? 0) <= (version === 4 ? 32 : 128) ? it : undefined
})

/** Several, separated by commas; the word `none` for an empty list, as an empty variable counts as unset. */
export function list<T>(item: Form<T>, accepts: string): Form<readonly T[]> {
  return form(accepts, (it) => {
    if (it === 'none') return []
    const values = parts(it).map((part) => item.read(part))
    return values.length > 0 && values.every((value) => value !== undefined) ? (values as T[]) : undefined
  })
}

/** What a key may be made of. */
interface Alphabet {
  readonly pattern: RegExp
  readonly is: string
  /** What a key that does not fit holds. */
  readonly otherwise: string
}

/** Keys that travel in HTTP headers: RFC 9110 section 5.5. */
const VISIBLE: Alphabet = {
  pattern: /^[\x21-\x7e]+$/,
  is: 'visible ASCII characters',
  otherwise: 'with a space or a character outside of ASCII',
}

/** Keys that stand in a link, and that no messenger breaks in two. RFC 3986 section 2.3. */
const IN_A_LINK: Alphabet = {
  pattern: /^(?=.*[A-Za-z])[\w-]+$/,
  is: 'characters of A-Z, a-z, 0-9, _ and -, letters among them',
  otherwise: 'without a letter, or with a character that is not of A-Z, a-z, 0-9, _ and -',
}

/** Secret keys, separated by commas so that one can be changed without a pause. */
export function keys(least: number, { pattern, is, otherwise } = VISIBLE): Form<readonly string[]> {
  return {
    accepts: `one key or several separated by commas, each of at least ${least} ${is}`,
    secret: true,
    read(it) {
      const found = parts(it)
      return found.length > 0 && found.every((key) => key.length >= least && pattern.test(key))
        ? found
        : undefined
    },
    describe(it) {
      const found = parts(it)
      const odd = found.find((key) => !pattern.test(key))
      const shortest = Math.min(...found.map((key) => key.length))
      const which = found.length === 1 ? 'a key' : `${found.length} keys, one`
      if (odd !== undefined) return `${which} ${otherwise}`
      return found.length === 0 ? 'no key' : `${which} of ${shortest} characters`
    },
  }
}

/** Secret keys that stand in a link. */
export function linkKeys(least: number): Form<readonly string[]> {
  return keys(least, IN_A_LINK)
}

function parts(it: string): string[] {
  return it
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}
