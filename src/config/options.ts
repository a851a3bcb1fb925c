/**
 * The one table of options: name, form, default, one sentence. Environment variables, flags, checks, `--help` and
 * `docs/config.md` come from it. This room imports no other, and no room but main and cli imports it: rooms get plain
 * values. Deliberately not here: reading (read.ts), and what an option does.
 */
import {
  address,
  boolean,
  choice,
  duration,
  type Form,
  host,
  iceUrl,
  integer,
  keys,
  link,
  linkKeys,
  list,
  network,
  origin,
  secretText,
  text,
  webAddress,
} from './forms.ts'

/** One row. */
export interface Option<T = unknown, D extends Default | null = Default | null> {
  readonly form: Form<T>
  /** Null: there is none, and the value is null. */
  readonly default: D
  /** What it is, for a person, in one sentence. */
  readonly means: string
  /** What it comes to when it is not set, where the default does not say it. */
  readonly unset: string | null
}

/** As an operator would write it; or the value of another option. */
export type Default = string | { readonly same: string }

function option<T>(form: Form<T>, value: Default, means: string): Option<T, Default> {
  return { form, default: value, means, unset: null }
}

/** An option whose value is null when it is not set. */
function optional<T>(form: Form<T>, unset: string, means: string): Option<T, null> {
  return { form, default: null, means, unset }
}

const doors = {
  SERVER_ADDR: option(
    address,
    '127.0.0.1:47880',
    'Interface and port to listen on; port 0 takes a free one.',
  ),
  SITEURL: optional(
    webAddress,
    'as the request says',
    'Public address of this server, from which the addresses it hands out are made.',
  ),
  TLS_CERT_FILE: optional(
    text('the path of a file'),
    'plain HTTP, for a proxy in front',
    'Certificate with its chain (PEM), to speak TLS 1.3 without a proxy; needs TLS_KEY_FILE.',
  ),
  TLS_KEY_FILE: optional(
    text('the path of a file'),
    'plain HTTP, for a proxy in front',
    'Private key of that certificate (PEM, without a password).',
  ),
  TRUSTED_PROXIES: option(
    list(network, 'addresses and networks separated by commas, such as 127.0.0.0/8,::1,10.1.2.3, or none'),
    '127.0.0.0/8,::1',
    'Reverse proxies whose X-Forwarded-For and X-Real-IP are believed.',
  ),
  ALLOWED_ORIGINS: option(
    list(
      origin,
      'exact origins separated by commas, such as https://app.example.com,http://localhost:5173, or none',
    ),
    'none',
    "Origins whose pages may connect, besides the page's own host; apps send no origin and need no entry.",
  ),
  RATE_LIMIT_PER_MIN: option(
    integer(0, 1_000_000),
    '10',
    'Connection attempts per client address and minute that do not authenticate; 0 is no limit.',
  ),
  MAX_CONNECTIONS: option(integer(1, 1_000_000), '20000', 'Connections that may be open at once.'),
  MAX_MESSAGE_BYTES: option(
    integer(256, 1_048_576),
    '4096',
    'Largest WebSocket message from a client, in bytes.',
  ),
  MESSAGES_PER_SECOND: option(
    integer(1, 100_000),
    '50',
    'Messages per second that one connection may keep sending; bursts may be four times that.',
  ),
  BYTES_PER_MINUTE: option(
    integer(4096, 1_073_741_824),
    '262144',
    'Bytes per minute that one connection may send.',
  ),
  HEARTBEAT_INTERVAL: option(
    duration('50ms', '1h'),
    '20s',
    'How often a connection of a ride is pinged; one of direct calls is pinged every 30s.',
  ),
  HEARTBEAT_TIMEOUT: option(
    duration('50ms', '2h'),
    '30s',
    'A connection of a ride that was not heard for so long is dead; more than HEARTBEAT_INTERVAL. Of direct calls: 60s.',
  ),
  TRY_PAGES: option(
    choice('auto', 'true', 'false'),
    'auto',
    'Serve pages to try calls in a browser; auto: while API_KEY is not set, or when ENVIRONMENT is development.',
  ),
}

const calls = {
  SESSION_DURATION: option(
    duration('100ms', '24h'),
    '60s',
    'Longest duration of a call, from when both are in.',
  ),
  MAX_SESSION_DURATION: option(
    duration('100ms', '24h'),
    '4h',
    'Longest duration that a backend may ask for.',
  ),
  JOIN_WINDOW: option(
    duration('100ms', '24h'),
    { same: 'SESSION_DURATION' },
    'How long a new session waits for both to come in.',
  ),
  MAX_JOIN_WINDOW: option(duration('100ms', '24h'), '24h', 'Longest join window that a backend may ask for.'),
  RECONNECT_GRACE: option(
    duration('0s', '1h'),
    '15s',
    'How long a party whose connection broke may take to come back; 0s ends the call at once.',
  ),
  REQUIRE_JOIN_TOKEN: option(
    boolean,
    'false',
    "Let nobody in without the join token of the role, so that neither party can take the other's place.",
  ),
}

