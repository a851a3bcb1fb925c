#!/bin/sh
# Builds Ringdown and puts it in the place of the one that runs, with Docker Compose.
#
#   ./deploy.sh
#
# It looks at .env first, builds the image, lets the new image read the settings, and only then replaces what runs.
# When the new one is not healthy within HEALTH_TIMEOUT seconds (60), it shows why and puts the old one back.
# Calls go on: phones come back to the new server by themselves.
#
# Exit code 0: the new one runs and is healthy. 1: it does not, and the last lines say what was done.
set -eu
cd "$(dirname "$0")"

service=ringdown
image=ringdown:latest
previous_image=ringdown:previous
timeout=${HEALTH_TIMEOUT:-60}

say() { printf 'deploy: %s\n' "$*"; }
fail() {
    printf 'deploy: %s\n' "$*" >&2
    exit 1
}

# --- What can be seen without Docker

# The value of a variable in .env as Compose reads it: the last line counts, and quotes around it are not part of it.
value_in() {
    sed -n "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$2[[:space:]]*=[[:space:]]*//p" "$1" |
        tail -n 1 |
        sed -e 's/[[:space:]]*$//' -e "s/^'\(.*\)'\$/\1/" -e 's/^"\(.*\)"$/\1/'
}

check_settings() {
    [ -f .env ] || fail "there is no .env. Begin with: cp .env.example .env"
    keys=$(value_in .env API_KEY)
    [ -n "$keys" ] || fail "API_KEY in .env is empty. To make one: openssl rand -hex 32"
    example=$(value_in .env.example API_KEY 2>/dev/null || :)
    old_ifs=$IFS
    IFS=', '
    set -f
    for key in $keys; do
        case $key in
            "$example" | YOUR_API_KEY*) fail "API_KEY in .env is the one of the example. To make one: openssl rand -hex 32" ;;
        esac
        [ "${#key}" -ge 32 ] ||
            fail "API_KEY in .env holds a key of ${#key} characters; a key needs at least 32. To make one: openssl rand -hex 32"
    done
    set +f
    IFS=$old_ifs
    # Whoever can read this file can open calls, and read the call log.
    if [ -n "$(find .env -perm -004 2>/dev/null)" ]; then
        say "note: every user of this machine can read .env. To change that: chmod 600 .env"
    fi
}

# --- Docker

find_compose() {
    command -v docker >/dev/null 2>&1 || fail "there is no docker. See https://docs.docker.com/engine/install/"
    if docker compose version >/dev/null 2>&1; then
        compose_is=plugin
    elif command -v docker-compose >/dev/null 2>&1; then
        compose_is=program
    else
        fail "there is neither 'docker compose' nor docker-compose. See https://docs.docker.com/compose/install/"
    fi
    docker info >/dev/null 2>&1 ||
        fail "the Docker engine does not answer. Does it run, and may the user $(id -un) use it?"
}

compose() {
    if [ "$compose_is" = plugin ]; then docker compose "$@"; else docker-compose "$@"; fi
}

image_id() { docker image inspect --format '{{.Id}}' "$image" 2>/dev/null || :; }

# 'running 0': the state of the container, and how often it was started again by itself.
container_state() {
    id=$(compose ps -q "$service" 2>/dev/null) || id=
    [ -n "$id" ] || return 0
    docker inspect --format '{{.State.Status}} {{.RestartCount}}' "$id" 2>/dev/null || :
}

# Until the server answers, from inside of its container. Another program on its port must not pass for it, so a
# container that falls over and is started again has failed.
wait_for_health() {
    restarts=$(container_state | cut -d ' ' -f 2)
    deadline=$(($(date +%s) + timeout))
    while [ "$(date +%s)" -lt "$deadline" ]; do
        case $(container_state) in
            "running ${restarts:-0}")
                if compose exec -T "$service" ringdown health >/dev/null 2>&1 &&
                    [ "$(container_state)" = "running ${restarts:-0}" ]; then
                    return 0
                fi
                ;;
            '' | created*) ;;
            *) return 1 ;;
        esac
        sleep 1
    done
    return 1
}

start() { compose up -d --no-build "$service" && wait_for_health; }

# --- What is done

check_settings
find_compose

old=$(image_id)
say "building"
REVISION=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
export REVISION
compose build "$service" || fail "the build failed; its message is above. What ran before was not touched."
new=$(image_id)
[ -z "$old" ] || [ "$old" = "$new" ] || docker tag "$old" "$previous_image"

say "checking the settings"
if ! compose run --rm --no-deps -T "$service" config >/dev/null; then
    [ -z "$old" ] || docker tag "$old" "$image"
    fail "the server cannot read its settings; its message is above. What ran before was not touched."
fi

say "starting"
if start; then
    compose exec -T "$service" ringdown health /ready || :
    say "it runs and is healthy"
    exit 0
fi

printf '\ndeploy: it is not healthy. Its last lines:\n' >&2
compose logs --tail=40 "$service" >&2 || :
printf '\n' >&2
if [ -z "$old" ] || [ "$old" = "$new" ]; then
    fail "there is no older image to go back to, so it was left as it is. Its lines above say more; so does: ./deploy.sh after a change in .env"
fi
say "putting the old one back"
docker tag "$old" "$image"
start || fail "the old one does not come up healthy either. It may be that nothing serves calls now."
fail "the new one did not come up healthy. The old one runs again."
