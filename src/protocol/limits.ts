/** Bounds that hold for every client and are part of the protocol, so that both ends can name them. */

/** Frames, and characters in them, that wait for a party that is absent or away. More is `buffer_full`. */
export const BUFFER_FRAMES = 64
export const BUFFER_CHARS = 64 * 1024

/** Wrong messages within this many milliseconds that close a connection with `too_many_errors`. */
export const ERRORS_BEFORE_CLOSE = 8
export const ERROR_WINDOW = 10_000

/** `call_warning` is sent so many milliseconds before the limit, in calls that last at least twice as long. */
export const WARNING_AHEAD = 15_000

/** How long a live connection may take to answer the ping that decides whether its user may come in anew. */
export const PROBE_TIMEOUT = 2_000

/** Time to send the first message on `/ws`. */
export const AUTHENTICATE_TIMEOUT = 10_000

/** Characters of an id that the app's backend chooses: `ride_id`, `driver_id`, `passenger_id`, `user_id`. */
export const ID_CHARS = 255

/** Size of `metadata` as JSON, in bytes of UTF-8. */
export const METADATA_BYTES = 4096

/** Size of an HTTP request body, in bytes. */
export const BODY_BYTES = 16 * 1024
