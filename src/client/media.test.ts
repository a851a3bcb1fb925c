import { expect, test } from 'bun:test'
import { FakePeerConnection, fakeStream, HandClock, settle } from './fakes.ts'
import { Media, type MediaState, type Signal } from './media.ts'

/** Two ends; what one sends lies in its `out` until `deliver`. */
function ends() {
  const clock = new HandClock()
  const end = (polite: boolean) => {
    const out: Signal[] = []
    const states: MediaState[] = []
    const troubles: unknown[] = []
    const connections: FakePeerConnection[] = []
    const line = { up: true }
    const media = new Media({
      polite,
      microphone: fakeStream(),
      connect: () => {
        const connection = new FakePeerConnection()
        connections.push(connection)
        return connection as never
      },
      iceServers: [],
      timers: clock,
      send: (signal) => line.up && out.push(signal) > 0,
      on: {
        state: (state) => states.push(state),
        remote: () => {},
        trouble: (error) => troubles.push(error),
      },
    })
    const connection = () => connections.at(-1) as FakePeerConnection
    return { media, out, states, troubles, connections, connection, line }
  }
  const driver = end(false)
  const passenger = end(true)
  const deliver = async () => {
    await settle()
    while (driver.out.length + passenger.out.length > 0) {
      for (const signal of driver.out.splice(0)) passenger.media.take(signal)
      for (const signal of passenger.out.splice(0)) driver.media.take(signal)
      await settle()
    }
  }
  const agreed = () => {
    for (const [one, other] of [
      [driver, passenger],
      [passenger, driver],
    ] as const) {
      expect(one.connection().signalingState).toBe('stable')
      expect(one.connection().remoteDescription?.sdp).toContain(`a=ice-ufrag:${other.connection().ufrag}\r\n`)
      expect(one.troubles).toEqual([])
    }
  }
  return { clock, driver, passenger, deliver, agreed }
}

async function connected() {
  const all = ends()
  all.driver.media.begin()
  await all.deliver()
  for (const { connection, states } of [all.driver, all.passenger]) {
    connection().become('connected')
    states.splice(0)
  }
  return all
}

const types = (signals: Signal[]) => signals.map(({ type }) => type)

test('one offers, the other answers, and nobody says more', async () => {
  const { driver, deliver, agreed } = ends()
  driver.media.begin()
  driver.media.begin()
  await settle()
  expect(types(driver.out)).toEqual(['offer'])
  await deliver()
  agreed()
})

test('descriptions travel without candidates, which travel by themselves', async () => {
  const { driver, passenger, deliver } = ends()
  driver.media.begin()
  await settle()
  driver.connection().gather('host')
  expect(types(driver.out)).toEqual(['offer', 'ice_candidate'])
  expect(JSON.stringify(driver.out[0])).not.toContain('candidate')
  await deliver()
  expect(passenger.connection().added).toEqual([expect.objectContaining({ candidate: 'host' })])
})

test('candidates that come before their offer wait for it', async () => {
  const { driver, passenger, deliver } = ends()
  driver.media.begin()
  await settle()
  driver.connection().gather('early')
  driver.out.reverse()
  await deliver()
  expect(passenger.connection().added.length).toBe(1)
})

test('when both offer at once, the offer of the impolite end stands', async () => {
  const { driver, passenger, deliver, agreed } = ends()
  driver.media.begin()
  passenger.media.begin()
  await settle()
  expect([types(driver.out), types(passenger.out)]).toEqual([['offer'], ['offer']])
  await deliver()
  agreed()
})

test('an offer lost with the connection is repeated with its candidates', async () => {
  const { driver, passenger, deliver, agreed } = ends()
  driver.line.up = false
  driver.media.begin()
  await settle()
  driver.connection().gather('host')
  expect(driver.out).toEqual([])
  driver.line.up = true
  driver.media.resync(false)
  expect(types(driver.out)).toEqual(['offer', 'ice_candidate'])
  await deliver()
  agreed()
  expect(passenger.connection().added.length).toBe(1)
})

test('an offer whose answer was lost is repeated; a second answer does no harm', async () => {
  const { driver, passenger, deliver, agreed } = ends()
  driver.media.begin()
  await settle()
  for (const signal of driver.out.splice(0)) passenger.media.take(signal)
  await settle()
  const [late] = passenger.out.splice(0)
  driver.media.resync(false)
  await deliver()
  driver.media.take(late as Signal)
  await deliver()
  agreed()
})

test('a gap restarts ICE, an interruption without one leaves running sound alone', async () => {
  const { driver, passenger, deliver, agreed } = await connected()
  const before = driver.connection().ufrag
  driver.media.resync(false)
  await settle()
  expect(driver.out).toEqual([])
  driver.media.resync(true)
  await deliver()
  agreed()
  expect(driver.connection().ufrag).not.toBe(before)
  expect(passenger.connections.length).toBe(1)
})

test('after a restart of ICE only the new candidates are repeated', async () => {
  const { driver, deliver } = await connected()
  driver.connection().gather('old')
  driver.media.resync(true)
  await deliver()
  driver.connection().gather('new')
  await deliver()
  driver.line.up = false
  driver.connection().gather('newer')
  driver.line.up = true
  driver.media.resync(false)
  expect(
    driver.out.map((signal) => (signal.type === 'ice_candidate' ? signal.candidate.candidate : signal.type)),
  ).toEqual(['offer', 'new', 'newer'])
})

