/** What a close code asks of us, read from the table in `protocol/codes.ts`. */
import { type CodeName, codes, NORMAL_CLOSE } from '../protocol/codes.ts'

export type Verdict =
  /** Come back and resume; `soon` unless the server asked for a pause. */
  | { is: 'resume'; soon: boolean }
  /** Do not come back. `code` names why, or null for a goodbye. */
  | { is: 'final'; code: CodeName | null }

const rows = Object.entries(codes).map(([name, row]) => ({ name: name as CodeName, ...row }))

/**
 * `lastError` is the code of the last `error` frame before the close, which tells rows apart that share a number.
 * A number that is in no row is read by its range: 44xx is final; anything else (a lost network, a proxy that went
 * away) is no decision about the call, so we come back.
 */
export function verdictOn(close: number, lastError: string | null): Verdict {
  if (close === NORMAL_CLOSE) return { is: 'final', code: null }
  const sharing = rows.filter((row) => row.close === close)
  const row = sharing.find(({ name }) => name === lastError) ?? sharing[0]
  if (row !== undefined) {
    return row.retry === 'no'
      ? { is: 'final', code: row.name }
      : { is: 'resume', soon: row.retry === 'resume' }
  }
  return close >= 4400 && close < 4500 ? { is: 'final', code: 'internal' } : { is: 'resume', soon: true }
}
