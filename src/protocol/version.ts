/**
 * The number of the wire protocol. A test compares it with a fingerprint of the schemas.
 *
 * 1: ride calls and direct calls as the reference documents show them, with resume, reconnecting, warnings, join tokens,
 *    identities, histories and TURN credentials; the line.
 */
export const PROTOCOL_VERSION = 1
