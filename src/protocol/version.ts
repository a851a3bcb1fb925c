/**
 * The number of the wire protocol. A test compares it with a fingerprint of the schemas.
 *
 * 1: ride calls as the reference document shows them, with resume, reconnecting, warnings and join tokens.
 */
export const PROTOCOL_VERSION = 1
