import { describe, expect, test } from 'bun:test'
import type { Config } from './options.ts'
import { type Option, options } from './options.ts'
import { ConfigError, flagOf, help, readConfig } from './read.ts'

const KEY = 'not-a-key-of-anyone-0123456789abcdef'

function refusal(env: Record<string, string>, argv: string[] = []): string {
  try {
    readConfig(env, argv)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  throw new Error('nothing was refused')
}

test('without any setting, every option has its documented default', () => {
  const { config, warnings } = readConfig({}, [])
  expect(warnings).toEqual([])
  expect(config).toMatchObject({
    SERVER_ADDR: { host: '127.0.0.1', port: 47880 },
    API_KEY: null,
    LOG_LEVEL: 'info',
    MAX_MESSAGE_BYTES: 4096,
    HEARTBEAT_INTERVAL: 20_000,
    HEARTBEAT_TIMEOUT: 30_000,
    SESSION_DURATION: 60_000,
    RATE_LIMIT_PER_MIN: 10,
    ENVIRONMENT: 'production',
    DB_HOST: '127.0.0.1',
    DB_PORT: 3306,
    DB_DATABASE: 'callDB',
    DB_USERNAME: null,
    DB_PASSWORD: null,
    JOIN_WINDOW: 60_000,
    ALLOWED_ORIGINS: [],
    DIRECT_IDENTITY: 'tofu',
    RING_TIMEOUT: 60_000,
    TURN_PROVIDER: 'none',
    TURN_URLS: null,
    TURN_TTL: 3_600_000,
    TRUSTED_PROXIES: ['127.0.0.0/8', '::1'],
  })
  for (const value of Object.values(config)) expect(value).not.toBeUndefined()
})

test('values have the types of their rows', () => {
  const { config } = readConfig({}, [])
  const typed: [number, boolean, 'auto' | 'true' | 'false', readonly string[] | null, string | null, number] =
    [
      config.SESSION_DURATION,
      config.REQUIRE_JOIN_TOKEN,
      config.TRY_PAGES,
      config.API_KEY,
      config.DB_USERNAME,
      config.SERVER_ADDR.port,
    ]
  expect(typed).toEqual([60_000, false, 'auto', null, null, 47880])
})

test('a flag wins over the environment, and both over the default', () => {
  const env = { SESSION_DURATION: '2m', RECONNECT_GRACE: '5s' }
  const { config, origins } = readConfig(env, [
    '--session-duration=3m',
    '--server-addr',
    '[::1]:0',
    '--require-join-token',
  ])
  expect(config).toMatchObject({
    SESSION_DURATION: 180_000,
    RECONNECT_GRACE: 5000,
    SERVER_ADDR: { host: '::1', port: 0 },
    REQUIRE_JOIN_TOKEN: true,
    JOIN_WINDOW: 180_000,
  })
  expect(origins.SESSION_DURATION).toEqual({ from: 'flag', text: '3m' })
  expect(origins.RECONNECT_GRACE).toEqual({ from: 'environment', text: '5s' })
  expect(origins.JOIN_WINDOW).toEqual({ from: 'default', text: '3m' })
})

test('an empty variable counts as unset, and space around a value does not count', () => {
  const { config } = readConfig({ API_KEY: '', LOG_LEVEL: ' ', SESSION_DURATION: ' 90s\r' }, [])
  expect(config).toMatchObject({ API_KEY: null, LOG_LEVEL: 'info', SESSION_DURATION: 90_000 })
})

describe('a value that cannot be read is refused in one line', () => {
  const wrong: Record<string, string[]> = {
    SERVER_ADDR: [
      '47880',
      ':47880',
      '127.0.0.1',
      '127.0.0.1:65536',
      '::1:80',
      '[127.0.0.1]:80',
      '300.0.0.1:1',
      'a b:1',
      'x:-1',
      'x:',
    ],
    HEARTBEAT_INTERVAL: ['20', '20 s', '-1s', '1.5s', '1w', 's', '2h', '0s', '1e3ms', '99999999999999999h'],
    MAX_MESSAGE_BYTES: ['4k', '4096.0', '-1', '1e4', '0x1000', '255', '1048577', 'NaN', 'Infinity', '９'],
    LOG_LEVEL: ['verbose', 'warning', '3'],
    REQUIRE_JOIN_TOKEN: ['maybe', '2', 'constructor', '__proto__'],
    SITEURL: [
      'calls.example.com',
      'wss://a.example',
      'https://a.example/?x=1',
      'https://a.example/#x',
      'https://',
    ],
    TRUSTED_PROXIES: ['localhost', '10.0.0.0/33', '10.0.0', '::1/129', '::1/', '10.0.0.1/-1', ',', '*'],
    ALLOWED_ORIGINS: [
      '*',
      'https://a.example/',
      'https://A.example',
      'a.example',
      'https://a.example:443',
      'null',
      'https://*.a.example/x',
    ],
    API_KEY: ['short', `${KEY},short`, ',', `${KEY} ${KEY}`, `${KEY}é`],
    ADMIN_KEY: ['x'.repeat(31)],
    APIKEY: [
      'x'.repeat(71),
      '7'.repeat(72),
      `${'x'.repeat(72)}=`,
      `${'x'.repeat(72)},${KEY}`,
      // The reference document's own example has 64.
      '8f711a8f43a3d6fbf9c367a8cd1b68b14db2781273c56e206040ecd31761f9d3',
    ],
    ENVIRONMENT: ['two words', 'x'.repeat(65)],
    DB_PORT: ['0', '65536', 'mysql'],
    DB_HOST: ['mysql://root:hunter2@db', 'a b', '127.0.0.1:3306'],
    DATA_DIR: ['a\nb'],
    DIRECT_IDENTITY: ['closed', 'tofu,jwt'],
    JWT_SECRET: ['x'.repeat(31), `${KEY},short`],
    JWKS_URL: [
      'keys.example.com',
      'https://user:hunter2@a.example/',
      'file:///etc/passwd',
      'https://a.example/#x',
    ],
    WEBHOOK_SECRET: ['x'.repeat(31)],
    RING_TIMEOUT: ['4s', '181s', '60'],
    TURN_PROVIDER: ['twilio', 'coturn,static'],
    TURN_SECRET: ['x'.repeat(15)],
    TURN_URLS: [
      'turn.example.com',
      'turn://turn.example.com',
      'turn:',
      'turn:a b',
      'turn:turn.example.com:0',
      'turn:turn.example.com:65536',
      'turn:turn.example.com?transport=sctp',
      'turn:[127.0.0.1]:3478',
      'turn:[::1',
      'turn:300.0.0.1',
      'stun:stun.example.com?transport=udp',
      'https://turn.example.com',
      'turn:user@turn.example.com',
      'turn:ok.example.com,http:x',
      ',',
    ],
  }
  for (const [name, texts] of Object.entries(wrong)) {
    test(name, () => {
      const row: Option = options[name as keyof Config]
      for (const text of texts) {
        const line = refusal({ [name]: text })
        expect(line, text).toStartWith(`${name} holds `)
        expect(line).toEndWith(`It accepts ${row.form.accepts}.`)
        expect(line).not.toContain('\n')
        expect(refusal({}, [`${flagOf(name)}=${text}`])).toBe(line.replace(name, flagOf(name)))
      }
    })
  }
})

test('what can be read is not refused', () => {
  const right: [keyof Config, string, unknown][] = [
    ['SERVER_ADDR', 'localhost:1', { host: 'localhost', port: 1 }],
    ['SERVER_ADDR', '[::]:47880', { host: '::', port: 47880 }],
    ['HEARTBEAT_INTERVAL', '500ms', 500],
    ['SESSION_DURATION', '1h30m', 5_400_000],
    ['MAX_JOIN_WINDOW', '1d', 86_400_000],
    ['RECONNECT_GRACE', '0s', 0],
    ['REQUIRE_JOIN_TOKEN', 'Yes', true],
    ['LOG_LEVEL', 'WARN', 'warn'],
    ['SITEURL', 'https://calls.example.com/', 'https://calls.example.com'],
    ['SITEURL', 'http://calls.example.com:8080/voice/', 'http://calls.example.com:8080/voice'],
    ['TRUSTED_PROXIES', 'none', []],
    ['TRUSTED_PROXIES', '10.0.0.0/8, fd00::/8 ,192.0.2.1', ['10.0.0.0/8', 'fd00::/8', '192.0.2.1']],
    [
      'ALLOWED_ORIGINS',
      'https://a.example,http://localhost:5173,capacitor://localhost',
      ['https://a.example', 'http://localhost:5173', 'capacitor://localhost'],
    ],
    ['API_KEY', `${KEY}1, ${KEY}2`, [`${KEY}1`, `${KEY}2`]],
    ['JWKS_URL', 'https://a.example/keys?v=2', 'https://a.example/keys?v=2'],
    [
      'TURN_URLS',
      'turn:a.relay.metered.ca:443?transport=tcp, turns:[2001:db8::1]:5349 ,stun:10.0.0.1',
      ['turn:a.relay.metered.ca:443?transport=tcp', 'turns:[2001:db8::1]:5349', 'stun:10.0.0.1'],
    ],
    ['TURN_SECRET', `${KEY}1,${KEY}2`, [`${KEY}1`, `${KEY}2`]],
    ['RING_TIMEOUT', '3m', 180_000],
    ['DB_PASSWORD', ' with space, and comma ', ' with space, and comma '],
    ['RATE_LIMIT_PER_MIN', '0', 0],
  ]
  for (const [name, text, value] of right)
    expect(readConfig({ [name]: text }, []).config[name], text).toEqual(value as never)
})

test('no message, warning or origin shows a secret', () => {
  const secret = 'hunter2-hunter2-hunter2'
  const said = [
    refusal({ API_KEY: secret }),
    refusal({ API_KEY: `${KEY},${secret}` }),
    refusal({ ADMIN_KEY: `${secret} ${secret} ${secret}` }),
    refusal({}, [`--api-key=${secret}`]),
    refusal({}, ['--api-key', secret]),
    refusal({}, [`--api-keyy=${secret}`]),
    refusal({}, [`--${secret}${secret}`]),
    refusal({}, [`X-${secret}`]),
    refusal({ DB_HOST: `mysql://root:${secret}@db` }),
    refusal({ SITEURL: `https://root:${secret}@calls.example.com` }),
    refusal({ TURN_SECRET: 'hunter2' }),
    refusal({ JWT_SECRET: secret }),
    refusal({ JWKS_URL: `https://root:${secret}@keys.example.com` }),
    refusal({ TURN_PROVIDER: 'static', TURN_URLS: 'turn:a.example', TURN_CREDENTIAL: secret }),
    ...readConfig({ TURN_CREDENTIAL: secret, METERED_SECRET_KEY: secret, TURN_SECRET: secret }, []).warnings,
    refusal({ API_KEY: `${secret}-0123456789`, ADMIN_KEY: `${secret}-0123456789` }),
    ...readConfig({ DB_PASSWORD: secret, DB_PASWORD: secret, API_KEYS: secret }, []).warnings,
    ...readConfig({}, ['--db-password', secret]).warnings,
    JSON.stringify(readConfig({ DB_PASSWORD: secret, API_KEY: `${secret}-0123456789` }, []).origins),
  ]
  for (const line of said) expect(line).not.toContain('hunter2')
})

test('values that contradict each other are refused', () => {
  expect(refusal({ HEARTBEAT_INTERVAL: '30s' })).toBe(
    'HEARTBEAT_TIMEOUT is 30s by default. It must be longer than HEARTBEAT_INTERVAL, which is 30s.',
  )
  expect(refusal({ SESSION_DURATION: '5h' })).toStartWith('SESSION_DURATION is 5h.')
  expect(refusal({ JOIN_WINDOW: '2m', MAX_JOIN_WINDOW: '1m' })).toStartWith('JOIN_WINDOW is 2m.')
  expect(refusal({ MAX_MESSAGE_BYTES: '8192', BYTES_PER_MINUTE: '4096' })).toStartWith(
    'MAX_MESSAGE_BYTES is 8192.',
  )
  expect(refusal({ API_KEY: KEY, ADMIN_KEY: KEY })).toStartWith(
    'ADMIN_KEY has a key that is also in API_KEY.',
  )
  const [line, other] = [`a${'-_9'.repeat(24)}`, 'b'.repeat(80)]
  expect(refusal({ APIKEY: line, API_KEY: line })).toStartWith('APIKEY has a key that is also in API_KEY.')
  expect(refusal({ APIKEY: line, ADMIN_KEY: `${KEY},${line}` })).toStartWith('APIKEY has a key')
  expect(readConfig({ APIKEY: `${line}, ${other}` }, []).config.APIKEY).toEqual([line, other])
  expect(refusal({ TLS_CERT_FILE: 'a.pem' })).toBe(
    'TLS_CERT_FILE is set. It needs TLS_KEY_FILE, which is not.',
  )
  expect(refusal({ TLS_KEY_FILE: 'a.pem' })).toBe(
    'TLS_KEY_FILE is set. It needs TLS_CERT_FILE, which is not.',
  )
})

test('[LINE-30] a key of the line that will not do is refused in one line that says the rule, never the key', () => {
  expect(refusal({ APIKEY: 'hunter2hunter2' })).toBe(
    'APIKEY holds a key of 14 characters. It accepts one key or several separated by commas, each of at least ' +
      '72 characters of A-Z, a-z, 0-9, _ and -, letters among them.',
  )
  for (const wrong of ['7'.repeat(72), `${'x'.repeat(72)}&`, `${'x'.repeat(72)},${'é'.repeat(72)}`])
    expect(refusal({ APIKEY: wrong })).toMatch(/^APIKEY holds (a key|2 keys, one) without a letter, or with /)
})

test('a way to prove an id, a webhook or a TURN provider without what it needs is refused in one line', () => {
  const wrong: [Record<string, string>, string][] = [
    [{ DIRECT_IDENTITY: 'jwt' }, 'DIRECT_IDENTITY is jwt. It needs JWT_SECRET or JWKS_URL; neither is set.'],
    [
      { DIRECT_IDENTITY: 'jwt', JWT_SECRET: KEY, JWKS_URL: 'https://a.example/' },
      'DIRECT_IDENTITY is jwt. It needs JWT_SECRET or JWKS_URL; both are set.',
    ],
    [
      { WAKE_WEBHOOK_URL: 'https://a.example/' },
      'WAKE_WEBHOOK_URL is set. It needs WEBHOOK_SECRET, which is not.',
    ],
    [{ TURN_PROVIDER: 'coturn' }, 'TURN_PROVIDER is coturn. It needs TURN_URLS and TURN_SECRET.'],
    [
      { TURN_PROVIDER: 'coturn', TURN_URLS: 'turn:a.example' },
      'TURN_PROVIDER is coturn. It needs TURN_SECRET.',
    ],
    [
      { TURN_PROVIDER: 'coturn', TURN_URLS: 'stun:a.example', TURN_SECRET: KEY },
      'TURN_PROVIDER is coturn. It needs a turn: or turns: address in TURN_URLS.',
    ],
    [
      { TURN_PROVIDER: 'metered', METERED_URL: 'https://a.metered.live' },
      'TURN_PROVIDER is metered. It needs METERED_SECRET_KEY.',
    ],
    [{ TURN_PROVIDER: 'static' }, 'TURN_PROVIDER is static. It needs TURN_URLS.'],
    [
      { TURN_PROVIDER: 'static', TURN_URLS: 'stun:a.example,turn:a.example' },
      'TURN_PROVIDER is static. It needs TURN_USERNAME and TURN_CREDENTIAL.',
    ],
    [
      { TURN_PROVIDER: 'static', TURN_URLS: 'turn:a.example', TURN_USERNAME: 'x' },
      'TURN_PROVIDER is static. It needs TURN_CREDENTIAL.',
    ],
  ]
  for (const [env, line] of wrong) expect(refusal(env)).toBe(line)
  for (const env of [
    { DIRECT_IDENTITY: 'jwt', JWT_SECRET: KEY },
    { DIRECT_IDENTITY: 'jwt', JWKS_URL: 'https://a.example/keys', JWT_AUDIENCE: 'calls' },
    { WAKE_WEBHOOK_URL: 'https://a.example/', WEBHOOK_SECRET: KEY },
    { TURN_PROVIDER: 'coturn', TURN_URLS: 'turn:a.example', TURN_SECRET: KEY },
    { TURN_PROVIDER: 'metered', METERED_URL: 'https://a.metered.live', METERED_SECRET_KEY: 'x' },
    { TURN_PROVIDER: 'static', TURN_URLS: 'stun:a.example' },
    { TURN_PROVIDER: 'static', TURN_URLS: 'turn:a.example', TURN_USERNAME: 'x', TURN_CREDENTIAL: 'y' },
  ]) {
    expect(readConfig(env, []).warnings, JSON.stringify(env)).toEqual([])
  }
})

test('an unknown flag or word is refused, with what was probably meant', () => {
  expect(refusal({}, ['--server-adr=x'])).toBe('--server-adr is not an option. Did you mean --server-addr?')
  expect(refusal({}, ['--nonsense'])).toBe('--nonsense is not an option. See --help.')
  expect(refusal({}, ['nonsense'])).toBe('An argument cannot be read: nonsense. See --help.')
  expect(refusal({}, ['--server-addr'])).toStartWith('--server-addr has no value.')
  expect(refusal({}, ['--server-addr', '--log-level'])).toStartWith('--server-addr has no value.')
})

test('a variable that looks like ours is warned about once, and nobody else’s is', () => {
  const ours = {
    HEARTBEAT_INTERVALL: 'HEARTBEAT_INTERVAL',
    HEARBTEAT_TIMEOUT: 'HEARTBEAT_TIMEOUT',
    SERVER_ADDRESS: 'SERVER_ADDR',
    LOGLEVEL: 'LOG_LEVEL',
    api_key: 'API_KEY',
    SITE_URL: 'SITEURL',
    TLS_CERTFILE: 'TLS_CERT_FILE',
    RATE_LIMIT_PER_MINUTE: 'RATE_LIMIT_PER_MIN',
    TURN_URL: 'TURN_URLS',
    JWT_SECRET_KEY: 'JWT_SECRET',
    TURN_REALM: null,
    DB_USER: null,
    RECONNECT_DELAY: null,
  }
  for (const [name, meant] of Object.entries(ours)) {
    const { warnings } = readConfig({ [name]: 'x' }, [])
    expect(warnings).toEqual([`${name} is not an option${meant === null ? '.' : `; did you mean ${meant}?`}`])
  }
  const others =
    'PATH HOME USER SHELL LANG TERM PWD OLDPWD HOSTNAME LOGNAME EDITOR DISPLAY SESSION_MANAGER DESKTOP_SESSION ' +
    'XDG_SESSION_ID SSH_AUTH_SOCK DBUS_SESSION_BUS_ADDRESS NODE_ENV NODE_OPTIONS npm_config_cache npm_package_name ' +
    'INIT_CWD CI DEBUG TZ PORT HOST LOG_DIR SERVER_NAME SERVER_PORT DATABASE_URL MYSQL_HOST REDIS_URL TMPDIR ' +
    'INVOCATION_ID JOURNAL_STREAM MAX_OLD_SPACE KUBERNETES_SERVICE_HOST AWS_ACCESS_KEY_ID API_URL ENV ENVIRON ' +
    'SSL_CERT_FILE SSL_CERT_DIR'
  expect(readConfig(Object.fromEntries(others.split(' ').map((name) => [name, 'x'])), []).warnings).toEqual(
    [],
  )
})

test('what is odd but possible is warned about', () => {
  expect(readConfig({ DB_PASSWORD: 'x' }, []).warnings).toHaveLength(1)
  expect(readConfig({ API_KEY: 'x'.repeat(32) }, []).warnings).toEqual(['API_KEY is easy to guess.'])
  expect(readConfig({ TURN_SECRET: KEY, JWT_ISSUER: 'x' }, []).warnings).toEqual([
    'JWT_ISSUER is set and does nothing, because DIRECT_IDENTITY is tofu.',
    'TURN_SECRET is set and does nothing, because TURN_PROVIDER is none.',
  ])
  const keysAt = (url: string) => readConfig({ DIRECT_IDENTITY: 'jwt', JWKS_URL: url }, []).warnings
  expect(keysAt('http://keys.example.com/')).toHaveLength(1)
  expect(keysAt('http://127.0.0.1:9000/jwks')).toEqual([])
  expect(readConfig({}, ['--api-key', KEY]).warnings[0]).toStartWith('--api-key can be read by everybody')
})

test('the help names every option, its flag and its default, in 100 columns', () => {
  const text = help()
  for (const name of Object.keys(options)) expect(text).toContain(`\n  ${name}, ${flagOf(name)}\n`)
  expect(text).toContain('Default: the value of SESSION_DURATION.')
  for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(100)
})

test('every row reads its own default and has one sentence', () => {
  for (const [name, row] of Object.entries<Option>(options)) {
    if (typeof row.default === 'string') expect(row.form.read(row.default), name).not.toBeUndefined()
    expect(row.means, name).toMatch(/^[A-Z].*\.$/)
  }
})
