/**
 * A number that two people compare to see that no third one stands between them: both of their keys in 60 digits, the
 * same at both ends. Made as Signal makes its safety numbers (version 0, 5200 rounds), of the keys alone: the ids are
 * what the server says, the keys are what one must not have to believe it. Vectors: docs/direct-vectors.json.
 */
import { utf8 } from './bytes.ts'

const ROUNDS = 5200
const VERSION = [0, 0]
const GROUPS = 6
/** A group is five digits out of five bytes. */
const GROUP = 5

/** 12 groups of 5 digits, separated by spaces. The keys as the directory has them, in any order. Takes a moment. */
export async function safetyNumber(myKey: string, theirKey: string): Promise<string> {
  const halves = await Promise.all([digitsOf(utf8(myKey)), digitsOf(utf8(theirKey))])
  return halves.sort().join(' ')
}

/** 30 digits for one key, in groups. `id`: what Signal adds; nothing here. */
export async function digitsOf(key: Uint8Array, id: Uint8Array = new Uint8Array()): Promise<string> {
  let hash: Uint8Array = new Uint8Array([...VERSION, ...key, ...id])
  for (let round = 0; round < ROUNDS; round++) {
    const input = new Uint8Array(hash.length + key.length)
    input.set(hash)
    input.set(key, hash.length)
    hash = new Uint8Array(await crypto.subtle.digest('SHA-512', input))
  }
  const groups = Array.from({ length: GROUPS }, (_, i) => {
    const number = hash.subarray(i * GROUP, (i + 1) * GROUP).reduce((sum, byte) => sum * 256 + byte, 0)
    return String(number % 100_000).padStart(GROUP, '0')
  })
  return groups.join(' ')
}
