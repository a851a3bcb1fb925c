/** STUN and TURN servers as clients are told of them: what `RTCPeerConnection` takes as `iceServers`. */
import { type Static, Type } from 'typebox'

export const iceServer = Type.Object({
  urls: Type.Array(Type.String()),
  username: Type.Optional(Type.String()),
  credential: Type.Optional(Type.String()),
})
export type IceServer = Static<typeof iceServer>
