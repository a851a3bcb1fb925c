/** The certificate and key with which the server speaks TLS itself, as files that somebody else renews. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'

export interface CertificateFiles {
  /** Paths, of PEM files. */
  readonly cert: string
  readonly key: string
}

export interface Certificate {
  /** The chain, the server's own certificate first, and its private key: PEM. */
  readonly cert: string
  readonly key: string
  /** Names it is for, as it writes them: `DNS:calls.example.com`. Empty where it has none. */
  readonly names: string
  /** Until when it is good, in milliseconds since 1970. */
  readonly until: number
}

/** A file that will not do. One line for the operator that names the variable; never holds a key. */
export class CertificateError extends Error {
  override readonly name = 'CertificateError'
}

/** Reads both files and sees that they belong together. Throws a CertificateError. */
export function readCertificate(files: CertificateFiles): Certificate {
  const cert = contents('TLS_CERT_FILE', files.cert)
  const key = contents('TLS_KEY_FILE', files.key)
  const leaf = parsed('TLS_CERT_FILE', files.cert, 'a certificate in PEM', () => new X509Certificate(cert))
  const secret: KeyObject = parsed(
    'TLS_KEY_FILE',
    files.key,
    'a private key in PEM, without a password',
    () => createPrivateKey(key),
  )
  if (!leaf.checkPrivateKey(secret)) {
    throw new CertificateError(
      `TLS_KEY_FILE is ${files.key}, and is not the key of the certificate in TLS_CERT_FILE, ${files.cert}.`,
    )
  }
  return { cert, key, names: leaf.subjectAltName ?? '', until: Date.parse(leaf.validTo) }
}

/** Whether nothing has changed. */
export function isSame(one: Certificate, other: Certificate): boolean {
  return one.cert === other.cert && one.key === other.key
}

function contents(variable: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
    const why =
      code === 'EACCES' ? `the user this server runs as (${process.getuid?.() ?? '?'}) may not read it` : code
    throw new CertificateError(`${variable} is ${path}, which cannot be read: ${why}.`)
  }
}

function parsed<T>(variable: string, path: string, wanted: string, parse: () => T): T {
  try {
    return parse()
  } catch {
    throw new CertificateError(`${variable} is ${path}, which is not ${wanted}.`)
  }
}
