#!/bin/sh
# The command `ringdown` in the container; all that runs there begins here.
#
#   ringdown [command]        as everywhere
#   ringdown health [/ready]  asks the server of this container how it is
set -eu

# A certificate that is mounted here is taken, at the port that belongs to it, unless settings say other:
#   docker run -p 7777:443 -v …/fullchain.pem:/tmp/fullchain.pem:ro -v …/privkey.pem:/tmp/privkey.pem:ro …
if [ -z "${TLS_CERT_FILE:-}${TLS_KEY_FILE:-}" ] && [ -e /tmp/fullchain.pem ] && [ -e /tmp/privkey.pem ]; then
    export TLS_CERT_FILE=/tmp/fullchain.pem TLS_KEY_FILE=/tmp/privkey.pem
    export SERVER_ADDR="${SERVER_ADDR:-0.0.0.0:443}"
fi

if [ "${1:-}" = health ]; then
    shift
    exec bun /app/dist/server/health.js "$@"
fi
exec bun /app/dist/server/main.js "$@"