test('sound that fails is mended at once and again until it is back', async () => {
  const { clock, driver, deliver, agreed } = await connected()
  driver.connection().become('failed')
  expect(driver.states).toEqual(['broken'])
  await deliver()
  agreed()
  const first = driver.connection().ufrag
  clock.wind(4_000)
  await deliver()
  expect(driver.connection().ufrag).not.toBe(first)
  driver.connection().become('connected')
  expect(driver.states).toEqual(['broken', 'connected'])
})

test('a short disconnection is left to mend itself, a longer one is not', async () => {
  const { clock, driver } = await connected()
  driver.connection().become('disconnected')
  clock.wind(1_500)
  driver.connection().become('connected')
  clock.wind(10_000)
  expect(driver.states).toEqual([])
  driver.connection().become('disconnected')
  clock.wind(2_000)
  expect(driver.states).toEqual(['broken'])
})

test('an end that built its connection anew is met by a new one', async () => {
  const { driver, passenger, deliver, agreed } = await connected()
  passenger.media.renew()
  passenger.media.begin()
  await deliver()
  agreed()
  expect(driver.connections.length).toBe(2)
  expect(driver.connections[0]?.closed).toBe(true)
  expect(driver.states).toEqual(['broken'])
})

test('an answer from a new connection starts over', async () => {
  const { driver, passenger, deliver, agreed } = await connected()
  passenger.media.renew()
  driver.media.resync(true)
  await deliver()
  agreed()
})

test('both ends anew at once come together', async () => {
  const { driver, passenger, deliver, agreed } = await connected()
  for (const { media } of [driver, passenger]) {
    media.renew()
    media.begin()
  }
  await deliver()
  agreed()
})

test('a polite end that waits in vain for an offer makes one', async () => {
  const { clock, passenger, deliver, agreed } = ends()
  clock.wind(9_000)
  await settle()
  expect(types(passenger.out)).toEqual(['offer'])
  await deliver()
  agreed()
})

test('what cannot be used is told, and taken when it comes again', async () => {
  const { driver, passenger, deliver, agreed } = await connected()
  const connection = passenger.connection()
  const take = connection.setRemoteDescription
  connection.setRemoteDescription = () => Promise.reject(new Error('bad sdp'))
  driver.media.resync(true)
  await deliver()
  expect(passenger.troubles.splice(0)).toEqual([new Error('bad sdp')])
  connection.setRemoteDescription = take
  driver.media.resync(false)
  await deliver()
  agreed()
})

test('closing closes the connection and stops the clock, twice', async () => {
  const { clock, driver, passenger } = await connected()
  driver.connection().become('failed')
  for (const { media, connection } of [driver, passenger]) {
    media.close()
    media.close()
    expect(connection().closed).toBe(true)
    media.take({ type: 'offer', sdp: 'x' })
    media.resync(true)
    media.renew()
  }
  await settle()
  expect(clock.pending).toBe(0)
})

function alone(options: Partial<ConstructorParameters<typeof Media>[0]>) {
  const clock = new HandClock()
  const out: Signal[] = []
  const connection = new FakePeerConnection()
  const configurations: RTCConfiguration[] = []
  const media = new Media({
    polite: false,
    microphone: fakeStream(),
    connect: (configuration) => {
      configurations.push(configuration)
      return connection as never
    },
    iceServers: [],
    timers: clock,
    send: (signal) => out.push(signal) > 0,
    on: { state() {}, remote() {}, trouble() {} },
    ...options,
  })
  return { clock, out, connection, configurations, media }
}

test('an offer that rings a person is not repeated, and mending begins with the answer', async () => {
  const { media, clock, out, connection } = alone({ rings: true })
  media.begin()
  await settle()
  clock.wind(120_000)
  await settle()
  expect(types(out.splice(0))).toEqual(['offer'])
  media.take({ type: 'answer', sdp: 'v=0\r\no=- far 1 IN IP4 0.0.0.0\r\n' })
  await settle()
  clock.wind(6_999)
  await settle()
  expect(out).toEqual([])
  clock.wind(1)
  await settle()
  expect(types(out)).toEqual(['offer'])
  media.close()
  expect(clock.pending).toBe(0)
  expect(connection.closed).toBe(true)
})

test('the transport policy and fresh credentials reach the connection', () => {
  const { media, connection, configurations } = alone({ iceTransportPolicy: 'relay' })
  expect(configurations).toEqual([{ iceServers: [], iceTransportPolicy: 'relay' }])
  media.setIceServers([{ urls: 'turn:here' }])
  expect(connection.configuration).toEqual({
    iceServers: [{ urls: 'turn:here' }],
    iceTransportPolicy: 'relay',
  })
  media.close()
  media.setIceServers([])
  expect(connection.configuration?.iceServers).toHaveLength(1)
})

test('a relay at either end is told from a direct way', async () => {
  const { media, connection } = alone({})
  expect(await media.route()).toBeNull()
  const stats = (local: string, remote: string) => [
    { id: 'T', type: 'transport', selectedCandidatePairId: 'P' },
    { id: 'P', type: 'candidate-pair', localCandidateId: 'L', remoteCandidateId: 'R' },
    { id: 'L', type: 'local-candidate', candidateType: local },
    { id: 'R', type: 'remote-candidate', candidateType: remote },
  ]
  connection.stats = stats('host', 'srflx')
  expect(await media.route()).toBe('direct')
  connection.stats = stats('relay', 'host')
  expect(await media.route()).toBe('relay')
  connection.stats = stats('prflx', 'relay')
    .slice(1)
    .map((each) => ({ ...each, nominated: true, state: 'succeeded' }))
  expect(await media.route()).toBe('relay')
  media.close()
  expect(await media.route()).toBeNull()
})
