/**
 * PeerJS server as its own README starts it, with the limit on clients raised. Runs on Node, as its authors run it.
 *
 * Run it alone to profile it:  PORT=4001 node --cpu-prof --cpu-prof-dir=/tmp/prof bench/peers/peerjs.mjs
 * Clients connect to /peerjs?key=peerjs&id=<id>&token=<any>.
 */
import { PeerServer } from 'peer'

const port = Number(process.env.PORT ?? 9000)
PeerServer({ host: '127.0.0.1', port, path: '/', concurrent_limit: 20_000, alive_timeout: 3_600_000 }, () =>
  console.log(`PeerJS server on http://127.0.0.1:${port}/`),
)

// A clean exit, so that a profiler's file is written.
process.on('SIGTERM', () => process.exit(0))
