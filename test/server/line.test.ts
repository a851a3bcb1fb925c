import { afterEach, describe, expect, test } from 'bun:test'
import { audio, control, hello, LineCaller, lineServer, newSeat, talking } from '../kit/line-callers.ts'
import { closeServers } from '../kit/server.ts'

afterEach(closeServers)

const GRACE = 15_000

describe('two people on a line', () => {
  test('[LINE-4] are told of one another, and hear one another byte for byte and in order', async () => {
    const server = await lineServer()
    const [first, second] = await talking(server)
    const said = [hello(), control(), audio(), audio(), control(), audio({ rate: 3, duration: 3, bucket: 3 })]
    first.send(...said)
    for (const frame of said) expect(await second.heard()).toEqual(frame)
    second.send(...said)
    for (const frame of said) expect(await first.heard()).toEqual(frame)
    expect(await first.rest()).toEqual([])
  })
})
