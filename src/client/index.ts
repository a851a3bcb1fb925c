/**
 * Ringdown's client library: calls from browsers, React Native, Node and Bun. It knows the protocol and nothing of the
 * server; it draws nothing. What it needs from its surroundings comes in at construction (ports.ts).
 */
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
