/** The page of a line, to whom has one of its keys in the link, and the hashes by which its files are known. */
import { Type } from 'typebox'
import { type CodeName, codes, fail } from '../protocol/codes.ts'
import type { Pages } from './pages.ts'
import type { Route } from './route.ts'

export interface LineRouteDeps {
  readonly pages: Pages
}

const QUERY = {
  apikey: Type.String({ description: 'One of the keys in `APIKEY`.' }),
  mobile: Type.Literal('1', { description: 'The narrow profile; read by the page.' }),
}

/** Where the page is, by the name that generated clients give the route. */
const PLACES = { lineAtRoot: '/', line: '/line.html' }

const PAGE_TYPE = 'text/html;charset=utf-8'

export function lineRoutes({ pages }: LineRouteDeps): Route[] {
  const page = async () => {
    const found = await pages.line()
    if (found === null) throw fail('not_found')
    return found
  }
  return [
    ...Object.entries(PLACES).map(
      ([name, path]): Route => ({
        method: 'GET',
        path,
        access: 'line',
        name,
        about: 'The page of a line.',
        query: QUERY,
        text: PAGE_TYPE,
        fails: ['not_found'],
        refusal,
        handle: page,
      }),
    ),
    {
      method: 'GET',
      path: '/line/files.json',
      access: 'anybody',
      name: 'lineFiles',
      about: 'SHA-256, in hex, of every file of the pages, as they were built.',
      answers: Type.Record(Type.String(), Type.String()),
      fails: ['not_found'],
      async handle() {
        const files = await pages.hashes()
        if (files === null) throw fail('not_found')
        return files
      },
    },
  ]
}

/** For a person whose link was cut, or is old. The same whatever is wrong with the key. */
function refusal(code: CodeName): string {
  return code === 'invalid_api_key'
    ? 'This link does not open a line: ask whoever sent it for a new one.'
    : codes[code].means
}
