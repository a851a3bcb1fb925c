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

COPY database.sql ./
COPY scripts scripts
COPY deploy/health.ts deploy/
COPY src src
RUN node scripts/run.mjs build

# What is built holds the parts of the libraries that it uses; of what was installed only the runtime goes on.
RUN mkdir bin && mv node_modules/bun/bin/bun.exe bin/bun


FROM debian:bookworm-slim
WORKDIR /app

# The first volume that is mounted on /data takes over its owner.
RUN groupadd --gid 1000 node \
 && useradd --uid 1000 --gid node --no-create-home --home-dir /data --shell /usr/sbin/nologin node \
 && install --directory --owner=node --group=node --mode=0700 /data

# The server, and the operator's commands, as: docker compose exec ringdown ringdown keys show
COPY deploy/container.sh /usr/local/bin/ringdown
RUN chmod 755 /usr/local/bin/ringdown

COPY --from=build /app/bin/bun /usr/local/bin/bun
COPY --from=build /app/dist dist
COPY LICENSE ./

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
# 443: where it speaks TLS itself, with the files that are mounted at /tmp/fullchain.pem and /tmp/privkey.pem.
EXPOSE 47880 443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["ringdown", "health"]
ENTRYPOINT ["ringdown"]
CMD ["serve"]
