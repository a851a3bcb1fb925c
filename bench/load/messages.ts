/** The messages that the generator sends, and a cheap way to tell apart those that it gets. */

/** What a phone sends for one candidate it found; padded to `size` bytes by a longer `ufrag`. */
function candidateOf(size: number, wrap: (candidate: string) => string): string {
  const text = (ufrag: string) =>
    wrap(
      'candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 192.168.1.5 rport 46154 generation 0 ' +
        `ufrag ${ufrag}`,
    )
  const missing = size - text('').length
  if (missing < 4) throw new RangeError(`a candidate of ${size} bytes: ${4 - missing} too few`)
  return text('EsAw'.repeat(Math.ceil(missing / 4)).slice(0, missing))
}

/** A ride `ice_candidate` of exactly `size` bytes of JSON. */
export const rideCandidate = (size: number): string =>
  candidateOf(size, (candidate) =>
    JSON.stringify({ type: 'ice_candidate', candidate: { candidate, sdpMid: '0', sdpMLineIndex: 0 } }),
  )

/** A direct `ICE_CANDIDATE` of exactly `size` bytes of JSON. The candidate is a text, as the reference document has it. */
export const directCandidate = (size: number, callId: string): string =>
  candidateOf(size, (candidate) => JSON.stringify({ type: 'ICE_CANDIDATE', payload: { callId, candidate } }))

/**
 * A PeerJS CANDIDATE of exactly `size` bytes of JSON. PeerJS server writes the sender into `src` and builds the text
 * again; as `src` is already there with the same value and in its place, what comes out is what went in.
 */
export const peerjsCandidate = (size: number, src: string, dst: string): string =>
  candidateOf(size, (candidate) =>
    JSON.stringify({ type: 'CANDIDATE', src, dst, payload: { candidate: { candidate, sdpMid: '0' } } }),
  )

/** An audio-only session description as a browser makes it, about 1.4 KB on the wire. */
function sdp(setup: 'actpass' | 'active'): string {
  const codecs = [
    'rtpmap:111 opus/48000/2',
    'rtcp-fb:111 transport-cc',
    'fmtp:111 minptime=10;useinbandfec=1',
    'rtpmap:63 red/48000/2',
    'fmtp:63 111/111',
    'rtpmap:9 G722/8000',
    'rtpmap:0 PCMU/8000',
    'rtpmap:8 PCMA/8000',
    'rtpmap:13 CN/8000',
    'rtpmap:110 telephone-event/48000',
    'rtpmap:126 telephone-event/8000',
  ]
  return [
    'v=0',
    'o=- 4611731400430051336 2 IN IP4 127.0.0.1',
    's=-',
    't=0 0',
    'a=group:BUNDLE 0',
    'a=extmap-allow-mixed',
    'a=msid-semantic: WMS 8f1c0c9e-6f4f-4f3e-8ea4-7b1f7a0d3f5e',
    'm=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126',
    'c=IN IP4 0.0.0.0',
    'a=rtcp:9 IN IP4 0.0.0.0',
    'a=ice-ufrag:EsAw',
    'a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1',
    'a=ice-options:trickle',
    'a=fingerprint:sha-256 D2:FA:0E:C3:22:59:5E:14:95:69:92:3D:13:B4:84:24:2C:C2:A2:C0:3E:FD:34:8E:5E:EA:6F:AF:52:CE:E6:0F',
    `a=setup:${setup}`,
    'a=mid:0',
    'a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level',
    'a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time',
    'a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01',
    'a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid',
    'a=sendrecv',
    'a=rtcp-mux',
    ...codecs.map((line) => `a=${line}`),
    'a=ssrc:3570614608 cname:4TOk42mSjXCkVIa6',
    'a=ssrc:3570614608 msid:8f1c0c9e-6f4f-4f3e-8ea4-7b1f7a0d3f5e 35429d94-5637-4686-9ecd-7d0622261ce8',
    '',
  ].join('\r\n')
}

export const offer = JSON.stringify({ type: 'offer', sdp: sdp('actpass') })
export const answer = JSON.stringify({ type: 'answer', sdp: sdp('active') })

/** What is said on `/signal`. */
const direct = (type: string, payload: object): string => JSON.stringify({ type, payload })

export const register = (clientId: string): string => direct('REGISTER', { clientId })
export const callInitiate = (targetId: string): string =>
  direct('CALL_INITIATE', { targetId, sdpOffer: sdp('actpass') })
export const callAccept = (callId: string): string =>
  direct('CALL_ACCEPT', { callId, sdpAnswer: sdp('active') })
export const callEnd = (callId: string): string => direct('CALL_END', { callId })

/** The `callId` of a message of the direct service, which is the first word of its payload. */
export function callIdOf(bytes: Buffer, start: number, length: number): string {
  const text = bytes.toString('latin1', start, start + Math.min(length, 128))
  const id = /"callId":"([^"]+)"/.exec(text)?.[1]
  if (id === undefined) throw new Error(`no callId in ${text}`)
  return id
}

/** The `type` of a message whose text begins with it, without parsing the text; anything else is parsed. */
export function typeOf(bytes: Buffer, start: number, length: number): string {
  const begin = start + 9
  if (length > 11 && bytes.toString('latin1', start, begin) === '{"type":"') {
    const end = bytes.indexOf(0x22, begin)
    if (end > 0 && end < start + length) return bytes.toString('latin1', begin, end)
  }
  const message: unknown = JSON.parse(bytes.toString('utf8', start, start + length))
  const type = typeof message === 'object' && message !== null && 'type' in message ? message.type : undefined
  return typeof type === 'string' ? type : ''
}