const direct = {
  DIRECT_IDENTITY: option(
    choice('open', 'tofu', 'jwt'),
    'tofu',
    'How a client proves its id; open: not at all, tofu: the first key it signs with binds the id, jwt: a token of the app.',
  ),
  JWT_SECRET: optional(
    keys(32),
    'tokens are checked with JWKS_URL',
    'Secrets with which the app signs its tokens (HS256), for DIRECT_IDENTITY=jwt.',
  ),
  JWKS_URL: optional(
    link,
    'tokens are checked with JWT_SECRET',
    "Where the public keys of the app's tokens are (RS, PS, ES or Ed25519), for DIRECT_IDENTITY=jwt.",
  ),
  JWT_AUDIENCE: optional(text('any text'), 'not checked', 'What aud of a token must be, or hold.'),
  JWT_ISSUER: optional(text('any text'), 'not checked', 'What iss of a token must be.'),
  RING_TIMEOUT: option(
    duration('5s', '180s'),
    '60s',
    'How long a call rings, unless the caller asks for another time.',
  ),
  WAKE_WEBHOOK_URL: optional(
    link,
    'such a call is refused',
    'Where the server posts when somebody without a connection is called, so that the app can wake the phone.',
  ),
  WEBHOOK_SECRET: optional(
    keys(32),
    'none; a webhook needs it',
    'Secrets with which webhooks are signed; the receiver checks with the same.',
  ),
}

const turn = {
  TURN_PROVIDER: option(
    choice('none', 'coturn', 'metered', 'static'),
    'none',
    'Who relays between phones that cannot reach each other; coturn: any server with a shared secret (use-auth-secret).',
  ),
  TURN_URLS: optional(
    list(
      iceUrl,
      'addresses separated by commas, such as turn:turn.example.com:3478,turns:turn.example.com:5349?transport=tcp, or none',
    ),
    'turn:a.relay.metered.ca:443?transport=tcp for metered',
    'TURN and STUN servers that phones are given.',
  ),
  TURN_SECRET: optional(
    keys(16),
    'none; coturn needs it',
    "The TURN server's static-auth-secret; of several the first signs, so that a new one can be put there first.",
  ),
  TURN_TTL: option(
    duration('1m', '24h'),
    '1h',
    'Lifetime of TURN credentials for a call without a limit; for others it is that of the call and 2m.',
  ),
  TURN_USERNAME: optional(text('any text'), 'STUN only', 'User of a static TURN server.'),
  TURN_CREDENTIAL: optional(secretText('any text'), 'none', 'Password of that user.'),
  METERED_URL: optional(
    webAddress,
    'none; metered needs it',
    'Address of the account at Metered, such as https://yourapp.metered.live.',
  ),
  METERED_SECRET_KEY: optional(
    secretText('any text'),
    'none; metered needs it',
    'Secret key of that account, with which credentials are made.',
  ),
}

const access = {
  API_KEY: optional(
    keys(32),
    'made at first start',
    'Keys with which the backend creates sessions (X-API-Key).',
  ),
  APIKEY: optional(
    linkKeys(72),
    'made at first start',
    'Keys of the line: whose link has one (?apikey=) gets the page and its connection.',
  ),
  LINES_PER_KEY: option(
    integer(1, 1_000_000),
    '1000',
    'Lines that may be open at once under one APIKEY; over it, who would begin another is refused.',
  ),
  ADMIN_KEY: optional(
    keys(32),
    'made at first start',
    "Operator's keys, for metrics from afar and admin calls.",
  ),
}

const storage = {
  DATA_DIR: option(
    text('the path of a folder'),
    'data',
    'Folder of the embedded database, the journal and the keys that were made.',
  ),
  DB_HOST: option(host, '127.0.0.1', 'MySQL or MariaDB host.'),
  DB_PORT: option(integer(1, 65_535), '3306', 'MySQL or MariaDB port.'),
  DB_DATABASE: option(text('the name of a database'), 'callDB', 'MySQL or MariaDB database.'),
  DB_USERNAME: optional(
    text('the name of a user'),
    'calls are kept in an SQLite file in DATA_DIR',
    'MySQL or MariaDB user; setting it chooses that database.',
  ),
  DB_PASSWORD: optional(secretText('any text'), 'none', 'Password of that user.'),
  RETENTION_DAYS: option(
    integer(0, 36_500),
    '90',
    'Days for which ended calls are kept in the log; 0 is for ever.',
  ),
}

const observing = {
  LOG_LEVEL: option(
    choice('debug', 'info', 'warn', 'error'),
    'info',
    'The least weighty log lines that are written.',
  ),
  LOG_FORMAT: option(
    choice('auto', 'json', 'pretty'),
    'auto',
    'How log lines are written; auto: for the eye on a terminal, JSON elsewhere.',
  ),
  ENVIRONMENT: option(
    text('one word, such as production or development', /^[\w.-]{1,64}$/),
    'production',
    'What this server is for; development serves the pages to try calls.',
  ),
}

/** The options by what they are about, in the order of the help and of the reference page. */
export const groups = [
  { title: 'Connections', options: doors },
  { title: 'Calls', options: calls },
  { title: 'Direct calls', options: direct },
  { title: 'TURN', options: turn },
  { title: 'Keys', options: access },
  { title: 'Call log', options: storage },
  { title: 'Operation', options: observing },
] as const

export const options = { ...doors, ...calls, ...direct, ...turn, ...access, ...storage, ...observing }

export type OptionName = keyof typeof options

/** What the options come to. Durations in milliseconds. */
export type Config = {
  readonly [Name in OptionName]: (typeof options)[Name] extends Option<infer T, infer D>
    ? T | (D extends null ? null : never)
    : never
}
