# Ringdown as a container: everything is installed and built in the first stage, and the second holds what runs and
# nothing else. It is Debian without Node: the runtime is one binary that the lock file pins, and a server that anybody
# can reach is better off without a package manager beside it.
#
# No line needs BuildKit, so that an older docker-compose builds it too. test/deploy/image.test.ts runs each line.

FROM node:20-bookworm-slim AS build
WORKDIR /app

# What is installed changes less often than the source, so it has a layer of its own.
COPY package.json package-lock.json ./
COPY scripts/run.mjs scripts/process.mjs scripts/
RUN node scripts/run.mjs install

COPY scripts scripts
COPY src src
RUN node scripts/run.mjs build

# The runtime is moved out of node_modules, which has it twice and which is then without what only a build needs.
RUN npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
 && mkdir bin \
 && mv node_modules/bun/bin/bun.exe bin/bun \
 && rm -rf node_modules/bun node_modules/@oven node_modules/.bin node_modules/.ringdown-lock


FROM debian:bookworm-slim
WORKDIR /app

# The first volume that is mounted on /data takes over its owner.
RUN groupadd --gid 1000 node \
 && useradd --uid 1000 --gid node --no-create-home --home-dir /data --shell /usr/sbin/nologin node \
 && install --directory --owner=node --group=node --mode=0700 /data

# The operator's commands, as: docker compose exec ringdown ringdown keys show
RUN printf '#!/bin/sh\nexec bun /app/src/cli/main.ts "$@"\n' > /usr/local/bin/ringdown \
 && chmod 755 /usr/local/bin/ringdown

COPY --from=build /app/bin/bun /usr/local/bin/bun
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json database.sql LICENSE ./
COPY deploy/health.ts deploy/
COPY src src

# The runtime keeps no cache of compiled files: the root of the container may be read-only.
ENV DATA_DIR=/data \
    BUN_RUNTIME_TRANSPILER_CACHE_PATH=0

ARG REVISION=unknown
LABEL org.opencontainers.image.title="Ringdown" \
      org.opencontainers.image.description="A self-hosted server for private two-party voice calls." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim" \
      org.opencontainers.image.revision="$REVISION"

# The user node, by number: a cluster that wants to see that this is not root cannot read names.
USER 1000:1000
VOLUME /data
EXPOSE 47880
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["bun", "/app/deploy/health.ts"]
ENTRYPOINT ["bun", "/app/src/cli/main.ts"]
CMD ["serve"]
