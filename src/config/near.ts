/** Names that were probably meant to be ours. */

/** What else begins like this is somebody's idea of one of our options. */
const PREFIXES = [
  'RINGDOWN_',
  'DB_',
  'HEARTBEAT_',
  'RATE_LIMIT',
  'RECONNECT_',
  'JOIN_',
  'TRUSTED_PROX',
  'ALLOWED_ORIGIN',
  'DIRECT_',
  'TURN_',
  'METERED_',
  'JWKS_',
]
/** A name that continues one of ours for so long, as SERVER_ADDRESS does. */
const COMMON_START = 7

/** Near to one of ours, and everywhere: where OpenSSL looks for the certificates that it trusts. */
const OTHERS = ['SSL_CERT_FILE', 'SSL_CERT_DIR']

/** Our name that this one was probably meant to be, `''` when it looks like ours but like none of them, or null. */
export function nearMiss(name: string, known: readonly string[]): string | null {
  if (OTHERS.includes(name)) return null
  const wanted = plain(name)
  const closest = known
    .map((ours) => ({ ours, edits: edits(wanted, plain(ours)), allowed: ours.length < 8 ? 1 : 2 }))
    .filter(({ edits, allowed }) => edits <= allowed)
    .sort((a, b) => a.edits - b.edits)[0]
  if (closest !== undefined) return closest.ours
  const continued = known.find((ours) => ours.length >= COMMON_START && wanted.startsWith(plain(ours)))
  if (continued !== undefined) return continued
  return PREFIXES.some((prefix) => name.startsWith(prefix)) ? '' : null
}

function plain(name: string): string {
  return name.toUpperCase().replace(/[^A-Z0-9]/g, '')
}

/** Letters to add, drop, change or swap with their neighbour to get from one text to the other. */
function edits(a: string, b: string): number {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const swap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      row.push(
        Math.min(change, (last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, swap ? (before[j - 2] ?? 0) + 1 : change),
      )
    }
    before = last
    last = row
  }
  return last[b.length] ?? 0
}
