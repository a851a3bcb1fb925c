/** A whole server whose time is the real one, for tests with programs that have a time of their own. */
import { rmSync } from 'node:fs'
import { TestClock } from './clock.ts'
import { startServer, type TestServer } from './server.ts'

const TICK = 20

/** Closing it removes its data folder. Twice is fine. */
export async function startLiveServer(settings: Record<string, string> = {}): Promise<TestServer> {
  const clock = new TestClock(Date.now())
  const server = await startServer(settings, { clock })
  const ticking = setInterval(() => clock.leap(Math.max(0, Date.now() - clock.now())), TICK)
  return {
    ...server,
    async close() {
      await server.close()
      clearInterval(ticking)
      rmSync(server.dataDir, { recursive: true, force: true })
    },
  }
}
