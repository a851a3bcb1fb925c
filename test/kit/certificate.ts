/** Certificates for a test's server, made with openssl. */
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface TestCertificate {
  /** Paths of the PEM files. */
  readonly cert: string
  readonly key: string
  /** Puts a new certificate for this name, with a new key, in their place. */
  renew(name: string, which?: 'both' | 'certificate' | 'key'): void
  /** Removes both. */
  remove(): void
}

/** Throws when openssl fails; use `describeWith('openssl', …)`. */
export function makeCertificate(openssl: string, name: string): TestCertificate {
  const folder = mkdtempSync(join(tmpdir(), 'ringdown-tls-'))
  const [cert, key] = [join(folder, 'fullchain.pem'), join(folder, 'privkey.pem')]
  const renew: TestCertificate['renew'] = (to, which = 'both') => {
    const { exitCode, stderr } = Bun.spawnSync(
      [
        ...[openssl, 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
        ...['-days', '30', '-subj', `/CN=${to}`, '-addext', `subjectAltName=DNS:${to}`],
        ...['-out', `${cert}.new`, '-keyout', `${key}.new`],
      ],
      { stderr: 'pipe' },
    )
    if (exitCode !== 0) throw new Error(`openssl: ${stderr}`)
    if (which !== 'key') renameSync(`${cert}.new`, cert)
    if (which !== 'certificate') renameSync(`${key}.new`, key)
  }
  renew(name)
  return { cert, key, renew, remove: () => rmSync(folder, { recursive: true, force: true }) }
}
