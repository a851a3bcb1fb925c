/** Answers, and reading a request's body within bounds. */
import { type CodeName, codes, Failure, fail } from '../protocol/codes.ts'
import type { HttpError } from '../protocol/http.ts'
import { parseObject } from '../protocol/read.ts'

export function json(body: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers },
  })
}

/** The answer to a Failure, as its row says. */
export function failure(failed: Failure, headers: Record<string, string> = {}): Response {
  const { code, message, field } = failed
  const error: HttpError['error'] = field === undefined ? { code, message } : { code, message, field }
  return json({ error }, codes[code].http ?? 500, { ...retryAfter(failed), ...headers })
}

/** The same to a person, who is told one sentence. */
export function sentence(failed: Failure, text: string): Response {
  return new Response(`${text}\n`, {
    status: codes[failed.code].http ?? 500,
    headers: {
      'content-type': 'text/plain; charset=utf-8',
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      ...retryAfter(failed),
    },
  })
}

function retryAfter({ retryAfter: wait }: Failure): Record<string, string> {
  return wait === undefined ? {} : { 'retry-after': String(Math.max(1, Math.ceil(wait / 1000))) }
}

export function refuse(code: CodeName, headers: Record<string, string> = {}): Response {
  return failure(fail(code), headers)
}

/**
 * The JSON object in a request's body, at most `limit` bytes. Throws `unsupported_media_type`, `body_too_large`,
 * `bad_request`, `invalid_message`.
 */
export async function readJson(request: Request, limit: number): Promise<Record<string, unknown>> {
  checkMediaType(request.headers)
  const stated = request.headers.get('content-length')
  if (stated !== null && Number(stated) > limit) throw tooLarge(limit)
  const bytes = await (stated === null ? readChunks(request, limit) : readWhole(request))
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw fail('bad_request', 'The body is not UTF-8.')
  }
  return parseObject(text)
}

function checkMediaType(headers: Headers): void {
  const [type = '', ...parameters] = (headers.get('content-type') ?? '').toLowerCase().split(';')
  const charset = parameters.map((each) => each.trim()).find((each) => each.startsWith('charset='))
  const utf8 = charset === undefined || /^charset="?utf-8"?$/.test(charset)
  const plain = (headers.get('content-encoding') ?? 'identity') === 'identity'
  if (type.trim() !== 'application/json' || !utf8 || !plain) throw fail('unsupported_media_type')
}

/** A body whose length was stated, and is within the limit. */
async function readWhole(request: Request): Promise<Uint8Array> {
  try {
    return await request.bytes()
  } catch {
    throw fail('bad_request', 'The body ended early.')
  }
}

/** A body that comes in chunks until it ends. */
async function readChunks(request: Request, limit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of request.body ?? []) {
      size += chunk.length
      if (size > limit) throw tooLarge(limit)
      chunks.push(chunk)
    }
  } catch (error) {
    throw error instanceof Failure ? error : fail('bad_request', 'The body ended early.')
  }
  return Buffer.concat(chunks)
}

function tooLarge(limit: number): Failure {
  return fail('body_too_large', `The body may have at most ${limit} bytes.`)
}
