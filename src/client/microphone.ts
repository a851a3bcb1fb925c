/** The microphone, and the reasons why there may be none. */

export type MicrophoneTrouble =
  /** The person or the system said no. */
  | 'microphone_refused'
  /** There is none. */
  | 'microphone_missing'
  /** Another program holds it, or it is broken. */
  | 'microphone_busy'
  /** Browsers give it to pages over HTTPS and on localhost only. */
  | 'microphone_insecure'

export class MicrophoneError extends Error {
  readonly reason: MicrophoneTrouble

  constructor(reason: MicrophoneTrouble, cause?: unknown) {
    super(reason, { cause })
    this.name = 'MicrophoneError'
    this.reason = reason
  }
}

/** Asks for the microphone. The caller stops its tracks. Rejects with a MicrophoneError. */
export async function openMicrophone(
  devices: MediaDevices | undefined = globalThis.navigator?.mediaDevices,
): Promise<MediaStream> {
  if (devices === undefined) throw new MicrophoneError('microphone_insecure')
  try {
    return await devices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
    })
  } catch (error) {
    throw new MicrophoneError(troubleOf(error), error)
  }
}

/** W3C Media Capture and Streams, section 10.2, and what browsers throw besides. */
function troubleOf(error: unknown): MicrophoneTrouble {
  switch (error instanceof Error ? error.name : '') {
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'microphone_missing'
    case 'NotReadableError':
    case 'AbortError':
      return 'microphone_busy'
    default:
      return 'microphone_refused'
  }
}
