/**
 * Ringdown's client library: calls from browsers, React Native, Node and Bun. It knows the protocol and nothing of the
 * server; it draws nothing. What it needs from its surroundings comes in at construction (ports.ts).
 */
export { digest as fingerprintOf } from './direct/bytes.ts'
export { DirectCall, type DirectCallEvents } from './direct/call.ts'
export {
  DirectClient,
  type DirectClientEvents,
  type DirectClientOptions,
  type DirectClientState,
} from './direct/client.ts'
export { canSign, type Identity, identityOf, makeKeyPair, verifies } from './direct/identity.ts'
export {
  KeyBook,
  type KeyDirectory,
  type KeyMemory,
  type KeyStatus,
  type KeyTrouble,
  type KnownKey,
  keysInMemory,
  type PeerKey,
} from './direct/keys.ts'
export { Refused } from './direct/questions.ts'
export { safetyNumber } from './direct/safety.ts'
export type { DirectRefusal } from './direct/signalling.ts'
export type { CallSecurity, DirectCallState, DirectEnd, KeyWarning } from './direct/state.ts'
export { LevelMeter } from './level.ts'
export { MicrophoneError, type MicrophoneTrouble, openMicrophone } from './microphone.ts'
export type { Cancel, Millis, OpenSocket, Socket, SocketEvents, Timers, WebSocketClass } from './ports.ts'
export { socketsOf, systemTimers } from './ports.ts'
export { RideCall, type RideCallEvents, type RideCallOptions, type RideResumption } from './ride/call.ts'
export {
  type Resumption,
  type RideMessage,
  type RideSignal,
  RideSignalling,
  type RideSignallingOptions,
  type Seat,
  type SignallingEnd,
} from './ride/signalling.ts'
export type { RideCallState, RideEnd } from './ride/state.ts'
